"""Whole campaigns from files to the report: ethanol beside ethanol in water, all tasks in one process."""

import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from drupe.freeenergy.campaigns.config import read_config
from drupe.freeenergy.campaigns.workflow import campaign_graph
from drupe.freeenergy.cli import main
from drupe.freeenergy.tasks import placing

sys.path.insert(0, str(Path(__file__).parents[1]))
from ethanol_pair import write_pair
from one_process import OneProcess

TEXT = """
name = "pair"
seed = 3

[system]
topology = "complex.pdb"
system = "complex.xml"
ligand = "resname EOH"

[water]
padding = "5 A"
reach = "4 A"

[regions]
cores = ["resname EOH and name O2 H8"]

[level]
functional = "HF"
basis = "STO-3G"
core = "MP2"

[torsions]
highest = 3

[sampling.complex]
runs = 2
equilibration = "50 fs"
spacing = "20 fs"
frames = 3

[sampling.solvent]
runs = 1
equilibration = "50 fs"
spacing = "20 fs"
frames = 4

[labels]
total = { complex = 3, solvent = 2 }
core = { complex = 2, solvent = 1 }
check = { complex = 1, solvent = 1 }

[potential]
members = 2
steps = 20
transfer_steps = 10

[abfe]
repeats = 1

[abfe.complex]
restraints     = [0.0, 1.0, 1.0]
electrostatics = [1.0, 0.0, 0.0]
sterics        = [1.0, 1.0, 0.0]
equilibration = "10 fs"
length = "60 fs"
spacing = "10 fs"

[abfe.solvent]
electrostatics = [1.0, 0.0]
sterics        = [1.0, 0.0]
equilibration = "10 fs"
length = "60 fs"
spacing = "10 fs"

[switching.complex]
switches = 2
length = "10 fs"
runs = 1
equilibration = "5 fs"
spacing = "5 fs"
frames = 2

[switching.solvent]
switches = 2
length = "10 fs"
runs = 1
equilibration = "5 fs"
spacing = "5 fs"
frames = 2
"""
HEADLINE = ["ΔG bind (MM)", "correction low", "correction core"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the input in a folder with the files of the pair: exit code, tasks that were begun, and output."""
    write_pair(tmp_path)
    monkeypatch.chdir(tmp_path)

    def call(text, *, stop_after=None):
        Path("pair.toml").write_text(text)
        engines = []

        def engine_for(asked, store):
            engines.append(OneProcess(store.scratch, stop_after=stop_after))
            return engines[-1], "in one process"

        monkeypatch.setattr(placing, "engine_for", engine_for)
        found = CliRunner().invoke(main, ["run", "pair.toml"])
        assert found.exit_code in (0, 130), (found.output, found.exception)
        return found.exit_code, engines[0].begun, found.output

    return call


def told(folder):
    return json.loads((folder / "pair" / "report.json").read_text())


def check_numbers(report, level="core-corrected"):
    """Toy sampling has to be refused, and every number has its error."""
    assert report["verdict"]["level"] == "FAIL"
    assert list(report["headline"]) == [*HEADLINE, f"ΔG bind ({level})"]
    assert report["failures"] == []
    for name, row in {**report["headline"], **report["baselines"]}.items():
        assert row["kcal_per_mol"] is None or row["error_kcal_per_mol"] > 0, name
    causes = {row["cause"]: row["kcal_per_mol"] for row in report["error_budget"]}
    assert causes["label, unscreened field"] is None  # no field is left unscreened in a box of water
    assert causes["model"] > 0
    assert "whole molecules within 4 A" in report["approximations"]["charges that DFT sees"]
    assert "box of water" in report["approximations"]
    groups = {row["group"] for row in report["potential"] if row["quantity"] == "force_mm"}
    assert groups == {"complex", "solvent"}


@pytest.mark.slow
def test_in_water_with_labels_training_switches_and_torsions_to_the_report_over_a_stop(run, tmp_path):
    code, before, output = run(TEXT, stop_after=25)
    assert code == 130
    assert not (tmp_path / "pair" / "report.json").exists()
    code, after, output = run(TEXT)
    assert code == 0, output
    names = [node.name for node in campaign_graph(read_config(tmp_path / "pair.toml"))]
    assert sorted(before + after) == sorted(names)  # nothing twice, nothing left out
    report = told(tmp_path)
    check_numbers(report)
    assert "learned potential" in report["approximations"]
    assert "torsion refit (a baseline)" in report["approximations"]
    assert list(report["baselines"]) == ["correction torsions", "ΔG bind (torsion refit)"]
    assert any(name.startswith("refitted torsion C4-C4-O2-H1") for name in report["settings"])
    page = (tmp_path / "pair" / "report.html").read_text()
    assert "ΔG bind (torsion refit)" in page
    assert re.search(r"EOH in 1 residue, 9 atoms, \d+ waters", page)

    # Another embedding is another potential: labels, MM runs, windows and the torsion refit are kept.
    changed = TEXT.replace("[potential]\n", '[potential]\nembedding = "mechanical"\n')
    code, again, output = run(changed)
    assert code == 0, output
    kept = re.compile(r"\w+/(label|sample|snapshots|reference|restraint|window|torsion).*|torsions/.*")
    assert sorted(again) == sorted(name for name in names if not kept.fullmatch(name))
    other = told(tmp_path)
    check_numbers(other, "core-corrected, mechanical embedding")  # the number says that it is a comparison
    assert "learned potential" not in other["approximations"]
    assert "feels no field" in other["approximations"]["mechanical embedding"]
    assert "mechanical embedding" in other["settings"]["potential"]
    assert other["headline"]["ΔG bind (MM)"] == report["headline"]["ΔG bind (MM)"]
    assert other["baselines"] == report["baselines"]
    assert other["headline"]["correction low"] != report["headline"]["correction low"]
