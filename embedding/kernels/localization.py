"""Occupied orbitals of one spin in, those of a core and of its surroundings out: array kernels, no units.

Sources: SPADE, Claudino and Mayhall, J. Chem. Theory Comput. 15, 1053 (2019); localised orbitals, Pipek
and Mezey, J. Chem. Phys. 90, 4916 (1989), with Knizia's fourth power, J. Chem. Theory Comput. 9, 4834 (2013).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.errors import ConvergenceError

__all__ = ["Localized", "assign", "pipek_mezey", "spade", "symmetric_root"]

Matrix = NDArray[np.float64]

_SWEEPS = 500
_ROTATION = 1e-9  # radians


@dataclass(frozen=True, eq=False)
class Localized:
    """Occupied orbitals split into a core (A) and its surroundings (B).

    Fields: ``core`` ``(n_ao, n_core)`` and ``rest`` ``(n_ao, n_occ - n_core)`` orthonormal orbitals;
    ``singular_values`` ``(n_occ,)`` weights on the core, falling; ``gap`` the fall after orbital n_core.
    The weights are SPADE's singular values, or the square roots of populations: one scale for both.
    """

    core: Matrix
    rest: Matrix
    singular_values: NDArray[np.float64]
    gap: float

    @property
    def falls(self) -> NDArray[np.float64]:
        """Fall of the weights after each orbital, ``(n_occ,)``; after the last one they fall to 0."""
        return _falls(self.singular_values)


def spade(
    overlap: Matrix,
    occupied: Matrix,
    core_rows: NDArray[np.int64],
    n_core: int | None = None,
    *,
    root: Matrix | None = None,
) -> Localized:
    """Rotate occupied orbitals so that they sort by their weight on the core's basis functions.

    Parameters
    ----------
    overlap
        AO overlap S, shape ``(n_ao, n_ao)``.
    occupied
        Occupied orbitals of one spin, shape ``(n_ao, n_occ)``, orthonormal in S.
    core_rows
        Indices of the core's basis functions.
    n_core
        Number of orbitals given to the core; None takes the largest gap of the singular values.
    root
        S^1/2 where it is known already.

    Returns
    -------
    Localized
        Right singular vectors of the core's rows of S^1/2 C applied to C.
    """
    n_occ = occupied.shape[1]
    rows = ((symmetric_root(overlap) if root is None else root) @ occupied)[core_rows]
    _, found, rotation = np.linalg.svd(rows, full_matrices=True)
    weights = np.zeros(n_occ)
    weights[: len(found)] = found[:n_occ]
    return _split(occupied @ rotation.T, weights, n_core, everything=len(core_rows) == len(overlap))


def assign(orbitals: Matrix, populations: Matrix, atoms: NDArray[np.int64], n_core: int | None) -> Localized:
    """Give each localised orbital to the core or to its surroundings by its population on the core.

    Parameters
    ----------
    orbitals
        Localised occupied orbitals, shape ``(n_ao, n_occ)``.
    populations
        Electrons of each orbital on each atom, shape ``(atoms, n_occ)``; each column adds up to 1.
    atoms
        The core's atoms.
    n_core
        Number of orbitals given to the core, those of the largest population; None takes the largest gap
        of the square roots of the populations.

    Returns
    -------
    Localized
        Its ``singular_values`` are the square roots of the populations.
    """
    on_core = populations[atoms].sum(axis=0)
    order = np.argsort(-on_core, kind="stable")
    weights = np.sqrt(np.clip(on_core[order], 0.0, None))
    return _split(orbitals[:, order], weights, n_core, everything=len(atoms) == len(populations))


def pipek_mezey(overlaps: Matrix, power: int, tolerance: float = _ROTATION) -> Matrix:
    """Rotation to orbitals with the largest sum of powers of their populations on atoms.

    Jacobi sweeps over pairs of orbitals: the same answer for the same orbitals every time, and an error
    where they do not converge, which the library's optimiser does not promise.

    Parameters
    ----------
    overlaps
        Matrix of the population operator of each atom between the starting orbitals, shape
        ``(atoms, n, n)``.
    power
        2 (Pipek and Mezey) or 4 (Knizia).
    tolerance
        Radians; the largest turn of a sweep that counts as settled.

    Returns
    -------
    Matrix
        Orthogonal, shape ``(n, n)``; new orbitals are ``old @ rotation``.

    Raises
    ------
    ConvergenceError
        If the sweeps do not settle.
    """
    n = overlaps.shape[1]
    work, rotation = np.array(overlaps), np.eye(n)
    largest = 0.0
    for _ in range(_SWEEPS):
        largest = 0.0
        for i in range(n):
            for j in range(i):
                angle = _angle(work[:, i, i], work[:, j, j], work[:, i, j], power)
                if abs(angle) < tolerance / 10:
                    continue
                largest = max(largest, abs(angle))
                turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
                rotation[:, [i, j]] = rotation[:, [i, j]] @ turn
                work[:, :, [i, j]] = work[:, :, [i, j]] @ turn
                work[:, [i, j]] = turn.T @ work[:, [i, j]]
        if largest < tolerance:
            return rotation
    raise ConvergenceError(
        f"localised orbitals did not settle in {_SWEEPS} sweeps (last turn {largest:.1e} rad)",
        remedy='use localization="spade", which has a closed form',
    )


def symmetric_root(overlap: Matrix) -> Matrix:
    """Symmetric square root of a positive matrix, shape ``(n, n)``."""
    values, vectors = np.linalg.eigh(overlap)
    root: Matrix = (vectors * np.sqrt(values)) @ vectors.T
    return root


def _falls(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    falls: NDArray[np.float64] = weights - np.append(weights[1:], 0.0)
    return falls


def _split(
    orbitals: Matrix, weights: NDArray[np.float64], n_core: int | None, *, everything: bool
) -> Localized:
    falls = _falls(weights)
    if n_core is not None:
        count = n_core
    elif everything or len(weights) == 1:
        count = len(weights)  # the core is everything: there is no gap to look for
    else:
        count = int(np.argmax(falls[:-1])) + 1
    return Localized(orbitals[:, :count], orbitals[:, count:], weights, float(falls[count - 1]))


def _angle(
    first: NDArray[np.float64], second: NDArray[np.float64], mixed: NDArray[np.float64], power: int
) -> float:
    """Turn of one pair of orbitals that raises the sum; gradient and curvature in the angle decide."""
    if power == 2:
        curvature = 4 * mixed**2 - (first - second) ** 2
        gradient = 4 * mixed * (first - second)
    else:
        curvature = (
            6 * (first**2 + second**2) * mixed**2
            - first**4
            - second**4
            + first**3 * second
            + first * second**3
        )
        gradient = 4 * mixed * (first**3 - second**3)
    slope, bend = float(gradient.sum()), float(curvature.sum())
    # Two orbitals that look alike to every atom (two lone pairs on one) may turn freely: leave them.
    return 0.25 * float(np.arctan2(slope, -bend)) if abs(slope) + abs(bend) > 1e-12 else 0.0
