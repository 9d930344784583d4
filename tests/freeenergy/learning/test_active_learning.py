import fcntl
import importlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from drupe.embedding import Level, MolecularSystem, Partition
from drupe.errors import ConvergenceError, DrupeError, InputError
from drupe.freeenergy.learning.active_learning import ActivePlan, Ground, Pool, learn_actively
from drupe.freeenergy.tasks.progress import Progress
from drupe.hardware.engine import Crashed, Finished, LocalEngine, Refused
from drupe.mlp import Dataset, FitSpec, TransferSpec
from drupe.mlp.acquisition import choose, score
from drupe.records import pack, unpack
from drupe.store import Store, read_rows

HERE = Path(__file__).parents[1]
CHEAP = "labels_in_worker:label"
FIT = FitSpec(members=2, steps=60, features=8, layers=1, radial=6, batch=8)
WATER = np.array([[0.0, 0.0, 0.2], [0.0, 1.43, -0.9], [0.0, -1.43, -0.9]])


@pytest.fixture(autouse=True)
def labels_in_worker(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("DRUPE_TEST_LABELS", str(tmp_path / "calls"))
    yield
    sys.modules.pop("labels_in_worker", None)


class HereEngine:
    """Tasks one after the other in this process, with their results through files as anywhere else."""

    slots = 1

    def __init__(self, scratch):
        self.scratch = scratch

    def run(self, next_task):
        while (task := next_task()) is not None:
            module, _, function = task.call.partition(":")
            inputs = [unpack(path.read_bytes()) for path in task.inputs]
            more = {} if task.folder is None else {"folder": task.folder}
            try:
                made = getattr(importlib.import_module(module), function)(task.settings, *inputs, **more)
            except DrupeError as error:
                name = type(error).__name__
                yield task, Refused(name, error.found, error.remedy, error.retry, 0.0, 0.0)
                continue
            except Exception as error:
                yield task, Crashed(traceback.format_exc(), 0.0, type(error).__name__, str(error))
                continue
            path = self.scratch / task.key
            path.write_bytes(pack(made))
            yield task, Finished(path, 0.0, 0.0)


class Notes(Progress):
    """The line for a screen, and what was begun."""

    def __init__(self):
        self.screen = io.StringIO()
        super().__init__([], 1, Console(file=self.screen, width=200))
        self.begun = []

    def started(self, node):
        super().started(node)
        self.begun.append(node.name)


def pool(n_frames=16, bad=(), level=Level("HF", "STO-3G"), mm=False):  # noqa: B008
    rng = np.random.default_rng(5)
    around = np.array([[0.0, 0.0, 6.0]]) if mm else np.zeros((0, 3))
    system = MolecularSystem(
        numbers=np.array([8, 1, 1, *[1] * len(around)]),
        positions=np.vstack([WATER, around]),
        charges=np.array([-0.8, 0.4, 0.4, *[0.3] * len(around)]),
        bonds=np.array([[0, 1], [0, 2]]),
        box=None,
        atom_names=("O", "H1", "H2", *("X",) * len(around)),
        residue_names=("HOH",) * 3 + ("X",) * len(around),
        residue_ids=np.array([1, 1, 1, *[2] * len(around)]),
        chain_ids=np.zeros(3 + len(around), np.int64),
    )
    frames = system.positions + 0.15 * rng.normal(size=(n_frames, *system.positions.shape))
    for i in bad:
        frames[i, 0, 0] = 99.0
    regions = Partition.select(system, qm=range(3), charge=0)
    return Pool(system, regions, level, frames, np.arange(n_frames) // 4)


def run(folder, frames, plan, ground=Ground(), labeller=CHEAP, *, workers=0, **more):  # noqa: B008
    """Run with worker processes, or with none."""
    with Store(folder) as store, Notes() as notes:
        engine = HereEngine(store.scratch)
        if workers:
            engine = LocalEngine(store.scratch, folder / "logs", slots=workers, threads=1)
        more |= {} if labeller is None else {"labeller": labeller}
        made = learn_actively(frames, plan, ground, store, engine, notes, **more)
    return made, notes


def test_models_follow_labels_and_a_second_run_calls_nothing(tmp_path):
    plan = ActivePlan(labels=9, first=4, every=3, fit=FIT)
    made, _ = run(tmp_path / "c", pool(bad=(3, 7)), plan)
    assert len(made.frames) == 9
    assert not set(made.frames) & {3, 7}
    assert set(made.failed) <= {3, 7}
    assert all("the iteration stopped" in said for said in made.failed.values())
    assert [set(one.frames) < set(made.frames) for one in made.rounds[:-1]] == [True] * (len(made.rounds) - 1)
    assert set(made.rounds[-1].frames) == set(made.frames)
    assert {one.model for one in made.asked} > {-1}  # later frames were chosen by a model
    positions = [one.qm_positions for one in made.labels]
    np.testing.assert_array_equal(positions, pool(bad=(3, 7)).positions[list(made.frames)])
    calls = (tmp_path / "calls").read_text().split()
    assert len(calls) == len(set(calls)) == len(made.asked)
    again, notes = run(tmp_path / "c", pool(bad=(3, 7)), plan)
    assert notes.begun == []
    n_tasks = len(again.asked) + 3 * len(again.rounds)
    assert f"{n_tasks} of {n_tasks} tasks done; running: nothing" in notes.screen.getvalue()
    assert again.committee.key == made.committee.key
    assert again.asked == made.asked


def drawn(n_frames):
    """Frames in the order of the random draws of seed 1."""
    return np.random.default_rng(1).permutation(n_frames).tolist()


def test_labels_that_cannot_be_used_are_named_by_their_frames_and_replaced(tmp_path, monkeypatch):
    first, *others = drawn(16)
    # The first of all, which nothing could be compared with, and three that have others before them.
    bad = {first: "level", others[1]: "nan", others[2]: "zero", others[4]: "atoms"}
    monkeypatch.setenv("DRUPE_TEST_BAD", json.dumps(bad))
    plan = ActivePlan(labels=6, first=3, every=3, fit=FIT, failures=0.9)
    made, notes = run(tmp_path / "c", pool(), plan, labeller="labels_in_worker:label_or_not")
    told = {
        "level": "different levels",
        "nan": "not a finite number",
        "zero": "eV per atom",
        "atoms": "[1, 1, 8]",
    }
    assert set(made.failed) >= {first, others[1], others[2]}
    for frame, said in made.failed.items():
        found = json.loads(said)["found"]
        assert found.startswith(f"the label of frame {frame} cannot be used: ")
        assert told[bad[frame]] in found
    assert f"failed: label/{others[1]}: the label of frame {others[1]}" in notes.screen.getvalue()
    assert made.refused == {}
    assert len(made.frames) == len(made.labels) == 6
    assert made.rounds[-1].frames == made.frames
    again, notes = run(tmp_path / "c", pool(), plan, labeller="labels_in_worker:label_or_not")
    assert notes.begun == []
    assert again.failed == made.failed
    assert again.committee.key == made.committee.key


def test_whatever_a_labeller_raises_fails_its_frame_only(tmp_path, monkeypatch):
    broken = drawn(16)[1]
    monkeypatch.setenv("DRUPE_TEST_BAD", json.dumps({broken: "raises"}))
    plan = ActivePlan(labels=3, first=3, fit=FIT)
    made, _ = run(tmp_path / "c", pool(), plan, labeller="labels_in_worker:label_or_not")
    assert list(made.failed) == [broken]
    said = json.loads(made.failed[broken])
    assert said["error"] == "KeyError"
    assert said["found"] == "labels_in_worker:label_or_not raised KeyError: 'SCF Done'"
    assert f"label/{broken} has the traceback" in said["remedy"]
    assert len(made.frames) == 3


def test_an_exception_of_our_own_code_is_a_bug(tmp_path, monkeypatch):
    monkeypatch.setattr("drupe.freeenergy.learning.pool.label", lambda *_: {}["nothing"])
    with pytest.raises(RuntimeError, match="met a bug in drupe"):
        run(tmp_path / "c", pool(), ActivePlan(labels=3, first=3, fit=FIT), labeller=None)


def test_frames_that_failed_are_asked_again_when_the_cause_is_mended(tmp_path, monkeypatch):
    plan = ActivePlan(labels=3, first=3, fit=FIT)
    how = {"labeller": "labels_in_worker:label_or_not"}
    first, second, third, *_ = drawn(16)
    bad = {first: "atoms", second: "licence", third: "licence"}
    monkeypatch.setenv("DRUPE_TEST_BAD", json.dumps(bad))
    with pytest.raises(ConvergenceError, match=f"3 of 3 .*frame {second}: no licence found") as found:
        run(tmp_path / "c", pool(), plan, **how)
    assert "retry_failed=True" in found.value.remedy
    monkeypatch.setenv("DRUPE_TEST_BAD", "{}")
    with pytest.raises(ConvergenceError, match="no licence found"):
        run(tmp_path / "c", pool(), plan, **how)
    made, _ = run(tmp_path / "c", pool(), plan, **how, retry_failed=True)
    assert made.failed == {}
    assert set(made.frames) == {first, second, third}
    for retry in (False, True):  # nothing is left to ask again
        again, notes = run(tmp_path / "c", pool(), plan, **how, retry_failed=retry)
        assert notes.begun == []
        assert again.committee.key == made.committee.key


def test_a_worker_that_dies_is_replaced_and_its_frame_counts_once(tmp_path):
    plan = ActivePlan(labels=4, first=4, every=2, fit=FIT)
    made, _ = run(tmp_path / "c", pool(), plan, labeller="labels_in_worker:label_and_die", workers=2)
    calls = (tmp_path / "calls").read_text().split()
    assert len(made.frames) == 4
    assert made.failed == {}
    assert len(calls) == 5
    assert set(map(int, calls)) == set(made.frames)


def test_killed_at_any_moment_it_goes_on(tmp_path):
    """SIGKILL of the driver, twice; the ledger and the diary agree afterwards."""
    folder = tmp_path / "c"
    script = f"""
import sys
sys.path[:0] = [{str(HERE)!r}, {str(Path(__file__).parent)!r}]
from pathlib import Path
from test_active_learning import FIT, ActivePlan, pool, run
run(Path({str(folder)!r}), pool(), ActivePlan(labels=6, first=4, every=2, fit=FIT), workers=2)
"""
    for goal in (3, 8):
        driver = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
        end = time.monotonic() + 120
        while time.monotonic() < end and driver.poll() is None and n_rows(folder) < goal:
            time.sleep(0.01)
        os.kill(driver.pid, signal.SIGKILL)
        driver.communicate()
        with (folder / "LOCK").open() as lock:  # a worker that was just being started may still hold it
            fcntl.flock(lock, fcntl.LOCK_EX)
    before = {row.name for row in read_rows(folder)}
    made, notes = run(folder, pool(), ActivePlan(labels=6, first=4, every=2, fit=FIT), workers=2)
    assert len(made.frames) == 6
    assert set(made.rounds[-1].frames) == set(made.frames)
    assert not set(notes.begun) & before  # what was finished is not done again
    calls = (tmp_path / "calls").read_text().split()
    assert len(calls) <= len(made.asked) + 4  # at most the two in flight at each kill ran twice


def n_rows(folder):
    try:
        return len(read_rows(folder))
    except (InputError, sqlite3.OperationalError):  # not made yet
        return 0


def test_real_labels_in_charges_and_a_transfer_to_a_core(tmp_path):
    """Hartree-Fock labels from scratch, then an MP2 core carried from that committee, which chooses."""
    frames = pool(8, mm=True)
    low, _ = run(tmp_path / "low", frames, ActivePlan(labels=3, first=3, fit=FIT), labeller=None)
    system = frames.system
    cored = Pool(
        system,
        Partition.select(system, qm=range(3), charge=0, cores=[[0, 1, 2]]),
        Level("HF", "STO-3G", core="MP2", virtual_shells=None, n_occupied=(5,)),
        frames.positions,
        frames.blocks,
    )
    carry = TransferSpec(steps=20, max_force_drift=0.1)
    plan = ActivePlan(labels=4, first=3, every=1, fit=FIT, transfer=carry, quantity="energy")
    low_data = Dataset.from_labels(
        low.labels, which="low", blocks=[int(frames.blocks[i]) for i in low.frames]
    )
    made, _ = run(
        tmp_path / "high", cored, plan, Ground(committee=low.committee, low=low_data), labeller=None
    )
    assert [one.model for one in made.asked] == [-1, -1, -1, 0]
    *first, last = (one.frame for one in made.asked)
    places = [cored.surroundings(i) for i in range(8)]
    carried = made.rounds[0].committee
    worth = {
        name: choose(score(carried, places, quantity=quantity, base=base), first)[0]
        for name, quantity, base in (
            ("corrections", "energy", low.committee),
            ("energies", "energy", None),
            ("forces", "force", low.committee),
        )
    }
    assert len(set(worth.values())) == 3  # a choice by anything else would be another
    assert last == worth["corrections"]
    assert len(made.frames) == 4
    assert made.committee.header.level != low.committee.header.level
    corrections = [one.energy - one.energy_low for one in made.labels]
    shift = made.committee.header.energy_zero - low.committee.header.energy_zero
    assert shift == pytest.approx(np.mean(corrections), abs=1e-12)


def test_no_model_at_all_is_an_error_with_the_reason(tmp_path):
    hopeless = FitSpec(members=2, steps=20, features=8, layers=1, radial=6, batch=8, learning_rate=1e300)
    with pytest.raises(ConvergenceError, match="no model could be made of 3 labels: .*not a number"):
        run(tmp_path / "c", pool(), ActivePlan(labels=3, first=2, every=1, fit=hopeless))


def test_a_plan_and_its_ground_have_to_fit(tmp_path):
    plan = ActivePlan(labels=4, first=2, every=2, fit=FIT, transfer=TransferSpec())
    with pytest.raises(InputError, match="no committee or no labels"):
        run(tmp_path / "c", pool(), plan)


def test_a_labeller_that_is_not_there_is_refused_before_anything_runs(tmp_path):
    plan = ActivePlan(labels=4, first=2, every=2, fit=FIT)
    for name in ("labels_in_worker:nothing", "no_such_module:label"):
        with pytest.raises(InputError, match="no labeller"):
            run(tmp_path / "c", pool(), plan, labeller=name)


@pytest.mark.parametrize(
    "change",
    [
        {"positions": np.zeros((4, 2, 3))},
        {"blocks": np.zeros(3, np.int64)},
        {"blocks": np.arange(4) / 4},
    ],
)  # fmt: skip
def test_frames_that_do_not_fit_are_refused(change):
    good = pool(4)
    fields = {name: getattr(good, name) for name in ("system", "partition", "level", "positions", "blocks")}
    with pytest.raises(InputError):
        Pool(**{**fields, **change})
