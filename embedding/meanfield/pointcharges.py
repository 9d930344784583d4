"""Charges around a molecule: points or Gaussians (bohr, e) in; one-electron matrix, energy and forces out.

Door to PySCF's integrals, chunk by chunk so that memory stays flat. With v(r) = sum_k q_k f(|r - R_k|)
electrons feel -v; f(d) = 1/d for a point, erf(d / w)/d for the Gaussian exp(-r^2 / w^2) of width w. Forces
on nuclei and on charges come from one pass over the derivative integrals.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

__all__ = ["charge_forces", "charge_matrix", "nuclear_energy"]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


def charge_matrix(
    mol: Any, points: Matrix, charges: Vector, radii: Vector | None = None, memory_mb: float = 100.0
) -> Matrix:
    """Attraction of electrons to charges.

    Parameters
    ----------
    mol
        PySCF molecule.
    points
        Positions, shape ``(points, 3)``, bohr.
    charges
        Shape ``(points,)``, e.
    radii
        Gaussian width of each charge, shape ``(points,)``, bohr; None for points.

    Returns
    -------
    Matrix
        Shape ``(n_ao, n_ao)``, hartree.
    """
    matrix = np.zeros((mol.nao, mol.nao))
    for part, zeta in _parts(radii, len(points), mol.nao, 1, memory_mb):
        with mol.with_rinv_zeta(zeta):
            block = mol.intor("int1e_grids", grids=points[part], hermi=1)
        matrix -= np.tensordot(charges[part], block, axes=1)
    return matrix


def nuclear_energy(mol: Any, points: Matrix, charges: Vector, radii: Vector | None = None) -> float:
    """Coulomb energy between the nuclei of ``mol`` and the charges, hartree; see `charge_matrix`."""
    if len(points) == 0:
        return 0.0
    distance = np.linalg.norm(mol.atom_coords()[:, None] - points[None], axis=2)
    inverse = 1.0 / distance
    if radii is not None:
        inverse *= erf(distance / radii)
    return float(mol.atom_charges() @ inverse @ charges)


def charge_forces(
    mol: Any,
    density: Matrix,
    points: Matrix,
    charges: Vector,
    radii: Vector | None = None,
    memory_mb: float = 200.0,
) -> tuple[Matrix, Matrix]:
    """Compute the forces of the energy Tr D V + nuclei-charges.

    Parameters
    ----------
    mol
        PySCF molecule.
    density
        AO density matrix of both spins together, shape ``(n_ao, n_ao)``.
    points, charges, radii
        As in `charge_matrix`.

    Returns
    -------
    on_nuclei, on_charges
        Shapes ``(atoms, 3)`` and ``(points, 3)``, hartree/bohr, density held fixed.
    """
    on_basis = np.zeros((3, mol.nao))
    on_charges = np.zeros((len(points), 3))
    for part, zeta in _parts(radii, len(points), mol.nao, 3, memory_mb):
        # (d/dr mu) nu f(|r - R|), contracted with the density over nu: shape (3, points, n_ao)
        with mol.with_rinv_zeta(zeta):
            slopes = mol.intor("int1e_grids_ip", grids=points[part])
        felt = np.einsum("xgij,ij->xgi", slopes, density, optimize=False)
        # Moving mu by dA changes the integral by -slopes; moving R by the opposite of both functions.
        on_basis -= 2 * np.einsum("g,xgi->xi", charges[part], felt)
        on_charges[part] = 2 * charges[part, None] * felt.sum(axis=2).T
    bounds = mol.aoslice_by_atom()[:, 2:]
    on_nuclei = np.array([on_basis[:, first:last].sum(axis=1) for first, last in bounds])
    for atom, (place, nucleus) in enumerate(zip(mol.atom_coords(), mol.atom_charges(), strict=True)):
        apart = place - points
        push = apart * (nucleus * charges * _falling(np.linalg.norm(apart, axis=1), radii))[:, None]
        on_nuclei[atom] += push.sum(axis=0)
        on_charges -= push
    return on_nuclei, on_charges


def _falling(distance: Vector, radii: Vector | None) -> Vector:
    """-f'(d)/d of the interaction f, shape of ``distance``."""
    steep: Vector = 1.0 / distance**3
    if radii is not None:
        reduced = distance / radii
        steep *= erf(reduced) - 2 / np.sqrt(np.pi) * reduced * np.exp(-(reduced**2))
    return steep


def _parts(
    radii: Vector | None, n_points: int, n_ao: int, components: int, memory_mb: float
) -> Iterator[tuple[NDArray[np.int64], float]]:
    """Chunks of charges of one width, as indices, with the exponent of their Gaussian (0 for points)."""
    # Two arrays of this size live at once inside the integral call.
    size = max(1, int(memory_mb * 1e6 / (2 * 8 * components * n_ao**2)))
    groups = [(np.arange(n_points), 0.0)]
    if radii is not None:
        groups = [(np.flatnonzero(radii == width), float(width) ** -2) for width in np.unique(radii)]
    for members, zeta in groups:
        for first in range(0, len(members), size):
            yield members[first : first + size], zeta
