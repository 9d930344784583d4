"""Closed-shell mean field in orthonormal orbitals: integrals in, orbitals and energies out. Atomic units.

Kernels on arrays. With the complement of the surroundings as the basis this is exactly the problem
of the projected Fock operator, and [F, D] is its proper convergence measure.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.errors import ConvergenceError

__all__ = ["Converged", "canonical", "determinant_energy", "fock", "hartree_fock", "self_consistent"]

Matrix = NDArray[np.float64]

_HISTORY = 8


@dataclass(frozen=True, eq=False)
class Converged:
    """``energy`` hartree; ``orbitals`` ``(n, n)`` canonical, occupied first; ``energies`` ``(n,)``."""

    energy: float
    orbitals: Matrix
    energies: NDArray[np.float64]


def hartree_fock(h: Matrix, tensor: Matrix, guess: Matrix, *, gradient: float, cycles: int) -> Converged:
    """Hartree-Fock with DIIS.

    Parameters
    ----------
    h
        One-electron matrix, ``(n, n)``, hartree.
    tensor
        Three-index integrals, ``(aux, n, n)``.
    guess
        Starting occupied orbitals, ``(n, n_occ)``, orthonormal.
    gradient
        Norm of the occupied-virtual Fock block that counts as converged.
    cycles
        Iterations allowed.

    Raises
    ------
    ConvergenceError
        If the gradient does not fall below the threshold.
    """

    def build(occupied: Matrix) -> tuple[float, Matrix]:
        matrix = fock(h, tensor, occupied)
        return float(np.einsum("pi,pq,qi->", occupied, h + matrix, occupied, optimize=True)), matrix

    return self_consistent(build, guess, gradient=gradient, cycles=cycles, what="embedded Hartree-Fock")


def self_consistent(
    build: Callable[[Matrix], tuple[float, Matrix]], guess: Matrix, *, gradient: float, cycles: int, what: str
) -> Converged:
    """Iterate orbitals to self-consistency with DIIS on the commutator.

    Parameters
    ----------
    build
        Gives energy and Fock matrix ``(n, n)`` of doubly occupied orbitals ``(n, n_occ)``.
    guess, gradient, cycles
        As in `hartree_fock`.
    what
        Name of the calculation for the error message.
    """
    occupied, n_occ = guess, guess.shape[1]
    focks: list[Matrix] = []
    errors: list[Matrix] = []
    size = np.inf
    for _ in range(cycles):
        energy, matrix = build(occupied)
        density = occupied @ occupied.T
        error = matrix @ density - density @ matrix
        size = float(np.linalg.norm(error)) / np.sqrt(2)  # the occupied-virtual block, counted once
        if size < gradient:
            energies, orbitals = _blocks(matrix, occupied)
            return Converged(energy, orbitals, energies)
        focks, errors = [*focks, matrix][-_HISTORY:], [*errors, error][-_HISTORY:]
        _, vectors = np.linalg.eigh(_extrapolate(focks, errors))
        occupied = vectors[:, :n_occ]
    raise ConvergenceError(
        f"{what} did not converge in {cycles} iterations "
        f"(orbital gradient {size:.1e}, wanted {gradient:.1e})",
        remedy="the core may cut through a delocalised system: choose other core atoms, or raise max_cycles",
    )


def fock(h: Matrix, tensor: Matrix, occupied: Matrix) -> Matrix:
    """Closed-shell Fock matrix h + 2 J - K, ``(n, n)``, of orthonormal orbitals ``(n, n_occ)``."""
    half = tensor @ occupied
    coulomb = np.tensordot(np.einsum("Xpi,pi->X", half, occupied), tensor, axes=1)
    wide = half.transpose(1, 0, 2).reshape(len(h), -1)
    result: Matrix = h + 2 * coulomb - wide @ wide.T
    return result


def determinant_energy(h: Matrix, tensor: Matrix, n_occupied: int) -> float:
    """Energy of the determinant of the first ``n_occupied`` orbitals, hartree."""
    occupied = np.eye(len(h))[:, :n_occupied]
    return float(np.trace((h + fock(h, tensor, occupied))[:n_occupied, :n_occupied]))


def canonical(h: Matrix, tensor: Matrix, n_occupied: int) -> tuple[Matrix, NDArray[np.float64]]:
    """Rotate so that the Fock matrix is diagonal inside the occupied and inside the virtual space.

    Returns
    -------
    orbitals, energies
        ``(n, n)`` and ``(n,)`` hartree; the first ``n_occupied`` span the same space as before.
    """
    occupied = np.eye(len(h))[:, :n_occupied]
    energies, orbitals = _blocks(fock(h, tensor, occupied), occupied)
    return orbitals, energies


def _blocks(matrix: Matrix, occupied: Matrix) -> tuple[NDArray[np.float64], Matrix]:
    left, _ = np.linalg.qr(occupied, mode="complete")  # an SVD of equal singular values may fail
    spaces = (occupied, left[:, occupied.shape[1] :])
    solved = [np.linalg.eigh(space.T @ matrix @ space) for space in spaces]
    energies = np.concatenate([values for values, _ in solved])
    orbitals = np.hstack([space @ vectors for space, (_, vectors) in zip(spaces, solved, strict=True)])
    return energies, orbitals


def _extrapolate(focks: list[Matrix], errors: list[Matrix]) -> Matrix:
    count = len(focks)
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = [[np.vdot(a, b) for b in errors] for a in errors]
    system[:count, :count] /= max(system[:count, :count].max(), 1e-300)
    system[count, :count] = system[:count, count] = -1.0
    right = np.zeros(count + 1)
    right[count] = -1.0
    weights = np.linalg.lstsq(system, right, rcond=1e-14)[0][:count]
    result: Matrix = np.einsum("k,kpq->pq", weights, np.array(focks))
    return result
