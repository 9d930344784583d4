"""Orbitals of one spin of a core in its embedding potential: matrices in, projected ones out (hartree).

The core's orbitals are kept out of the occupied orbitals of the surroundings by one of the projectors of
`projection`; everything is written in an orthonormal basis in which those orbitals come last.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.kernels.localization import Localized
from drupe.embedding.kernels.projection import complement_basis, huzinaga_fock, level_shift
from drupe.embedding.level import Level
from drupe.errors import ConvergenceError

__all__ = ["EmbeddedSpace", "embedded_space"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EmbeddedSpace:
    """One set of orbitals with its embedding potential in an orthonormal basis of ``n`` functions.

    Fields: ``basis`` ``(n_ao, n)``, whose last ``n_hidden`` functions are the occupied orbitals of the
    surroundings (none with the projected Fock operator); ``h_ao`` ``(n_ao, n_ao)`` hartree, potential
    included; ``guess`` ``(n, n_core)`` the low level's core orbitals; ``projector``; ``shift`` hartree, of
    the level-shift operator, else 0.
    """

    basis: Matrix
    h_ao: Matrix
    guess: Matrix
    n_hidden: int
    projector: str
    shift: float

    @cached_property
    def h(self) -> Matrix:
        """One-electron matrix in the basis, ``(n, n)`` hartree, with the level shift."""
        matrix: Matrix = self.basis.T @ self.h_ao @ self.basis
        if self.shift:
            matrix = matrix + level_shift(np.eye(len(matrix)), self._hidden, self.shift)
        return matrix

    @property
    def _hidden(self) -> Matrix:
        n = self.basis.shape[1]
        return np.eye(n)[:, n - self.n_hidden :]

    def fock(self, potential: Matrix) -> Matrix:
        """Fock matrix ``(n, n)`` of a two-electron potential ``(n_ao, n_ao)``, projector included."""
        matrix = self.h + self.basis.T @ potential @ self.basis
        if self.projector == "huzinaga":
            return huzinaga_fock(matrix, np.eye(len(matrix)), self._hidden)
        return matrix

    def visible(self, orbitals: Matrix, energies: NDArray[np.float64]) -> tuple[Matrix, NDArray[np.float64]]:
        """Leave out the orbitals of the surroundings: they are no virtual orbitals of the core.

        Parameters
        ----------
        orbitals, energies
            Of a converged Fock matrix, ``(n, n)`` and ``(n,)`` hartree, occupied first.

        Returns
        -------
        orbitals, energies
            ``(n, n - n_hidden)`` and ``(n - n_hidden,)``.

        Raises
        ------
        ConvergenceError
            If one of them is occupied: Huzinaga's operator sets them at minus their energies, which may be
            lower than an orbital of the core.
        """
        if self.n_hidden == 0:
            return orbitals, energies
        n_core = self.guess.shape[1]
        weights = np.linalg.norm(orbitals[-self.n_hidden :], axis=0)
        if weights[:n_core].max(initial=0.0) > 0.5:
            raise ConvergenceError(
                f"the {self.projector} operator put electrons of the core into orbitals of its surroundings",
                remedy='use projector="projected"',
            )
        hidden = n_core + np.argsort(-weights[n_core:])[: self.n_hidden]
        shown = np.setdiff1d(np.arange(len(weights)), hidden)
        return orbitals[:, shown], energies[shown]

    def leak(self, fock: Matrix) -> float:
        """Energy in hartree that one electron per orbital gains from a finite level shift, to second order.

        ``fock`` is the low level's Fock matrix of everything, ``(n_ao, n_ao)`` hartree; 0 without a shift.
        """
        if not self.shift:
            return 0.0
        coupling = self.basis[:, -self.n_hidden :].T @ fock @ self.basis @ self.guess
        return float(np.sum(coupling**2)) / self.shift


def embedded_space(overlap: Matrix, localized: Localized, h_ao: Matrix, level: Level) -> EmbeddedSpace:
    """Basis of the core of ``localized`` for the one-electron matrix ``h_ao`` at the projector of ``level``.

    ``overlap`` and ``h_ao`` are ``(n_ao, n_ao)``; ``h_ao`` in hartree, embedding potential included.
    """
    basis = complement_basis(overlap, localized.rest)
    n_hidden = 0 if level.projector == "projected" else localized.rest.shape[1]
    if n_hidden:
        basis = np.hstack([basis, localized.rest])
    return EmbeddedSpace(
        basis=basis,
        h_ao=h_ao,
        guess=basis.T @ overlap @ localized.core,
        n_hidden=n_hidden,
        projector=level.projector,
        shift=level.level_shift if n_hidden and level.projector == "level-shift" else 0.0,
    )
