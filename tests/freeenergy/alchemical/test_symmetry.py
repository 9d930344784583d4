import numpy as np
import pytest

from drupe.embedding.system import MolecularSystem
from drupe.freeenergy.alchemical.symmetry import equivalent_orientations

RING = [(k, (k + 1) % 6) for k in range(6)]


def molecule(numbers, bonds):
    return MolecularSystem.from_atoms(
        numbers, np.random.default_rng(1).normal(size=(len(numbers), 3)), bonds=bonds
    )


@pytest.mark.parametrize(
    ("numbers", "bonds", "count"),
    [
        ([6] * 6, RING, 12),  # benzene: D6h without what needs a third dimension
        ([6] * 8, [*RING, (0, 6), (3, 7)], 4),  # p-xylene
        ([6] * 7 + [7], [*RING, (0, 6), (3, 7)], 2),  # one methyl is another element
        ([6] * 7, [*RING, (0, 6)], 2),  # toluene
        ([6, 6, 8], [(0, 1), (1, 2)], 1),
        ([6, 1, 1, 1, 1], [(0, k) for k in range(1, 5)], 1),  # hydrogens do not count
    ],
)
def test_known_skeletons(numbers, bonds, count):
    assert equivalent_orientations(molecule(numbers, bonds)) == count
