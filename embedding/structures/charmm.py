"""CHARMM files in (psf, parameter files, crd or pdb), a `Structure` out (bohr, e)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.embedding.structures.charmm_checks import check_parameters, check_psf
from drupe.embedding.structures.input_files import existing_file, read_text, unreadable
from drupe.embedding.structures.mechanics import Structure
from drupe.embedding.structures.openmm_objects import box_of, check_box, nonbonded, read_openmm
from drupe.embedding.structures.pdb import read_pdb
from drupe.errors import InputError
from drupe.units import nanometer

__all__ = ["read_charmm"]

_KINDS = frozenset({".rtf", ".top", ".par", ".prm", ".inp", ".str"})


def read_charmm(
    psf: str | Path,
    coordinates: str | Path,
    parameters: Sequence[str | Path],
    *,
    box: ArrayLike | None = None,
) -> Structure:
    """Read a CHARMM structure file with parameters: flexible bonds; no cutoff, or PME in a box.

    Urey-Bradley terms, impropers, CMAP, NBFIX, 1-4 parameters and lone pairs are kept. In a box Lennard-Jones
    ends at the cutoff of PME, without the switching functions of CHARMM.

    Parameters
    ----------
    psf
        Atoms, charges, masses and bonds (X-PLOR or CHARMM format).
    coordinates
        The same atoms as ``.crd`` or ``.pdb``.
    parameters
        Parameter (``.prm``, ``.par``), topology (``.rtf``, ``.top``) and stream (``.str``) files.
    box
        Rows are box vectors, bohr; None takes the crystal of the pdb, or no box.

    Raises
    ------
    InputError
        If a file is missing, cut off or unreadable, atom counts differ, a parameter is missing, the field
        is polarizable, the box is too small, or the files hold what OpenMM does not carry: see
        `drupe.embedding.structures.charmm_checks`.
    """
    import openmm
    from openmm import app, unit

    psf_path, crd_path = existing_file(psf), existing_file(coordinates)
    files = [existing_file(path) for path in parameters]
    strange = [path.name for path in files if path.suffix.lower() not in _KINDS]
    if strange or not files:
        raise InputError(
            f"the CHARMM parameters are {', '.join(strange) if strange else 'missing'}",
            remedy=f"give the parameter files of {psf_path.name}: {', '.join(sorted(_KINDS))}",
        )
    check_psf(psf_path)
    try:
        molecules = app.CharmmPsfFile(str(psf_path))
    except Exception as error:
        raise unreadable(psf_path, "a CHARMM structure file", error) from error
    try:
        known = app.CharmmParameterSet(*(str(path) for path in files))
    except Exception as error:
        raise unreadable(files[0], "CHARMM parameters (or a file after it)", error) from error
    table, vectors = _coordinates(crd_path)
    if box is not None:
        vectors = _given_box(box)
    if len(table) != len(molecules.atom_list):
        raise InputError(
            f"{crd_path.name} has {len(table)} atoms, {psf_path.name} has {len(molecules.atom_list)}",
            remedy="give the coordinates that belong to this structure file",
        )
    settings = nonbonded(vectors)
    if vectors is not None:
        molecules.box_vectors = unit.Quantity(
            [openmm.Vec3(*row) for row in vectors / nanometer], unit.nanometer
        )
    try:
        forces = molecules.createSystem(known, **settings)
    except Exception as error:
        raise InputError(
            f"{psf_path} does not go with its parameters ({type(error).__name__}: {error})",
            remedy="give all parameter files that the structure was built with",
        ) from error
    check_parameters(files, known, {atom.type.name for atom in molecules.atom_list})
    return read_openmm(_topology(molecules), forces, table, box=vectors)


def _coordinates(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Positions in nm, and the box (rows, bohr) where the file has one."""
    from openmm import app, unit

    if path.suffix.lower() == ".pdb":
        from_pdb, table = read_pdb(path, elements="optional")
        return table, box_of(from_pdb)
    read_text(path, "CHARMM coordinates")
    try:
        positions = app.CharmmCrdFile(str(path)).positions
    except Exception as error:
        raise unreadable(path, "CHARMM coordinates", error) from error
    return np.asarray(positions.value_in_unit(unit.nanometer), float), None


def _topology(molecules: Any) -> Any:
    """OpenMM's topology with the elements of the atom types: a lone pair has none, not its neighbour's."""
    from openmm import app

    topology = molecules.topology
    for atom, given in zip(topology.atoms(), molecules.atom_list, strict=True):
        number = given.type.atomic_number
        atom.element = app.Element.getByAtomicNumber(number) if number else None
    return topology


def _given_box(box: ArrayLike) -> NDArray[np.float64]:
    vectors = np.asarray(box, dtype=np.float64)
    if vectors.shape != (3, 3):
        raise InputError(f"the box has shape {vectors.shape}", remedy="pass three row vectors, in bohr")
    check_box(vectors)
    return vectors
