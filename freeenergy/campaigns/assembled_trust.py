"""From the finished tasks of a campaign to what its trust rests on: starts of works, restraint, doubts."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from drupe.freeenergy.alchemical.anchors import boresch_coordinates
from drupe.freeenergy.alchemical.restraint_health import RestraintTrace
from drupe.freeenergy.alchemical.restraints import BoreschRestraint
from drupe.freeenergy.campaigns.stages import by_correlation
from drupe.freeenergy.estimation.extrapolation import Doubts
from drupe.freeenergy.simulation.periodic import nearest_chain
from drupe.freeenergy.tasks.runner import Node
from drupe.records import content_key

__all__ = ["Starts", "doubts", "restraint_traces", "starts_of"]


class Results(Protocol):
    """Finished results by the name of their node."""

    nodes: Sequence[Node]

    def __contains__(self, name: str) -> bool: ...

    def __getitem__(self, name: str) -> Any: ...

    def matching(self, pattern: str) -> list[Any]: ...


class Starts(NamedTuple):
    """Run and time (ps) of the start of each work; None where a start is in none of the runs.

    ``correlated`` counts those within a statistical inefficiency of a frame that was taken before them.
    """

    runs: NDArray[np.int64] | None
    times: NDArray[np.float64] | None
    correlated: int = 0


def starts_of(results: Results, leg: str, direction: str, kind: str) -> Starts:
    """Find each work's start among the frames of the runs it was taken from, by its content.

    Parameters
    ----------
    results
        Of the campaign.
    leg, direction
        Of the works.
    kind
        Of the runs: ``"sample"`` or ``"ml-low"``.
    """
    place: dict[str, tuple[int, float]] = {}
    runs = results.matching(rf"{leg}/{kind}/\d+")
    apart = set(by_correlation(runs)[0])
    close: set[str] = set()
    for number, run in enumerate(runs):
        for k, (frame, time) in enumerate(zip(run.positions, run.spec.frame_times_ps.tolist(), strict=True)):
            key = content_key("Positions", {"positions": np.asarray(frame, np.float64)})
            place[key] = (number, time)
            if (number, k) not in apart:
                close.add(key)
    works = results.matching(rf"{leg}/{direction}/\d+")
    found = [place.get(work.start) for work in works]
    known = [one for one in found if one is not None]
    if len(known) != len(found):
        return Starts(None, None)
    return Starts(
        np.array([run for run, _ in known], np.int64),
        np.array([time for _, time in known]),
        sum(work.start in close for work in works),
    )


def restraint_traces(results: Results, restraint: BoreschRestraint) -> Iterator[RestraintTrace]:
    """Six coordinates along every run of the complex and every window with the whole restraint.

    Where replicas are exchanged a window is a state: its frames, one after the other, are of any replica.
    """
    yield from _exchanged(results)
    for node in results.nodes:
        if node.name not in results:
            continue
        if re.fullmatch(r"complex/(sample|ml-low|ml-core)/\d+", node.name):
            run = results[node.name]
            values = boresch_coordinates(_anchors(run, restraint))
            yield RestraintTrace(node.name, run.spec.frame_times_ps, values, held=False)
        elif re.fullmatch(r"complex/window/\d+/\d+", node.name):
            window = results[node.name]
            if window.restrained is not None and window.schedule.restraint[window.index] == 1.0:
                times = window.spec.frame_times_ps[: len(window.restrained)]
                yield RestraintTrace(node.name, times, window.restrained, held=True)


def _exchanged(results: Results) -> Iterator[RestraintTrace]:
    """Frames of each fully restrained state of a repeat, over its stretches."""
    found = [re.fullmatch(r"complex/exchange/(\d+)/(\d+)", node.name) for node in results.nodes]
    order = sorted((int(one[1]), int(one[2]), one[0]) for one in found if one and one[0] in results)
    for repeat in dict.fromkeys(repeat for repeat, _, _ in order):
        stretches = [results[name] for which, _, name in order if which == repeat]
        kept = [one.restrained for one in stretches if one.restrained is not None]
        if len(kept) < len(stretches):
            continue
        values = np.concatenate(kept, axis=1)
        spec = stretches[0].spec
        times = spec.stride * np.arange(1, values.shape[1] + 1) * spec.step_fs / 1e3
        for state, strength in enumerate(stretches[0].schedule.restraint):
            if strength == 1.0:
                yield RestraintTrace(f"complex/exchange/{repeat}/{state}", times, values[state], held=True)


def _anchors(run: Any, restraint: BoreschRestraint) -> NDArray[np.float64]:
    """The six atoms of a restraint along a run, in a box each at its image nearest to the one before."""
    six: NDArray[np.float64] = run.positions[:, list(restraint.anchors)]
    if run.boxes is None:
        return six
    return np.array([nearest_chain(frame, box) for frame, box in zip(six, run.boxes, strict=True)])


def doubts(results: Results) -> Iterator[Doubts]:
    """What the potentials think of the frames of both end states and along the switches."""
    for leg in ("complex", "solvent"):
        if f"{leg}/levels" in results:
            levels = results[f"{leg}/levels"]
            yield Doubts(f"{leg}, end state", "low", levels.novelty_low, levels.sigma_low)
            yield Doubts(f"{leg}, end state", "core", levels.novelty_core, levels.sigma_core)
        for level, pattern in (("low", "(forward|reverse)"), ("core", "core-(forward|reverse)")):
            works = results.matching(rf"{leg}/{pattern}/\d+")
            if works:
                yield Doubts(
                    f"{leg}, switches",
                    level,
                    np.concatenate([_seen(work, "novelty") for work in works]),
                    np.concatenate([_seen(work, "sigma") for work in works]),
                )


def _seen(work: Any, name: str) -> NDArray[np.float64]:
    """What was seen along a switch; one nan where nobody looked."""
    return np.asarray(getattr(work, name, [np.nan]), np.float64)
