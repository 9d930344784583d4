"""Tasks of the corrections: the campaign in, nodes of ML/MM runs, level differences and switches out."""

from collections.abc import Iterator
from typing import Final, Literal

from drupe.freeenergy.campaigns.fitting import CompareStage
from drupe.freeenergy.campaigns.maker import LEGS, Maker
from drupe.freeenergy.campaigns.sampling_tables import LegSwitching
from drupe.freeenergy.campaigns.stages import SampleStage
from drupe.freeenergy.campaigns.switch_stages import PilotStage, SwitchStage
from drupe.freeenergy.switches.switching import SwitchSpec
from drupe.freeenergy.tasks.runner import Node

__all__ = ["mixed_nodes", "switch_nodes"]


_STAGES: Final = "drupe.freeenergy.campaigns.switch_stages"
_FITTING: Final = "drupe.freeenergy.campaigns.fitting"
_DIRECTIONS: Final[tuple[Literal["forward", "reverse"], ...]] = ("forward", "reverse")


def mixed_nodes(make: Maker) -> Iterator[Node]:
    """ML/MM runs of both legs at both levels, and the energy differences between the levels."""
    for level in ("low", "core"):
        for leg in LEGS:
            table = make.switching(leg)
            for run in range(table.runs):
                spec = make.dynamics(
                    make.config.dynamics.ml_step,
                    table.equilibration,
                    table.spacing,
                    table.frames,
                    seed=make.seed(f"mixed-{level}", leg, run),
                    minimise=0,
                )
                yield Node(
                    f"{leg}/ml-{level}/{run}",
                    "ML/MM sampling",
                    f"{_STAGES}:sample_mixed",
                    SampleStage(leg, spec, make.place, start=run),
                    needs=("prepared", f"{leg}/snapshots", f"{level}/committee"),
                    guess_s=spec.n_steps * (0.14 if leg == "complex" else 0.01) + 8,
                )
    for leg in LEGS:
        runs = make.switching(leg).runs
        yield Node(
            f"{leg}/levels",
            "level differences",
            f"{_FITTING}:compare_levels",
            CompareStage(leg, make.config.dynamics.temperature, runs),
            needs=(
                "prepared",
                "low/committee",
                "core/committee",
                *make.runs(leg, "ml-low", runs),
                *make.runs(leg, "ml-core", runs),
            ),
            version=2,
            guess_s=6,
        )


def switch_nodes(make: Maker) -> Iterator[Node]:
    """Non-equilibrium switches between MM and ML/MM, both directions, both legs; pilots before them."""
    for leg in LEGS:
        table: LegSwitching = make.switching(leg)
        spans, pilot = [table.length or 0.0], list[str]()
        if table.pilot is not None:
            spans, pilot = sorted(set(table.pilot.lengths)), [f"{leg}/pilot"]
            yield from _pilot(make, leg, table, spans)
        for direction in _DIRECTIONS:
            for index in range(table.switches):
                name = f"{leg}/{direction}/{index}"
                yield _switch(make, leg, table, direction, index, spans[-1], name, *pilot)
        yield from _core_switches(make, leg, table)


def _core_switches(make: Maker, leg: str, table: LegSwitching) -> Iterator[Node]:
    """Switches between the two levels of the potential, where they are asked for."""
    if table.core is None:
        return
    n_steps = _increments(make, table.core.length)
    for direction, level in zip(_DIRECTIONS, ("low", "core"), strict=True):
        for index in range(table.core.switches):
            name = f"{leg}/core-{direction}/{index}"
            yield Node(
                name,
                f"switches core {direction}",
                f"{_STAGES}:switch_core",
                SwitchStage(
                    leg, index, _protocol(make, n_steps, direction), make.seed(*name.split("/")), make.place
                ),
                needs=(
                    "prepared",
                    "low/committee",
                    "core/committee",
                    *make.runs(leg, f"ml-{level}", table.runs),
                ),
                guess_s=n_steps * (0.15 if leg == "complex" else 0.02) + 8,
            )


def _protocol(make: Maker, n_steps: int, direction: Literal["forward", "reverse"]) -> SwitchSpec:
    dynamics = make.config.dynamics
    return SwitchSpec(
        n_steps=n_steps,
        step_fs=dynamics.ml_step,
        temperature_k=dynamics.temperature,
        friction_per_ps=dynamics.friction,
        direction=direction,
    )


def _pilot(make: Maker, leg: str, table: LegSwitching, spans: list[float]) -> Iterator[Node]:
    """Switches of every length from the frames after those of the estimate, and the choice."""
    names = []
    for span in spans:
        for direction in _DIRECTIONS:
            for k in range(table.piloted):
                names.append(f"{leg}/pilot/{span:g} ps/{direction}/{k}")
                yield _switch(make, leg, table, direction, table.switches + k, span, names[-1])
    yield Node(
        f"{leg}/pilot",
        "pilot switches",
        f"{_STAGES}:choose_switch_length",
        PilotStage(leg, tuple(_increments(make, span) for span in spans)),
        wants=tuple(names),
        guess_s=3,
    )


def _switch(
    make: Maker,
    leg: str,
    table: LegSwitching,
    direction: Literal["forward", "reverse"],
    index: int,
    span: float,
    name: str,
    *pilot: str,
) -> Node:
    n_steps = _increments(make, span)
    spec = _protocol(make, n_steps, direction)
    sources = (
        (f"{leg}/snapshots", "low/committee")
        if direction == "forward"
        else ("low/committee", *make.runs(leg, "ml-low", table.runs))
    )
    in_pilot = name.startswith(f"{leg}/pilot/")
    seed = make.seed(*name.split("/")) if in_pilot else make.seed(direction, leg, index)
    return Node(
        name,
        "pilot switches" if in_pilot else f"switches {direction}",
        f"{_STAGES}:switch_{direction}",
        SwitchStage(leg, index, spec, seed, make.place),
        needs=("prepared", *sources, *pilot),
        guess_s=n_steps * (0.14 if leg == "complex" else 0.01) + 8,
    )


def _increments(make: Maker, span_ps: float) -> int:
    return max(1, round(span_ps * 1e3 / make.config.dynamics.ml_step))
