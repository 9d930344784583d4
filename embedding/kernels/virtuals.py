"""Concentric localization: arrays of virtual orbitals in, shells around a core out. Atomic units.

Source: Claudino and Mayhall, J. Chem. Theory Comput. 15, 6085 (2019). Shell 0 spans the core's own
basis functions; each next shell is what the Fock operator couples to the one before.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["concentric_shells"]

Matrix = NDArray[np.float64]

# Singular values below this couple to nothing: they end a shell.
_COUPLED = 1e-6


def concentric_shells(
    overlap: Matrix, virtuals: Matrix, energies: NDArray[np.float64], core_rows: NDArray[np.int64]
) -> tuple[Matrix, list[int]]:
    """Sort virtual orbitals into shells around a core.

    Parameters
    ----------
    overlap
        AO overlap S, shape ``(n_ao, n_ao)``.
    virtuals
        Canonical virtual orbitals, shape ``(n_ao, n_vir)``, orthonormal in S.
    energies
        Their orbital energies, shape ``(n_vir,)``, hartree.
    core_rows
        Indices of the core's basis functions.

    Returns
    -------
    rotation
        Shape ``(n_vir, n_vir)``, orthogonal; ``virtuals @ rotation`` are the sorted orbitals.
    ends
        Number of orbitals in shells 0..k together, for each k; the last is n_vir.
    """
    own = overlap[core_rows] @ virtuals
    weight = own.T @ np.linalg.solve(overlap[np.ix_(core_rows, core_rows)], own)
    values, vectors = np.linalg.eigh(weight)
    size = min(len(core_rows), int(np.count_nonzero(values > _COUPLED**2)))
    order = np.argsort(values)[::-1]
    shells = [vectors[:, order[:size]]]
    outside = vectors[:, order[size:]]
    while outside.shape[1]:
        coupling = shells[-1].T @ (energies[:, None] * outside)
        _, strengths, right = np.linalg.svd(coupling, full_matrices=True)
        size = int(np.count_nonzero(strengths > _COUPLED))
        if size == 0:
            shells.append(outside)
            break
        shells.append(outside @ right[:size].T)
        outside = outside @ right[size:].T
    ends = np.cumsum([shell.shape[1] for shell in shells]).tolist()
    return np.hstack(shells), [int(end) for end in ends]
