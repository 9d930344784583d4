"""Run a graph of tasks to its end, reusing every result the store already has.

In: nodes (what to call, with what, after what), a store, an engine. Out: the finished rows by node
name. A node's key is made from its settings and the content of its inputs when these are there, so a
changed setting recomputes what depends on it and nothing else.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from drupe.errors import MachineError
from drupe.hardware.engine import Crashed, Engine, Finished, Lost, Outcome, Refused, Task
from drupe.records import content_key, pack, unpack
from drupe.store import Row, Store

__all__ = ["Node", "Watcher", "run_graph"]

log = logging.getLogger(__name__)

_MAX_ATTEMPTS: Final[int] = 2
_MAX_LOSSES: Final[int] = 3


@dataclass(frozen=True, eq=False)
class Node:
    """One task of a graph: ``call(settings, *needs, *those of wants that succeeded)``.

    ``needs`` must all succeed; of ``wants`` those that failed are left out. ``version`` is the
    physics version of the call: raise it when the same inputs give another number. ``guess_s`` is a
    first guess of the duration, used for the time left until the stage has measured itself.
    """

    name: str
    stage: str
    call: str
    settings: object
    needs: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    version: int = 1
    guess_s: float = 10.0


class Watcher(Protocol):
    """Somebody who wants to know how far a run is."""

    def started(self, node: Node) -> None:
        """Tell that a task was given to the engine."""
        ...

    def ended(self, node: Node, row: Row, *, reused: bool) -> None:
        """Tell that a task has its row, from this run or an earlier one."""
        ...


@dataclass
class _State:
    rows: dict[str, Row] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    flying: dict[str, Node] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)


def run_graph(
    nodes: Sequence[Node],
    given: Mapping[str, object],
    store: Store,
    engine: Engine,
    watcher: Watcher,
    *,
    timeout_s: float,
) -> dict[str, Row]:
    """Run every node whose inputs can be had; earlier nodes go first when several are ready.

    Parameters
    ----------
    nodes
        The graph; ``needs`` and ``wants`` name nodes or entries of ``given``.
    given
        Records that are there from the start, by name.
    store, engine, watcher
        Where results live, where tasks run, who is told.
    timeout_s
        Time limit of one task, in seconds.

    Returns
    -------
    dict
        Rows by node name, failed ones included; a node whose needs failed has none.

    Raises
    ------
    MachineError
        If a task's process was lost three times.
    RuntimeError
        If a task met a bug; the message is its traceback.
    """
    state = _State()
    for name, record in given.items():
        state.rows[name] = _keep_given(name, record, store)
    waiting = list(nodes)

    def next_task() -> Task | None:
        return _next(waiting, state, store, watcher, timeout_s)

    for task, outcome in engine.run(next_task):
        node = state.flying.pop(task.key)
        row = _settle(node, task, outcome, state, store)
        if row is None:
            waiting.insert(0, node)
        else:
            state.rows[node.name] = row
            watcher.ended(node, row, reused=False)
    return {node.name: state.rows[node.name] for node in nodes if node.name in state.rows}


def read_result(store: Store, row: Row) -> Any:
    """The record of a finished row."""
    assert row.blob is not None
    return unpack(store.blob_path(row.blob).read_bytes())


def _keep_given(name: str, record: object, store: Store) -> Row:
    path = store.scratch / f"given-{name}"
    path.write_bytes(pack(record))
    blob = store.adopt(path)
    row = Row(f"given-{blob[:32]}", name, "given", "done", blob, 1, 0, 0.0, 0.0, None)
    if store.row(row.key) is None:
        store.finish(row)
    return row


def _next(
    waiting: list[Node], state: _State, store: Store, watcher: Watcher, timeout_s: float
) -> Task | None:
    """First waiting node that is ready and not in the store; those in the store are taken on the way."""
    progress = True
    while progress:
        progress = False
        for node in tuple(waiting):
            ready = _readiness(node, state)
            if ready == "wait":
                continue
            waiting.remove(node)
            progress = True
            if ready == "blocked":
                state.blocked.add(node.name)
                continue
            task = _task(node, state, store, timeout_s)
            row = store.row(task.key)
            if row is None or _may_differ_now(row):
                state.flying[task.key] = node
                watcher.started(node)
                return task
            state.rows[node.name] = row
            watcher.ended(node, row, reused=True)
    return None


def _may_differ_now(row: Row) -> bool:
    """A time limit or a machine is no fact about the task: such failures are tried again in the next run."""
    return row.error is not None and json.loads(row.error)["error"] in ("TimeoutError", "MachineError")


def _readiness(node: Node, state: _State) -> str:
    for name in node.needs:
        if name in state.blocked or (name in state.rows and state.rows[name].state == "failed"):
            return "blocked"
    settled = state.rows.keys() | state.blocked
    return "ready" if settled >= {*node.needs, *node.wants} else "wait"


def _task(node: Node, state: _State, store: Store, timeout_s: float) -> Task:
    names = [*node.needs, *node.wants]
    blobs = [row.blob for name in names if (row := state.rows.get(name)) is not None and row.blob is not None]
    key = content_key(
        "task",
        {"call": node.call, "version": node.version, "settings": node.settings, "inputs": blobs},
    )
    inputs = tuple(store.blob_path(blob) for blob in blobs)
    return Task(key, node.name, node.stage, node.call, node.settings, inputs, timeout_s)


def _settle(node: Node, task: Task, outcome: Outcome, state: _State, store: Store) -> Row | None:
    """Write the row of a finished task; None means: run it again."""
    attempts = state.attempts[task.key] = state.attempts.get(task.key, 0) + (not isinstance(outcome, Lost))
    losses = state.losses[task.key] = state.losses.get(task.key, 0) + isinstance(outcome, Lost)
    match outcome:
        case Finished(result=path, seconds=seconds, peak_mb=peak_mb):
            energies = _energies(path)
            row = Row(
                task.key,
                node.name,
                node.stage,
                "done",
                store.adopt(path),
                attempts,
                losses,
                seconds,
                peak_mb,
                None,
            )
            store.finish(row, energies)
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
            store.finish(row)
            return row
        case Lost():
            if losses < _MAX_LOSSES:
                log.warning("%s was lost and starts again: %s", node.name, outcome.reason)
                return None
            raise MachineError(
                f"{node.name} was lost {losses} times, last: {outcome.reason}",
                remedy="look for an out-of-memory kill in the system log; lower engine.workers and run again",
            )
        case Crashed():
            raise RuntimeError(f"{node.name} met a bug in drupe:\n{outcome.traceback}")


def _energies(path: Path) -> dict[str, float]:
    """Energies (hartree) a record wants in the ledger; most have none."""
    record = unpack(path.read_bytes())
    said: Mapping[str, float] = getattr(record, "ledger_energies", {})
    return dict(said)
