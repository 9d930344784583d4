"""What a potential keeps of the frames it was trained on: positions (bohr), charges (e) in, six numbers out.

A fingerprint is fixed weighted means of what `drupe.mlp.duplicates` compares: four of the distances, two of
the potentials. Frames that are one there, also turned, moved or rounded, have fingerprints nearer than its
tolerance. Others agree by chance: a mean of distances that move by 0.1 bohr in one pair of a thousand (sixty
atoms) or of ten thousand, all four hardly ever.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from drupe.mlp.duplicates import SAME, compared

__all__ = ["PRINTS", "known_frames", "prints_of"]

Matrix = NDArray[np.float64]

# Weights with no relation to each other.
_OF_DISTANCES, _OF_POTENTIALS = np.sqrt([2.0, 3.0, 5.0, 7.0]), np.sqrt([11.0, 13.0])

#: Numbers in a fingerprint.
PRINTS = len(_OF_DISTANCES) + len(_OF_POTENTIALS)


def prints_of(positions: Matrix, mm: Sequence[Matrix], charges: Sequence[Matrix]) -> Matrix:
    """Fingerprints ``(frames, 6)``, bohr and hartree/e; arguments as `drupe.mlp.duplicates.twins`."""
    values, atoms = compared(positions, mm, charges), positions.shape[1]
    pairs = atoms * (atoms - 1) // 2
    distances, potentials = values[:, :pairs], values[:, pairs:]
    # Far charges move all potentials alike: weights of one sign do not lose that.
    felt = (1 + _weights(atoms, _OF_POTENTIALS)) / 2
    return np.concatenate(
        [distances @ _weights(pairs, _OF_DISTANCES) / max(pairs, 1), potentials @ felt / atoms], axis=1
    )


def _weights(count: int, roots: Matrix) -> Matrix:
    return np.asarray(np.cos(np.outer(np.arange(1, count + 1), roots)))


def known_frames(prints: Matrix, seen: Matrix) -> NDArray[np.int64]:
    """Frames of ``prints`` that are among ``seen``; both ``(frames, 6)``."""
    if not len(seen):
        return np.zeros(0, np.int64)
    # Weights are 1 at most: means of values within the tolerance are within it too.
    apart, _ = cKDTree(seen).query(prints, p=np.inf)
    return np.flatnonzero(apart <= SAME)
