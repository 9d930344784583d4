"""A fit that is stopped anywhere ends with the bytes of one that was not."""

import dataclasses
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.mlp import Dataset, FitFolder, FitSpec, TransferSpec
from drupe.mlp.training import train_member
from drupe.mlp.transfer import transfer_member
from drupe.records import pack, unpack

# Reports every step, halves its rate and stops early: all of the state is at work.
SPEC = FitSpec(
    members=2,
    seed=3,
    steps=40,
    features=6,
    layers=1,
    radial=4,
    batch=3,
    plateau=3,
    patience=25,
    learning_rate=0.05,
)
TO_HIGH = TransferSpec(steps=15, batch=3)

SCRIPT = """
import sys
from pathlib import Path
from drupe.mlp import FitFolder
from drupe.mlp.training import train_member
from drupe.records import unpack
data, spec = (unpack(Path(name).read_bytes()) for name in sys.argv[1:3])
train_member(data, spec, 0, folder=FitFolder(sys.argv[3], every_s=0))
"""


class Stopped(Exception):
    """Stands for any end of the process."""


class StoppingFolder(FitFolder):
    """Stops the fit right after its state of step ``at`` was stored."""

    def __init__(self, path, at):
        super().__init__(path, every_s=0)
        self.at = at

    def save(self, state):
        super().save(state)
        if state().step >= self.at:
            raise Stopped


@pytest.fixture(scope="module")
def data(low_data):
    return low_data.take(range(16))


@pytest.fixture(scope="module")
def whole(data, ligand):
    return train_member(data, SPEC, 0, ligand.force_field)


def stopped(path, at, call):
    with pytest.raises(Stopped):
        call(StoppingFolder(path, at))


@pytest.mark.parametrize("below", ["", "fits", "fits/today"])
def test_a_file_in_place_of_the_folder_is_refused_before_anything_is_computed(tmp_path, below):
    there = tmp_path / "taken"
    there.write_text("")
    with pytest.raises(InputError, match="taken is a file"):
        FitFolder(there / below)
    FitFolder(tmp_path / "new" / "folder")


@pytest.mark.parametrize("steps", [(1,), (2, 3, 4, 17), (24,)])
def test_a_fit_stopped_at_any_step_goes_on_to_the_same_bytes(steps, data, ligand, whole, tmp_path):
    for at in steps:
        stopped(tmp_path, at, lambda folder: train_member(data, SPEC, 0, ligand.force_field, folder=folder))
    seen = []
    fit = train_member(
        data,
        SPEC,
        0,
        ligand.force_field,
        folder=FitFolder(tmp_path),
        on_progress=lambda p: seen.append(p.row.step),
    )
    assert pack(fit) == pack(whole)
    assert seen[0] == steps[-1] + 1  # it did go on there
    assert whole.curve.rate[-1] < SPEC.learning_rate


def test_killed_by_the_system_it_goes_on_to_the_same_bytes(data, tmp_path):
    """SIGKILL at a moment that nobody chose, twice."""
    spec = dataclasses.replace(SPEC, steps=400, plateau=20, patience=400)
    (tmp_path / "data").write_bytes(pack(data))
    (tmp_path / "spec").write_bytes(pack(spec))
    folder = tmp_path / "fits"
    reached = 0
    for _ in range(2):
        arguments = [str(tmp_path / name) for name in ("data", "spec", "fits")]
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *arguments], env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        try:
            while step_of(folder) <= reached and process.poll() is None:
                time.sleep(0.01)
            time.sleep(float(np.random.default_rng().uniform(0, 0.2)))
        finally:
            os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert step_of(folder) > reached
        reached = step_of(folder)
    assert reached < spec.steps
    seen = []
    fit = train_member(data, spec, 0, folder=FitFolder(folder), on_progress=lambda p: seen.append(p.row.step))
    assert seen[0] > reached
    assert pack(fit) == pack(train_member(data, spec, 0))


def step_of(folder: Path) -> int:
    return max((unpack(path.read_bytes()).step for path in folder.glob("[!.]*.state")), default=0)


def test_a_transfer_stopped_at_any_step_goes_on_to_the_same_bytes(low_fits, labels, data, tmp_path):
    high = Dataset.from_labels([labels[i] for i in (0, 1, 4, 7)])
    potential = low_fits[0].potential
    whole = transfer_member(potential, high, data, TO_HIGH)
    for at in (1, 9):
        stopped(tmp_path, at, lambda folder: transfer_member(potential, high, data, TO_HIGH, folder=folder))
    assert pack(transfer_member(potential, high, data, TO_HIGH, folder=FitFolder(tmp_path))) == pack(whole)


def test_a_finished_fit_is_read_and_its_state_is_gone(data, ligand, whole, tmp_path):
    folder = FitFolder(tmp_path, every_s=0)
    first = train_member(data, SPEC, 0, ligand.force_field, folder=folder)
    assert [path.suffix for path in tmp_path.iterdir()] == [".done"]
    seen = []
    again = train_member(data, SPEC, 0, ligand.force_field, folder=folder, on_progress=seen.append)
    assert pack(again) == pack(first) == pack(whole)
    assert not seen
    (kept,) = folder.finished()
    assert np.array_equal(kept.curve.loss, first.curve.loss)
    assert len(kept.curve.step) > 1


def test_the_state_of_another_fit_is_not_looked_at(data, ligand, low_data, whole, tmp_path):
    """Other labels, another member, specification or baseline: each starts anew, beside the others."""
    stopped(tmp_path, 5, lambda folder: train_member(data, SPEC, 0, ligand.force_field, folder=folder))
    short = dataclasses.replace(SPEC, steps=6)
    others = [
        (low_data.take(range(15)), SPEC, 0, ligand.force_field),
        (data, SPEC, 1, ligand.force_field),
        (data, short, 0, ligand.force_field),
        (data, SPEC, 0, None),
    ]
    for dataset, spec, member, baseline in others:
        seen = []
        with pytest.raises(Stopped):
            train_member(
                dataset, spec, member, baseline, folder=StoppingFolder(tmp_path, 2), on_progress=seen.append
            )
        assert seen[0].row.step == 1
    assert len(list(tmp_path.glob("*.state"))) == 5


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "renamed"])
def test_a_damaged_or_foreign_state_is_named_and_not_used(
    damage, data, ligand, whole, low_data, tmp_path, caplog
):
    stopped(tmp_path, 5, lambda folder: train_member(data, SPEC, 0, ligand.force_field, folder=folder))
    (path,) = tmp_path.glob("*.state")
    content = path.read_bytes()
    if damage == "renamed":  # a whole state, of another fit
        content = pack(dataclasses.replace(unpack(content), fit="Fit-0"))
    path.write_bytes(
        {"cut": content[: len(content) // 2], "empty": b"", "foreign": pack(low_data), "renamed": content}[
            damage
        ]
    )
    with caplog.at_level(logging.WARNING):
        fit = train_member(data, SPEC, 0, ligand.force_field, folder=FitFolder(tmp_path))
    assert pack(fit) == pack(whole)
    assert "anew" in caplog.text


def test_states_are_stored_at_the_interval_that_was_asked_for(data, ligand, tmp_path):
    train_member(
        data, dataclasses.replace(SPEC, steps=3), 0, ligand.force_field, folder=FitFolder(tmp_path, 1e6)
    )
    assert [path.suffix for path in tmp_path.iterdir()] == [".done"]
    with pytest.raises(InputError, match="seconds"):
        FitFolder(tmp_path, float("nan"))
