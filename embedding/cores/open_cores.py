"""All cores of an open-shell QM region: mean field and cores in, corrections out (hartree)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.core import CoreResult
from drupe.embedding.cores.core_state import occupations
from drupe.embedding.cores.doubts import check_apart
from drupe.embedding.cores.open_occupied import LocalizedPair, localize_open_core
from drupe.embedding.cores.open_shell import correct_open_core
from drupe.embedding.level import Level
from drupe.embedding.meanfield.newton import check_stable
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.embedding.regions.partition import Core
from drupe.errors import InputError

__all__ = ["correct_open_cores"]

Counts = tuple[int, int]


def correct_open_cores(
    field: MeanField,
    places: Sequence[NDArray[np.int64]],
    cores: Sequence[Core],
    level: Level,
    *,
    check: bool = False,
    admit: Callable[[int, LocalizedPair], None] | None = None,
) -> tuple[tuple[CoreResult, ...], Mapping[str, float]]:
    """Correction of each core, and on request how far those of each two are from additive.

    Parameters
    ----------
    field
        Converged unrestricted DFT of the QM region.
    places, cores
        Atoms of each core, counted in the QM region, and its state.
    level
        Level of theory; ``pair_terms`` asks for the pair terms.
    check
        Also prove that the functional embedded in itself gives the DFT energy.
    admit
        Called with the number of a core and its orbitals before anything expensive; raises to refuse them.

    Returns
    -------
    cores, pairs
        As in `drupe.embedding.cores.corrections`. Two cores together have the alpha and the beta orbitals of
        both: their unpaired electrons are parallel.

    Raises
    ------
    InputError
        If a core does not get the electrons of its multiplicity.
    ConvergenceError
        If an iteration stops short, or the DFT solution is a saddle point.
    """
    counts = occupations(cores, level)
    split = [
        localize_open_core(field, at, n, level, unpaired=core.multiplicity - 1, label=core.label)
        for core, at, n in zip(cores, places, counts, strict=True)
    ]
    if admit is not None:
        for number, own in enumerate(split):
            admit(number, own)
    _check_shared(split)
    shared = _overlaps(field, split)
    check_apart([core.label for core in cores], shared)
    check_stable(field.engine, level)
    kept = [(n, n) if isinstance(n, int) else n for n in level.n_virtual or (None,) * len(cores)]
    found = tuple(
        correct_open_core(
            field,
            atoms,
            own,
            level,
            label=core.label,
            residual_overlap=max((s for pair, s in shared.items() if number in pair), default=0.0),
            n_virtual=n_virtual,
            check=check,
        )
        for number, (core, atoms, own, n_virtual) in enumerate(zip(cores, places, split, kept, strict=True))
    )
    pairs = {}
    for first, second in combinations(range(len(found)), 2) if level.pair_terms else ():
        both = (found[first], found[second])
        atoms = np.sort(np.concatenate([places[first], places[second]]))
        union = localize_open_core(field, atoms, _added(_sizes(split[first]), _sizes(split[second])), level)
        joined = correct_open_core(
            field,
            atoms,
            union,
            replace(level, core_growth=False),
            n_virtual=_virtual_of_both(union, kept[first], kept[second]),
        )
        pairs[f"{both[0].label} + {both[1].label}"] = (
            joined.correction - both[0].correction - both[1].correction
        )
    return found, pairs


def _sizes(own: LocalizedPair) -> Counts:
    return own[0].core.shape[1], own[1].core.shape[1]


def _added(one: Counts, other: Counts) -> Counts:
    return one[0] + other[0], one[1] + other[1]


def _virtual_of_both(union: LocalizedPair, one: Counts | None, other: Counts | None) -> Counts | None:
    """Virtual orbitals of two cores together, no more than there are."""
    if one is None or other is None:
        return None
    full = [len(u.core) - u.core.shape[1] - u.rest.shape[1] for u in union]
    alpha, beta = (min(n, most) for n, most in zip(_added(one, other), full, strict=True))
    return alpha, beta


def _check_shared(split: Sequence[LocalizedPair]) -> None:
    """Refuse cores that together have more orbitals of a spin than there are: a bond is in both."""
    for spin, number in (("alpha", 0), ("beta", 1)):
        counts = [own[number].core.shape[1] for own in split]
        whole = split[0][number].core.shape[1] + split[0][number].rest.shape[1]
        if sum(counts) > whole:
            raise InputError(
                f"the cores have {' + '.join(map(str, counts))} occupied {spin} orbitals, the QM region "
                f"{whole}: what they share would be corrected twice",
                remedy="merge cores that are bonded to each other, or give each its n_occupied",
            )


def _overlaps(field: MeanField, split: Sequence[LocalizedPair]) -> dict[tuple[int, int], float]:
    """Largest overlap of the orbitals of each two cores, of either spin; 0 without orbitals."""
    return {
        (i, j): max(
            float(np.linalg.norm(mine.core.T @ field.overlap @ its.core, 2))
            if mine.core.size and its.core.size
            else 0.0
            for mine, its in zip(split[i], split[j], strict=True)
        )
        for i, j in combinations(range(len(split)), 2)
    }
