"""Relaxed density of an embedded core: its unrelaxed densities in, everything a gradient needs out.

Array kernels in atomic units. Orbitals p, q are the core's canonical orbitals (i, j occupied, a, b
virtual), l the occupied orbitals of the surroundings. A closed-shell energy is written as
E = E_HF + sum_pq d_pq F_pq + sum_pqrs Gamma_pqrs (pq|rs) with the core's Fock matrix F; then the
orbital response adds d_ai from the coupled-perturbed Hartree-Fock equations, and what is left of the
derivative is the generalised Fock matrix G, also towards the orbitals l, which the core must not enter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.errors import ConvergenceError

__all__ = ["Correlation", "RelaxedCore", "mp2_correlation", "relax", "uncorrelated", "whole_pairs"]

Matrix = NDArray[np.float64]

_TOLERANCE = 1e-10
_ITERATIONS = 100


@dataclass(frozen=True, eq=False)
class Correlation:
    """Densities of the correlation energy in canonical orbitals, occupied first.

    Fields: ``one`` ``(n, n)`` symmetric, without the determinant's part; ``fitted`` ``(n_aux, n, n)``
    symmetric, sum_rs 2 Gamma_pqrs L_rs; ``two`` ``(pairs, pairs)`` 2 Gamma over pairs p >= q in row
    order, only where the four-index integrals themselves are differentiated, else None.
    """

    one: Matrix
    fitted: Matrix | None
    two: Matrix | None = None


@dataclass(frozen=True, eq=False)
class RelaxedCore:
    """What the gradient of an embedded energy needs, in the core's canonical orbitals.

    Fields: ``density`` ``(n, n)`` relaxed, both spins, the determinant included; ``correction`` the same
    without the determinant; ``inner`` ``(n, n)`` and ``outer`` ``(n_rest, n)`` generalised Fock matrix G
    among the core's orbitals and from the surroundings' occupied orbitals to them, hartree.
    """

    density: Matrix
    correction: Matrix
    inner: Matrix
    outer: Matrix


def relax(h: Matrix, tensor: Matrix, n_occupied: int, correlation: Correlation) -> RelaxedCore:
    """Solve for the orbital response and build the generalised Fock matrix.

    Parameters
    ----------
    h
        Embedded one-electron matrix from all orbitals to the core's, shape ``(n + n_rest, n)``, hartree; the
        core's orbitals come first.
    tensor
        Three-index integrals between the same, shape ``(n_aux, n + n_rest, n)``.
    n_occupied
        Occupied orbitals of the core, the first ones.
    correlation
        Densities of the method.

    Raises
    ------
    ConvergenceError
        If the response equations do not converge.
    """
    n, o = h.shape[1], n_occupied
    fock = h + _potential(tensor, 2 * np.eye(n)[:, :o] @ np.eye(n)[:o])
    total = fock @ correlation.one
    total[:, :o] += 2 * fock[:, :o] + 2 * _potential(tensor, correlation.one)[:, :o]
    if correlation.fitted is not None:
        for integrals, density in zip(tensor, correlation.fitted, strict=True):
            total += integrals @ density
    slope = total[o:n, :o] - total[:o, o:n].T
    response = _respond(fock, tensor, o, -slope)
    rotation = np.zeros((n, n))
    rotation[o:, :o], rotation[:o, o:] = response, response.T
    total += fock @ rotation
    total[:, :o] += 2 * _potential(tensor, rotation)[:, :o]
    correction = correlation.one + rotation
    density = correction + np.diag(np.where(np.arange(n) < o, 2.0, 0.0))
    return RelaxedCore(density, correction, total[:n], total[n:])


def uncorrelated(n: int) -> Correlation:
    """Densities of Hartree-Fock itself: none."""
    return Correlation(np.zeros((n, n)), None)


def mp2_correlation(
    tensor: Matrix, energies: NDArray[np.float64], n_occupied: int, *, four_index: bool = False
) -> Correlation:
    """Densities of MP2 in Hylleraas' form, for canonical orbitals.

    Parameters
    ----------
    tensor
        Three-index integrals, shape ``(n_aux, n, n)``.
    energies
        Orbital energies, shape ``(n,)``, hartree.
    n_occupied
        Occupied orbitals, the first ones.
    four_index
        Whether the density of the four-index integrals is wanted too.
    """
    n, o = len(energies), n_occupied
    mixed = np.ascontiguousarray(tensor[:, :o, o:])
    n_aux, v = len(tensor), n - o
    gaps = energies[:o, None] - energies[None, o:]
    one, half = np.zeros((n, n)), np.zeros((n_aux, o, v))
    flat = mixed.reshape(n_aux, -1)
    two = np.empty((o, v, o, v)) if four_index else None
    for i in range(o):
        # t[a, j, b] for this i, and 2 t - (its exchange)
        t = (mixed[:, i].T @ flat).reshape(v, o, v) / (gaps[i][:, None, None] + gaps[None])
        both = 2 * t - t.transpose(2, 1, 0)
        one[o:, o:] += 2 * np.tensordot(t, both, axes=([1, 2], [1, 2]))
        one[:o, :o] -= 2 * np.einsum("ajb,akb->jk", t, both, optimize=True)
        half[:, i] = 2 * flat @ both.reshape(v, -1).T
        if two is not None:
            two[i] = both
    fitted = np.zeros((n_aux, n, n))
    fitted[:, :o, o:], fitted[:, o:, :o] = half, half.transpose(0, 2, 1)
    whole = None if two is None else whole_pairs({"ovov": two.reshape(o * v, o * v)}, o, n)
    return Correlation(one, fitted, whole)


def whole_pairs(pairs: dict[str, Matrix], o: int, n: int) -> Matrix:
    """Collect a density over pairs of orbitals from its blocks.

    Parameters
    ----------
    pairs
        Blocks by name, such as ``"ooov"``: pairs ``oo`` and ``vv`` with p >= q, ``ov`` all.
    o, n
        Occupied orbitals, and all.

    Returns
    -------
    Matrix
        Symmetric, over all pairs p >= q in row order.
    """
    low = np.tril_indices(n)
    place = np.zeros((n, n), np.int64)
    place[low] = np.arange(len(low[0]))
    oo, vv = np.tril_indices(o), np.tril_indices(n - o)
    where = {
        "oo": place[oo],
        "ov": place[o:, :o].T.ravel(),
        "vv": place[vv[0] + o, vv[1] + o],
    }
    result = np.zeros((len(low[0]),) * 2)
    for name, block in pairs.items():
        left, right = where[name[:2]], where[name[2:]]
        result[np.ix_(left, right)] = block
        result[np.ix_(right, left)] = block.T
    return result


def _potential(tensor: Matrix, density: Matrix) -> Matrix:
    """J - K/2 of a symmetric ``density`` ``(n, n)``, shape ``(n + n_rest, n)``."""
    n = len(density)
    weights = np.tensordot(tensor[:, :n], density, axes=([1, 2], [0, 1]))
    result: Matrix = np.tensordot(weights, tensor, axes=1)
    for integrals in tensor:
        result -= 0.5 * integrals @ (density @ integrals[:n])
    return result


def _respond(fock: Matrix, tensor: Matrix, o: int, right: Matrix) -> Matrix:
    """Solve (e_a - e_i) x_ai + 2 g[x + x^T]_ai = right, shape ``(n_vir, n_occ)``."""
    from pyscf import lib

    n = fock.shape[1]
    energies = np.diag(fock[:n])
    gaps = energies[o:, None] - energies[None, :o]
    mixed = np.ascontiguousarray(tensor[:, o:n, :o])
    inside, across = tensor[:, :o, :o], np.ascontiguousarray(tensor[:, o:n, o:n])

    def coupling(vectors: Matrix) -> Matrix:
        out = np.empty_like(vectors)
        for index, vector in enumerate(vectors.reshape(-1, n - o, o)):
            coulomb = np.tensordot(np.tensordot(mixed, vector, axes=([1, 2], [0, 1])), mixed, axes=1)
            exchange = np.zeros_like(coulomb)
            for x, y, z in zip(mixed, inside, across, strict=True):
                exchange += z @ vector @ y + x @ (vector.T @ x)
            out[index] = ((4 * coulomb - exchange) / gaps).ravel()
        return out

    start = (right / gaps).ravel()[None]
    found = lib.krylov(coupling, start, tol=_TOLERANCE, max_cycle=_ITERATIONS, lindep=1e-20)
    response: Matrix = found.reshape(n - o, o)
    left = (coupling(found.reshape(1, -1)) + found.reshape(1, -1) - start) * gaps.ravel()
    worst = float(abs(left).max(initial=0.0))
    if not worst <= 1e3 * _TOLERANCE:
        raise ConvergenceError(
            f"the orbital response of a core is converged to {worst:.1e} only",
            remedy="the core's Hartree-Fock solution may be unstable: choose a larger core",
        )
    return response
