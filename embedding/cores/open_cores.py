"""All cores of an open-shell QM region: mean field and cores in, one correction each out (hartree)."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.core import CoreResult
from drupe.embedding.cores.core_state import occupations
from drupe.embedding.cores.open_occupied import LocalizedPair, localize_open_core
from drupe.embedding.cores.open_shell import correct_open_core
from drupe.embedding.cores.spin_solvers import known_unrestricted_solver
from drupe.embedding.level import Level
from drupe.embedding.meanfield.newton import check_stable
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.embedding.regions.partition import Core
from drupe.errors import InputError

__all__ = ["check_open_level", "correct_open_cores"]


def check_open_level(level: Level) -> None:
    """Refuse what unrestricted cores do not have.

    Raises
    ------
    InputError
        If the solver, the projector or an option is for closed shells only.
    """
    assert level.core is not None
    known_unrestricted_solver(level.core)
    closed_only = {
        "projector": level.projector != "projected",
        "frozen_core": level.frozen_core,
        "pair_terms": level.pair_terms,
        "core_growth": level.core_growth,
    }
    for name, asked in closed_only.items():
        if asked:
            raise InputError(
                f"{name}={getattr(level, name)!r} with cores in an open-shell QM region",
                remedy=f"leave {name} out: it is available for closed shells only",
            )


def correct_open_cores(
    field: MeanField,
    places: Sequence[NDArray[np.int64]],
    cores: Sequence[Core],
    level: Level,
    *,
    check: bool = False,
    admit: Callable[[int, LocalizedPair], None] | None = None,
) -> tuple[CoreResult, ...]:
    """Correction of each core.

    Parameters
    ----------
    field
        Converged unrestricted DFT of the QM region.
    places, cores
        Atoms of each core, counted in the QM region, and its state.
    level
        Level of theory.
    check
        Also prove that the functional embedded in itself gives the DFT energy.
    admit
        Called with the number of a core and its orbitals before anything expensive; raises to refuse them.

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
    check_stable(field.engine, level)
    kept = [(n, n) if isinstance(n, int) else n for n in level.n_virtual or (None,) * len(cores)]
    return tuple(
        correct_open_core(
            field,
            atoms,
            own,
            level,
            label=core.label,
            residual_overlap=_residual(field, own, split),
            n_virtual=n_virtual,
            check=check,
        )
        for core, atoms, own, n_virtual in zip(cores, places, split, kept, strict=True)
    )


def _residual(field: MeanField, own: LocalizedPair, split: Sequence[LocalizedPair]) -> float:
    found = [0.0]
    for other in split:
        for mine, its in zip(own, other, strict=True):
            covered = mine.core.T @ field.overlap @ its.core
            if other is not own and covered.size:
                found.append(float(np.linalg.norm(covered, 2)))
    return max(found)
