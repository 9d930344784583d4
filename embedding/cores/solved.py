"""A core after its energy: what a gradient or another analysis goes on from, as arrays (atomic units)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.kernels.localization import Localized

__all__ = ["SolvedCore"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SolvedCore:
    """A solved quantum core.

    Fields: ``localized`` its orbitals and those of its surroundings; ``atoms`` counted in the region;
    ``rows`` the core's basis functions; ``h`` ``(n_ao, n_ao)`` hartree, embedding potential included, no
    projector; ``orbitals`` ``(n_ao, n)`` canonical Hartree-Fock orbitals with all virtual ones, occupied
    first, and their ``energies`` ``(n,)``; ``kept`` ``(n_ao, n_kept)`` orbitals the solver was given;
    ``state`` what it left behind: of coupled cluster, PySCF's converged solver and its integrals; ``shift``
    hartree, of the surroundings' orbitals where they are shifted and not projected out (the orbitals then
    span everything).
    """

    localized: Localized
    atoms: NDArray[np.int64]
    rows: NDArray[np.int64]
    h: Matrix
    orbitals: Matrix
    energies: NDArray[np.float64]
    kept: Matrix
    state: Any
    shift: float | None = None
