"""Bodies of a campaign's tasks: each takes its settings and the records before it, and returns one record.

They run in worker processes, so what a stage needs is imported inside it: a label never loads torch,
a window never loads PySCF.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.labeling import Label, Level
from drupe.errors import InputError
from drupe.freeenergy.campaigns.preparation import Prepared
from drupe.freeenergy.campaigns.systems import mm_system
from drupe.records import frozen, register

if TYPE_CHECKING:
    from drupe.freeenergy.alchemical.alchemy import Schedule, WindowSamples
    from drupe.freeenergy.alchemical.restraints import BoreschRestraint
    from drupe.freeenergy.simulation.sampling import SampleSpec, Trajectory
    from drupe.mlp.passes import Precision

__all__ = [
    "LabelStage",
    "LabelledSnapshot",
    "Place",
    "RestraintStage",
    "SampleStage",
    "SnapshotStage",
    "Snapshots",
    "WindowStage",
    "by_correlation",
]


@register(version=2, upgrades={1: lambda fields: {**fields, "precision": "double"}})
@dataclass(frozen=True, eq=False)
class Place:
    """Where OpenMM runs: platform name and threads; and the precision of a learned potential's network."""

    platform: str = "auto"
    threads: int = 1
    precision: "Precision" = "double"


@register(version=1)
@dataclass(frozen=True, eq=False)
class SampleStage:
    """Settings of `sample_leg` and `sample_mixed`; ``start`` picks the start frame of the latter."""

    leg: str
    spec: "SampleSpec"
    place: Place
    start: int = 0


@register(version=1)
@dataclass(frozen=True, eq=False)
class SnapshotStage:
    """Settings of `pick_snapshots`: how many frames to label and how many to start switches from."""

    leg: str
    labels: int
    switches: int


@register(version=2, upgrades={1: lambda fields: {**fields, "time": None}})
@dataclass(frozen=True, eq=False)
class Snapshots:
    """Different frames of the MM runs of one leg: the first ``labels`` to label, the others to switch from.

    =============  =======================  ========================================================
    field          shape                    meaning
    =============  =======================  ========================================================
    positions      ``(frames, atoms, 3)``   bohr
    run            ``(frames,)``            which run each frame is from
    labels         scalar                   how many of them are for labels
    correlated     scalar                   frames taken although a statistical inefficiency apart
                                            from its neighbours there were no more
    boxes          ``(frames, 3, 3)``       bohr; None without a box
    time           ``(frames,)``            when in its run each frame is, ps; None where nobody knows
    =============  =======================  ========================================================
    """

    positions: NDArray[np.float64]
    run: NDArray[np.int64]
    labels: int
    correlated: int
    boxes: NDArray[np.float64] | None = None
    time: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.time is not None:
            object.__setattr__(self, "time", frozen(self.time, np.float64))
        if self.boxes is not None:
            object.__setattr__(self, "boxes", frozen(self.boxes, np.float64))
        object.__setattr__(self, "positions", frozen(self.positions, np.float64))
        object.__setattr__(self, "run", frozen(self.run, np.int64))

    def box(self, index: int) -> NDArray[np.float64] | None:
        """Box of one frame, ``(3, 3)``, bohr; None without a box."""
        return None if self.boxes is None else self.boxes[index]


@register(version=1)
@dataclass(frozen=True, eq=False)
class LabelStage:
    """Settings of `label_snapshot`: which snapshot, at which level; ``check`` also runs DFT-in-DFT."""

    leg: str
    index: int
    level: Level
    check: bool = False


@register(version=1)
@dataclass(frozen=True, eq=False)
class LabelledSnapshot:
    """A label and where its geometry came from."""

    leg: str
    index: int
    run: int
    label: Label

    @property
    def ledger_energies(self) -> Mapping[str, float]:
        """Energies for the campaign's ledger, in hartree."""
        return {"low": self.label.energy_low, "total": self.label.energy}


@register(version=1)
@dataclass(frozen=True, eq=False)
class RestraintStage:
    """Settings of `find_restraint`."""

    temperature_k: float


@register(version=1)
@dataclass(frozen=True, eq=False)
class WindowStage:
    """Settings of `run_alchemical_window`: which state of which schedule; ``start`` picks the start frame."""

    leg: str
    schedule: "Schedule"
    index: int
    spec: "SampleSpec"
    place: Place
    start: int


def sample_leg(settings: SampleStage, prepared: Prepared) -> "Trajectory":
    """Sample a leg with its MM force field from the input structure."""
    from drupe.freeenergy.simulation.periodic import whole_start
    from drupe.freeenergy.simulation.sampling import sample

    leg = prepared.leg(settings.leg)
    system, place = leg.structure.system, settings.place
    return sample(
        mm_system(leg),
        system.positions if system.box is None else whole_start(leg.structure, system.positions, None),
        settings.spec,
        platform=place.platform,
        threads=place.threads,
    )


def pick_snapshots(settings: SnapshotStage, *runs: "Trajectory") -> Snapshots:
    """Choose different frames, decorrelated ones first, in turn from each run."""
    wanted = settings.labels + settings.switches
    apart, others = by_correlation(runs)
    chosen = (apart + others)[:wanted]
    if len(chosen) < wanted:
        raise InputError(
            f"the {settings.leg} runs hold {len(chosen)} frames, {wanted} are needed",
            remedy="raise sampling frames or runs",
        )
    return Snapshots(
        positions=np.array([runs[number].positions[frame] for number, frame in chosen]),
        run=np.array([number for number, _ in chosen]),
        labels=settings.labels,
        correlated=max(wanted - len(apart), 0),
        boxes=_boxes(runs, chosen),
        time=np.array([runs[number].spec.frame_times_ps[frame] for number, frame in chosen]),
    )


def _boxes(runs: "Sequence[Trajectory]", chosen: Sequence[tuple[int, int]]) -> NDArray[np.float64] | None:
    """Box of each chosen (run, frame); None where a run has none."""
    found = [(runs[number].boxes, frame) for number, frame in chosen]
    boxes = [table[frame] for table, frame in found if table is not None]
    return np.array(boxes) if len(boxes) == len(found) else None


def by_correlation(runs: "Sequence[Trajectory]") -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(run, frame) a statistical inefficiency apart, then all others; both in turn from each run."""
    from drupe.freeenergy.simulation.sampling import decorrelated

    apart: list[list[tuple[int, int]]] = []
    others: list[list[tuple[int, int]]] = []
    for number, run in enumerate(runs):
        kept = set(decorrelated(run).frames.tolist())
        apart.append([(number, frame) for frame in sorted(kept)])
        others.append([(number, frame) for frame in range(len(run.positions)) if frame not in kept])
    return _in_turn(apart), _in_turn(others)


def _in_turn(groups: list[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    longest = max((len(group) for group in groups), default=0)
    return [group[k] for k in range(longest) for group in groups if k < len(group)]


def label_reference(settings: LabelStage, prepared: Prepared) -> LabelledSnapshot:
    """Label the input structure of a leg: it fixes how many orbitals each core has, for all snapshots."""
    from drupe.embedding.labeling import label

    leg = prepared.leg(settings.leg)
    made = label(leg.structure.system, leg.regions, settings.level, check=settings.check)
    return LabelledSnapshot(settings.leg, settings.index, -1, made)


def label_snapshot(
    settings: LabelStage, prepared: Prepared, snapshots: Snapshots, reference: LabelledSnapshot
) -> LabelledSnapshot:
    """Label one snapshot with the orbital counts of the reference."""
    from drupe.embedding.labeling import label

    leg = prepared.leg(settings.leg)
    level = settings.level
    if level.core is not None:
        level = replace(level, n_occupied=tuple(core.n_occupied for core in reference.label.cores))
    system = leg.structure.system.with_positions(snapshots.positions[settings.index])
    if (box := snapshots.box(settings.index)) is not None:
        system = system.with_box(box)
    made = label(system, leg.regions, level, check=settings.check)
    return LabelledSnapshot(settings.leg, settings.index, int(snapshots.run[settings.index]), made)


def find_restraint(settings: RestraintStage, prepared: Prepared, *runs: "Trajectory") -> "BoreschRestraint":
    """Choose the restraint of the complex from its MM runs."""
    from drupe.freeenergy.alchemical.restraints import choose

    leg = prepared.complex
    frames = np.concatenate([run.positions for run in runs])
    boxes = _boxes(
        runs, [(number, frame) for number, run in enumerate(runs) for frame in range(len(run.positions))]
    )
    return choose(leg.structure, leg.ligand, frames, settings.temperature_k, boxes=boxes)


def run_alchemical_window(
    settings: WindowStage, prepared: Prepared, snapshots: Snapshots, *restraint: "BoreschRestraint"
) -> "WindowSamples":
    """Sample one alchemical state and evaluate its frames in all states."""
    from drupe.freeenergy.alchemical.alchemy import run_window

    leg = prepared.leg(settings.leg)
    start = settings.start % len(snapshots.positions)
    return run_window(
        leg.structure,
        leg.ligand,
        settings.schedule,
        settings.index,
        restraint[0] if restraint else None,
        settings.spec,
        snapshots.positions[start],
        start_box=snapshots.box(start),
        counter_ions=leg.counter_ions,
        platform=settings.place.platform,
        threads=settings.place.threads,
    )
