"""The mean field of a core inside the DFT of its surroundings. Atomic units.

With gamma_A the core's density and g the two-electron potential of the low level,
v_emb = g[gamma] - g[gamma_A] and h~ = h + v_emb; the core's orbitals are kept out of the occupied
orbitals of the surroundings by one of the projectors of `projection`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.hartree_fock import Converged, self_consistent
from drupe.embedding.cores.localization import Localized
from drupe.embedding.cores.projection import complement_basis, huzinaga_fock, level_shift
from drupe.embedding.level import Level
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.errors import ConvergenceError

__all__ = ["EmbeddedCore", "embed", "embedded_hartree_fock", "functional_in_itself"]

Matrix = NDArray[np.float64]

_EXACTNESS = 1e-8  # hartree; DFT in DFT must give DFT
_EMBEDDED_GRADIENT = 0.01  # of the outer SCF's gradient threshold


@dataclass(frozen=True, eq=False)
class EmbeddedCore:
    """A core with its embedding potential in an orthonormal basis of ``n`` functions.

    Fields: ``basis`` ``(n_ao, n)``, whose last ``n_hidden`` functions are the occupied orbitals of the
    surroundings (none with the projected Fock operator); ``h_ao`` ``(n_ao, n_ao)`` hartree, potential
    included; ``guess`` ``(n, n_core)`` the low level's core orbitals; ``low_energy`` hartree, their energy at
    the low level in h~; ``projector``; ``shift`` hartree, of the level-shift operator, else 0.
    """

    basis: Matrix
    h_ao: Matrix
    guess: Matrix
    low_energy: float
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

    def dressed(self, fock: Matrix) -> Matrix:
        """Fock matrix ``(n, n)`` with the projector's part that depends on the Fock matrix."""
        if self.projector == "huzinaga":
            return huzinaga_fock(fock, np.eye(len(fock)), self._hidden)
        return fock

    def visible(self, found: Converged) -> Converged:
        """Leave out the orbitals of the surroundings: they are no virtual orbitals of the core.

        Raises
        ------
        ConvergenceError
            If one of them is occupied: Huzinaga's operator sets them at minus their energies, which may be
            lower than an orbital of the core.
        """
        if self.n_hidden == 0:
            return found
        n_core = self.guess.shape[1]
        weights = np.linalg.norm(found.orbitals[-self.n_hidden :], axis=0)
        if weights[:n_core].max() > 0.5:
            raise ConvergenceError(
                f"the {self.projector} operator put electrons of the core into orbitals of its surroundings",
                remedy='use projector="projected"',
            )
        hidden = n_core + np.argsort(-weights[n_core:])[: self.n_hidden]
        shown = np.setdiff1d(np.arange(len(weights)), hidden)
        return Converged(found.energy, found.orbitals[:, shown], found.energies[shown])


def embed(field: MeanField, localized: Localized, level: Level) -> EmbeddedCore:
    """Put the core of ``localized`` into the potential of its surroundings, at the projector of ``level``."""
    energy, own = field.two_electron(localized.core)
    h_ao = field.hcore + field.potential - own
    basis = complement_basis(field.overlap, localized.rest)
    n_hidden = 0 if level.projector == "projected" else localized.rest.shape[1]
    if n_hidden:
        basis = np.hstack([basis, localized.rest])
    return EmbeddedCore(
        basis=basis,
        h_ao=h_ao,
        guess=basis.T @ field.overlap @ localized.core,
        low_energy=2 * float(np.sum(localized.core * (h_ao @ localized.core))) + energy,
        n_hidden=n_hidden,
        projector=level.projector,
        shift=level.level_shift if n_hidden and level.projector == "level-shift" else 0.0,
    )


def embedded_hartree_fock(field: MeanField, embedded: EmbeddedCore, level: Level) -> Converged:
    """Hartree-Fock of the core, in canonical orbitals ``(n, n - n_hidden)`` of its basis.

    Raises
    ------
    ConvergenceError
        If it does not converge to a hundredth of the level's gradient threshold.
    """

    def two_electron(orbitals: Matrix) -> tuple[float, Matrix]:
        potential = field.hartree_fock_potential(orbitals)
        return float(np.sum(orbitals * (potential @ orbitals))), potential

    return _converge(
        embedded,
        two_electron,
        embedded.guess,
        gradient=_EMBEDDED_GRADIENT * level.gradient_tolerance,
        cycles=level.max_cycles,
        what="embedded Hartree-Fock",
    )


def functional_in_itself(field: MeanField, embedded: EmbeddedCore, start: Converged, level: Level) -> float:
    """Error of the functional embedded in itself, started away from the answer, hartree.

    Raises
    ------
    ConvergenceError
        If it exceeds 1e-8 hartree (and what second-order theory gives to a level shift).
    """
    n_core = embedded.guess.shape[1]
    found = _converge(
        embedded,
        field.two_electron,
        start.orbitals[:, :n_core],
        gradient=level.gradient_tolerance,
        cycles=level.max_cycles,
        what=f"{level.functional} embedded in itself",
    )
    error = found.energy - embedded.low_energy
    allowed = _EXACTNESS
    if embedded.shift:
        fock = embedded.basis.T @ (field.hcore + field.potential) @ embedded.basis
        allowed += 4 * float(np.sum((fock[-embedded.n_hidden :] @ embedded.guess) ** 2)) / embedded.shift
    if abs(error) > allowed:
        raise ConvergenceError(
            f"{level.functional} embedded in itself misses the full energy by {error:.1e} hartree",
            remedy=f"tighten scf_tolerance and gradient_tolerance; allowed are {allowed:.0e}",
        )
    return error


def _converge(
    embedded: EmbeddedCore,
    two_electron: Callable[[Matrix], tuple[float, Matrix]],
    guess: Matrix,
    *,
    gradient: float,
    cycles: int,
    what: str,
) -> Converged:
    """Self-consistent orbitals of a two-electron energy and potential in the AO basis."""

    def build(occupied: Matrix) -> tuple[float, Matrix]:
        energy, potential = two_electron(embedded.basis @ occupied)
        one = 2 * float(np.sum(occupied * (embedded.h @ occupied)))
        fock = embedded.h + embedded.basis.T @ potential @ embedded.basis
        return one + energy, embedded.dressed(fock)

    found = self_consistent(build, guess, gradient=gradient, cycles=cycles, what=what)
    return embedded.visible(found)
