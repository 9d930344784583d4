"""Occupied orbitals of an open-shell core: an unrestricted mean field in, core and rest per spin out."""

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.occupied import split_occupied
from drupe.embedding.kernels.localization import Localized
from drupe.embedding.level import Level
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.errors import InputError

__all__ = ["LocalizedPair", "localize_grown_core", "localize_open_core", "occupied_pair"]

Matrix = NDArray[np.float64]
Pair = tuple[Matrix, Matrix]
LocalizedPair = tuple[Localized, Localized]

_CLEAR = 0.75  # of the largest gap of its spin: what a gap needs that is chosen for the multiplicity


def localize_open_core(
    field: MeanField,
    atoms: NDArray[np.int64],
    counts: tuple[int, int] | None,
    level: Level | None = None,
    *,
    unpaired: int = 0,
    label: str = "core",
) -> LocalizedPair:
    """Occupied orbitals of the core on ``atoms`` (counted in the QM region), and the others, per spin.

    Parameters
    ----------
    field
        Converged unrestricted DFT.
    atoms
        The core's atoms, counted in the QM region.
    counts
        Alpha and beta orbitals of the core. None takes each spin at its largest gap, which may also leave
        a spin without any; where these differ by another number than ``unpaired``, since the two spins of
        a cut bond went to different sides, the two gaps with the largest sum that differ by ``unpaired``.
    level
        Names the localisation; None takes SPADE.
    unpaired
        Alpha orbitals less beta orbitals.
    label
        Name of the core for messages.

    Raises
    ------
    InputError
        If more orbitals are asked for than are occupied, or the gaps speak against ``unpaired``: one of
        them would be less than three quarters of the largest one of its spin.
    """
    method = "spade" if level is None else level.localization
    whole = [_sorted_orbitals(field, occupied, atoms, method) for occupied in occupied_pair(field)]
    alpha, beta = whole
    if counts is None:
        counts = _choose_counts(alpha, beta, unpaired, label, everything=len(atoms) == field.engine.mol.natm)
    for spin, wanted, one in zip(("alpha", "beta"), counts, whole, strict=True):
        if wanted > one.core.shape[1]:
            raise InputError(
                f"the level gives a core {wanted} {spin} orbitals, the QM region has {one.core.shape[1]}",
                remedy="lower n_occupied",
            )
    return _take(alpha, counts[0]), _take(beta, counts[1])


def localize_grown_core(
    field: MeanField, atoms: NDArray[np.int64], level: Level, *, unpaired: int
) -> LocalizedPair:
    """Orbitals of a larger core around one with ``unpaired`` electrons, whose own state nobody declared.

    It has the two gaps with the largest sum among all states with at least the unpaired electrons of the
    core in it and at most those of the region. Other arguments and the result as in `localize_open_core`.
    """
    alpha, beta = (_sorted_orbitals(field, c, atoms, level.localization) for c in occupied_pair(field))
    counts = alpha.core.shape[1], beta.core.shape[1]
    if len(atoms) < field.engine.mol.natm:
        states = range(unpaired, field.engine.mol.spin + 1)
        gaps = {pair: gap for extra in states for pair, gap in _legal_gaps(alpha, beta, extra).items()}
        counts = max(gaps, key=lambda pair: sum(gaps[pair]))
    return _take(alpha, counts[0]), _take(beta, counts[1])


def occupied_pair(field: MeanField) -> Pair:
    """Occupied orbitals of an unrestricted mean field, ``(n_ao, n)`` for alpha and for beta."""
    engine = field.engine
    alpha, beta = (c[:, n > 0] for c, n in zip(engine.mo_coeff, engine.mo_occ, strict=True))
    return alpha, beta


def _sorted_orbitals(field: MeanField, occupied: Matrix, atoms: NDArray[np.int64], method: str) -> Localized:
    """All occupied orbitals of one spin, by falling weight on the core."""
    if occupied.shape[1] == 0:
        return Localized(occupied, occupied, np.zeros(0), 1.0)
    return split_occupied(field.engine.mol, field.overlap, occupied, atoms, occupied.shape[1], method)


def _falls(whole: Localized) -> NDArray[np.float64]:
    """Fall of the weights after 0, 1, ... orbitals: a spin may have nothing in the core."""
    falls: NDArray[np.float64] = np.append(1.0, whole.singular_values) - np.append(whole.singular_values, 0.0)
    return falls


def _take(whole: Localized, count: int) -> Localized:
    orbitals = whole.core
    gap = float(_falls(whole)[count])
    return Localized(orbitals[:, :count], orbitals[:, count:], whole.singular_values, gap)


def _choose_counts(
    alpha: Localized, beta: Localized, unpaired: int, label: str, *, everything: bool
) -> tuple[int, int]:
    n_alpha, n_beta = alpha.core.shape[1], beta.core.shape[1]
    if everything:
        return n_alpha, n_beta  # there is no gap to look for
    falls = _inner_falls(alpha), _inner_falls(beta)
    free = int(np.argmax(falls[0])), int(np.argmax(falls[1]))
    if free[0] - free[1] == unpaired:
        return free
    gaps = _legal_gaps(alpha, beta, unpaired)
    best = max(gaps, key=lambda pair: sum(gaps[pair]), default=None)
    largest = falls[0].max(), falls[1].max()
    if best and all(g >= _CLEAR * most for g, most in zip(gaps[best], largest, strict=True)):
        return best
    offer = f"; the best with the declared one are {best} with gaps {_words(gaps[best])}" if best else ""
    raise InputError(
        f"the core {label!r} of multiplicity {unpaired + 1} gets {free[0]} alpha and {free[1]} beta "
        f"electrons at its largest gaps ({_words(largest)}){offer}",
        remedy="declare the multiplicity the core has, choose atoms that hold the unpaired electrons, or "
        f"force numbers with n_occupied=({best or (n_alpha, n_beta)},)",
    )


def _inner_falls(whole: Localized) -> NDArray[np.float64]:
    """Falls without the last, which ends at nothing, not at the surroundings: unless there is but one."""
    falls = _falls(whole)
    return falls if len(falls) <= 2 else falls[:-1]


def _legal_gaps(
    alpha: Localized, beta: Localized, unpaired: int
) -> dict[tuple[int, int], tuple[float, float]]:
    """Both gaps of every core with ``unpaired`` more alpha than beta orbitals."""
    up, down = _inner_falls(alpha), _inner_falls(beta)
    legal = [(n + unpaired, n) for n in range(len(down)) if n + unpaired < len(up)]
    return {pair: (float(up[pair[0]]), float(down[pair[1]])) for pair in legal if sum(pair)}


def _words(gaps: tuple[float, float]) -> str:
    return f"{gaps[0]:.2f} and {gaps[1]:.2f}"
