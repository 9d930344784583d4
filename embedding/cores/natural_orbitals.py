"""Virtual orbitals by their use in MP2: array kernels, integrals in (hartree), a rotation out.

Source: frozen natural orbitals, Taube and Bartlett, J. Chem. Phys. 128, 164101 (2008).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["natural_virtuals"]

Matrix = NDArray[np.float64]


def natural_virtuals(tensor: Matrix, occupied: NDArray[np.float64], virtual: NDArray[np.float64]) -> Matrix:
    """Natural orbitals of the virtual block of the unrelaxed MP2 density, most occupied first.

    Parameters
    ----------
    tensor
        Occupied-virtual block of the three-index integrals in canonical orbitals, ``(aux, n_occ, n_vir)``.
    occupied, virtual
        Orbital energies, ``(n_occ,)`` and ``(n_vir,)``, hartree.

    Returns
    -------
    Matrix
        Orthogonal, ``(n_vir, n_vir)``; columns are the orbitals.
    """
    gaps = occupied[:, None] - virtual[None]
    slices = [np.ascontiguousarray(tensor[:, i]) for i in range(len(occupied))]
    density = np.zeros((len(virtual),) * 2)
    for i, left in enumerate(slices):
        for j in range(i + 1):
            pair = (left.T @ slices[j]) / (gaps[i][:, None] + gaps[j][None])
            mixed = 2 * pair - pair.T
            half = mixed @ pair.T
            density += half if i == j else half + mixed.T @ pair
    _, vectors = np.linalg.eigh(density + density.T)
    rotation: Matrix = vectors[:, ::-1]
    return rotation
