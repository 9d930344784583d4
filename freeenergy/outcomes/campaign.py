"""What a finished campaign knows, as one record: the only thing the report reads.

Energies of labels in hartree, positions in bohr, forces in hartree / bohr, works and free energies
in kT, times in seconds unless a name says otherwise. Works come in raw: what is concluded from
them is computed by whoever reads the record.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.freeenergy.alchemical.finite_size import FiniteSize
from drupe.freeenergy.alchemical.leg_estimate import LegChecks
from drupe.freeenergy.alchemical.restraint_health import RestraintTrace
from drupe.freeenergy.alchemical.restraints import BoreschRestraint
from drupe.freeenergy.estimation.chain import MbarResult
from drupe.freeenergy.estimation.diagnostics import Verdict
from drupe.freeenergy.estimation.extrapolation import Doubts
from drupe.freeenergy.estimation.label_check import LabelDifferences
from drupe.freeenergy.outcomes.figure_data import LearningCurve, Parity, RegionGeometry, Trace
from drupe.records import frozen, register

__all__ = [
    "CampaignResult",
    "CoreTable",
    "Cost",
    "Count",
    "Failure",
    "MmLeg",
    "RestraintSummary",
    "SwitchingResult",
]

_CORRECTIONS = ("low", "core", "torsions")


def _unchecked(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 was not checked."""
    return {**fields, "checks": ()}


def _as_simulated(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 2 knew no finite-size correction."""
    return {**fields, "finite_size": None}


@register(version=3, upgrades={1: _unchecked, 2: _as_simulated})
@dataclass(frozen=True, eq=False)
class MmLeg:
    """One leg of the MM-level alchemical calculation: one MBAR result per repeat, and what was checked of it.

    ``checks`` has one entry per repeat, or none at all for a result that was not checked. ``finite_size`` is
    what undoes the change of the box's charge, where that was asked for; the repeats are as simulated.
    """

    leg: str  # "complex" or "solvent"
    repeats: tuple[MbarResult, ...]
    checks: tuple[LegChecks, ...] = ()
    finite_size: FiniteSize | None = None

    def __post_init__(self) -> None:
        if not self.repeats or len(self.checks) not in (0, len(self.repeats)):
            raise InputError(
                f"the {self.leg} leg has {len(self.repeats)} repeats and {len(self.checks)} checks",
                remedy="give at least one repeat, and one record of checks per repeat or none",
            )


@register(version=1)
@dataclass(frozen=True)
class RestraintSummary:
    """Boresch restraint in numbers for reading: kT, angstrom, degrees, kcal/mol."""

    release_numerical: float  # kT, free energy of release to the standard state
    release_analytic: float  # kT
    anchors: tuple[str, ...]  # six atoms in words
    values: tuple[float, ...]  # r in angstrom, two angles and three dihedrals in degrees
    force_constants: tuple[float, ...]  # kcal/mol/angstrom^2, then kcal/mol/rad^2


def _without_starts(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew lengths only that were given, and did not say where the works started."""
    return {**fields, "pilot": None}


def _uncounted(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 2 did not count the starts that lie close to others."""
    return {**fields, "correlated": None}


@register(version=3, upgrades={1: _without_starts, 2: _uncounted})
@dataclass(frozen=True, eq=False)
class SwitchingResult:
    """Works of one correction in one leg, kT, as measured.

    ``members`` holds (u_m - u_mean) of the committee (or of draws from a posterior) at end-state frames,
    shape ``(members, frames)``, kT, or None. ``description`` says how: "20 switches of 0.5 ps". ``run_f`` and
    ``run_r`` are the independent runs that the starts came from, ``time_f`` and ``time_r`` when in them, ps;
    one entry per work, or None where nobody knows. ``pilot`` judges the length, where a pilot chose it;
    ``correlated`` counts the forward and reverse starts that lie within a correlation time of another.
    """

    leg: str  # "complex" or "solvent"
    correction: str  # "low" (MM -> low), "core" (low -> core-corrected), "torsions" (MM -> torsion refit)
    w_f: NDArray[np.float64]
    w_r: NDArray[np.float64]
    description: str
    members: NDArray[np.float64] | None = None
    run_f: NDArray[np.int64] | None = None
    run_r: NDArray[np.int64] | None = None
    time_f: NDArray[np.float64] | None = None
    time_r: NDArray[np.float64] | None = None
    pilot: Verdict | None = None
    correlated: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.correlated is not None:
            object.__setattr__(self, "correlated", tuple(self.correlated))
        for name in ("w_f", "w_r"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
        for side in ("f", "r"):
            for name, kind in ((f"run_{side}", np.int64), (f"time_{side}", np.float64)):
                if (value := getattr(self, name)) is None:
                    continue
                object.__setattr__(self, name, frozen(value, kind))
                if len(value) != len(getattr(self, f"w_{side}")):
                    raise InputError(
                        f"{len(getattr(self, f'w_{side}'))} works come with {len(value)} entries of {name}",
                        remedy="give one per work, or None",
                    )
        if self.members is not None:
            object.__setattr__(self, "members", frozen(self.members, np.float64))


def _without_truncation(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 did not keep what MP2 stands for."""
    return fields


@register(version=2, upgrades={1: _without_truncation})
@dataclass(frozen=True, eq=False)
class CoreTable:
    """Core corrections of the labelled snapshots that have one, all of shape ``(labels,)``."""

    leg: tuple[str, ...]
    core: tuple[str, ...]
    correction: NDArray[np.float64]  # hartree
    spade_gap: NDArray[np.float64]
    t1: NDArray[np.float64]
    residual_overlap: NDArray[np.float64]
    dft_in_dft_error: NDArray[np.float64]  # hartree, nan where it was not checked
    seconds: NDArray[np.float64]
    truncation: NDArray[np.float64] | None = None  # hartree, the part of ``correction`` that is MP2 only

    def __post_init__(self) -> None:
        names = ["correction", "spade_gap", "t1", "residual_overlap", "dft_in_dft_error", "seconds"]
        for name in [*names, *(["truncation"] if self.truncation is not None else [])]:
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
            if getattr(self, name).shape != (len(self.leg),) or len(self.core) != len(self.leg):
                raise InputError(
                    f"{len(self.leg)} core corrections have {len(getattr(self, name))} values of {name}",
                    remedy="give every column one entry per correction",
                )


@register(version=1)
@dataclass(frozen=True)
class Count:
    """How many of one kind of task were wanted, done, and failed."""

    what: str
    wanted: int
    done: int
    failed: int = 0


@register(version=1)
@dataclass(frozen=True)
class Cost:
    """Processor time one stage took: sum over its tasks, seconds."""

    stage: str
    seconds: float
    tasks: int = 1


@register(version=1)
@dataclass(frozen=True)
class Failure:
    """A task that ended in one of our own errors: kept, counted and shown."""

    task: str
    found: str
    remedy: str


def _same(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 kept no restraint traces, doubts, labels; 2 no MM campaigns nor boxes; 3 no baseline."""
    return fields


@register(version=4, upgrades={1: _same, 2: _same, 3: _same})
@dataclass(frozen=True, eq=False)
class CampaignResult:
    """Everything the report shows. See the nested records for shapes and units.

    ``settings`` and ``versions`` map a name to a text. ``approximations`` are pairs of a name and
    what it means for the number. ``label_error_kcal`` is the error of the label in each correction
    where one is known, in kcal/mol. ``experiment_kcal`` is dG_bind in kcal/mol. ``boresch`` and
    ``restraint_traces`` are the restraint and what it held, ``doubts`` what the potentials think of the
    frames they were asked for, ``checks`` their fresh labels. ``asked`` is the level that the campaign was to
    reach, ``net_charge`` what is to be said of a charged ligand in a periodic box, whose legs are not
    corrected for their finite size, ``mechanical`` whether the potentials feel no field, as a baseline.
    """

    title: str
    ligand: str
    receptor: str
    temperature_k: float
    seed: int
    regions: RegionGeometry
    mm_legs: tuple[MmLeg, ...]
    restraint: RestraintSummary
    switching: tuple[SwitchingResult, ...]
    cores: CoreTable
    parity: tuple[Parity, ...]
    learning: tuple[LearningCurve, ...]
    traces: tuple[Trace, ...]
    counts: tuple[Count, ...]
    costs: tuple[Cost, ...]
    settings: Mapping[str, str]
    approximations: tuple[tuple[str, str], ...]
    versions: Mapping[str, str]
    failures: tuple[Failure, ...] = ()
    label_error_kcal: float | None = None
    experiment_kcal: float | None = None
    experiment_source: str = ""
    boresch: BoreschRestraint | None = None
    restraint_traces: tuple[RestraintTrace, ...] = ()
    doubts: tuple[Doubts, ...] = ()
    checks: tuple[LabelDifferences, ...] = ()
    asked: str = "core-corrected"  # or "MM"
    net_charge: Verdict | None = None
    mechanical: bool = False

    def __post_init__(self) -> None:
        legs = sorted(leg.leg for leg in self.mm_legs)
        if legs != ["complex", "solvent"]:
            raise InputError(f"the MM level has the legs {legs}", remedy="give one complex, one solvent leg")
        if len({leg.finite_size is None for leg in self.mm_legs}) > 1:
            raise InputError(
                "one leg of the MM level has a finite-size correction, the other has none",
                remedy="correct both legs or neither: their difference counts",
            )
        if self.label_error_kcal is not None and not 0.0 <= self.label_error_kcal < math.inf:
            raise InputError(
                f"the error of the labels is {self.label_error_kcal} kcal/mol",
                remedy="give a standard error of at least 0, or None where it is not known",
            )
        got = sorted((one.correction, one.leg) for one in self.switching)
        for one in set(got):
            if got.count(one) > 1 or one[0] not in _CORRECTIONS or one[1] not in ("complex", "solvent"):
                raise InputError(
                    f"works of correction {one[0]!r} in leg {one[1]!r} come {got.count(one)} times",
                    remedy=f'give each of {", ".join(_CORRECTIONS)} once for "complex", once for "solvent"',
                )

    def mm_leg(self, leg: str) -> MmLeg:
        """Return the MM leg called ``leg``."""
        return next(one for one in self.mm_legs if one.leg == leg)

    def works(self, correction: str, leg: str) -> SwitchingResult | None:
        """Works of a correction in a leg, None if there are none."""
        found = (one for one in self.switching if (one.correction, one.leg) == (correction, leg))
        return next(found, None)

    def check(self, level: str, leg: str) -> LabelDifferences | None:
        """Fresh labels of an end state, None where none were asked for."""
        return next((one for one in self.checks if (one.level, one.leg) == (level, leg)), None)
