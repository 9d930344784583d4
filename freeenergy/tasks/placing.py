"""Where the tasks of an input run: its table ``[engine]`` in, an engine on this machine out."""

import os
from typing import Literal, Protocol

import psutil

from drupe.errors import MachineError
from drupe.hardware.engine import Engine, LocalEngine
from drupe.store import Store

__all__ = ["engine_for", "slots_for"]


class _Engine(Protocol):
    """How many tasks at a time, and threads of each."""

    @property
    def workers(self) -> int | Literal["auto"]:
        """Tasks at a time."""
        ...

    @property
    def threads(self) -> int:
        """Threads of a task."""
        ...


def slots_for(asked: _Engine) -> int:
    """How many tasks run at a time.

    Raises
    ------
    MachineError
        If workers and threads asked for do not fit this machine.
    """
    cores, threads = _cores(), asked.threads
    slots = max(1, cores // threads) if asked.workers == "auto" else asked.workers
    if slots * threads > cores:
        raise MachineError(
            f"{slots} workers of {threads} threads need {slots * threads} cores, this machine gives {cores}",
            remedy='lower engine.workers or engine.threads, or set workers = "auto"',
        )
    return slots


def engine_for(asked: _Engine, store: Store) -> tuple[Engine, str]:
    """The engine that was asked for, and one line that says what was taken."""
    slots, threads = slots_for(asked), asked.threads
    engine = LocalEngine(store.scratch, store.folder / "logs", slots=slots, threads=threads)
    return engine, f"{slots} workers of {threads} thread{'s' if threads > 1 else ''} on {_cores()} cores"


def _cores() -> int:
    """Cores this process may use."""
    here = psutil.Process()
    return len(here.cpu_affinity()) if hasattr(here, "cpu_affinity") else os.cpu_count() or 1
