"""How SPADE orbitals answer a change of geometry: closed-form multipliers and adjoints, as array kernels.

Atomic units. L_k are a core's localised orbitals, L_l the other occupied ones, T = S^1/2 Pi S^1/2 with
Pi the core's basis functions; SPADE makes L_l^T T L_k vanish. See docs/gradients.md.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.errors import ConvergenceError

__all__ = ["Slopes", "localization_response", "root_adjoint", "weight_operator"]

Matrix = NDArray[np.float64]

_CLOSEST = 1e-6  # of the squared singular values of core and surroundings


@dataclass(frozen=True, eq=False)
class Slopes:
    """Derivative of an energy by the occupied orbitals, localisation included.

    Fields: ``right`` ``(n_vir, n_occ)`` along the virtual orbitals, columns in the given occupied
    orbitals; ``metric`` ``(n_ao, n_ao)`` factor of S^x, hartree; ``weight`` ``(n_ao, n_ao)`` factor of T^x.
    """

    right: Matrix
    metric: Matrix
    weight: Matrix


def localization_response(
    own: Matrix, rest: Matrix, slope_own: Matrix, slope_rest: Matrix, operator: Matrix, virtual: Matrix
) -> Slopes:
    """Make an energy of localised orbitals independent of how they rotate among each other.

    Parameters
    ----------
    own, rest
        SPADE orbitals of the core and of the surroundings, ``(n_ao, n_core)`` and ``(n_ao, n_rest)``.
    slope_own, slope_rest
        Derivatives of the energy by them, same shapes, hartree.
    operator
        T, shape ``(n_ao, n_ao)``.
    virtual
        Virtual orbitals, shape ``(n_ao, n_vir)``.

    Returns
    -------
    Slopes
        Columns of ``right`` belong to ``own`` and then ``rest``.

    Raises
    ------
    ConvergenceError
        If an orbital of the core has the same weight on it as one of the surroundings.
    """
    both = np.hstack([own, rest])
    n = own.shape[1]
    covered = operator @ both
    weights = np.einsum("pi,pi->i", both, covered)
    falls = weights[None, :n] - weights[n:, None]
    if falls.size and falls.min() < _CLOSEST:
        raise ConvergenceError(
            f"a core orbital and one of the surroundings have the same weight on the core "
            f"(difference {falls.min():.1e}): they are not separate, and there is no gradient",
            remedy="choose other core atoms, or the number of orbitals at the largest gap",
        )
    multipliers = (rest.T @ slope_own - (own.T @ slope_rest).T) / falls
    slopes = np.hstack([slope_own, slope_rest])
    slopes[:, :n] += covered[:, n:] @ multipliers
    slopes[:, n:] += covered[:, :n] @ multipliers.T
    inner = both.T @ slopes
    return Slopes(
        right=virtual.T @ slopes,
        metric=-0.25 * both @ (inner + inner.T) @ both.T,
        weight=0.5 * (rest @ multipliers @ own.T + own @ multipliers.T @ rest.T),
    )


def weight_operator(overlap_root: Matrix, core_rows: NDArray[np.int64]) -> Matrix:
    """T = S^1/2 Pi S^1/2, shape ``(n_ao, n_ao)``."""
    rows = overlap_root[core_rows]
    result: Matrix = rows.T @ rows
    return result


def root_adjoint(overlap: Matrix, weight: Matrix, core_rows: NDArray[np.int64]) -> Matrix:
    """Matrix W with Tr W S^x = Tr ``weight`` T^x, for symmetric ``weight``.

    (S^1/2)^x = U [(U^T S^x U)_pq / (s_p^1/2 + s_q^1/2)] U^T with the eigenvectors U of S.
    """
    values, vectors = np.linalg.eigh(overlap)
    roots = np.sqrt(values)
    root = (vectors * roots) @ vectors.T
    part = np.zeros_like(overlap)
    part[core_rows] = (root @ weight)[core_rows]
    inner = vectors.T @ (part + part.T) @ vectors
    result: Matrix = vectors @ (inner / (roots[:, None] + roots[None])) @ vectors.T
    return result
