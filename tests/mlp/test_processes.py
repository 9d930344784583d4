"""Members in processes of their own."""

import dataclasses
import os
import signal
import threading
import time

import psutil
import pytest

from drupe.errors import ConvergenceError, InputError, MachineError
from drupe.mlp import Dataset, FitFolder, FitSpec, train
from drupe.mlp.training import train_member
from drupe.records import unpack

SPEC = FitSpec(members=3, seed=3, steps=12, features=6, layers=1, radial=4, batch=5)


@pytest.mark.slow
def test_two_workers_give_the_bytes_of_one(low_data, ligand):
    counts, told, seen = [], [], []
    here = train(low_data, SPEC, ligand.force_field, on_progress=lambda p: seen.append(str(p)))
    there = train(
        low_data,
        SPEC,
        ligand.force_field,
        counts.append,
        workers=2,
        on_progress=lambda p: told.append(str(p)),
    )
    assert there.to_bytes() == here.to_bytes()
    assert counts == [1, 2, 3]
    assert sorted(told) == sorted(seen)
    assert "kcal/mol/A" in told[0]


def workers():
    """Worker processes that this process started."""
    return [p for p in psutil.Process().children() if "drupe.hardware.worker" in p.cmdline()]


@pytest.mark.slow
def test_a_killed_worker_is_a_clear_error_and_the_next_call_goes_on(low_data, ligand, tmp_path):
    folder = FitFolder(tmp_path / "fits", every_s=0)
    spec = FitSpec(members=2, seed=3, steps=400, features=6, layers=1, radial=4, batch=5)
    ended = threading.Event()

    def kill():
        while not ended.is_set():
            states = [unpack(path.read_bytes()) for path in (tmp_path / "fits").glob("[!.]*.state")]
            if any(state.step > 20 for state in states) and workers():
                os.kill(workers()[0].pid, signal.SIGKILL)
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(MachineError, match="was killed") as caught:
            train(low_data, spec, ligand.force_field, workers=2, folder=folder)
    finally:
        ended.set()
        killer.join()
    assert "same folder" in str(caught.value)
    assert not workers()  # the other one went too
    seen = []
    train(low_data, spec, ligand.force_field, folder=folder, on_progress=lambda p: seen.append(p.row.step))
    assert len(seen) < 2 * len(range(6, 401, 6))  # it did not start anew


def test_errors_of_workers_are_those_of_one_process(low_data, labels, ligand):
    bare = Dataset.from_labels([dataclasses.replace(label, forces_qm=None) for label in labels[:4]])
    with pytest.raises(InputError, match="forces"):
        train(bare, SPEC, workers=2)
    wild = dataclasses.replace(SPEC, learning_rate=1e150, steps=30)
    with pytest.raises(ConvergenceError, match="not a number"):
        train_member(low_data, wild, 0)
