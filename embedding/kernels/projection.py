"""Projectors: keep the embedded orbitals out of the occupied space of the surroundings.

Array kernels in atomic units. With P = C_B C_B^T S and Q = 1 - P:

* projected Fock, Q^T F Q + s S C_B C_B^T S: its eigenvectors outside B do not depend on s, so the same
  orbitals come from an ordinary problem in an orthonormal basis of the complement of B, the default;
* Huzinaga, F - F P - P^T F (Hegely, Nagy, Ferenczy and Kallay, J. Chem. Phys. 145, 064107 (2016)): it
  uncouples B as well, at minus its orbital energies: the same answer while these lie high enough;
* level shift, F + mu S C_B C_B^T S (Manby, Stella, Goodpaster and Miller, J. Chem. Theory Comput. 8,
  2564 (2012)): exact as mu grows, with an error that falls as 1/mu.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["complement_basis", "huzinaga_fock", "level_shift", "projected_fock"]

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
    # Not an SVD: LAPACK's divide and conquer fails on some matrices whose singular values are all one.
    left, _ = np.linalg.qr(root.T @ environment, mode="complete")
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


def huzinaga_fock(fock: Matrix, overlap: Matrix, environment: Matrix) -> Matrix:
    """Fock matrix with Huzinaga's operator: F - F P - P^T F, shape ``(n_ao, n_ao)``, hartree.

    Arguments as in `projected_fock`. The result has no element between B and its complement; inside the
    complement it is F, inside B it is -F.
    """
    removed = fock @ environment @ (overlap @ environment).T
    dressed: Matrix = fock - removed - removed.T
    return dressed


def level_shift(overlap: Matrix, environment: Matrix, strength: float) -> Matrix:
    """Operator mu S C_B C_B^T S that lifts the surroundings' orbitals by ``strength`` hartree.

    Arguments as in `projected_fock`. Returns shape ``(n_ao, n_ao)``, hartree; add it to the Fock matrix.
    """
    covered = overlap @ environment
    shift: Matrix = strength * (covered @ covered.T)
    return shift
