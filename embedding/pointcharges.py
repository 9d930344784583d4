"""Point charges around a molecule: charges (bohr, e) in; one-electron matrix, energy and forces out.

Door to PySCF's integrals, chunk by chunk so that memory stays flat. With v(r) = sum_k q_k / |r - R_k|
electrons feel -v. Forces on nuclei and on charges come from one pass over the derivative integrals.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["charge_forces", "charge_matrix", "nuclear_energy"]

Matrix = NDArray[np.float64]


def charge_matrix(mol: Any, points: Matrix, charges: NDArray[np.float64], memory_mb: float = 100.0) -> Matrix:
    """Attraction of electrons to point charges.

    Parameters
    ----------
    mol
        PySCF molecule.
    points
        Positions, shape ``(points, 3)``, bohr.
    charges
        Shape ``(points,)``, e.

    Returns
    -------
    Matrix
        Shape ``(n_ao, n_ao)``, hartree.
    """
    matrix = np.zeros((mol.nao, mol.nao))
    for part in _chunks(len(points), mol.nao, 1, memory_mb):
        matrix -= np.einsum(
            "g,gij->ij", charges[part], mol.intor("int1e_grids", grids=points[part], hermi=1), optimize=True
        )
    return matrix


def nuclear_energy(mol: Any, points: Matrix, charges: NDArray[np.float64]) -> float:
    """Coulomb energy between the nuclei of ``mol`` and the point charges, hartree."""
    if len(points) == 0:
        return 0.0
    distance = np.linalg.norm(mol.atom_coords()[:, None] - points[None], axis=2)
    return float(mol.atom_charges() @ (1.0 / distance) @ charges)


def charge_forces(
    mol: Any, density: Matrix, points: Matrix, charges: NDArray[np.float64], memory_mb: float = 200.0
) -> tuple[Matrix, Matrix]:
    """Compute the forces of the energy Tr D V + nuclei-charges.

    Parameters
    ----------
    mol
        PySCF molecule.
    density
        AO density matrix of both spins together, shape ``(n_ao, n_ao)``.
    points, charges
        As in `charge_matrix`.

    Returns
    -------
    on_nuclei, on_charges
        Shapes ``(atoms, 3)`` and ``(points, 3)``, hartree/bohr, density held fixed.
    """
    on_basis = np.zeros((3, mol.nao))
    on_charges = np.zeros((len(points), 3))
    for part in _chunks(len(points), mol.nao, 3, memory_mb):
        # (d/dr mu) nu / |r - R|, contracted with the density over nu: shape (3, points, n_ao)
        slopes = mol.intor("int1e_grids_ip", grids=points[part])
        felt = np.einsum("xgij,ij->xgi", slopes, density, optimize=False)
        # Moving mu by dA changes the integral by -slopes; moving R by the opposite of both functions.
        on_basis -= 2 * np.einsum("g,xgi->xi", charges[part], felt)
        on_charges[part] = 2 * charges[part, None] * felt.sum(axis=2).T
    bounds = mol.aoslice_by_atom()[:, 2:]
    on_nuclei = np.array([on_basis[:, first:last].sum(axis=1) for first, last in bounds])
    if len(points):
        apart = mol.atom_coords()[:, None] - points[None]
        push = (
            apart
            * (mol.atom_charges()[:, None] * charges[None] / np.linalg.norm(apart, axis=2) ** 3)[:, :, None]
        )
        on_nuclei += push.sum(axis=1)
        on_charges -= push.sum(axis=0)
    return on_nuclei, on_charges


def _chunks(n_points: int, n_ao: int, components: int, memory_mb: float) -> list[slice]:
    # Two arrays of this size live at once inside the integral call.
    size = max(1, int(memory_mb * 1e6 / (2 * 8 * components * n_ao**2)))
    return [slice(first, min(first + size, n_points)) for first in range(0, n_points, size)]
