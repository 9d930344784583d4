"""Frames that are one: positions (bohr) with charges (e) in, pairs of frames out; moved copies count.

Turning, moving and mirroring a frame, the order of the MM atoms and the rounding of a text file change no
label. Compared is therefore what they leave alone: distances inside the molecule, and the potential of the
charges at its atoms.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["SAME", "compared", "twins"]

Matrix = NDArray[np.float64]

#: bohr, hartree/e; text files round coordinates to 1e-8.
SAME = 1e-6


def twins(positions: Matrix, mm: Sequence[Matrix], charges: Sequence[Matrix]) -> list[tuple[int, int]]:
    """Pairs of frames with one geometry, the smaller number first, rising.

    Parameters
    ----------
    positions
        QM atoms, ``(frames, qm, 3)``, bohr.
    mm, charges
        Of each frame, ``(mm, 3)`` in bohr and ``(mm,)`` in e; the number may differ between frames.
    """
    return sorted(cKDTree(compared(positions, mm, charges)).query_pairs(SAME, p=np.inf))


def compared(positions: Matrix, mm: Sequence[Matrix], charges: Sequence[Matrix]) -> Matrix:
    """What is compared, ``(frames, values)``: distances (bohr), then potentials (hartree/e); see `twins`."""
    i, j = np.triu_indices(positions.shape[1], 1)
    inside = np.linalg.norm(positions[:, i] - positions[:, j], axis=-1)
    outside = np.array([_potential(*frame) for frame in zip(positions, mm, charges, strict=True)])
    return np.concatenate([inside, outside.reshape(len(positions), -1)], axis=1)


def _potential(place: Matrix, mm: Matrix, charges: Matrix) -> Matrix:
    apart = np.linalg.norm(place[:, None] - mm, axis=-1)
    return np.asarray((charges / np.maximum(apart, SAME)).sum(-1))
