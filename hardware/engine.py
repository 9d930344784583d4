"""Run tasks: tasks in, (task, outcome) out as they complete. The one seam between a campaign and machines.

An engine asks for the next task whenever a slot is free, so that tasks may depend on outcomes.
`LocalEngine` gives every task a fresh process: time-outs, thread counts set before numpy loads, and
a crash that takes only itself.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drupe.errors import MachineError
from drupe.records import pack

__all__ = ["Crashed", "Engine", "Finished", "LocalEngine", "Lost", "Outcome", "Refused", "Task"]


@dataclass(frozen=True, eq=False)
class Task:
    """One call in one process: ``call(settings, *inputs)`` gives a record.

    ``call`` is ``"module:function"``, ``settings`` a registered record, ``inputs`` the files of
    packed records. ``folder`` is for what a killed process leaves to the next one with the same task; such
    a call takes it as ``folder=``.
    """

    key: str
    name: str
    kind: str
    call: str
    settings: object
    inputs: tuple[Path, ...]
    timeout_s: float
    folder: Path | None = None


@dataclass(frozen=True)
class Finished:
    """The call returned; its record lies packed in ``result``."""

    result: Path
    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Refused:
    """One of our own errors, or the time limit: a fact about this task."""

    error: str
    found: str
    remedy: str
    retry: bool
    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Lost:
    """The process went away without a word: a fact about the machine, not about the task."""

    reason: str
    seconds: float


@dataclass(frozen=True)
class Crashed:
    """Any other exception, of that class and with that message: a bug, unless the call is somebody else's."""

    traceback: str
    seconds: float
    error: str = ""
    message: str = ""


Outcome = Finished | Refused | Lost | Crashed


class Engine(Protocol):
    """What a campaign needs of the place where its tasks run."""

    slots: int

    def run(self, next_task: Callable[[], Task | None]) -> Iterator[tuple[Task, Outcome]]:
        """Yield outcomes as tasks complete; ask ``next_task`` whenever a slot is free."""
        ...


class LocalEngine:
    """Tasks on this machine, each in a process of its own.

    Parameters
    ----------
    scratch
        Folder for results and reports in flight.
    logs
        Folder for what the tasks print.
    slots
        Tasks at a time.
    threads
        Threads of each task.
    """

    def __init__(self, scratch: Path, logs: Path, *, slots: int, threads: int) -> None:
        if slots < 1 or threads < 1:
            raise MachineError(
                f"{slots} workers of {threads} threads were asked for",
                remedy="ask for at least one worker with at least one thread",
            )
        self.slots = slots
        self._threads = threads
        self._scratch = scratch
        self._logs = logs
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(
        self, next_task: Callable[[], Task | None], meanwhile: Callable[[], None] | None = None
    ) -> Generator[tuple[Task, Outcome], None, None]:
        """Yield ``(task, outcome)`` as they complete; ends when nothing runs and nothing is ready.

        Parameters
        ----------
        next_task
            Asked whenever a slot is free; None where nothing is ready.
        meanwhile
            Called about once a second while tasks run.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        pool = ThreadPoolExecutor(self.slots)
        flying: dict[Future[Outcome], Task] = {}
        try:
            while True:
                while len(flying) < self.slots and (task := next_task()) is not None:
                    flying[pool.submit(self._one, task)] = task
                if not flying:
                    return
                pause = None if meanwhile is None else 1.0
                done, _ = wait(flying, timeout=pause, return_when=FIRST_COMPLETED)
                if meanwhile is not None:
                    meanwhile()
                for future in done:
                    yield flying.pop(future), future.result()
        finally:
            for process in tuple(self._running):
                process.kill()
            pool.shutdown(wait=True)

    def _one(self, task: Task) -> Outcome:
        stem = self._scratch / task.key
        result, report, settings = (stem.with_suffix(end) for end in (".result", ".report", ".settings"))
        settings.write_bytes(pack(task.settings))
        job = {
            "driver": os.getpid(),
            "call": task.call,
            "settings": str(settings),
            "inputs": [str(path) for path in task.inputs],
            "result": str(result),
            "report": str(report),
            "folder": None if task.folder is None else str(task.folder),
        }
        start = time.monotonic()
        log = self._logs / (task.name.replace("/", "-") + ".log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "drupe.hardware.worker",
                ],  # -P: not what lies in the folder we run in
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | _thread_variables(self._threads),
                start_new_session=True,  # Ctrl-C reaches the driver only, which then ends its tasks
            )
            self._running.add(process)
            try:
                process.communicate(json.dumps(job).encode() + b"\n", timeout=task.timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return Refused(
                    error="TimeoutError",
                    found=f"{task.name} took longer than {task.timeout_s:.0f} s",
                    remedy="raise engine.timeout, or make the task smaller",
                    retry=False,
                    seconds=time.monotonic() - start,
                    peak_mb=0.0,
                )
            finally:
                self._running.discard(process)
        settings.unlink(missing_ok=True)
        return _outcome(task, process.returncode, result, report, log, time.monotonic() - start)


def _outcome(task: Task, code: int, result: Path, report: Path, log: Path, seconds: float) -> Outcome:
    if not report.exists():
        tail = log.read_text(errors="replace")[-2000:]
        return Lost(f"{task.name} ended with status {code} and no report\n{tail}", seconds)
    said = json.loads(report.read_bytes())
    report.unlink()
    match said["kind"]:
        case "finished":
            return Finished(result, seconds, said["peak_mb"])
        case "refused":
            return Refused(
                error=said["error"],
                found=said["found"],
                remedy=said["remedy"],
                retry=said["retry"],
                seconds=seconds,
                peak_mb=said["peak_mb"],
            )
        case _:
            return Crashed(said["traceback"], seconds, said["error"], said["message"])


def _thread_variables(threads: int) -> dict[str, str]:
    """Environment that numerical libraries read when they load."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENMM_CPU_THREADS")
    return {name: str(threads) for name in names}
