"""CHARMM files in (psf, parameter files, crd or pdb), a `Structure` out (bohr, e)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.embedding.structures.input_files import existing_file, read_text, unreadable
from drupe.embedding.structures.mechanics import Structure
from drupe.embedding.structures.openmm_objects import box_of, check_box, nonbonded, read_openmm
from drupe.embedding.structures.pdb import read_pdb
from drupe.errors import InputError

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
        If a file is missing or unreadable, atom counts differ, a parameter is missing, the field is
        polarizable, or the box is too small.
    """
    from openmm import app, unit

    psf_path, crd_path = existing_file(psf), existing_file(coordinates)
    files = [existing_file(path) for path in parameters]
    strange = [path.name for path in files if path.suffix.lower() not in _KINDS]
    if strange or not files:
        raise InputError(
            f"the CHARMM parameters are {', '.join(strange) if strange else 'missing'}",
            remedy=f"give the parameter files of {psf_path.name}: {', '.join(sorted(_KINDS))}",
        )
    try:
        topology = app.CharmmPsfFile(str(psf_path))
    except Exception as error:
        raise unreadable(psf_path, "a CHARMM structure file", error) from error
    try:
        known = app.CharmmParameterSet(*(str(path) for path in files))
    except Exception as error:
        raise unreadable(files[0], "CHARMM parameters (or a file after it)", error) from error
    if crd_path.suffix.lower() == ".pdb":
        from_pdb, table = read_pdb(crd_path, elements="optional")
        vectors = box_of(from_pdb)
    else:
        read_text(crd_path, "CHARMM coordinates")
        try:
            table = np.asarray(
                app.CharmmCrdFile(str(crd_path)).positions.value_in_unit(unit.nanometer), float
            )
        except Exception as error:
            raise unreadable(crd_path, "CHARMM coordinates", error) from error
        vectors = None
    if box is not None:
        vectors = _given_box(box)
    if len(table) != topology.topology.getNumAtoms():
        raise InputError(
            f"{crd_path.name} has {len(table)} atoms, {psf_path.name} has {topology.topology.getNumAtoms()}",
            remedy="give the coordinates that belong to this structure file",
        )
    settings = nonbonded(vectors)
    if vectors is not None:
        topology.setBox(*(unit.Quantity(v, unit.bohr) for v in np.diag(vectors)), *_angles(vectors))
    try:
        forces = topology.createSystem(known, **settings)
    except Exception as error:
        raise InputError(
            f"{psf_path} does not go with its parameters ({type(error).__name__}: {error})",
            remedy="give all parameter files that the structure was built with",
        ) from error
    return read_openmm(topology.topology, forces, table, box=vectors)


def _given_box(box: ArrayLike) -> NDArray[np.float64]:
    vectors = np.asarray(box, dtype=np.float64)
    if vectors.shape != (3, 3):
        raise InputError(f"the box has shape {vectors.shape}", remedy="pass three row vectors, in bohr")
    check_box(vectors)
    return vectors


def _angles(box: NDArray[np.float64]) -> list[object]:
    """Angles alpha, beta, gamma between the vectors (b, c), (a, c), (a, b)."""
    from openmm import unit

    unit_rows = box / np.linalg.norm(box, axis=1)[:, None]
    cosines = [unit_rows[i] @ unit_rows[j] for i, j in ((1, 2), (0, 2), (0, 1))]
    return [float(np.degrees(np.arccos(c))) * unit.degrees for c in cosines]
