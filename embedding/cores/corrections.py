"""All cores of one QM region: its mean field, the cores' atoms and a level in; corrections out (hartree).

The cores share the overlap's root, the potential of the whole density, and the three-index tensor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.core import CoreResult, correct_core, localize_core
from drupe.embedding.cores.doubts import check_apart
from drupe.embedding.cores.solved import SolvedCore
from drupe.embedding.kernels.localization import Localized, symmetric_root
from drupe.embedding.level import Level
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.errors import InputError

__all__ = ["correct_cores"]


def correct_cores(
    field: MeanField,
    places: Sequence[NDArray[np.int64]],
    labels: Sequence[str],
    level: Level,
    *,
    check: bool = False,
    keep: Callable[[SolvedCore], None] | None = None,
    admit: Callable[[int, Localized], None] | None = None,
) -> tuple[tuple[CoreResult, ...], Mapping[str, float]]:
    """Correction of each core, and on request how far those of each two are from additive.

    Parameters
    ----------
    field
        Converged closed-shell DFT of the QM region in the MM charges.
    places, labels
        Atoms of each core, counted in the QM region, and its name.
    level
        Level of theory; ``pair_terms`` asks for the pair terms.
    check, keep
        As in `correct_core`.
    admit
        Called with the number of a core and its orbitals before anything expensive; raises to refuse them.

    Returns
    -------
    cores
        One result per core.
    pairs
        dE_IJ - dE_I - dE_J in hartree by ``"name I + name J"``, with dE_IJ the correction of both as one
        core. They are reported and not added: the energy of the level is the sum over its cores, and two
        cores whose pair term matters should be one core.

    Raises
    ------
    InputError
        If an ``n_occupied`` or ``n_virtual`` does not fit, or two cores share a bond.
    ConvergenceError
        If any core does not converge.
    """
    counts = _paired(level.n_occupied, len(places))
    kept = _paired(level.n_virtual, len(places))
    root = symmetric_root(field.overlap)
    split = [localize_core(field, at, n, level, root=root) for at, n in zip(places, counts, strict=True)]
    if admit is not None:
        for number, own in enumerate(split):
            admit(number, own)
    _check_shared(split, field.occupied.shape[1])
    shared = _overlaps(field, split)
    check_apart(labels, shared)
    cores = tuple(
        correct_core(
            field,
            atoms,
            own,
            level,
            label=label,
            residual_overlap=max((s for pair, s in shared.items() if number in pair), default=0.0),
            n_virtual=n_virtual,
            check=check,
            keep=keep,
        )
        for number, (atoms, own, label, n_virtual) in enumerate(zip(places, split, labels, kept, strict=True))
    )
    pairs = {}
    for first, second in combinations(range(len(cores)), 2) if level.pair_terms else ():
        both = (cores[first], cores[second])
        atoms = np.sort(np.concatenate([places[first], places[second]]))
        n_both = split[first].core.shape[1] + split[second].core.shape[1]
        union = localize_core(field, atoms, n_both, level, root=root)
        sizes = [n for n in (kept[first], kept[second]) if n is not None]
        n_all = len(field.overlap) - field.occupied.shape[1]
        n_virtual = min(sum(sizes), n_all) if sizes else None
        single = replace(level, core_growth=False)
        joined = correct_core(field, atoms, union, single, n_virtual=n_virtual)
        pairs[f"{both[0].label} + {both[1].label}"] = (
            joined.correction - both[0].correction - both[1].correction
        )
    return cores, pairs


def _check_shared(split: list[Localized], n_occupied: int) -> None:
    """Refuse cores that together have more orbitals than there are: a bond between them is in both."""
    counts = [own.core.shape[1] for own in split]
    if sum(counts) > n_occupied:
        raise InputError(
            f"the cores have {' + '.join(map(str, counts))} occupied orbitals, the QM region {n_occupied}: "
            "what they share would be corrected twice",
            remedy="merge cores that are bonded to each other, or give each its n_occupied",
        )


def _paired(given: tuple[int | tuple[int, int], ...] | None, n_cores: int) -> list[int | None]:
    """One number per core; a pair has equal numbers in a closed shell."""
    return [n[0] if isinstance(n, tuple) else n for n in given or (None,) * n_cores]


def _overlaps(field: MeanField, split: list[Localized]) -> dict[tuple[int, int], float]:
    """Largest overlap of the orbitals of each two cores."""
    return {
        (i, j): float(np.linalg.norm(split[i].core.T @ field.overlap @ split[j].core, 2))
        for i, j in combinations(range(len(split)), 2)
    }
