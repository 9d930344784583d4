"""Switches between the two levels of the potential: methanol in vacuum through the bodies of the tasks."""

import re
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from drupe.embedding.regions.partition import Partition
from drupe.embedding.structures.openmm_objects import read_openmm
from drupe.errors import InputError
from drupe.freeenergy.campaigns.assembled_trust import doubts
from drupe.freeenergy.campaigns.config import Config, read_config
from drupe.freeenergy.campaigns.fitting import CompareStage, Gathered, compare_levels
from drupe.freeenergy.campaigns.preparation import Leg, Prepared
from drupe.freeenergy.campaigns.stages import Place, SampleStage, Snapshots, by_correlation
from drupe.freeenergy.campaigns.switch_stages import SwitchStage, sample_mixed, switch_core
from drupe.freeenergy.campaigns.workflow import campaign_graph
from drupe.freeenergy.simulation.sampling import SampleSpec
from drupe.freeenergy.switches.switching import SwitchSpec, Work
from drupe.freeenergy.switches.work_sets import paired_works
from drupe.units import kt, nanometer

sys.path.insert(0, str(Path(__file__).parents[1]))
from learned_molecule import committee, force_field, molecule

QUICK = Path(__file__).parents[3] / "examples" / "t4l-xylene" / "quickstart.toml"
PLACE = Place("Reference", 1)
T = 300.0


@pytest.fixture(scope="module")
def prepared():
    found = molecule()
    structure = read_openmm(found.topology, force_field(), found.positions / nanometer)
    leg = Leg(structure, Partition.select(structure.system, qm=list(range(6)), charge=0), np.arange(6))
    return Prepared(leg, leg)


@pytest.fixture(scope="module")
def models():
    return [Gathered(committee((n, n + 1)), ()) for n in (0, 5)]


@pytest.fixture(scope="module")
def runs(prepared, models):
    spec = SampleSpec(T, step_fs=0.5, n_equilibration=40, n_frames=3, stride=40)
    start = Snapshots(molecule().positions[None], [0], 1, 0)
    return [sample_mixed(SampleStage("solvent", spec, PLACE), prepared, start, one) for one in models]


def stage(direction, index, n_steps=1):
    spec = SwitchSpec(n_steps=n_steps, step_fs=0.5, temperature_k=T, friction_per_ps=1.0, direction=direction)
    return SwitchStage("solvent", index, spec, 7 + index, PLACE)


def test_a_switch_of_one_increment_is_the_instantaneous_difference(prepared, models, runs):
    """compare_levels reaches the same numbers without OpenMM."""
    levels = compare_levels(CompareStage("solvent", T, 1), prepared, *models, *runs)
    made = {
        way: [switch_core(stage(way, k), prepared, *models, run).value for k in range(3)]
        for way, run in zip(("forward", "reverse"), runs, strict=True)
    }
    assert np.ptp(made["forward"]) > 0.01
    for way in made:
        want = getattr(levels, way)
        for value in want:  # of the three, those that are not correlated
            assert np.abs(np.array(made[way]) - value).min() < 1e-3


def test_switches_of_both_directions_belong_together_and_start_at_their_own_level(prepared, models, runs):
    works = {
        way: [switch_core(stage(way, k, n_steps=5), prepared, *models, run) for k in range(2)]
        for way, run in zip(("forward", "reverse"), runs, strict=True)
    }
    found = paired_works(works["forward"], works["reverse"])
    assert len(found.w_f) == len(found.w_r) == 2
    assert len({work.start for way in works for work in works[way]}) == 4


def test_a_level_switched_to_itself_costs_nothing(prepared, models, runs):
    work = switch_core(stage("forward", 0, n_steps=4), prepared, models[0], models[0], runs[0])
    assert work.value == pytest.approx(0.0, abs=1e-9)


def test_both_potentials_are_watched_along_a_switch_between_levels(prepared, models, runs):
    work = switch_core(stage("forward", 0, n_steps=5), prepared, *models, runs[0])
    assert work.part.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert len(work.novelty) == len(work.sigma) == 5
    # The first frame is that of the run: what both committees think of it is known.
    frame = runs[0].positions[by_correlation([runs[0]])[0][0][1]]
    seen = [
        one.committee.predict(frame, np.zeros((0, 3)), np.zeros(0), np.zeros(0, np.int64)) for one in models
    ]
    assert work.sigma[0] == pytest.approx(max(float(one.energy_sigma) for one in seen) / kt(T), rel=1e-6)
    assert work.novelty[0] == pytest.approx(max(one.novelty for one in seen), rel=1e-6, nan_ok=True)
    finished = {"solvent/core-forward/0": work}
    (found,) = (one for one in doubts(Finished(finished)) if one.place == "solvent, switches")
    assert found.level == "core"
    assert found.sigma.tolist() == work.sigma.tolist()
    # A switch that nobody watched is not passed over.
    bare = Work(**{one.name: getattr(work, one.name) for one in fields(Work)})
    finished["solvent/core-forward/1"] = bare
    (found,) = (one for one in doubts(Finished(finished)) if one.place == "solvent, switches")
    assert np.isnan(found.sigma).tolist() == [False] * 5 + [True]


class Finished(dict):
    """Results by name."""

    nodes = ()

    def matching(self, pattern):
        return [value for name, value in self.items() if re.fullmatch(pattern, name)]


def table(extra):
    text = QUICK.read_text()
    place = text.index("[switching.solvent]") + len("[switching.solvent]")
    return tomllib.loads(text[:place] + "\n" + extra + text[place:])


def test_the_graph_has_them_where_they_are_asked_for():
    plain = campaign_graph(read_config(QUICK))
    assert not [node for node in plain if "/core-" in node.name]
    config = Config.model_validate(table('core = { switches = 3, length = "0.1 ps" }'))
    made = [node for node in campaign_graph(config) if "/core-" in node.name]
    assert sorted({re.sub(r"\d+$", "", node.name) for node in made}) == [
        "solvent/core-forward/", "solvent/core-reverse/",
    ]  # fmt: skip
    assert len(made) == 6
    assert len({node.settings.seed for node in made}) == 6
    for node in made:
        level = "low" if "forward" in node.name else "core"
        assert f"solvent/ml-{level}/0" in node.needs
        assert node.settings.spec.n_steps == round(100 / config.dynamics.ml_step)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ('core = { switches = 3000, length = "1 ps" }', "for 3000 switches between them"),
        ('core = { switches = 3, length = "0.1 fs" }', "switching.solvent.core.length is 0.1 fs"),
    ],
)
def test_what_cannot_be_run_is_refused(tmp_path, extra, says):
    text = QUICK.read_text()
    place = text.index("[switching.solvent]") + len("[switching.solvent]")
    (tmp_path / "input.toml").write_text(text[:place] + "\n" + extra + text[place:])
    with pytest.raises(InputError, match=re.escape(says)):
        read_config(tmp_path / "input.toml")
