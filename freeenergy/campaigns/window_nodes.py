"""Tasks of the alchemical legs: their table of the input in, nodes out; all of one repeat before the next."""

from collections.abc import Iterator
from typing import Final

from drupe.freeenergy.alchemical.alchemy import Schedule
from drupe.freeenergy.alchemical.exchange import Method
from drupe.freeenergy.campaigns.exchange_stages import ExchangeStage
from drupe.freeenergy.campaigns.maker import Maker
from drupe.freeenergy.campaigns.sampling_tables import LegWindows
from drupe.freeenergy.campaigns.stages import WindowStage
from drupe.freeenergy.tasks.runner import Node

__all__ = ["schedule_of", "window_nodes"]

_STAGE: Final = "alchemical windows"
#: Parts that a run of exchange is cut into where the input does not say.
_STRETCHES: Final = 10


def window_nodes(make: Maker) -> Iterator[Node]:
    """Windows by themselves, or stretches of replica exchange, of every leg and repeat.

    Repeats differ in seeds and start frames; the restraint of the complex is one for all of them.
    """
    table, step_fs = make.config.abfe, make.config.dynamics.step
    for repeat in range(table.repeats):
        for leg, windows in (("complex", table.complex), ("solvent", table.solvent)):
            if table.exchange == "none":
                yield from _alone(leg, windows, repeat, step_fs, make)
            else:
                yield from _exchanging(leg, windows, repeat, step_fs, make, table.exchange, table.stretch)


def _alone(leg: str, windows: LegWindows, repeat: int, step_fs: float, make: Maker) -> Iterator[Node]:
    schedule = schedule_of(windows)
    count = len(schedule)
    for index in range(count):
        spec = make.dynamics(
            step_fs,
            windows.equilibration,
            windows.spacing,
            _frames(windows),
            seed=make.seed("window", leg, repeat, index),
            minimise=20,
        )
        yield Node(
            f"{leg}/window/{repeat}/{index}",
            _STAGE,
            "drupe.freeenergy.campaigns.stages:run_alchemical_window",
            WindowStage(leg, schedule, index, spec, make.place, start=repeat * count + index),
            needs=("prepared", f"{leg}/snapshots", *_restraint_of(leg)),
            guess_s=spec.n_steps * _step_guess_s(leg) + 10,
        )


def _exchanging(
    leg: str,
    windows: LegWindows,
    repeat: int,
    step_fs: float,
    make: Maker,
    method: Method,
    stretch_ps: float | None,
) -> Iterator[Node]:
    """Stretches of one repeat, each from where the one before ended; the first one equilibrates."""
    schedule = schedule_of(windows)
    left, count = _frames(windows), len(schedule)
    most = max(1, -(-left // _STRETCHES) if stretch_ps is None else round(stretch_ps / windows.spacing))
    before = f"{leg}/snapshots"
    for stretch, frames in enumerate(_cut(left, most)):
        first = stretch == 0
        spec = make.dynamics(
            step_fs,
            windows.equilibration if first else 0.0,
            windows.spacing,
            frames,
            seed=make.seed("exchange", leg, repeat, stretch),
            minimise=20 if first else 0,
        )
        start = repeat * count if first else 0
        name = f"{leg}/exchange/{repeat}/{stretch}"
        yield Node(
            name,
            _STAGE,
            f"drupe.freeenergy.campaigns.exchange_stages:{'begin' if first else 'continue'}_exchange",
            ExchangeStage(leg, schedule, spec, method, make.place, start),
            needs=("prepared", before, *_restraint_of(leg)),
            guess_s=count * spec.n_steps * _step_guess_s(leg) + 10,
        )
        before = name


def _cut(total: int, most: int) -> list[int]:
    whole, rest = divmod(total, most)
    return [most] * whole + [rest] * (rest > 0)


def schedule_of(windows: LegWindows) -> Schedule:
    """States of a leg as its table of the input has them."""
    restraint = windows.restraints or [0.0] * len(windows.sterics)
    return Schedule(tuple(restraint), tuple(windows.electrostatics), tuple(windows.sterics))


def _frames(windows: LegWindows) -> int:
    return max(1, round(windows.length / windows.spacing))


def _restraint_of(leg: str) -> tuple[str, ...]:
    return ("complex/restraint",) if leg == "complex" else ()


def _step_guess_s(leg: str) -> float:
    return 0.16 if leg == "complex" else 0.002
