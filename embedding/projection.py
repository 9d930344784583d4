"""The projected Fock operator: keep the embedded orbitals out of the occupied space of the surroundings.

Array kernels in atomic units. F' = Q^T F Q + s P with Q = 1 - C_B C_B^T S: its eigenvectors outside
B do not depend on s, so the same orbitals come from an ordinary problem in an orthonormal basis of
the complement of B, which is how the cores are solved.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["complement_basis", "projected_fock"]

Matrix = NDArray[np.float64]


def complement_basis(overlap: Matrix, environment: Matrix) -> Matrix:
    """Orthonormal basis of everything that is orthogonal to the occupied orbitals of the surroundings.

    Parameters
    ----------
    overlap
        AO overlap S, shape ``(n_ao, n_ao)``.
    environment
        Occupied orbitals C_B, shape ``(n_ao, n_env)``, orthonormal in S.

    Returns
    -------
    Matrix
        X, shape ``(n_ao, n_ao - n_env)``, with X^T S X = 1 and X^T S C_B = 0.
    """
    values, vectors = np.linalg.eigh(overlap)
    root = vectors * np.sqrt(values)
    back = vectors / np.sqrt(values)
    left, _, _ = np.linalg.svd(root.T @ environment, full_matrices=True)
    basis: Matrix = back @ left[:, environment.shape[1] :]
    return basis


def projected_fock(fock: Matrix, overlap: Matrix, environment: Matrix, shift: float) -> Matrix:
    """Fock matrix with the surroundings projected out and set at the energy ``shift``.

    Parameters
    ----------
    fock
        Embedded Fock matrix, shape ``(n_ao, n_ao)``, hartree.
    overlap
        AO overlap S, shape ``(n_ao, n_ao)``.
    environment
        Occupied orbitals C_B, shape ``(n_ao, n_env)``, orthonormal in S.
    shift
        Orbital energy given to C_B, hartree; nothing else depends on it.

    Returns
    -------
    Matrix
        Q^T F Q + shift S C_B C_B^T S, shape ``(n_ao, n_ao)``, hartree.
    """
    covered = overlap @ environment
    keep = np.eye(len(overlap)) - environment @ covered.T
    projected: Matrix = keep.T @ fock @ keep + shift * (covered @ covered.T)
    return projected
