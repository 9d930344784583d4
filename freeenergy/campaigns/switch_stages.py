"""Bodies of the tasks behind the corrections: committees and frames in; ML/MM runs, works and lengths out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from drupe.freeenergy.campaigns.preparation import Prepared
from drupe.freeenergy.campaigns.stages import Place, SampleStage, Snapshots, by_correlation
from drupe.freeenergy.campaigns.systems import mixed_system
from drupe.records import register

if TYPE_CHECKING:
    from drupe.freeenergy.simulation.sampling import Trajectory
    from drupe.freeenergy.switches.pilot import PilotChoice
    from drupe.freeenergy.switches.switching import SwitchSpec, Work

__all__ = ["PilotStage", "SwitchStage"]

#: Force group of the switched term alone, so that its derivative can be asked for without the rest.
_SWITCH_GROUP: Final[int] = 7


@register(version=1)
@dataclass(frozen=True, eq=False)
class SwitchStage:
    """Settings of `switch_forward`, `switch_reverse`, `switch_core`: number of the start, protocol, seed.

    Where a pilot chose the length, that is taken instead of the protocol's.
    """

    leg: str
    index: int
    spec: "SwitchSpec"
    seed: int
    place: Place


@register(version=1)
@dataclass(frozen=True, eq=False)
class PilotStage:
    """Settings of `choose_switch_length`: which numbers of increments were tried."""

    leg: str
    n_steps: tuple[int, ...]


def sample_mixed(
    settings: SampleStage, prepared: Prepared, snapshots: Snapshots, gathered: Any
) -> "Trajectory":
    """Sample the ML/MM end state of a leg from an MM frame."""
    from drupe.freeenergy.simulation.sampling import sample

    leg = prepared.leg(settings.leg)
    start = settings.start % len(snapshots.positions)
    return sample(
        mixed_system(leg, gathered, interpolate=False, precision=settings.place.precision),
        snapshots.positions[start],
        settings.spec,
        box=snapshots.box(start),
        platform=settings.place.platform,
        threads=settings.place.threads,
    )


def choose_switch_length(settings: PilotStage, *works: "Work") -> "PilotChoice":
    """Pick the length of a leg's switches from the works of its pilot that were finished."""
    from drupe.freeenergy.switches.pilot import choose_length
    from drupe.freeenergy.switches.work_sets import paired_works

    found = {}
    for n_steps in settings.n_steps:
        here = [work for work in works if work.spec.n_steps == n_steps]
        forward, reverse = (
            [work for work in here if work.spec.direction == way] for way in ("forward", "reverse")
        )
        found[n_steps] = paired_works(forward, reverse)
    return choose_length(found)


def switch_forward(
    settings: SwitchStage, prepared: Prepared, snapshots: Snapshots, gathered: Any, *pilot: "PilotChoice"
) -> "Work":
    """Switch MM to ML/MM from one of the MM frames kept for switches, none of them twice."""
    start = snapshots.labels + settings.index
    return _switch(settings, prepared, snapshots.positions[start], snapshots.box(start), gathered, pilot)


def switch_reverse(
    settings: SwitchStage, prepared: Prepared, gathered: Any, *given: "Trajectory | PilotChoice"
) -> "Work":
    """Switch ML/MM to MM from one of the ML/MM frames, none of them twice, decorrelated ones first."""
    from drupe.freeenergy.simulation.sampling import Trajectory

    runs = [one for one in given if isinstance(one, Trajectory)]
    pilot = [one for one in given if not isinstance(one, Trajectory)]
    return _switch(settings, prepared, *_start(runs, settings.index), gathered, pilot)


def switch_core(
    settings: SwitchStage, prepared: Prepared, low: Any, core: Any, *runs: "Trajectory"
) -> "Work":
    """Switch between the two levels from one of the ML/MM frames of the level it starts at."""
    from drupe.freeenergy.switches.end_states import between
    from drupe.freeenergy.switches.switch_watch import SwitchWatch
    from drupe.freeenergy.switches.switching import switch

    leg = prepared.leg(settings.leg)
    precision = settings.place.precision
    first, second = (mixed_system(leg, one, interpolate=False, precision=precision) for one in (low, core))
    system = between(first, second, _SWITCH_GROUP)
    watch = SwitchWatch(system, settings.spec)
    positions, box = _start(runs, settings.index)
    work = switch(
        system,
        positions,
        settings.spec,
        settings.seed,
        box=box,
        leg=settings.leg,
        platform=settings.place.platform,
        threads=settings.place.threads,
        on_done=watch.look,
    )
    return watch.seen_with(work)


def _start(
    runs: "Sequence[Trajectory]", index: int
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Positions and box of the frame with this number, decorrelated frames first."""
    apart, others = by_correlation(runs)
    run, frame = (apart + others)[index]
    boxes = runs[run].boxes
    return runs[run].positions[frame], None if boxes is None else boxes[frame]


def _switch(
    settings: SwitchStage,
    prepared: Prepared,
    positions: NDArray[np.float64],
    box: NDArray[np.float64] | None,
    gathered: Any,
    pilot: "Sequence[PilotChoice]",
) -> "Work":
    from drupe.freeenergy.switches.switch_watch import SwitchWatch
    from drupe.freeenergy.switches.switching import switch

    system = mixed_system(
        prepared.leg(settings.leg),
        gathered,
        interpolate=True,
        group=_SWITCH_GROUP,
        precision=settings.place.precision,
    )
    spec = settings.spec
    for choice in pilot:
        spec = replace(spec, n_steps=choice.n_steps)
    watch = SwitchWatch(system, spec)
    work = switch(
        system,
        positions,
        spec,
        settings.seed,
        box=box,
        leg=settings.leg,
        platform=settings.place.platform,
        threads=settings.place.threads,
        on_done=watch.look,
    )
    return watch.seen_with(work)
