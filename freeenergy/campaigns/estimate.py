"""What a campaign will cost, before it is run: its nodes and a few timed steps in, seconds of each stage out.

Steps of MM dynamics and of alchemical windows are timed on this machine; labels, fits and networks are
guessed.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from drupe.freeenergy.campaigns.config import Config
from drupe.freeenergy.campaigns.exchange_stages import ExchangeStage
from drupe.freeenergy.campaigns.maker import LEGS
from drupe.freeenergy.campaigns.preparation import Leg, Prepared
from drupe.freeenergy.campaigns.stages import SampleStage, WindowStage
from drupe.freeenergy.campaigns.switch_stages import SwitchStage
from drupe.freeenergy.campaigns.systems import mm_system
from drupe.freeenergy.campaigns.window_nodes import schedule_of
from drupe.freeenergy.simulation.dynamics import advance, langevin_context, minimise
from drupe.freeenergy.simulation.periodic import whole_start
from drupe.freeenergy.tasks.runner import Node

if TYPE_CHECKING:
    import openmm

__all__ = ["LegSpeed", "StageCost", "measured_speeds", "seconds_of", "stage_costs"]

#: Seconds that a committee of four takes for one energy with forces of a ligand: `benchmarks/inference.py`.
_NETWORK_S: Final = 0.01
#: Seconds before the first step of a task: imports, reading, contexts.
_START_S: Final = 10.0
#: Iterations of minimisation and fs of a step: the input structure has not been relaxed, and the time of a
#: step is wanted, not where it leads.
_RELAXED: Final = 50
_STEP_FS: Final = 0.1
#: Seconds that steps are timed for.
_TIMED_S: Final = 2.0


@dataclass(frozen=True)
class LegSpeed:
    """Seconds of one step in a leg: by its MM force field, and of a window with its share of evaluations."""

    mm: float
    window: float


@dataclass(frozen=True)
class StageCost:
    """A stage, its tasks, seconds on one slot of all together, and whether they rest on timed steps."""

    stage: str
    tasks: int
    seconds: float
    timed: bool


def measured_speeds(config: Config, prepared: Prepared) -> Mapping[str, LegSpeed]:
    """Time steps of both legs on the platform that the campaign asks for.

    Raises
    ------
    InputError, ConvergenceError
        If a leg cannot be run from its input structure.
    """
    found = {}
    for leg in LEGS:
        windows = getattr(config.abfe, leg)
        per_frame = max(1, round(windows.spacing * 1e3 / config.dynamics.step))
        found[leg] = LegSpeed(_mm_step(config, prepared, leg), _window_step(config, prepared, leg, per_frame))
    return found


def seconds_of(node: Node, speeds: Mapping[str, LegSpeed]) -> float | None:
    """Seconds of one task by timed steps; None for one that makes none."""
    settings = node.settings
    if isinstance(settings, WindowStage):
        return _START_S + settings.spec.n_steps * speeds[settings.leg].window
    if isinstance(settings, ExchangeStage):
        return _START_S + len(settings.schedule) * settings.spec.n_steps * speeds[settings.leg].window
    if isinstance(settings, SwitchStage):
        return _START_S + settings.spec.n_steps * (speeds[settings.leg].mm + _NETWORK_S)
    if isinstance(settings, SampleStage):
        step = speeds[settings.leg].mm + (_NETWORK_S if "/ml-" in node.name else 0.0)
        return _START_S + (settings.spec.n_steps + settings.spec.minimise) * step
    return None


def stage_costs(nodes: Sequence[Node], speeds: Mapping[str, LegSpeed]) -> list[StageCost]:
    """Add up the tasks of each stage."""
    seconds: dict[str, list[float]] = defaultdict(list)
    timed: dict[str, bool] = {}
    for node in nodes:
        known = seconds_of(node, speeds)
        seconds[node.stage].append(node.guess_s if known is None else known)
        timed[node.stage] = timed.get(node.stage, False) or known is not None
    return [StageCost(stage, len(each), sum(each), timed[stage]) for stage, each in seconds.items()]


def _mm_step(config: Config, prepared: Prepared, name: str) -> float:
    leg = prepared.leg(name)
    return _step(config, _relaxed(config, leg, mm_system(leg)))


def _window_step(config: Config, prepared: Prepared, name: str, per_frame: int) -> float:
    """Steps of the window in the middle, and the energies of all windows once a frame."""
    from drupe.freeenergy.alchemical.decoupling import alchemical_system, reduced_potentials

    leg = prepared.leg(name)
    schedule = schedule_of(getattr(config.abfe, name))
    states = [{**schedule.state(k), "lambda_restraint": 0.0} for k in range(len(schedule))]
    window = alchemical_system(leg.structure, leg.ligand, states[len(states) // 2], None, leg.counter_ions)
    context = _relaxed(config, leg, window.system, groups=window.dynamic_groups, parameters=window.parameters)
    step = _step(config, context)
    start = time.perf_counter()
    reduced_potentials(context, window, states, config.dynamics.temperature, _pressure(config))
    return step + (time.perf_counter() - start) / per_frame


def _relaxed(config: Config, leg: Leg, system: "openmm.System", **more: Any) -> "openmm.Context":
    """A context of a leg at its input structure, which is minimised a little."""
    dynamics, atoms = config.dynamics, leg.structure.system
    context = langevin_context(
        system,
        atoms.positions if atoms.box is None else whole_start(leg.structure, atoms.positions, None),
        temperature_k=dynamics.temperature,
        step_fs=_STEP_FS,
        friction_per_ps=dynamics.friction,
        seed=1,
        pressure_bar=_pressure(config),
        platform=config.engine.platform,
        threads=config.engine.threads,
        **more,
    )
    minimise(context, _RELAXED, dynamics.temperature, seed=1)
    return context


def _pressure(config: Config) -> float | None:
    return None if config.water is None else config.water.pressure


def _step(config: Config, context: "openmm.Context") -> float:
    return _timed(lambda n: advance(context, n, config.dynamics.temperature, watch_heat=False))


def _timed(run: Callable[[int], None]) -> float:
    """Seconds of a step, from as many as fit into the time; the first ones are not counted."""
    run(2)
    done, size, start = 0, 1, time.perf_counter()
    while (passed := time.perf_counter() - start) < _TIMED_S:
        run(size)
        done += size
        size *= 2
    return passed / done if done else passed
