"""Three-index integrals from packed AO pairs to orbitals: array kernels, in slices that bound the memory."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["to_orbitals", "to_pairs"]

Matrix = NDArray[np.float64]

_SLICE_BYTES = 5e7


def to_orbitals(packed: Matrix, orbitals: Matrix) -> Matrix:
    """Return C^T L_P C for every P.

    Parameters
    ----------
    packed
        Three-index tensor over packed AO pairs, ``(aux, n_ao (n_ao + 1) / 2)``.
    orbitals
        C, ``(n_ao, n)``.

    Returns
    -------
    Matrix
        Shape ``(aux, n, n)``.
    """
    return to_pairs(packed, orbitals, orbitals)


def to_pairs(packed: Matrix, left: Matrix, right: Matrix) -> Matrix:
    """Return C_left^T L_P C_right for every P, shape ``(aux, n_left, n_right)``; see `to_orbitals`."""
    n_ao, n_left, n_right = len(left), left.shape[1], right.shape[1]
    out = np.empty((len(packed), n_left, n_right))
    step = max(1, int(_SLICE_BYTES // (8 * n_ao**2)))
    low, column = np.tril_indices(n_ao)
    full = np.empty((step, n_ao, n_ao))
    for first in range(0, len(packed), step):
        part = packed[first : first + step]
        square = full[: len(part)]
        square[:, low, column] = part
        square[:, column, low] = part
        # The smaller side first; one large product, then one small one per slice.
        half = (square.reshape(-1, n_ao) @ left).reshape(len(part), n_ao, n_left)
        np.matmul(half.transpose(0, 2, 1), right, out=out[first : first + step])
    return out
