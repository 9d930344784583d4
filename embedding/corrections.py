"""All cores of one QM region: its mean field, the cores' atoms and a level in; corrections out (hartree).

The cores share the overlap's root, the potential of the whole density, and the three-index tensor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.core import CoreResult, correct_core, localize_core
from drupe.embedding.level import Level
from drupe.embedding.localization import Localized, symmetric_root
from drupe.embedding.qmmm import MeanField
from drupe.embedding.solved import SolvedCore

__all__ = ["correct_cores"]


def correct_cores(
    field: MeanField,
    places: Sequence[NDArray[np.int64]],
    labels: Sequence[str],
    level: Level,
    *,
    check: bool = False,
    keep: Callable[[SolvedCore], None] | None = None,
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
        If an ``n_occupied`` or ``n_virtual`` does not fit.
    ConvergenceError
        If any core does not converge.
    """
    counts = level.n_occupied or (None,) * len(places)
    kept = level.n_virtual or (None,) * len(places)
    root = symmetric_root(field.overlap)
    split = [localize_core(field, at, n, level, root=root) for at, n in zip(places, counts, strict=True)]
    cores = tuple(
        correct_core(
            field,
            atoms,
            own,
            level,
            label=label,
            residual_overlap=_residual(field, own, split),
            n_virtual=n_virtual,
            check=check,
            keep=keep,
        )
        for atoms, own, label, n_virtual in zip(places, split, labels, kept, strict=True)
    )
    pairs = {}
    for first, second in combinations(range(len(cores)), 2) if level.pair_terms else ():
        both = (cores[first], cores[second])
        atoms = np.sort(np.concatenate([places[first], places[second]]))
        union = localize_core(field, atoms, both[0].n_occupied + both[1].n_occupied, level, root=root)
        n_virtual = None if level.n_virtual is None else both[0].n_virtual + both[1].n_virtual
        single = replace(level, core_growth=False)
        joined = correct_core(field, atoms, union, single, n_virtual=n_virtual)
        pairs[f"{both[0].label} + {both[1].label}"] = (
            joined.correction - both[0].correction - both[1].correction
        )
    return cores, pairs


def _residual(field: MeanField, own: Localized, split: list[Localized]) -> float:
    covered = own.core.T @ field.overlap
    return max((float(np.linalg.norm(covered @ o.core, 2)) for o in split if o is not own), default=0.0)
