"""The tree of files under a GROMACS topology: a top file in, a refusal of what would be lost out.

Walks ``#include``, ``#define`` and ``#ifdef`` as OpenMM's reader does, which passes over sections that it
does not know and, for a name in two folders, takes another file than GROMACS.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from drupe.embedding.structures.input_files import read_text
from drupe.errors import InputError

__all__ = ["check_topology"]

#: Sections that OpenMM reads, and those whose content is no term of a force field.
_KNOWN = {
    *("defaults", "moleculetype", "molecules", "atoms", "bonds", "angles", "dihedrals", "exclusions"),
    *("pairs", "constraints", "settles", "cmap", "atomtypes", "bondtypes", "angletypes", "dihedraltypes"),
    *("pairtypes", "cmaptypes", "nonbond_params", "system", "constrainttypes", "implicit_genborn_params"),
    *(f"{name}{count}" for name in ("virtual_sites", "dummies") for count in "1234n"),
}
_DEEPEST = 40


def check_topology(top: Path, include: Path | None) -> None:
    """Refuse a topology whose includes are missing or ambiguous, or that has terms OpenMM does not know.

    Parameters
    ----------
    top
        The topology file.
    include
        Folder of force fields, searched after the folder of ``top``.

    Raises
    ------
    InputError
        Naming the file, the line and the include or the section.
    """
    folders = [top.parent] if include is None else [top.parent, include]
    section, defined = "", {"FLEXIBLE"}  # OpenMM defines it: water keeps its bonds
    for path, number, line in _active_lines(top, folders, defined, ()):
        if line.startswith("["):
            title = line.strip("[] \t")
            section = title.lower()
            if title != section:
                raise InputError(
                    f"{path}, line {number}: OpenMM passes over [ {title} ] for its capital letters",
                    remedy=f"write [ {section} ]",
                )
        # Terms between molecules stand in sections below this title, which OpenMM takes for others.
        if section == "intermolecular_interactions" or (line[0] != "[" and section and section not in _KNOWN):
            raise InputError(
                f"{path}, line {number}: the section [ {section} ] has terms that OpenMM does not know",
                remedy="take it out if the label does not need it (restraints: their #define)",
            )


def _active_lines(
    path: Path, folders: Sequence[Path], defined: set[str], above: tuple[Path, ...]
) -> Iterator[tuple[Path, int, str]]:
    """Lines that count, with their file and number; comments and preprocessor lines are gone."""
    if len(above) > _DEEPEST:
        raise InputError(
            f"{path} is included {_DEEPEST} levels deep, by {above[-1]}",
            remedy="break the circle of #include",
        )
    taken: list[bool] = []
    begun = ""
    for number, raw in enumerate(read_text(path, "a GROMACS topology").splitlines(), start=1):
        whole = begun + raw
        begun = whole[: whole.rindex("\\")] + " " if raw.strip().endswith("\\") else ""
        line = whole.split(";")[0].strip()
        if begun or not line or line.startswith("*"):
            continue
        command, *words = line.split()
        rest = line[len(command) :]
        if command in ("#ifdef", "#ifndef"):
            taken.append((words[:1] and words[0] in defined) == (command == "#ifdef"))
        elif command == "#else" and taken:
            taken[-1] = not taken[-1]
        elif command == "#endif" and taken:
            taken.pop()
        elif not all(taken):
            continue
        elif command == "#include":
            found = _find(rest.strip(' \t"<>'), f"{path}, line {number}", path.parent, folders)
            yield from _active_lines(found, folders, defined, (*above, path))
        elif command == "#define":
            defined.update(words[:1])
        elif command == "#undef":
            defined.difference_update(words[:1])
        elif not line.startswith("#"):
            yield path, number, line


def _find(name: str, where: str, own: Path, folders: Sequence[Path]) -> Path:
    """The file that OpenMM takes; the one in the folder of the including file must be no other."""
    places = [folder / name for folder in (*folders, own)]
    found = [place for place in places if place.is_file()]
    if not found:
        looked = ", ".join(str(folder) for folder in dict.fromkeys([own, *folders]))
        raise InputError(
            f'{where}: there is no file for #include "{name}" (looked in {looked})',
            remedy="put it beside the topology, or name the folder of the force fields with include=",
        )
    if places[-1].is_file() and places[-1].read_bytes() != found[0].read_bytes():
        raise InputError(
            f'{where}: #include "{name}" may mean {found[0]} or {places[-1]}, which differ',
            remedy="rename one of them, or remove the one that is not meant",
        )
    return found[0]
