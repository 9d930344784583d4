import importlib
import os
import subprocess
import sys
import time

import psutil
import pytest

from drupe.errors import MachineError
from drupe.hardware.engine import Crashed, Finished, LocalEngine, Lost, Refused, Task
from drupe.records import pack, unpack


def number(value, note=""):
    return importlib.import_module("calls_in_worker").Number(value, str(note))


def task(name, call, settings, inputs=(), timeout_s=60.0):
    return Task(f"k-{name}", name, "test", f"calls_in_worker:{call}", settings, tuple(inputs), timeout_s)


def run(tmp_path, tasks, slots=2):
    engine = LocalEngine(tmp_path, tmp_path / "logs", slots=slots, threads=1)
    waiting = list(tasks)
    return {t.name: o for t, o in engine.run(lambda: waiting.pop(0) if waiting else None)}


def test_a_call_gets_its_settings_and_inputs_and_gives_its_record(tmp_path):
    given = tmp_path / "given"
    given.write_bytes(pack(number(2.0)))
    out = run(tmp_path, [task("sum", "add", number(1.0), [given, given])])["sum"]
    assert isinstance(out, Finished)
    assert unpack(out.result.read_bytes()).value == 5.0
    assert out.peak_mb > 1


def test_each_kind_of_end_is_told_apart(tmp_path):
    out = run(
        tmp_path,
        [
            task("refused", "refuse", number(0, tmp_path / "r")),
            task("crashed", "bug", number(0)),
            task("left", "leave", number(3)),
            task("lost", "die_once", number(9, tmp_path / "d")),
            task("late", "sleep", number(60.0), timeout_s=3.0),
            task("good", "add", number(1.0)),
        ],
    )
    assert isinstance(out["good"], Finished)
    assert isinstance(out["refused"], Refused)
    assert (out["refused"].error, out["refused"].remedy) == ("ConvergenceError", "use more steps")
    assert isinstance(out["crashed"], Crashed)
    assert "ZeroDivisionError" in out["crashed"].traceback
    assert out["crashed"].error == "ZeroDivisionError"
    assert out["crashed"].message == "a bug"
    assert "ZeroDivisionError: a bug" in (tmp_path / "logs" / "crashed.log").read_text()
    assert isinstance(out["left"], Crashed)
    assert (out["left"].error, out["left"].message) == ("SystemExit", "3")
    assert isinstance(out["lost"], Lost)
    assert isinstance(out["late"], Refused)
    assert "longer than 3 s" in out["late"].found


def test_threads_are_set_before_the_process_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    out = run(tmp_path, [task("t", "threads", number(0))])["t"]
    assert unpack(out.result.read_bytes()).value == 1.0


def test_no_more_than_the_slots_run_at_once(tmp_path):
    engine = LocalEngine(tmp_path, tmp_path / "logs", slots=2, threads=1)
    waiting = [task(f"s{n}", "sleep", number(0.3)) for n in range(5)]
    asked, seen = [0], []

    def next_task():
        if not waiting:
            return None
        asked[0] += 1
        return waiting.pop(0)

    for done, _ in enumerate(engine.run(next_task), start=1):
        seen.append(asked[0] - done)
    assert max(seen) <= 2
    assert asked[0] == 5


def test_workers_end_when_their_driver_is_killed(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from calls_in_worker import Number\n"
        "from drupe.hardware.engine import LocalEngine, Task\n"
        "folder = Path(sys.argv[1]); e = LocalEngine(folder, folder, slots=1, threads=1)\n"
        "t = [Task('k', 'n', 't', 'calls_in_worker:sleep', Number(60.0), (), 99.0)]\n"
        "list(e.run(lambda: t.pop() if t else None))\n"
    )
    here = os.path.dirname(__file__)
    driver = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), here])
    try:
        workers = wait_for(lambda: psutil.Process(driver.pid).children())
    finally:
        driver.kill()
        driver.wait()
    gone, alive = psutil.wait_procs(workers, timeout=15)
    assert gone
    assert not alive


def wait_for(look, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")


def test_an_engine_without_a_worker_is_refused(tmp_path):
    with pytest.raises(MachineError, match="0 workers"):
        LocalEngine(tmp_path, tmp_path, slots=0, threads=1)
