"""Second-order perturbation theory of a closed shell: array kernels, integrals in (hartree), MP2 out.

Sources: Moller and Plesset, Phys. Rev. 46, 618 (1934), spin summed; frozen natural orbitals: Taube and
Bartlett, J. Chem. Phys. 128, 164101 (2008).

All kernels take the same arguments:

tensor
    Occupied-virtual block of the three-index integrals in canonical orbitals, ``(aux, n_occ, n_vir)``.
occupied, virtual
    Orbital energies, ``(n_occ,)`` and ``(n_vir,)``, hartree.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SecondOrder", "natural_virtuals", "second_order"]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class SecondOrder:
    """Correlation ``energy`` in hartree, and the largest of the double ``amplitude`` in magnitude."""

    energy: float
    amplitude: float


def second_order(tensor: Matrix, occupied: Vector, virtual: Vector) -> SecondOrder:
    """Sum over ijab of t_ijab (2 (ia|jb) - (ib|ja)), with t_ijab = (ia|jb) / (e_i + e_j - e_a - e_b)."""
    energy, largest = 0.0, 0.0
    for i, j, integrals, amplitudes in _pairs(tensor, occupied, virtual):
        weight = 1.0 if i == j else 2.0
        energy += weight * float(np.vdot(amplitudes, 2 * integrals - integrals.T))
        largest = max(largest, float(np.abs(amplitudes).max(initial=0.0)))
    return SecondOrder(energy, largest)


def natural_virtuals(tensor: Matrix, occupied: Vector, virtual: Vector) -> Matrix:
    """Natural orbitals of the virtual block of the unrelaxed density, most occupied first.

    Returns
    -------
    Matrix
        Orthogonal, ``(n_vir, n_vir)``; columns are the orbitals.
    """
    density = np.zeros((len(virtual),) * 2)
    for i, j, _, amplitudes in _pairs(tensor, occupied, virtual):
        mixed = 2 * amplitudes - amplitudes.T
        half = mixed @ amplitudes.T
        density += half if i == j else half + mixed.T @ amplitudes
    _, vectors = np.linalg.eigh(density + density.T)
    rotation: Matrix = vectors[:, ::-1]
    return rotation


def _pairs(tensor: Matrix, occupied: Vector, virtual: Vector) -> Iterator[tuple[int, int, Matrix, Matrix]]:
    """Each pair i >= j once: its integrals (ia|jb) and amplitudes, ``(n_vir, n_vir)``."""
    gaps = occupied[:, None] - virtual[None]
    slices = [np.ascontiguousarray(tensor[:, i]) for i in range(len(occupied))]
    for i, left in enumerate(slices):
        for j in range(i + 1):
            integrals = left.T @ slices[j]
            yield i, j, integrals, integrals / (gaps[i][:, None] + gaps[j][None])
