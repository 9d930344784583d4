"""What is known of the tasks of a run: nodes in, tasks to run or rows that are there already out.

A node's key is made from its settings and the content of its inputs, so a changed setting recomputes
what depends on it and nothing else.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from drupe.errors import MachineError
from drupe.hardware.engine import Crashed, Finished, Lost, Outcome, Refused, Task
from drupe.records import content_key, pack, unpack
from drupe.store import Row, Store

__all__ = ["Books", "Node", "read_result"]

log = logging.getLogger(__name__)

_MAX_ATTEMPTS: Final[int] = 2
_MAX_LOSSES: Final[int] = 3


@dataclass(frozen=True, eq=False)
class Node:
    """One task of a graph: ``call(settings, *needs, *those of wants that succeeded)``.

    ``needs`` must all succeed; of ``wants`` those that failed are left out. ``version`` is the
    physics version of the call: raise it when the same inputs give another number. ``guess_s`` is a
    first guess of the duration, used for the time left until the stage has measured itself. With
    ``goes_on`` the call takes ``folder=``, which it finds again after it was killed or ran out of time.
    """

    name: str
    stage: str
    call: str
    settings: object
    needs: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    version: int = 1
    guess_s: float = 10.0
    goes_on: bool = False


class Books:
    """Rows of this run by node name, and how often each task was tried.

    Parameters
    ----------
    store
        Where results live.
    timeout_s
        Time limit of one task, in seconds.
    """

    def __init__(self, store: Store, timeout_s: float) -> None:
        self.rows: dict[str, Row] = {}
        self._store, self._timeout_s = store, timeout_s
        self._flying: dict[str, Node] = {}
        self._attempts: dict[str, int] = {}
        self._losses: dict[str, int] = {}

    def give(self, name: str, record: object) -> None:
        """Keep a record that is there from the start."""
        path = self._store.scratch / f"given-{name}"
        path.write_bytes(pack(record))
        blob = self._store.adopt(path)
        row = Row(f"given-{blob[:32]}", name, "given", "done", blob, 1, 0, 0.0, 0.0, None)
        if self._store.row(row.key) is None:
            self._store.finish(row)
        self.rows[name] = row

    def ask(self, node: Node, *, again: bool = False) -> Task | Row:
        """The task of a node whose inputs are all there, or its row when the store has one.

        ``again`` gives the task also then; its row is written anew.
        """
        task = self._task(node)
        row = self._store.row(task.key)
        if row is None or again or _may_differ_now(row):
            self._flying[task.key] = node
            return task
        self.rows[node.name] = row
        return row

    def settle(self, task: Task, outcome: Outcome) -> tuple[Node, Row | None]:
        """Write the row of a finished task; None instead of a row means: run it again.

        Raises
        ------
        MachineError
            If a task's process was lost three times.
        RuntimeError
            If a task met a bug; the message is its traceback.
        """
        node = self._flying.pop(task.key)
        row = self._row(node, task, outcome)
        if row is not None:
            self.rows[node.name] = row
            if task.folder is not None and not _may_differ_now(row):
                shutil.rmtree(task.folder, ignore_errors=True)
        return node, row

    def _task(self, node: Node) -> Task:
        names = [*node.needs, *node.wants]
        rows = [self.rows[name] for name in names if name in self.rows]
        blobs = [row.blob for row in rows if row.blob is not None]
        key = content_key(
            "task",
            {"call": node.call, "version": node.version, "settings": node.settings, "inputs": blobs},
        )
        inputs = tuple(self._store.blob_path(blob) for blob in blobs)
        folder = self._store.scratch / f"unfinished-{key}" if node.goes_on else None
        return Task(key, node.name, node.stage, node.call, node.settings, inputs, self._timeout_s, folder)

    def _row(self, node: Node, task: Task, outcome: Outcome) -> Row | None:
        lost = isinstance(outcome, Lost)
        attempts = self._attempts[task.key] = self._attempts.get(task.key, 0) + (not lost)
        losses = self._losses[task.key] = self._losses.get(task.key, 0) + lost
        match outcome:
            case Finished(result=path, seconds=seconds, peak_mb=peak_mb):
                energies = _energies(path)
                row = Row(
                    task.key,
                    node.name,
                    node.stage,
                    "done",
                    self._store.adopt(path),
                    attempts,
                    losses,
                    seconds,
                    peak_mb,
                    None,
                )
                self._store.finish(row, energies)
                return row
            case Refused():
                if outcome.retry and attempts < _MAX_ATTEMPTS:
                    log.warning("%s failed once: %s", node.name, outcome.found)
                    return None
                said = json.dumps({"error": outcome.error, "found": outcome.found, "remedy": outcome.remedy})
                row = Row(
                    task.key, node.name, node.stage, "failed", None, attempts, losses,
                    outcome.seconds, outcome.peak_mb, said,
                )  # fmt: skip
                self._store.finish(row)
                return row
            case Lost():
                if losses < _MAX_LOSSES:
                    log.warning("%s was lost and starts again: %s", node.name, outcome.reason)
                    return None
                raise MachineError(
                    f"{node.name} was lost {losses} times, last: {outcome.reason}",
                    remedy="look for an out-of-memory kill in the system log; lower engine.workers and run "
                    "again",
                )
            case Crashed():
                raise RuntimeError(f"{node.name} met a bug in drupe:\n{outcome.traceback}")


def read_result(store: Store, row: Row) -> Any:
    """The record of a finished row."""
    assert row.blob is not None
    return unpack(store.blob_path(row.blob).read_bytes())


def _may_differ_now(row: Row) -> bool:
    """A time limit or a machine is no fact about the task: such failures are tried again in the next run."""
    return row.error is not None and json.loads(row.error)["error"] in ("TimeoutError", "MachineError")


def _energies(path: Path) -> dict[str, float]:
    """Energies (hartree) a record wants in the ledger; most have none."""
    record = unpack(path.read_bytes())
    said: Mapping[str, float] = getattr(record, "ledger_energies", {})
    return dict(said)
