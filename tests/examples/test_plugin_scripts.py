"""Ordinary OpenMM scripts with at most three added lines: run short, with those lines and without."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

from drupe.mlp import load

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FOLDER = EXAMPLES / "plugin"
SCRIPTS = ("from_openmm.py", "from_gromacs.py", "from_system.py")


def run(script, folder, *arguments):
    # Threads that wait for each other lose most on a busy machine.
    one_thread = {**os.environ, "OPENMM_CPU_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=one_thread,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """The examples with their inputs, in a folder that may be written to."""
    folder = tmp_path_factory.mktemp("examples")
    for name in ("plugin", "pocket-labels"):
        shutil.copytree(EXAMPLES / name, folder / name)
    run("make_inputs.py", folder / "plugin")
    return folder / "plugin"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gains_at_most_three_lines_and_imports_nothing_of_ours(name):
    text = (FOLDER / name).read_text()
    added = [line for line in text.splitlines() if line.endswith("# learned")]
    assert 1 <= len(added) <= 3
    imported = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imported for alias in node.names}
    names |= {node.module for node in imported if isinstance(node, ast.ImportFrom)}
    assert not [one for one in names if one.split(".")[0] in ("drupe", "torch")]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_with_the_learned_potential(name, copies):
    out = run(name, copies, "100")
    rows = [line.split(",") for line in out.splitlines() if line[:1].isdigit()]
    assert [int(row[0]) for row in rows] == [100]
    energies, temperatures, densities = np.array(rows, float)[:, 1:].T
    assert (np.abs(energies) < 5e4).all()
    assert (temperatures < 400).all()
    assert ((densities > 0.85) & (densities < 1.1)).all()
    assert (copies / "phenol.dcd").stat().st_size > 12 * 2000


def test_without_the_added_lines_a_script_is_an_ordinary_one(copies):
    text = (FOLDER / "from_system.py").read_text()
    plain = [line for line in text.splitlines() if not line.endswith("# learned")]
    (copies / "plain.py").write_text("\n".join(plain) + "\n")
    assert len(run("plain.py", copies, "100").splitlines()) == 2


def test_the_gromacs_files_are_the_same_force_field(copies):
    gro = app.GromacsGroFile(str(copies / "phenol-water.gro"))
    top = app.GromacsTopFile(str(copies / "phenol-water.top"), periodicBoxVectors=gro.getPeriodicBoxVectors())
    options = {"nonbondedMethod": app.PME, "nonbondedCutoff": 0.9 * unit.nanometer, "constraints": app.HBonds}
    first = top.createSystem(**options)
    second = openmm.XmlSerializer.deserialize((copies / "phenol-water.xml").read_text())
    energies = []
    for system in (first, second):
        context = openmm.Context(
            system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("CPU")
        )
        context.setPeriodicBoxVectors(*gro.getPeriodicBoxVectors())
        context.setPositions(gro.positions)
        state = context.getState(energy=True)
        energies.append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
    # 0.01 kJ/mol of 12,000: single precision of the CPU platform.
    assert energies[0] == pytest.approx(energies[1], abs=0.01)


def test_the_shipped_model_is_small_and_says_what_it_feels():
    path = FOLDER / "phenol.drupe"
    assert path.stat().st_size < 100_000
    assert "within 9.0 A" in repr(load(path))
