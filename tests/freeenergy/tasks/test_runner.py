import fcntl
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drupe.errors import MachineError
from drupe.freeenergy.tasks.runner import Node, read_result, run_graph
from drupe.hardware.engine import LocalEngine
from drupe.store import Store, read_rows

CALLS = Path(__file__).parents[2] / "hardware"


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    here = [str(CALLS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(here))
    monkeypatch.syspath_prepend(str(CALLS))
    yield
    sys.modules.pop("calls_in_worker", None)


class Notes:
    def __init__(self):
        self.begun, self.finished, self.reused = [], [], []

    def started(self, node):
        self.begun.append(node.name)

    def ended(self, node, row, *, reused):
        (self.reused if reused else self.finished).append(node.name)


def number(value, note=""):
    return importlib.import_module("calls_in_worker").Number(float(value), str(note))


def node(name, call, value=0.0, note="", **more):
    return Node(name, "test", f"calls_in_worker:{call}", number(value, note), **more)


def run(folder, nodes, given=(), timeout_s=60):
    notes = Notes()
    with Store(folder) as store:
        engine = LocalEngine(store.scratch, folder / "logs", slots=2, threads=1)
        rows = run_graph(nodes, dict(given), store, engine, notes, timeout_s=timeout_s)
        values = {n: read_result(store, r).value for n, r in rows.items() if r.state == "done"}
    return rows, values, notes


def diamond(note="", first=1.0):
    return [
        node("a", "add", first, note),
        node("b", "add", 10, note, needs=("a",)),
        node("c", "add", 100, note, needs=("a", "start")),
        node("d", "add", 0, note, needs=("b",), wants=("c",)),
    ]


def test_results_flow_along_the_graph_and_a_second_run_calls_nothing(tmp_path):
    note = tmp_path / "calls"
    given = {"start": number(1000)}
    rows, values, notes = run(tmp_path / "c", diamond(note), given)
    assert values == {"a": 1, "b": 11, "c": 1101, "d": 1112}
    assert len(note.read_text()) == 4
    again, values_again, notes = run(tmp_path / "c", diamond(note), given)
    assert values_again == values
    assert notes.begun == []
    assert sorted(notes.reused) == ["a", "b", "c", "d"]
    assert len(note.read_text()) == 4


def test_a_changed_setting_recomputes_what_depends_on_it_and_nothing_else(tmp_path):
    given = {"start": number(1000)}
    nodes = diamond()
    run(tmp_path, nodes, given)
    nodes[1] = node("b", "add", 20, needs=("a",))
    _, values, notes = run(tmp_path, nodes, given)
    assert values["d"] == 1122
    assert sorted(notes.begun) == ["b", "d"]
    _, _, notes = run(tmp_path, nodes, {"start": number(2000)})
    assert sorted(notes.begun) == ["c", "d"]


def test_a_refused_task_is_recorded_its_dependants_wait_for_nothing_and_the_run_goes_on(tmp_path):
    note = tmp_path / "calls"
    nodes = [
        node("bad", "refuse", note=note),
        node("needs it", "add", 1, needs=("bad",)),
        node("needs that", "add", 1, needs=("needs it",)),
        node("wants it", "add", 5, wants=("bad", "needs it")),
    ]
    rows, values, _ = run(tmp_path / "c", nodes)
    assert rows["bad"].state == "failed"
    assert "the iteration stopped" in rows["bad"].error
    assert values == {"wants it": 5}
    assert "needs it" not in rows
    run(tmp_path / "c", nodes)
    assert note.read_text() == "x"  # a science failure is a result: it is not tried again by itself


def test_a_machine_hiccup_is_tried_again_and_counted(tmp_path):
    rows, values, _ = run(tmp_path / "c", [node("h", "hiccup", note=tmp_path / "n")])
    assert (values, rows["h"].attempts, rows["h"].losses) == ({"h": 1}, 2, 0)


def test_a_lost_process_is_not_an_attempt(tmp_path):
    rows, values, _ = run(tmp_path / "c", [node("d", "die_once", 2, note=tmp_path / "n")])
    assert (values, rows["d"].attempts, rows["d"].losses) == ({"d": 3}, 1, 2)


def test_a_killed_task_finds_its_folder_again_and_leaves_none(tmp_path):
    rows, values, _ = run(tmp_path / "c", [node("g", "go_on", 2, goes_on=True)])
    assert (values, rows["g"].losses) == ({"g": 3}, 2)
    assert not list((tmp_path / "c" / "tmp").glob("unfinished-*"))


def test_a_task_that_is_always_lost_ends_the_run_with_a_remedy(tmp_path):
    with pytest.raises(MachineError, match="lost 3 times"):
        run(tmp_path / "c", [node("d", "die_once", 99, note=tmp_path / "n")])


def test_a_bug_is_not_mistaken_for_science(tmp_path):
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run(tmp_path / "c", [node("b", "bug")])
    assert read_rows(tmp_path / "c") == []


@pytest.mark.parametrize("rounds", [3])
def test_killed_again_and_again_it_loses_no_finished_task(tmp_path, rounds):
    """SIGKILL at arbitrary moments: finished tasks stay finished and are called once."""
    note, folder = tmp_path / "calls", tmp_path / "c"
    script = f"""
import sys
sys.path[:0] = [{str(CALLS)!r}, {str(Path(__file__).parent)!r}]
from test_runner import node, run
from pathlib import Path
nodes = [node(f"n{{i}}", "add", i, {str(note)!r}) for i in range(12)]
run(Path({str(folder)!r}), nodes)
"""
    finished = set()
    for _ in range(rounds):
        driver = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
        goal = len(finished) + 2
        end = time.monotonic() + 60
        while time.monotonic() < end and driver.poll() is None:
            if (folder / "campaign.sqlite").exists() and len(rows_or_none(folder)) >= goal:
                break
            time.sleep(0.01)
        os.kill(driver.pid, signal.SIGKILL)
        driver.communicate()
        with (folder / "LOCK").open() as lock:  # a worker that was just being started may still hold it
            fcntl.flock(lock, fcntl.LOCK_EX)
        now = {row.name for row in rows_or_none(folder)}
        assert now >= finished
        finished = now
    assert len(finished) >= 2 * rounds
    nodes = [node(f"n{i}", "add", i, note) for i in range(12)]
    _, values, notes = run(folder, nodes)
    assert values == {f"n{i}": i for i in range(12)}
    assert set(notes.reused) >= finished
    assert len(note.read_text()) <= 12 + 2 * rounds  # at most the two in flight at each kill ran twice


def rows_or_none(folder):
    import sqlite3

    try:
        return read_rows(folder)
    except sqlite3.OperationalError:  # the driver has not made the tables yet
        return []


def test_a_task_that_ran_out_of_time_is_tried_again_with_a_longer_limit(tmp_path):
    nodes = [node("slow", "sleep", 4.0)]
    rows, _, _ = run(tmp_path, nodes, timeout_s=2)
    assert "longer than 2 s" in rows["slow"].error
    rows, values, notes = run(tmp_path, nodes, timeout_s=60)
    assert values == {"slow": 4.0}
    assert notes.begun == ["slow"]


def test_arithmetic_that_breaks_down_is_a_failure_of_the_task_and_a_full_disk_one_of_the_machine(tmp_path):
    nodes = [node("singular", "singular"), node("full", "full_disk"), node("fine", "add", 1)]
    rows, values, _ = run(tmp_path, nodes)
    assert values == {"fine": 1}
    assert "Singular matrix" in rows["singular"].error
    assert '"ConvergenceError"' in rows["singular"].error
    assert '"MachineError"' in rows["full"].error
    assert rows["full"].attempts == 2
