"""From the finished tasks of a campaign to what its trust rests on: starts of works, restraint, doubts."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from drupe.freeenergy.alchemical.anchors import boresch_coordinates
from drupe.freeenergy.alchemical.restraint_health import RestraintTrace
from drupe.freeenergy.alchemical.restraints import BoreschRestraint
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
    """Run and time (ps) of the start of each work; None where a start is in none of the runs."""

    runs: NDArray[np.int64] | None
    times: NDArray[np.float64] | None


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
    for number, run in enumerate(results.matching(rf"{leg}/{kind}/\d+")):
        for frame, time in zip(run.positions, _times(run.spec), strict=True):
            place[content_key("Positions", {"positions": np.asarray(frame, np.float64)})] = (number, time)
    found = [place.get(work.start) for work in results.matching(rf"{leg}/{direction}/\d+")]
    known = [one for one in found if one is not None]
    if len(known) != len(found):
        return Starts(None, None)
    return Starts(np.array([run for run, _ in known], np.int64), np.array([time for _, time in known]))


def restraint_traces(results: Results, restraint: BoreschRestraint) -> Iterator[RestraintTrace]:
    """Six coordinates along every run of the complex and every window with the whole restraint."""
    for node in results.nodes:
        if node.name not in results:
            continue
        if re.fullmatch(r"complex/(sample|ml-low|ml-core)/\d+", node.name):
            run = results[node.name]
            values = boresch_coordinates(_anchors(run, restraint))
            yield RestraintTrace(node.name, np.array(_times(run.spec)), values, held=False)
        elif re.fullmatch(r"complex/window/\d+/\d+", node.name):
            window = results[node.name]
            if window.restrained is not None and window.schedule.restraint[window.index] == 1.0:
                times = np.array(_times(window.spec))[: len(window.restrained)]
                yield RestraintTrace(node.name, times, window.restrained, held=True)


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
        works = results.matching(rf"{leg}/(forward|reverse)/\d+")
        watched = [work for work in works if hasattr(work, "novelty")]
        if works:
            yield Doubts(
                f"{leg}, switches",
                "low",
                np.concatenate([np.zeros(0), *(work.novelty for work in watched)]),
                np.concatenate([np.zeros(0), *(work.sigma for work in watched)]),
            )


def _times(spec: Any) -> list[float]:
    """Time of each kept frame, ps."""
    steps = spec.n_equilibration + spec.stride * np.arange(1, spec.n_frames + 1)
    return [float(time) for time in steps * spec.step_fs / 1e3]
