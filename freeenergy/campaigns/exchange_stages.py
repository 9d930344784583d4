"""Bodies of the tasks of replica exchange: a leg and what came before in, one stretch of its replicas out.

A stretch is one task for all windows of a leg: a process start and the building of the alchemical
systems cost as much as hundreds of steps, so a task for each window and exchange would spend its time on
starting. Legs and repeats run side by side.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.freeenergy.alchemical.anchors import boresch_coordinates
from drupe.freeenergy.alchemical.exchange import Method
from drupe.freeenergy.alchemical.replicas import Phase, Replicas
from drupe.freeenergy.alchemical.stretch import ExchangeStretch
from drupe.freeenergy.campaigns.preparation import Prepared
from drupe.freeenergy.campaigns.stages import Place, Snapshots
from drupe.freeenergy.simulation.periodic import nearest_chain
from drupe.records import register

if TYPE_CHECKING:
    from drupe.freeenergy.alchemical.alchemy import Schedule
    from drupe.freeenergy.alchemical.exchange_dynamics import AlchemicalMover
    from drupe.freeenergy.alchemical.restraints import BoreschRestraint
    from drupe.freeenergy.simulation.sampling import SampleSpec

__all__ = ["ExchangeStage", "begin_exchange", "continue_exchange"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class ExchangeStage:
    """Settings of one stretch: states, dynamics (frames and steps between exchanges, seed), how to exchange.

    ``start`` is the first of the frames that the replicas start from; only the first stretch uses it.
    """

    leg: str
    schedule: "Schedule"
    spec: "SampleSpec"
    method: Method
    place: Place
    start: int = 0


def begin_exchange(
    settings: ExchangeStage, prepared: Prepared, snapshots: Snapshots, *restraint: "BoreschRestraint"
) -> ExchangeStretch:
    """First stretch of a leg: each state starts from its own frame, equilibrates alone, then exchanges."""
    mover = _mover(settings, prepared, restraint)
    count = len(settings.schedule)
    frames = [(settings.start + k) % len(snapshots.positions) for k in range(count)]
    phases = [
        mover.begin(snapshots.positions[frame], k, snapshots.box(frame)) for k, frame in enumerate(frames)
    ]
    return _run(settings, mover, Replicas.of(phases, np.arange(count), 0), restraint)


def continue_exchange(
    settings: ExchangeStage, prepared: Prepared, before: ExchangeStretch, *restraint: "BoreschRestraint"
) -> ExchangeStretch:
    """Another stretch of a leg, from the replicas of the one before.

    Raises
    ------
    InputError
        If the stretch before had other states.
    """
    if before.schedule != settings.schedule:
        raise InputError(
            f"the stretch before had {len(before.schedule)} states that are not those of this one",
            remedy="start the leg again with the schedule that is meant",
        )
    return _run(settings, _mover(settings, prepared, restraint), before.replicas, restraint)


def _mover(
    settings: ExchangeStage, prepared: Prepared, restraint: tuple["BoreschRestraint", ...]
) -> "AlchemicalMover":
    from drupe.freeenergy.alchemical.exchange_dynamics import AlchemicalMover

    leg = prepared.leg(settings.leg)
    return AlchemicalMover(
        leg.structure,
        leg.ligand,
        settings.schedule,
        restraint[0] if restraint else None,
        settings.spec,
        leg.structure.system.positions,
        counter_ions=leg.counter_ions,
        platform=settings.place.platform,
        threads=settings.place.threads,
    )


class _Watched:
    """A mover that notes, frame by frame of each state, the six coordinates that the restraint holds."""

    def __init__(self, mover: "AlchemicalMover", restraint: "BoreschRestraint", states: int) -> None:
        self._mover, self._anchors = mover, list(restraint.anchors)
        self.seen: list[list[NDArray[np.float64]]] = [[] for _ in range(states)]

    def move(self, phase: Phase, state: int, n_steps: int) -> tuple[Phase, NDArray[np.float64]]:
        """As `AlchemicalMover.move`."""
        after, u = self._mover.move(phase, state, n_steps)
        six = after.positions[self._anchors]
        self.seen[state].append(
            boresch_coordinates(six if after.box is None else nearest_chain(six, after.box))
        )
        return after, u


def _run(
    settings: ExchangeStage,
    mover: "AlchemicalMover",
    replicas: Replicas,
    restraint: tuple["BoreschRestraint", ...],
) -> ExchangeStretch:
    from drupe.freeenergy.alchemical.exchange_run import run_iterations

    spec, schedule = settings.spec, settings.schedule
    watched = _Watched(mover, restraint[0], len(schedule)) if restraint else None
    after, tables = run_iterations(
        watched or mover, replicas, spec.n_frames, spec.stride, settings.method, spec.seed
    )
    seen = np.array(watched.seen) if watched else None
    return ExchangeStretch(tables, after, schedule, spec, mover.versions, seen)
