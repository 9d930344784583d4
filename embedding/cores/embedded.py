"""The mean field of a core inside the DFT of its surroundings. Atomic units.

With gamma_A the core's density and g the two-electron potential of the low level,
v_emb = g[gamma] - g[gamma_A] and h~ = h + v_emb; the core's orbitals are kept out of the occupied
orbitals of the surroundings by one of the projectors of `projection`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.embedded_space import EmbeddedSpace, embedded_space
from drupe.embedding.kernels.hartree_fock import Converged, self_consistent
from drupe.embedding.kernels.localization import Localized
from drupe.embedding.level import Level
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.errors import ConvergenceError

__all__ = [
    "EMBEDDED_GRADIENT",
    "EXACTNESS",
    "EmbeddedCore",
    "embed",
    "embedded_hartree_fock",
    "functional_in_itself",
]

Matrix = NDArray[np.float64]

#: Hartree; the functional embedded in itself must give its own energy.
EXACTNESS = 1e-8
#: Of the outer SCF's gradient threshold.
EMBEDDED_GRADIENT = 0.01


@dataclass(frozen=True, eq=False)
class EmbeddedCore(EmbeddedSpace):
    """A closed-shell core in its embedding potential.

    Fields: those of `EmbeddedSpace`; ``low_energy`` hartree, of the low level's core orbitals in h~ at the
    low level.
    """

    low_energy: float


def embed(field: MeanField, localized: Localized, level: Level) -> EmbeddedCore:
    """Put the core of ``localized`` into the potential of its surroundings, at the projector of ``level``."""
    energy, own = field.two_electron(localized.core)
    h_ao = field.hcore + field.potential - own
    low_energy = 2 * float(np.sum(localized.core * (h_ao @ localized.core))) + energy
    space = embedded_space(field.overlap, localized, h_ao, level)
    return EmbeddedCore(**vars(space), low_energy=low_energy)


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
        gradient=EMBEDDED_GRADIENT * level.gradient_tolerance,
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
    # Two electrons per orbital, and as much again for what is beyond second order.
    allowed = EXACTNESS + 4 * embedded.leak(field.hcore + field.potential)
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
        return one + energy, embedded.fock(potential)

    found = self_consistent(build, guess, gradient=gradient, cycles=cycles, what=what)
    return Converged(found.energy, *embedded.visible(found.orbitals, found.energies))
