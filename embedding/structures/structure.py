"""Door to structure files: paths in, atoms (bohr, e) out, with their OpenMM force field where there is one.

What the files are is seen from their names; each format has its own module, and what this one
re-exports is what a caller needs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from numpy.typing import ArrayLike

from drupe.embedding.structures.amber import check_solvent_model, read_amber
from drupe.embedding.structures.input_files import existing_file, locate
from drupe.embedding.structures.mechanics import Structure, cut_out, openmm_system, openmm_topology
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError

__all__ = [
    "Structure",
    "cut_out",
    "locate",
    "openmm_system",
    "openmm_topology",
    "read_amber",
    "read_structure",
    "read_system",
    "takes_implicit_solvent",
]

_AMBER = (".prmtop", ".parm7", ".prm7")


def read_structure(
    topology: str | Path,
    coordinates: str | Path | None = None,
    *,
    parameters: Sequence[str | Path] = (),
    system: str | Path | None = None,
    ligand: str | Path | None = None,
    implicit_solvent: str | None = None,
    include: str | Path | None = None,
    box: ArrayLike | None = None,
    solvent: Literal["box"] | None = None,
    ph: float | None = None,
    padding_nm: float | None = None,
) -> Structure:
    """Read a structure with its force field, whatever program it comes from.

    ===================  =======================  ==========================================
    topology             with                     what
    ===================  =======================  ==========================================
    .prmtop .parm7       coordinates              Amber; ``implicit_solvent`` OBC2 or None
    .top                 coordinates (.gro)       GROMACS; ``include`` its force fields
    .psf                 coordinates, parameters  CHARMM; ``box`` (3, 3) in bohr or None
    .pdb                 system (.xml)            any serialised OpenMM System
    .pdb                 ligand (.sdf)            ff14SB and GAFF2; ``implicit_solvent`` OBC2 or None,
                                                  or ``solvent`` "box", ``ph``, ``padding_nm``
    ===================  =======================  ==========================================

    ``solvent``, ``ph`` and ``padding_nm`` are those of `drupe.embedding.structures.complexes.read_complex`.
    A ``.top`` file that starts like an Amber topology is read as one.

    Raises
    ------
    InputError
        If the kind cannot be told, something it needs was not given, or the reader refuses.
    """
    path = existing_file(topology)
    kind = "complex" if ligand is not None and path.suffix.lower() == ".pdb" else _kind(path)
    given = {
        "coordinates": coordinates is not None,
        "parameters": bool(parameters),
        "system": system is not None,
        "ligand": ligand is not None,
        "implicit_solvent": implicit_solvent is not None,
        "include": include is not None,
        "box": box is not None,
        "solvent": solvent is not None,
        "ph": ph is not None,
        "padding_nm": padding_nm is not None,
    }
    _check_given(path, kind, given)
    if kind == "Amber":
        return read_amber(path, str(coordinates), implicit_solvent=implicit_solvent)
    if kind == "GROMACS":
        from drupe.embedding.structures.gromacs import read_gromacs

        return read_gromacs(path, str(coordinates), include=include)
    if kind == "CHARMM":
        from drupe.embedding.structures.charmm import read_charmm

        return read_charmm(path, str(coordinates), parameters, box=box)
    if kind == "complex":
        from drupe.embedding.structures.complexes import read_complex

        if implicit_solvent is not None and solvent is not None:
            raise InputError(
                f"solvent={solvent!r} and implicit_solvent={implicit_solvent!r} exclude each other",
                remedy="give one of them, or neither for vacuum",
            )
        chosen = {
            name: value for name, value in (("ph", ph), ("padding_nm", padding_nm)) if value is not None
        }
        return read_complex(path, str(ligand), solvent=solvent or _solvent(implicit_solvent), **chosen)
    from drupe.embedding.structures.pdb import read_pdb_with_system

    return read_pdb_with_system(path, str(system))


def read_system(
    topology: str | Path, coordinates: str | Path | None = None, **others: object
) -> MolecularSystem:
    """Read atoms with what `read_structure` takes, or an xyz file without a force field.

    Raises
    ------
    InputError
        As `read_structure` does.
    """
    path = existing_file(topology)
    if path.suffix.lower() in (".xyz", ".extxyz"):
        extra = [name for name, value in {"coordinates": coordinates, **others}.items() if value]
        if extra:
            raise InputError(
                f"{path.name} is read alone, not with {', '.join(extra)}",
                remedy="leave them out, or give a topology with a force field",
            )
        from drupe.embedding.structures.xyz import read_xyz

        return read_xyz(path)
    return read_structure(path, coordinates, **others).system  # type: ignore[arg-type]


_NEEDS = {
    "Amber": ({"coordinates"}, {"implicit_solvent"}),
    "GROMACS": ({"coordinates"}, {"include"}),
    "CHARMM": ({"coordinates", "parameters"}, {"box"}),
    "PDB": ({"system"}, set()),
    "complex": ({"ligand"}, {"implicit_solvent", "solvent", "ph", "padding_nm"}),
}


def _solvent(name: str | None) -> Literal["OBC2"] | None:
    check_solvent_model(name)
    return "OBC2" if name == "OBC2" else None


def takes_implicit_solvent(topology: str | Path, *, ligand: bool = False) -> bool:
    """Whether `read_structure` can put the solvent model into what it reads; ``ligand`` as given there."""
    path = existing_file(topology)
    kind = "complex" if ligand and path.suffix.lower() == ".pdb" else _kind(path)
    return "implicit_solvent" in _NEEDS[kind][1]


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in _AMBER:
        return "Amber"
    if suffix == ".top":
        with path.open("rb") as file:
            return "Amber" if file.read(8).startswith(b"%VERSION") else "GROMACS"
    kinds = {".psf": "CHARMM", ".pdb": "PDB"}
    if suffix not in kinds:
        raise InputError(
            f"{path.name} is of no kind that is known",
            remedy="give .prmtop or .parm7 (Amber), .top (GROMACS), .psf (CHARMM), .pdb, or .xyz",
        )
    return kinds[suffix]


def _check_given(path: Path, kind: str, given: dict[str, bool]) -> None:
    needs, may = _NEEDS[kind]
    missing = sorted(name for name in needs if not given[name])
    foreign = sorted(name for name, is_given in given.items() if is_given and name not in needs | may)
    if missing:
        advice = (
            "the serialised OpenMM System (.xml) as system, or the ligand (.sdf) as ligand"
            if kind == "PDB"
            else ", ".join(missing)
        )
        raise InputError(
            f"{path.name} is a {kind} file and needs {', '.join(missing)}", remedy=f"give also {advice}"
        )
    if foreign:
        raise InputError(
            f"{', '.join(foreign)} does not go with the {kind} file {path.name}",
            remedy=f"leave it out; {kind} takes {', '.join(sorted(needs | may))}",
        )
