"""What is running, how far it is, how long is left: a live table on a terminal, plain lines elsewhere."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from drupe.freeenergy.tasks.runner import Node
from drupe.hardware.memory import memory_of_tree_mb
from drupe.store import Row, Store

__all__ = ["Progress"]


class Progress:
    """Follow a run of a graph.

    Parameters
    ----------
    nodes
        All nodes of the graph, in order; none when it grows as it goes.
    slots
        Tasks at a time.
    console
        Where to show it.
    every_s
        Seconds between two plain lines when the console is no terminal.
    store
        Where wall time and peak memory are kept after every task, so that a killed run counts; None for
        nowhere until `keep` is called.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        slots: int,
        console: Console,
        *,
        every_s: float = 60.0,
        store: Store | None = None,
    ) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._stages = list(dict.fromkeys(node.stage for node in nodes))
        self._slots = slots
        self._console = console
        self._every_s = every_s
        self._store = store
        self._kept_s = 0.0
        self._rows: dict[str, Row] = {}
        self._running: dict[str, float] = {}
        self._reused = 0
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=2, transient=True)
        self.peak_mb = 0.0

    @property
    def wall_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def keep(self, store: Store) -> None:
        """Add this run's wall time since it was last kept, and keep the larger peak memory."""
        wall_s = self.wall_s
        for name, value in (("wall_s", wall_s - self._kept_s), ("peak_mb", self.peak_mb)):
            before = store.fact(name)
            known = float(before) if isinstance(before, int | float) else 0.0
            store.keep_fact(name, known + value if name == "wall_s" else max(known, value))
        self._kept_s = wall_s

    def __enter__(self) -> "Progress":
        self._thread.start()
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        if self._console.is_terminal:
            self._live.stop()
        else:
            self._console.print(self._line(), markup=False, soft_wrap=True)

    def started(self, node: Node) -> None:
        """Note that a task runs; one that is not of the graph joins it."""
        with self._lock:
            self._know(node)
            self._running[node.name] = time.monotonic()

    def ended(self, node: Node, row: Row, *, reused: bool) -> None:
        """Note that a task has its row."""
        with self._lock:
            self._know(node)
            self._running.pop(node.name, None)
            self._rows[node.name] = row
            self._reused += reused
        if self._store is not None and not reused:
            self.keep(self._store)
        if row.error is not None:
            said = json.loads(row.error)
            line = f"failed: {node.name}: {said['found']} -> {said['remedy']}"
            self._console.print(line, style="yellow", markup=False, soft_wrap=True)

    def seconds_left(self) -> float:
        """About how long the rest takes: measured means of each stage, shared among the slots."""
        with self._lock:
            seen: dict[str, list[float]] = defaultdict(list)
            for name, row in self._rows.items():
                if row.seconds > 0 and name in self._nodes:
                    seen[self._cost_class(self._nodes[name])].append(row.seconds)
            now, work, longest = time.monotonic(), 0.0, 0.0
            for name, node in self._nodes.items():
                if name in self._rows:
                    continue
                known = seen.get(self._cost_class(node))
                cost = sum(known) / len(known) if known else node.guess_s
                if name in self._running:
                    cost = max(cost - (now - self._running[name]), 1.0)
                work += cost
                longest = max(longest, cost)
        return max(work / self._slots, longest)

    def _know(self, node: Node) -> None:
        if node.name not in self._nodes:
            self._nodes[node.name] = node
            self._stages = list(dict.fromkeys([*self._stages, node.stage]))

    @staticmethod
    def _cost_class(node: Node) -> str:
        return f"{node.stage}:{node.name.split('/')[0]}"

    def _watch(self) -> None:
        next_line = self._every_s
        while not self._end.wait(1.0):
            self.peak_mb = max(self.peak_mb, memory_of_tree_mb())
            if not self._console.is_terminal and self.wall_s >= next_line:
                next_line += self._every_s
                self._console.print(self._line(), markup=False, soft_wrap=True)

    def _line(self) -> str:
        with self._lock:
            running = ", ".join(self._running) or "nothing"
            done, total = len(self._rows), len(self._nodes)
        left = f", about {_span(self.seconds_left())} left" if done < total else ""
        return f"[{_span(self.wall_s)}] {done} of {total} tasks done{left}; running: {running}"

    def _table(self) -> Table:
        table = Table(title=Text(self._line().split("; running")[0]), title_justify="left", box=None)
        for column, justify in (("stage", "left"), ("done", "right"), ("", "left"), ("running", "left")):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        with self._lock:
            rows, running = dict(self._rows), list(self._running)
        for stage in self._stages:
            names = [name for name, node in self._nodes.items() if node.stage == stage]
            done = sum(name in rows for name in names)
            now = [name for name in running if name in names]
            filled = round(20 * done / len(names))
            style = "green" if done == len(names) else "cyan" if now else "dim"
            table.add_row(
                stage, f"{done}/{len(names)}", "━" * filled + "╌" * (20 - filled), ", ".join(now), style=style
            )
        return table


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
