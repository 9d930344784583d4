"""Second-order energies of a closed shell: array kernels, hartree.

Source: Moller and Plesset, Phys. Rev. 46, 618 (1934), spin summed.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["largest_amplitude", "mp2_energy"]

Matrix = NDArray[np.float64]


def mp2_energy(tensor: Matrix, occupied: NDArray[np.float64], virtual: NDArray[np.float64]) -> float:
    """Sum over ijab of (ia|jb) (2 (ia|jb) - (ib|ja)) / (e_i + e_j - e_a - e_b).

    Parameters
    ----------
    tensor
        Occupied-virtual block of the three-index integrals in canonical orbitals, ``(aux, n_occ, n_vir)``.
    occupied, virtual
        Orbital energies, ``(n_occ,)`` and ``(n_vir,)``, hartree.

    Returns
    -------
    float
        Correlation energy, hartree.
    """
    gaps = occupied[:, None] - virtual[None]
    slices = [np.ascontiguousarray(tensor[:, i]) for i in range(len(occupied))]
    total = 0.0
    for i, left in enumerate(slices):
        for j in range(i + 1):
            pair = left.T @ slices[j]
            weight = 1.0 if i == j else 2.0
            total += weight * float(np.sum(pair * (2 * pair - pair.T) / (gaps[i][:, None] + gaps[j][None])))
    return total


def largest_amplitude(tensor: Matrix, occupied: NDArray[np.float64], virtual: NDArray[np.float64]) -> float:
    """Largest first-order double amplitude |(ia|jb) / (e_i + e_j - e_a - e_b)|; arguments of `mp2_energy`."""
    gaps = occupied[:, None] - virtual[None]
    slices = [np.ascontiguousarray(tensor[:, i]) for i in range(len(occupied))]
    largest = 0.0
    for i, left in enumerate(slices):
        for j in range(i + 1):
            pair = (left.T @ slices[j]) / (gaps[i][:, None] + gaps[j][None])
            largest = max(largest, float(np.abs(pair).max(initial=0.0)))
    return largest
