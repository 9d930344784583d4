"""Fresh labels, watched switches and what is read from them, with the real engines on p-xylene alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from drupe.embedding.level import Level
from drupe.freeenergy.campaigns.assembled_trust import doubts, restraint_traces, starts_of
from drupe.freeenergy.campaigns.checking import CheckStage, compare_with_labels
from drupe.freeenergy.campaigns.config import read_config
from drupe.freeenergy.campaigns.fitting import CompareStage, Gathered, compare_levels
from drupe.freeenergy.campaigns.preparation import prepare
from drupe.freeenergy.campaigns.stages import (
    LabelStage,
    Place,
    SampleStage,
    SnapshotStage,
    by_correlation,
    label_snapshot,
    pick_snapshots,
    sample_leg,
)
from drupe.freeenergy.campaigns.switch_stages import SwitchStage, sample_mixed, switch_forward, switch_reverse
from drupe.freeenergy.outcomes.campaign import SwitchingResult
from drupe.freeenergy.simulation.sampling import SampleSpec
from drupe.freeenergy.switches.switching import SwitchSpec
from drupe.freeenergy.tasks.runner import Node
from drupe.mlp import Committee
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.potential import Potential, PotentialHeader
from drupe.records import content_key, pack, unpack
from drupe.units import kt

SMOKE = Path(__file__).parents[3] / "examples" / "t4l-xylene" / "smoke.toml"
PLACE = Place("CPU", 1)
KT = kt(300.0)


class Finished:
    """Results by node name, as a campaign has them."""

    def __init__(self, results):
        self.results = results
        self.nodes = [Node(name, "", "", None) for name in results]

    def __contains__(self, name):
        return name in self.results

    def __getitem__(self, name):
        return self.results[name]

    def matching(self, pattern):
        import re

        return [one for name, one in self.results.items() if re.fullmatch(pattern, name)]


@pytest.fixture(scope="module")
def prepared():
    return prepare(read_config(SMOKE), SMOKE.parent)


@pytest.fixture(scope="module")
def gathered(prepared):
    """Two members that nobody trained, near the force field they add to."""
    leg = prepared.solvent
    field = LigandForceField.from_structure(leg.structure, leg.ligand.tolist())
    header = PotentialHeader(
        numbers=leg.structure.system.numbers,
        fixed_charges=field.charges,
        total_charge=0,
        backbone="painn",
        features=8,
        layers=1,
        radial=4,
        cutoff=8.0,
        damping=2.0,
        field_scale=0.02,
        energy_scale=1e-4,
        energy_bound=0.1,
        charge_scale=0.01,
        polarizability_scale=1.0,
        energy_zero=-3.0,
        level="none",
        training_set="none",
        baseline=field,
    )
    members = []
    for seed in range(2):
        one = Potential(header, seed=seed)
        torch.nn.init.normal_(one.readout.last.weight, std=0.3, generator=torch.Generator().manual_seed(seed))
        members.append(one.stored())
    return Gathered(Committee(tuple(members)), ())


@pytest.fixture(scope="module")
def finished(prepared, gathered):
    """MM and ML/MM runs of the ligand alone, snapshots, and two switches each way."""
    made = {}
    for k in range(2):
        spec = SampleSpec(n_equilibration=20, n_frames=4, stride=10, minimise=20, seed=k + 1)
        made[f"solvent/sample/{k}"] = sample_leg(SampleStage("solvent", spec, PLACE), prepared)
    runs = [made[f"solvent/sample/{k}"] for k in range(2)]
    taken = made["solvent/snapshots"] = pick_snapshots(SnapshotStage("solvent", 2, 2), *runs)
    for first, level in ((10, "low"), (20, "core")):
        for k in range(2):
            spec = SampleSpec(step_fs=1.0, n_equilibration=10, n_frames=3, stride=5, seed=first + k)
            stage = SampleStage("solvent", spec, PLACE, start=k)
            made[f"solvent/ml-{level}/{k}"] = sample_mixed(stage, prepared, taken, gathered)
    mixed = [made[f"solvent/ml-low/{k}"] for k in range(2)]
    for k in range(2):
        spec = SwitchSpec(n_steps=40)
        made[f"solvent/forward/{k}"] = switch_forward(
            SwitchStage("solvent", k, spec, 5 + k, PLACE), prepared, taken, gathered
        )
        made[f"solvent/reverse/{k}"] = switch_reverse(
            SwitchStage("solvent", k, replace(spec, direction="reverse"), 7 + k, PLACE),
            prepared,
            gathered,
            *mixed,
        )
    both = [*mixed, *(made[f"solvent/ml-core/{k}"] for k in range(2))]
    made["solvent/levels"] = compare_levels(
        CompareStage("solvent", 300.0, 2), prepared, gathered, gathered, *both
    )
    return Finished(made)


def test_a_switch_notes_what_the_potential_thinks_of_its_frames(prepared, gathered, finished):
    work = finished["solvent/forward/0"]
    assert work.part[0] == pytest.approx(1 / 40)
    assert work.part[-1] == 1.0
    assert len(work.part) == len(work.sigma) == len(work.novelty) == 21
    start = finished["solvent/snapshots"].positions[2]
    # The first increment is taken at the start: 1e-6, OpenMM's single precision positions.
    at_start = gathered.committee.predict(start, np.zeros((0, 3)), np.zeros(0))
    assert work.sigma[0] == pytest.approx(at_start.energy_sigma / KT, rel=1e-4)
    assert np.isfinite(work.sigma).all()
    assert np.isnan(work.novelty).all()  # nothing was kept of a training set
    again = unpack(pack(work))
    assert again.value == work.value
    assert again.sigma.tolist() == work.sigma.tolist()


def test_every_work_is_traced_to_the_run_and_the_time_of_its_start(finished):
    forward = starts_of(finished, "solvent", "forward", "sample")
    assert forward.runs.tolist() == finished["solvent/snapshots"].run[2:].tolist()
    # 20 steps of equilibration, every tenth kept, 2 fs.
    assert set(forward.times.round(6)) <= {0.06, 0.08, 0.1, 0.12}
    reverse = starts_of(finished, "solvent", "reverse", "ml-low")
    assert reverse.runs.tolist() == [0, 1]
    # 4 and 3 frames of a run: pymbar tells how many are apart; the rest of the starts lie close to them.
    for made, kind in ((forward, "sample"), (reverse, "ml-low")):
        runs = [finished[f"solvent/{kind}/{k}"] for k in range(2)]
        apart = by_correlation(runs)[0]
        names = {content_key("Positions", {"positions": np.asarray(runs[r].positions[k])}) for r, k in apart}
        works = finished.matching(f"solvent/{'forward' if kind == 'sample' else 'reverse'}/.")
        assert made.correlated == sum(one.start not in names for one in works)
    # Works whose start is in none of the runs: nobody knows.
    assert starts_of(finished, "solvent", "reverse", "ml-core").runs is None
    w = np.array([one.value for one in finished.matching("solvent/forward/.")])
    assert SwitchingResult(
        "solvent", "low", w, w, "", run_f=forward.runs, time_f=forward.times
    ).run_f.tolist() == [
        0,
        1,
    ]


def test_doubts_are_collected_from_end_states_and_switches(finished):
    found = {(one.place, one.level): one for one in doubts(finished)}
    assert set(found) == {
        ("solvent, end state", "low"),
        ("solvent, end state", "core"),
        ("solvent, switches", "low"),
    }
    assert len(found["solvent, end state", "low"].sigma) == 6
    assert len(found["solvent, switches", "low"].sigma) == 4 * 21
    levels = finished["solvent/levels"]
    assert set(levels.run_forward.tolist()) <= {0, 1}
    assert len(levels.run_forward) == len(levels.time_forward) == len(levels.forward)
    assert len(levels.run_reverse) == len(levels.time_reverse) == len(levels.reverse)
    times = {float(t) for run in finished.matching(r"solvent/ml-low/\d+") for t in run.spec.frame_times_ps}
    assert set(levels.time_forward.tolist()) <= times
    assert list(restraint_traces(finished, None)) == []  # the ligand alone has none


def test_fresh_labels_are_compared_with_the_potential_at_their_own_geometry(prepared, gathered, finished):
    level = Level(functional="PBE", basis="sto-3g")
    runs = [finished[f"solvent/ml-low/{k}"] for k in range(2)]
    fresh = pick_snapshots(SnapshotStage("solvent", 1, 0), *runs)
    # Without a core nothing is taken from a reference.
    labels = [label_snapshot(LabelStage("solvent", 0, level), prepared, fresh, None)]
    got = compare_with_labels(CheckStage("solvent", "low", 300.0, 3), prepared, gathered, *labels)
    assert (got.leg, got.level, got.wanted, got.run.tolist()) == ("solvent", "low", 3, [0])
    for k, one in enumerate(labels):
        potential = gathered.committee.predict(fresh.positions[k], np.zeros((0, 3)), np.zeros(0))
        want = (one.label.energy_low - potential.energy) / KT
        assert got.difference[k] == pytest.approx(want, abs=1e-6)  # 1e-9 hartree
        assert got.sigma[k] == pytest.approx(potential.energy_sigma / KT, rel=1e-9)
