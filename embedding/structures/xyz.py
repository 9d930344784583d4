"""An xyz file in (angstrom), plain atoms out (bohr, e); charges when the file has a column for them."""

from pathlib import Path

import numpy as np

from drupe.embedding.structures.input_files import read_text, unreadable
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.units import angstrom

__all__ = ["read_xyz"]


def read_xyz(path: str | Path) -> MolecularSystem:
    """Read one frame of an xyz or extended xyz file through ASE.

    A column ``initial_charges`` (or ``mm_charges``) gives the fixed charges, in e; atoms of species
    ``X`` are bare point charges. A periodic cell becomes the box.

    Raises
    ------
    InputError
        If the file is missing, unreadable, or holds several frames.
    """
    from ase.io import read

    source = Path(path)
    read_text(source, "an xyz file")
    try:
        frames = read(source, index=":", format="extxyz")
    except Exception as error:
        raise unreadable(source, "an xyz file", error) from error
    if len(frames) != 1:
        raise InputError(f"{source} holds {len(frames)} frames", remedy="give one frame as the structure")
    (atoms,) = frames
    charges = next((atoms.arrays[k] for k in ("mm_charges", "initial_charges") if k in atoms.arrays), None)
    system = MolecularSystem.from_atoms(atoms.numbers, angstrom * atoms.positions, charges)
    if not atoms.pbc.any():
        return system
    from drupe.embedding.structures.openmm_objects import check_box

    if not atoms.pbc.all():
        raise InputError(
            f"{source} is periodic in {int(atoms.pbc.sum())} of 3 directions",
            remedy="give a cell that is periodic in all directions, or none",
        )
    box = angstrom * np.asarray(atoms.cell, dtype=np.float64)
    check_box(box)
    return system.with_box(box)
