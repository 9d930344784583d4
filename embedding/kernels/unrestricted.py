"""Unrestricted mean field in orthonormal orbitals: integrals of both spins in, orbitals out. Atomic units.

Kernels on arrays. Everything comes in pairs (alpha, beta). The two bases need not have the same size:
the complement of the surroundings differs when the surroundings hold unpaired electrons.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.kernels.perturbation import SecondOrder
from drupe.errors import ConvergenceError

__all__ = [
    "ConvergedPair",
    "canonical_pair",
    "determinant_energy",
    "first_orbitals",
    "fock_pair",
    "pair_second_order",
    "self_consistent_pair",
    "spin_square",
    "unrestricted_hartree_fock",
]

Matrix = NDArray[np.float64]
Pair = tuple[Matrix, Matrix]

_HISTORY = 8


@dataclass(frozen=True, eq=False)
class ConvergedPair:
    """``energy`` hartree; per spin canonical ``orbitals`` ``(n, n)``, occupied first; ``energies``."""

    energy: float
    orbitals: Pair
    energies: Pair


def unrestricted_hartree_fock(
    h: Pair, tensor: Pair, guess: Pair, *, gradient: float, cycles: int
) -> ConvergedPair:
    """Unrestricted Hartree-Fock with DIIS (Pople and Nesbet, J. Chem. Phys. 22, 571 (1954)).

    Parameters
    ----------
    h
        One-electron matrices, ``(n, n)`` per spin, hartree.
    tensor
        Three-index integrals, ``(aux, n, n)`` per spin, over the same auxiliary functions.
    guess
        Starting occupied orbitals, ``(n, n_occ)`` per spin, orthonormal; a spin may be empty.
    gradient
        Norm of the occupied-virtual Fock blocks that counts as converged.
    cycles
        Iterations allowed.

    Raises
    ------
    ConvergenceError
        If the gradient does not fall below the threshold.
    """

    def build(occupied: Pair) -> tuple[float, Pair]:
        matrices = fock_pair(h, tensor, occupied)
        total = 0.0
        for one, matrix, orbitals in zip(h, matrices, occupied, strict=True):
            total += float(np.sum(orbitals * ((one + matrix) @ orbitals))) / 2
        return total, matrices

    what = "embedded unrestricted Hartree-Fock"
    return self_consistent_pair(build, guess, gradient=gradient, cycles=cycles, what=what)


def self_consistent_pair(
    build: Callable[[Pair], tuple[float, Pair]], guess: Pair, *, gradient: float, cycles: int, what: str
) -> ConvergedPair:
    """Iterate the orbitals of both spins to self-consistency with one DIIS over both commutators.

    Parameters
    ----------
    build
        Gives the energy and the two Fock matrices ``(n, n)`` of occupied orbitals ``(n, n_occ)``.
    guess, gradient, cycles
        As in `unrestricted_hartree_fock`.
    what
        Name of the calculation for the error message.
    """
    occupied = guess
    focks: list[Matrix] = []
    errors: list[Matrix] = []
    size = np.inf
    for _ in range(cycles):
        energy, matrices = build(occupied)
        error = _joined((_commutator(matrices[0], occupied[0]), _commutator(matrices[1], occupied[1])))
        size = float(np.linalg.norm(error)) / np.sqrt(2)  # the occupied-virtual blocks, counted once
        if size < gradient:
            up, down = (_blocks(m, c) for m, c in zip(matrices, occupied, strict=True))
            return ConvergedPair(energy, (up[1], down[1]), (up[0], down[0]))
        focks, errors = [*focks, _joined(matrices)][-_HISTORY:], [*errors, error][-_HISTORY:]
        mixed = _split(_extrapolated(focks, errors), matrices)
        lowest = [np.linalg.eigh(m)[1][:, : c.shape[1]] for m, c in zip(mixed, occupied, strict=True)]
        occupied = (lowest[0], lowest[1])
    raise ConvergenceError(
        f"{what} did not converge in {cycles} iterations "
        f"(orbital gradient {size:.1e}, wanted {gradient:.1e})",
        remedy="check charge and multiplicity of the core; it may cut through a delocalised system: "
        "choose other core atoms, or raise max_cycles",
    )


def fock_pair(h: Pair, tensor: Pair, occupied: Pair) -> Pair:
    """Fock matrices h + J[both spins] - K[own spin], ``(n, n)`` per spin, of orthonormal orbitals."""
    halves = [t @ c for t, c in zip(tensor, occupied, strict=True)]
    density = sum(np.einsum("Xpi,pi->X", half, c) for half, c in zip(halves, occupied, strict=True))
    built = []
    for one, three, half in zip(h, tensor, halves, strict=True):
        wide = half.transpose(1, 0, 2).reshape(len(one), -1)
        built.append(one + np.tensordot(density, three, axes=1) - wide @ wide.T)
    return built[0], built[1]


def first_orbitals(h: Pair, counts: tuple[int, int]) -> Pair:
    """First ``counts`` unit vectors of each spin, ``(n, count)``: orbitals in their own basis."""
    return np.eye(len(h[0]))[:, : counts[0]], np.eye(len(h[1]))[:, : counts[1]]


def determinant_energy(h: Pair, tensor: Pair, counts: tuple[int, int]) -> float:
    """Energy of the determinant of the first ``counts`` orbitals of each spin, hartree."""
    matrices = fock_pair(h, tensor, first_orbitals(h, counts))
    halves = [
        float(np.trace((one + matrix)[:n, :n])) / 2
        for one, matrix, n in zip(h, matrices, counts, strict=True)
    ]
    return sum(halves)


def canonical_pair(h: Pair, tensor: Pair, counts: tuple[int, int]) -> tuple[Pair, Pair]:
    """Rotate so that each Fock matrix is diagonal inside the occupied and inside the virtual space.

    Returns
    -------
    orbitals, energies
        Per spin ``(n, n)`` and ``(n,)`` hartree; the first ``counts`` span the same spaces as before.
    """
    occupied = first_orbitals(h, counts)
    matrices = fock_pair(h, tensor, occupied)
    up, down = (_blocks(m, c) for m, c in zip(matrices, occupied, strict=True))
    return (up[1], down[1]), (up[0], down[0])


def pair_second_order(tensor: Pair, energies: Pair, counts: tuple[int, int]) -> SecondOrder:
    """UMP2 of canonical orbitals.

    Source: Pople, Binkley and Seeger, Int. J. Quantum Chem. Symp. 10, 1 (1976).

    Parameters
    ----------
    tensor
        Three-index integrals between occupied and virtual orbitals, ``(aux, n_occ, n_vir)`` per spin.
    energies
        Orbital energies, ``(n,)`` per spin, occupied first.
    counts
        Occupied orbitals per spin.

    Returns
    -------
    SecondOrder
        Its energy is 1/4 sum |<ij||ab>|^2 / (e_i + e_j - e_a - e_b) for equal spins, and sum
        (ia|jb)^2 / (...) for opposite ones; its amplitude the largest one of opposite spins, which in a
        closed shell are the spatial amplitudes.
    """
    gaps = [e[:n, None] - e[None, n:] for e, n in zip(energies, counts, strict=True)]
    total, largest = 0.0, 0.0
    for three, gap in zip(tensor, gaps, strict=True):
        for i in range(len(gap)):
            for j in range(i):  # i = j vanishes by antisymmetry
                pair = three[:, i].T @ three[:, j]
                weight = (pair - pair.T) ** 2 / (gap[i][:, None] + gap[j][None])
                total += 0.5 * float(weight.sum())
    for i in range(len(gaps[0])):
        for j in range(len(gaps[1])):
            pair = tensor[0][:, i].T @ tensor[1][:, j]
            amplitudes = pair / (gaps[0][i][:, None] + gaps[1][j][None])
            total += float(np.vdot(pair, amplitudes))
            largest = max(largest, float(np.abs(amplitudes).max(initial=0.0)))
    return SecondOrder(total, largest)


def spin_square(overlap: Matrix, alpha: Matrix, beta: Matrix) -> float:
    """Expectation value <S^2> of one determinant.

    Parameters
    ----------
    overlap
        AO overlap, ``(n_ao, n_ao)``.
    alpha, beta
        Occupied orbitals, ``(n_ao, n)``, orthonormal in each spin.

    Returns
    -------
    float
        s (s + 1) + n_beta - sum |<a|b>|^2 with s = (n_alpha - n_beta) / 2 (Szabo and Ostlund, eq. 2.271).
    """
    s = (alpha.shape[1] - beta.shape[1]) / 2
    shared = float(np.sum((alpha.T @ overlap @ beta) ** 2))
    return float(s * (s + 1) + beta.shape[1] - shared)


def _commutator(matrix: Matrix, occupied: Matrix) -> Matrix:
    density = occupied @ occupied.T
    half: Matrix = matrix @ density
    return half - half.T


def _blocks(matrix: Matrix, occupied: Matrix) -> tuple[Matrix, Matrix]:
    left, _ = np.linalg.qr(occupied, mode="complete")  # an SVD of equal singular values may fail
    spaces = (occupied, left[:, occupied.shape[1] :])
    solved = [np.linalg.eigh(space.T @ matrix @ space) for space in spaces]
    energies = np.concatenate([values for values, _ in solved])
    orbitals = np.hstack([space @ vectors for space, (_, vectors) in zip(spaces, solved, strict=True)])
    return energies, orbitals


def _joined(pair: Pair) -> Matrix:
    return np.concatenate([pair[0].ravel(), pair[1].ravel()])


def _split(joined: Matrix, like: Pair) -> Pair:
    size = like[0].size
    return joined[:size].reshape(like[0].shape), joined[size:].reshape(like[1].shape)


def _extrapolated(focks: list[Matrix], errors: list[Matrix]) -> Matrix:
    """DIIS (Pulay, J. Comput. Chem. 3, 556 (1982))."""
    count = len(focks)
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = [[a @ b for b in errors] for a in errors]
    system[:count, :count] /= max(system[:count, :count].max(), 1e-300)
    system[count, :count] = system[:count, count] = -1.0
    right = np.zeros(count + 1)
    right[count] = -1.0
    weights = np.linalg.lstsq(system, right, rcond=1e-14)[0][:count]
    return np.asarray(weights @ np.array(focks), dtype=np.float64)
