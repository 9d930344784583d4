"""The pocket data set at a tiny setting: killed, run again, counted."""

import dataclasses
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drupe.store import read_rows

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "pocket-labels"
SYSTEM = "phenol-water"
DRIVER = """
import sys
sys.path[:0] = [{example!r}, {tests!r}]
from test_pocket_labels import tiny, FOLDER
import make
from pathlib import Path
if __name__ == "__main__":
    make.make(Path(sys.argv[1]), tiny(), 1)
"""


@pytest.fixture(scope="module", autouse=True)
def _example_on_the_path():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        patch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))  # make.py adds to it
        yield
    for name in ("make", "pocket_labels", "pocket_sampling", "pocket_tasks"):
        sys.modules.pop(name, None)


def tiny():
    """One run of two chunks of one frame, LDA/STO-3G labels; the second has a core."""
    tasks = importlib.import_module("pocket_tasks")
    plan = tasks.Plan(
        low=2,
        high=1,
        runs=1,
        frames_per_chunk=1,
        spacing_ps=0.02,
        equilibration_ps=0.02,
        pressure_ps=0.02,
        box_nm=1.95,
    )
    cheap = {"functional": "LDA", "basis": "sto-3g", "grid": 0, "cluster_bohr": 8.0}
    return [
        dataclasses.replace(node, settings=dataclasses.replace(node.settings, **cheap))
        if node.stage == "label"
        else node
        for node in tasks.labelling(plan, (SYSTEM,))
    ]


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path):
    folder = tmp_path / "pocket"
    program = DRIVER.format(example=str(FOLDER), tests=str(Path(__file__).parent))
    driver = subprocess.Popen([sys.executable, "-c", program, str(folder)])
    until = time.monotonic() + 120
    while time.monotonic() < until and not any("chunk-000" in row.name for row in _rows(folder)):
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = {row.name: row for row in read_rows(folder)}
    assert f"{SYSTEM}/run-0/chunk-000" in before
    assert len(before) < 5

    make = importlib.import_module("make")
    rows = make.make(folder, tiny(), 1)
    assert {row.state for row in rows.values()} == {"done"}
    assert len(rows) == 5
    for name, row in before.items():
        assert rows[name] == row  # not run again, or it would have taken another time

    labels = importlib.import_module("pocket_labels")
    found = list(labels.read_labels(folder, SYSTEM))
    assert [made.stage.frame for made in found] == [0, 1]
    assert sorted(bool(made.label.cores) for made in found) == [False, True]
    assert all(made.label.cores[0].n_occupied == 5 for made in found if made.label.cores)
    assert all(made.atoms > 13 and (made.atoms - 13) % 3 == 0 for made in found)
    assert f"{SYSTEM}: 2 labels, 1 of them core-corrected" in labels.tell(folder, SYSTEM)

    dynamics = [node for node in tiny() if node.stage == "sample"]
    undisturbed = make.make(tmp_path / "undisturbed", dynamics, 1)
    for name, row in undisturbed.items():
        assert rows[name].blob == row.blob  # named by its content: frames and State bit by bit


def test_the_plan_gives_what_was_asked_for():
    tasks = importlib.import_module("pocket_tasks")
    plan = tasks.Plan()
    nodes = tasks.labelling(plan, importlib.import_module("pocket_sampling").SYSTEMS)
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names)
    for system in ("xylene-t4l", SYSTEM):
        labels = [n for n in nodes if n.stage == "label" and n.settings.system == system]
        assert len(labels) == 300
        assert sum(n.settings.solver is not None for n in labels) == 60
        assert {n.settings.run for n in labels} == {0, 1, 2}
        assert len({(n.settings.run, n.settings.frame) for n in labels}) == 300
        # What is there early is a small version of the whole.
        assert sum(n.settings.solver is not None for n in labels[:100]) == 20
    for node in nodes:
        assert set(node.needs) <= set(names[: names.index(node.name)])


def _rows(folder):
    return read_rows(folder) if (folder / "campaign.sqlite").exists() else []
