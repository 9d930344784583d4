"""An engine that runs tasks in this process, one after the other: a whole campaign without 60 starts."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from drupe.errors import DrupeError
from drupe.hardware import worker
from drupe.hardware.engine import Finished, Outcome, Refused, Task
from drupe.records import pack


class OneProcess:
    """Tasks as the worker does them; a bug is an exception here. ``begun`` holds the names of tasks."""

    slots = 1

    def __init__(self, scratch: Path, *, stop_after: int | None = None) -> None:
        self.begun: list[str] = []
        self._scratch = scratch
        self._stop_after = stop_after

    def run(self, next_task: Callable[[], Task | None]) -> Iterator[tuple[Task, Outcome]]:
        while (task := next_task()) is not None:
            if len(self.begun) == self._stop_after:
                raise KeyboardInterrupt
            self.begun.append(task.name)
            yield task, self._one(task)

    def _one(self, task: Task) -> Outcome:
        stem, start = self._scratch / task.key, time.monotonic()
        settings, result = stem.with_suffix(".settings"), stem.with_suffix(".result")
        settings.write_bytes(pack(task.settings))
        job = {
            "call": task.call,
            "settings": str(settings),
            "inputs": [str(path) for path in task.inputs],
            "folder": None if task.folder is None else str(task.folder),
        }
        try:
            made = worker._call(json.loads(json.dumps(job)))
        except DrupeError as error:
            return Refused(type(error).__name__, error.found, error.remedy, error.retry, 0.0, 0.0)
        result.write_bytes(pack(made))
        return Finished(result, time.monotonic() - start, 1.0)
