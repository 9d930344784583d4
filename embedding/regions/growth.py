"""The next larger core: nuclear charges and positions (bohr) of the QM region in, atom indices out."""

import numpy as np
from numpy.typing import NDArray
from pyscf.data.radii import COVALENT

__all__ = ["grown_atoms"]

_BONDED = 1.25  # of the sum of covalent radii


def grown_atoms(
    numbers: NDArray[np.int64], positions: NDArray[np.float64], atoms: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Take in the bonded neighbours of a core with their hydrogens, or else the nearest molecule.

    Parameters
    ----------
    numbers, positions
        QM region, ``(qm,)`` and ``(qm, 3)`` bohr.
    atoms
        The core's atoms.

    Returns
    -------
    NDArray
        Rising indices; the core itself if there is nothing else.
    """
    radii = np.asarray(COVALENT)[numbers]
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    bonded = apart < _BONDED * (radii[:, None] + radii[None])
    inside = np.zeros(len(numbers), bool)
    inside[atoms] = True
    neighbours = bonded[inside].any(axis=0) & ~inside
    if neighbours.any():
        hydrogens = bonded[neighbours].any(axis=0) & (numbers == 1)
        return np.flatnonzero(inside | neighbours | hydrogens)
    if inside.all():
        return np.flatnonzero(inside)
    outside = np.flatnonzero(~inside)
    molecule = np.zeros(len(numbers), bool)
    molecule[outside[np.argmin(apart[np.ix_(inside, ~inside)].min(axis=0))]] = True
    while (reached := bonded[molecule].any(axis=0) | molecule).sum() > molecule.sum():
        molecule = reached
    return np.flatnonzero(inside | molecule)
