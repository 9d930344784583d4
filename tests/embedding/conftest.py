from pathlib import Path

import numpy as np
import pytest

from drupe.embedding import MolecularSystem
from drupe.embedding.structures.structure import Structure, locate, read_amber
from drupe.units import angstrom

T4L = "package:openmmtools/data/T4-lysozyme-L99A-implicit/"


def _build(atoms: str, charges: list[tuple[float, float, float, float]] = ()) -> MolecularSystem:
    """Atoms as "8 0 0 0; 1 ..." in angstrom, then bare charges as (q, x, y, z) in e and angstrom."""
    rows = np.array([row.split() for row in atoms.split(";")], float)
    points = np.array(charges, float).reshape(-1, 4)
    return MolecularSystem.from_atoms(
        np.concatenate([rows[:, 0], np.zeros(len(points))]).astype(int),
        angstrom * np.vstack([rows[:, 1:], points[:, 1:]]),
        np.concatenate([np.zeros(len(rows)), points[:, 0]]),
    )


@pytest.fixture(scope="session")
def build():
    return _build


@pytest.fixture(scope="session")
def t4l_file():
    return lambda name: locate(T4L + name, Path())


@pytest.fixture(scope="session")
def t4l(t4l_file) -> Structure:
    return read_amber(t4l_file("complex.prmtop"), t4l_file("complex-minimized.crd"))


@pytest.fixture(scope="session")
def methanol_in_charges() -> MolecularSystem:
    """A covalent cut (OH core of methanol) in three charges, one of them near."""
    return _build(
        "6 -0.046 0.663 0.0; 8 -0.046 -0.755 0.0; 1 -1.086 0.976 0.0; 1 0.437 1.071 0.890;"
        "1 0.437 1.071 -0.890; 1 0.869 -1.057 0.0",
        [(0.7, 2.6, -1.6, 0.3), (-0.8, -2.5, -1.9, 0.6), (0.4, 0.3, 3.6, 1.4)],
    )


@pytest.fixture(scope="session")
def water_dimer() -> MolecularSystem:
    """Two waters (a non-covalent cut) and two charges."""
    return _build(
        "8 -1.551 -0.115 0.0; 1 -1.934 0.763 0.0; 1 -0.600 0.041 0.0; 8 1.351 0.111 0.0;"
        "1 1.680 -0.374 -0.759; 1 1.680 -0.374 0.759",
        [(0.9, -3.8, -1.6, 0.4), (-0.5, 3.9, 0.9, 0.1)],
    )
