"""SPADE: arrays of occupied orbitals in, orbitals of a core and of its surroundings out. Atomic units.

Source: Claudino and Mayhall, J. Chem. Theory Comput. 15, 1053 (2019).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Localized", "spade", "symmetric_root"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Localized:
    """Occupied orbitals split into a core (A) and its surroundings (B).

    Fields: ``core`` ``(n_ao, n_core)`` and ``rest`` ``(n_ao, n_occ - n_core)`` orthonormal orbitals;
    ``singular_values`` ``(n_occ,)`` weights on the core, falling; ``gap`` the fall after orbital n_core.
    """

    core: Matrix
    rest: Matrix
    singular_values: NDArray[np.float64]
    gap: float


def spade(
    overlap: Matrix, occupied: Matrix, core_rows: NDArray[np.int64], n_core: int | None = None
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

    Returns
    -------
    Localized
        Right singular vectors of the core's rows of S^1/2 C applied to C.
    """
    n_occ = occupied.shape[1]
    rows = (symmetric_root(overlap) @ occupied)[core_rows]
    _, found, rotation = np.linalg.svd(rows, full_matrices=True)
    weights = np.zeros(n_occ)
    weights[: len(found)] = found[:n_occ]
    falls = weights - np.append(weights[1:], 0.0)
    if n_core is not None:
        count = n_core
    elif len(core_rows) == len(overlap) or n_occ == 1:
        count = n_occ  # the core is everything: there is no gap to look for
    else:
        count = int(np.argmax(falls[:-1])) + 1
    orbitals = occupied @ rotation.T
    return Localized(orbitals[:, :count], orbitals[:, count:], weights, float(falls[count - 1]))


def symmetric_root(overlap: Matrix) -> Matrix:
    """Symmetric square root of a positive matrix, shape ``(n, n)``."""
    values, vectors = np.linalg.eigh(overlap)
    root: Matrix = (vectors * np.sqrt(values)) @ vectors.T
    return root
