"""What OpenMM's CHARMM readers would leave out without a word: files in, a refusal that names it out.

They take a psf that was cut off for one with fewer terms, and know neither exclusions of its own, nor a
dielectric constant, a geometric combination rule, hydrogen-bond terms or the cosine form of impropers.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from drupe.embedding.structures.input_files import read_text
from drupe.errors import InputError

__all__ = ["check_parameters", "check_psf"]

_NEEDED = ("NATOM", "NBOND", "NTHETA", "NPHI", "NIMPHI")
_TITLES = ("READ", "RETU", "END")
_SECTIONS = (
    *("ATOM", "BOND", "ANGL", "THET", "DIHE", "PHI", "IMPR", "IMPH", "CMAP", "NONB", "NBON", "NBFI"),
    *("THOL", "HBON", *_TITLES),
)
#: Words that only the settings of the nonbonded section have; CHARMM looks at four letters.
_SETTINGS = ("CUTN", "CTOF", "CTON", "E14F", "WMIN", "NBXM")


def check_psf(path: Path) -> None:
    """Refuse a psf file that is cut off, polarizable, or has nonbonded exclusions of its own.

    Raises
    ------
    InputError
        Naming the sections.
    """
    text = read_text(path, "a CHARMM structure file")
    flags = text.split("\n", 1)[0].upper().split()[1:]
    if "DRUDE" in flags:
        raise InputError(
            f"{path} is of a polarizable force field (DRUDE)",
            remedy="give the structure with an additive force field, such as CHARMM36",
        )
    sections = {title: int(count) for count, title in re.findall(r"^\s*(\d+)[\s\d]*!(\w+)", text, re.M)}
    needed = (*_NEEDED, "NCRTERM") if "CMAP" in flags else _NEEDED
    missing = [title for title in needed if title not in sections]
    if missing:
        raise InputError(
            f"{path} lacks the sections {', '.join('!' + title for title in missing)}: it is cut off",
            remedy="write the psf again with the program it came from",
        )
    if sections.get("NNB", 0):
        raise InputError(
            f"{path} lists {sections['NNB']} nonbonded exclusions of its own (!NNB), which would be lost",
            remedy="give a structure whose exclusions follow from its bonds",
        )


def check_parameters(paths: Sequence[Path], known: Any, used: Collection[str]) -> None:
    """Refuse parameter files that say what OpenMM does not take from them.

    Parameters
    ----------
    paths
        The files.
    known
        OpenMM's ``CharmmParameterSet`` of them.
    used
        Names of the atom types that the structure has.

    Raises
    ------
    InputError
        Naming the file and the setting or the term.
    """
    for path in paths:
        section = ""
        for line in _lines(path):
            words = line.split()
            title = next((name for name in _SECTIONS if line.startswith(name)), "")
            section = title or section
            if title in ("NONB", "NBON") or any(word[:4] in _SETTINGS for word in words):
                _check_settings(path, words, known)
            elif section == "HBON" and not title:
                raise _lost(path, f"the hydrogen-bond term {line!r}", "HBOND")
            elif section in ("IMPR", "IMPH") and not title and _is_cosine(words, used):
                raise _lost(path, f"the improper {line!r} of the cosine form", "IMPROPER")
    for one, other in known.nbfix_types:
        if not {one, other} <= set(used):
            continue
        kinds = known.atom_types_str
        if other not in kinds[one].nbfix or one not in kinds[other].nbfix:
            raise InputError(
                f"the NBFIX of {one} and {other} stands before both atom types are defined, so it is lost",
                remedy="give the file that defines the types (MASS) first; a .prm is read before all .str",
            )


def _lines(path: Path) -> Iterator[str]:
    """Lines in capitals without comments and titles; a line that ends in a hyphen goes on in the next."""
    begun = ""
    for raw in read_text(path, "CHARMM parameters").upper().splitlines():
        line = (begun + raw.split("!")[0]).strip()
        begun = line[:-1] + " " if line.endswith("-") else ""
        if line and not begun and not line.startswith("*"):
            yield line


def _check_settings(path: Path, words: list[str], known: Any) -> None:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name = word[:4]
        if name == "RDIE":
            raise _lost(path, "a dielectric that grows with the distance (RDIE)", "NONBONDED")
        if name == "GEOM":
            raise _lost(path, "the geometric mean of Lennard-Jones radii (GEOM)", "NONBONDED")
        read = {"EPS": 1.0, "E14F": known.e14fac, "NBXM": known.nbxmod}.get(name)
        if read is not None and _number(path, word, following) != read:
            raise InputError(
                f"{path} sets {word} {following}, OpenMM takes {read:g} for these files",
                remedy="EPS must be 1; E14FAC and NBXMOD stand on the NONBONDED line (or a continued one), "
                "equal in all files",
            )


def _number(path: Path, word: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{path} sets {word} to {text!r}", remedy="give a number there") from error


def _is_cosine(words: list[str], used: Collection[str]) -> bool:
    """Whether an improper of the structure's types has a periodicity: psi0 is the last of seven words."""
    if len(words) < 7 or not all(word == "X" or word in used for word in words[:4]):
        return False
    return words[5].strip("0.") != ""


def _lost(path: Path, what: str, section: str) -> InputError:
    return InputError(
        f"{path} has {what}, which OpenMM does not know",
        remedy=f"take it out of the {section} section if the structure does not need it",
    )
