"""An xyz file in (angstrom), plain atoms out (bohr, e); charges when the file has a column for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.structures.input_files import read_text, unreadable
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.units import angstrom

__all__ = ["read_xyz"]

_CHARGES = ("initial_charges", "charge", "charges", "mm_charges", "q_mm")
_ESTIMATES = ("q_mulliken",)


def read_xyz(path: str | Path) -> MolecularSystem:
    """Read one frame of an xyz or extended xyz file through ASE.

    A column ``initial_charges``, ``charge``, ``charges``, ``mm_charges`` or ``q_mm`` gives the fixed
    charges, in e; atoms of species ``X`` are bare point charges. A periodic cell becomes the box.

    Raises
    ------
    InputError
        If the file is missing, unreadable, empty, or holds several frames; if a column may be charges but
        is called otherwise, a point charge has none, or a symbol such as ``CA`` is no element's.
    """
    from ase.io import read

    source = Path(path)
    _check_rows(source, read_text(source, "an xyz file"))
    try:
        frames = read(source, index=":", format="extxyz")
    except Exception as error:
        raise unreadable(source, "an xyz file", error) from error
    if len(frames) != 1:
        raise InputError(f"{source} holds {len(frames)} frames", remedy="give one frame as the structure")
    (atoms,) = frames
    # ASE keeps a column called charge or charges as the result of a calculation.
    results = {} if atoms.calc is None else atoms.calc.results
    charges = _charges(source, {**atoms.arrays, **{k: v for k, v in results.items() if k == "charges"}})
    if charges is None and (atoms.numbers == 0).any():
        raise InputError(
            f"{source} holds point charges (species X) without a column of charges",
            remedy="add a column initial_charges:R:1, in e",
        )
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


def _check_rows(source: Path, text: str) -> None:
    """Refuse what ASE would read as something else: ``CA`` as calcium, or not at all: a fifth column."""
    lines = text.splitlines()
    count = int(lines[0]) if lines and lines[0].strip().isdigit() else 0
    if count == 0:
        raise InputError(f"{source} holds no atoms", remedy="write the number of atoms in the first line")
    rows = [line.split() for line in lines[2 : 2 + count]]
    shouted = sorted({row[0] for row in rows if row and len(row[0]) > 1 and row[0].isupper()})
    if shouted:
        raise InputError(
            f"{source} calls atoms {', '.join(shouted[:8])}: names of atoms, or elements in capitals?",
            remedy="write element symbols, such as C or Ca",
        )
    if "Properties=" not in lines[1] and any(len(row) > 4 for row in rows):
        raise InputError(
            f"{source} has more than four columns and does not say what they are",
            remedy="name them in the second line: Properties=species:S:1:pos:R:3:initial_charges:R:1",
        )


def _charges(source: Path, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float64] | None:
    given = [name for name in _CHARGES if name in arrays]
    other = [n for n in arrays if n not in _CHARGES and n not in _ESTIMATES and "charge" in n.lower()]
    if len(given) > 1 or (other and not given):
        raise InputError(
            f"{source} has the columns {', '.join(given + other)}: which one holds the fixed charges?",
            remedy="call that column initial_charges, and only that one",
        )
    return np.asarray(arrays[given[0]], dtype=np.float64) if given else None
