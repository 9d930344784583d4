"""Run a graph of tasks to its end, reusing every result the store already has.

In: nodes (what to call, with what, after what), a store, an engine. Out: the finished rows by node name.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from drupe.freeenergy.tasks.bookkeeping import Books, Node, read_result
from drupe.hardware.engine import Engine, Task
from drupe.store import Row, Store

__all__ = ["Node", "Watcher", "read_result", "run_graph"]


class Watcher(Protocol):
    """Somebody who wants to know how far a run is."""

    def started(self, node: Node) -> None:
        """Tell that a task was given to the engine."""
        ...

    def ended(self, node: Node, row: Row, *, reused: bool) -> None:
        """Tell that a task has its row, from this run or an earlier one."""
        ...


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
    books = Books(store, timeout_s)
    for name, record in given.items():
        books.give(name, record)
    waiting = list(nodes)
    blocked: set[str] = set()

    def next_task() -> Task | None:
        return _next(waiting, blocked, books, watcher)

    for task, outcome in engine.run(next_task):
        node, row = books.settle(task, outcome)
        if row is None:
            waiting.insert(0, node)
        else:
            watcher.ended(node, row, reused=False)
    return {node.name: books.rows[node.name] for node in nodes if node.name in books.rows}


def _next(waiting: list[Node], blocked: set[str], books: Books, watcher: Watcher) -> Task | None:
    """First waiting node that is ready and not in the store; those in the store are taken on the way."""
    progress = True
    while progress:
        progress = False
        for node in tuple(waiting):
            ready = _readiness(node, blocked, books.rows)
            if ready == "wait":
                continue
            waiting.remove(node)
            progress = True
            if ready == "blocked":
                blocked.add(node.name)
                continue
            asked = books.ask(node)
            if isinstance(asked, Task):
                watcher.started(node)
                return asked
            watcher.ended(node, asked, reused=True)
    return None


def _readiness(node: Node, blocked: set[str], rows: Mapping[str, Row]) -> str:
    for name in node.needs:
        if name in blocked or (name in rows and rows[name].state == "failed"):
            return "blocked"
    settled = rows.keys() | blocked
    return "ready" if settled >= {*node.needs, *node.wants} else "wait"
