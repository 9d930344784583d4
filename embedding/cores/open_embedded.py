"""The mean field of an open-shell core inside the unrestricted DFT of its surroundings. Atomic units.

Every spin s has its own orbitals, its own partition, its own projector, and its own potential
v_emb^s = g^s[gamma] - g^s[gamma_A]; h~^s = h + v_emb^s.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.embedded import EMBEDDED_GRADIENT, EXACTNESS
from drupe.embedding.cores.embedded_space import EmbeddedSpace, embedded_space
from drupe.embedding.cores.open_occupied import LocalizedPair, occupied_pair
from drupe.embedding.kernels.unrestricted import ConvergedPair, self_consistent_pair
from drupe.embedding.level import Level
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.errors import ConvergenceError

__all__ = [
    "EmbeddedPair",
    "embed_pair",
    "embedded_unrestricted_hartree_fock",
    "functional_in_itself_pair",
    "two_electron_pair",
]

Matrix = NDArray[np.float64]
Pair = tuple[Matrix, Matrix]

_AWAY = 0.05  # of the way to the Hartree-Fock orbitals, where the exactness check starts


@dataclass(frozen=True, eq=False)
class EmbeddedPair:
    """An open-shell core in its embedding potential.

    Fields: ``spins`` the alpha and the beta orbitals' space; ``low_energy`` hartree, of the low level's core
    orbitals in h~ at the low level.
    """

    spins: tuple[EmbeddedSpace, EmbeddedSpace]
    low_energy: float


def embed_pair(field: MeanField, localized: LocalizedPair, level: Level) -> EmbeddedPair:
    """Put the core of ``localized`` into the potential of its surroundings, at the projector of ``level``."""
    cores = (localized[0].core, localized[1].core)
    _, whole = two_electron_pair(field, occupied_pair(field))
    energy, own = two_electron_pair(field, cores)
    spins = [
        embedded_space(field.overlap, one, field.hcore + g - g_own, level)
        for one, g, g_own in zip(localized, whole, own, strict=True)
    ]
    one_electron = sum(float(np.sum(c * (s.h_ao @ c))) for c, s in zip(cores, spins, strict=True))
    return EmbeddedPair((spins[0], spins[1]), one_electron + energy)


def embedded_unrestricted_hartree_fock(
    field: MeanField, embedded: EmbeddedPair, level: Level
) -> ConvergedPair:
    """Unrestricted Hartree-Fock of the core, in canonical orbitals ``(n, n - n_hidden)`` of each spin.

    Raises
    ------
    ConvergenceError
        If it does not converge to a hundredth of the level's gradient threshold.
    """

    def two_electron(orbitals: Pair) -> tuple[float, Pair]:
        potentials = _hartree_fock_potentials(field, orbitals)
        energy = sum(float(np.sum(c * (g @ c))) for c, g in zip(orbitals, potentials, strict=True)) / 2
        return energy, potentials

    return _converge(
        embedded,
        two_electron,
        (embedded.spins[0].guess, embedded.spins[1].guess),
        gradient=EMBEDDED_GRADIENT * level.gradient_tolerance,
        cycles=level.max_cycles,
        what="embedded unrestricted Hartree-Fock",
    )


def functional_in_itself_pair(
    field: MeanField, embedded: EmbeddedPair, start: ConvergedPair, level: Level
) -> float:
    """Error of the functional embedded in itself, started away from the answer, hartree.

    Not far away: an open shell has several solutions, and this is about the one that was embedded.

    Raises
    ------
    ConvergenceError
        If it exceeds 1e-8 hartree (and what second-order theory gives to a level shift).
    """
    first = []
    for orbitals, spin in zip(start.orbitals, embedded.spins, strict=True):
        guess = spin.guess
        other = orbitals[:, : guess.shape[1]]
        first.append(np.linalg.qr(guess + _AWAY * (other @ (other.T @ guess) - guess))[0])
    found = _converge(
        embedded,
        lambda orbitals: two_electron_pair(field, orbitals),
        (first[0], first[1]),
        gradient=level.gradient_tolerance,
        cycles=level.max_cycles,
        what=f"{level.functional} embedded in itself",
    )
    error = found.energy - embedded.low_energy
    _, whole = two_electron_pair(field, occupied_pair(field))
    leaks = [spin.leak(field.hcore + g) for spin, g in zip(embedded.spins, whole, strict=True)]
    # As much again for what is beyond second order.
    allowed = EXACTNESS + 2 * sum(leaks)
    if abs(error) > allowed:
        raise ConvergenceError(
            f"{level.functional} embedded in itself misses the full energy by {error:.1e} hartree",
            remedy="the DFT solution may not be the lowest one of its spin, or is not tight enough: tighten "
            f"scf_tolerance and gradient_tolerance; allowed are {allowed:.0e}",
        )
    return error


def two_electron_pair(field: MeanField, orbitals: Pair) -> tuple[float, Pair]:
    """Energy and potentials g of singly occupied orbitals: Coulomb, exchange, correlation.

    Parameters
    ----------
    field
        Unrestricted mean field.
    orbitals
        ``(n_ao, n)`` per spin; a spin may be empty.

    Returns
    -------
    energy, potentials
        Hartree; two of shape ``(n_ao, n_ao)``.
    """
    if max(c.shape[1] for c in orbitals) == 0:
        return 0.0, (np.zeros_like(field.hcore), np.zeros_like(field.hcore))
    potential = field.engine.get_veff(field.engine.mol, _density_pair(orbitals))
    both = np.asarray(potential)
    return float((potential.ecoul + potential.exc).real), (both[0], both[1])


def _hartree_fock_potentials(field: MeanField, orbitals: Pair) -> Pair:
    """J[both spins] - K[own spin] per spin, ``(n_ao, n_ao)`` hartree, from the integrals of the low level."""
    coulomb, exchange = field.engine.get_jk(field.engine.mol, _density_pair(orbitals), hermi=1)
    total = np.asarray(coulomb).sum(axis=0)
    return total - exchange[0], total - exchange[1]


def _density_pair(orbitals: Pair) -> Matrix:
    """Density matrices ``(2, n_ao, n_ao)``, tagged with the orbitals that the engine builds exchange from."""
    from pyscf import lib

    widest = max(c.shape[1] for c in orbitals)
    # Both spins get the same number of columns: the engine stacks them.
    columns = np.array([np.pad(c, ((0, 0), (0, widest - c.shape[1]))) for c in orbitals])
    occupations = np.array([np.where(np.arange(widest) < c.shape[1], 1.0, 0.0) for c in orbitals])
    # Always (2, n, n): the engine takes a single matrix for both spins together and halves it.
    density: Matrix = lib.tag_array(
        columns @ columns.transpose(0, 2, 1), mo_coeff=columns, mo_occ=occupations
    )
    return density


def _converge(
    embedded: EmbeddedPair,
    two_electron: Callable[[Pair], tuple[float, Pair]],
    guess: Pair,
    *,
    gradient: float,
    cycles: int,
    what: str,
) -> ConvergedPair:
    """Self-consistent orbitals of a two-electron energy and potentials in the AO basis."""
    alpha, beta = embedded.spins

    def build(occupied: Pair) -> tuple[float, Pair]:
        energy, potentials = two_electron((alpha.basis @ occupied[0], beta.basis @ occupied[1]))
        one = sum(float(np.sum(c * (s.h @ c))) for c, s in zip(occupied, embedded.spins, strict=True))
        return one + energy, (alpha.fock(potentials[0]), beta.fock(potentials[1]))

    found = self_consistent_pair(build, guess, gradient=gradient, cycles=cycles, what=what)
    up, down = (
        spin.visible(c, e) for spin, c, e in zip(embedded.spins, found.orbitals, found.energies, strict=True)
    )
    return ConvergedPair(found.energy, (up[0], down[0]), (up[1], down[1]))
