"""Pair distribution functions: positions in a periodic box (angstrom) in, g(r) out."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["pair_distribution", "shell_edges"]

Array = NDArray[np.float64]

_WIDTH = 0.1  # angstrom


def shell_edges(box: Array) -> Array:
    """Edges of shells of 0.1 angstrom up to half the height of the box, ``(shells + 1,)``."""
    height = (1 / np.linalg.norm(np.linalg.inv(box), axis=0)).min()
    return _WIDTH * np.arange(int(height / 2 / _WIDTH) + 1)


def pair_distribution(positions: Array, box: Array, rows: NDArray[np.int64] | None = None) -> Array:
    """Number of neighbours in each shell, relative to atoms spread evenly.

    Parameters
    ----------
    positions
        ``(frames, atoms, 3)``.
    box
        Vectors as rows ``(3, 3)``.
    rows
        Atoms whose neighbours are counted; None for all.

    Returns
    -------
    ndarray
        ``(shells,)``, between the edges of `shell_edges`.
    """
    edges = shell_edges(box)
    atoms = positions.shape[1]
    centres = np.arange(atoms) if rows is None else rows
    inverse = np.linalg.inv(box)
    counts = np.zeros(len(edges) - 1)
    for frame in positions:
        apart = frame[None] - frame[centres][:, None]
        apart -= np.rint(apart @ inverse) @ box
        distance = np.linalg.norm(apart, axis=-1)
        counts += np.histogram(distance[distance > 0], edges)[0]
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    even = shells * (atoms - 1) / abs(np.linalg.det(box))
    return np.asarray(counts / (len(positions) * len(centres) * even))
