"""Baselines of a campaign: mechanical embedding and a torsion refit, on T4 lysozyme L99A with p-xylene."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openmm
import pytest
import torch
from openmm import unit
from scipy import special

from drupe.embedding.structures.structure import openmm_system
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.freeenergy.campaigns.approximations import approximations
from drupe.freeenergy.campaigns.config import read_config
from drupe.freeenergy.campaigns.fitting import GatherStage, fit_member, gather
from drupe.freeenergy.campaigns.preparation import prepare
from drupe.freeenergy.campaigns.stages import LabelledSnapshot, Snapshots
from drupe.freeenergy.campaigns.systems import mixed_system
from drupe.freeenergy.campaigns.torsion_stages import (
    RefitWorks,
    RefitWorksStage,
    refit,
    refit_works,
    sample_refitted,
)
from drupe.freeenergy.campaigns.workflow import campaign_graph
from drupe.freeenergy.estimation.estimators import bar
from drupe.freeenergy.estimation.reweighting import model_error
from drupe.freeenergy.outcomes.campaign import SwitchingResult
from drupe.freeenergy.outcomes.figure_data import Trace
from drupe.freeenergy.outcomes.summary import summarise
from drupe.freeenergy.outcomes.torsion_results import in_words, torsion_works
from drupe.freeenergy.reporting.data import tree
from drupe.freeenergy.reporting.page import page
from drupe.freeenergy.simulation.sampling import SampleSpec, Trajectory
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.baseline_energy import BaselineEnergy
from drupe.mlp.torsion_refit import TorsionRefit, TorsionSpec
from drupe.mlp.torsion_system import refitted_system
from drupe.units import kcal_per_mol, kj_per_mol, kt, nanometer

EXAMPLES = Path(__file__).parents[3] / "examples" / "t4l-xylene"
SMOKE = (EXAMPLES / "smoke.toml").read_text()
TABLE = '[torsions]\nhighest = 3\nwidth = "2 kcal/mol"\nrotors = true\n\n[abfe.complex]\n'
KINDS = ("C3-C3-C4-H1",)
CHANGE = np.array([[0.4, -0.7, 1.1]]) * kcal_per_mol


def config_of(tmp_path, *changes):
    text = SMOKE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "input.toml"
    path.write_text(text)
    return read_config(path)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return config_of(
        tmp_path_factory.mktemp("input"),
        ("[potential]\n", '[potential]\nembedding = "mechanical"\n'),
        ("steps = 40", "steps = 3"),
        ("[abfe.complex]\n", TABLE),
    )


@pytest.fixture(scope="module")
def prepared(config):
    return prepare(config, EXAMPLES)


@pytest.fixture(scope="module")
def nodes(config):
    return {node.name: node for node in campaign_graph(config)}


@dataclass(frozen=True, eq=False)
class KnownLabel:
    """A label of a formula: the ligand's force field with planted torsions, in the field of the charges."""

    level: str
    energy_low: float
    forces_qm: np.ndarray
    qm_numbers: np.ndarray
    qm_positions: np.ndarray
    qm_fixed_charges: np.ndarray
    mm_positions: np.ndarray
    mm_charges: np.ndarray
    forces_of: str = "energy_low"
    forces_mm: np.ndarray | None = None
    cores: tuple = ()
    directions: np.ndarray | None = None
    slopes: np.ndarray | None = None
    slope_errors: np.ndarray | None = None

    @property
    def energy(self):
        return self.energy_low


@pytest.fixture(scope="module")
def planted():
    return TorsionRefit(
        TorsionSpec(highest=3, rotors=True), KINDS, np.zeros((1, 3)), CHANGE,
        np.eye(3) * (0.1 * kcal_per_mol) ** 2, 0.0, 0.0, 0.0, 0, 0, "planted",
    )  # fmt: skip


@pytest.fixture(scope="module")
def snapshots(prepared):
    """Frames of each leg with a shaken ligand."""
    made = {}
    for number, name in enumerate(("complex", "solvent")):
        leg = prepared.leg(name)
        rng = np.random.default_rng(number)
        frames = np.repeat(leg.structure.system.positions[None], 6, axis=0)
        frames[:, leg.ligand] += rng.normal(scale=0.08, size=(6, len(leg.ligand), 3))
        made[name] = Snapshots(frames, np.array([0, 1] * 3), 3, 0)
    return made


@pytest.fixture(scope="module")
def labels(prepared, snapshots, planted):
    made = []
    for name in ("complex", "solvent"):
        leg = prepared.leg(name)
        system = leg.structure.system
        around = np.setdiff1d(np.arange(system.n_atoms), leg.ligand)
        plain = LigandForceField.from_structure(prepared.solvent.structure, prepared.solvent.ligand)
        energy_of = BaselineEnergy(plain)
        for index in range(3):
            frame = snapshots[name].positions[index]
            place = torch.tensor(frame[leg.ligand][None], requires_grad=True)
            energy = energy_of(place).sum()
            (slope,) = torch.autograd.grad(energy, place)
            ligand, others = frame[leg.ligand], frame[around]
            apart = ligand[:, None] - others
            distance = np.linalg.norm(apart, axis=2)
            coulomb = plain.charges[:, None] * system.charges[around] / distance
            push = ((coulomb / distance**2)[..., None] * apart).sum(1)
            rise = planted.predict(
                prepared.solvent.structure.system.numbers,
                prepared.solvent.structure.system.bonds,
                ligand[None],
            )
            label = KnownLabel(
                "planted",
                float(energy.detach()) + coulomb.sum() + float(rise.energy[0]) - 310.0,
                -slope[0].numpy() + push + rise.forces[0],
                system.numbers[leg.ligand],
                ligand,
                plain.charges,
                others,
                system.charges[around],
            )
            made.append(LabelledSnapshot(name, index, index % 2, label))
    return made


def of_openmm(system, positions):
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(positions / nanometer)
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return energy, state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)


def test_mechanical_embedding_runs_from_the_input_to_forces_in_openmm(
    config, prepared, nodes, labels, snapshots, tmp_path
):
    fits = []
    for member in range(2):
        node = nodes[f"low/member/{member}"]
        assert node.settings.spec.reach == 0.0
        fits.append(fit_member(node.settings, prepared, *labels, folder=tmp_path / str(member)))
    gathered = gather(nodes["low/committee"].settings, prepared, *fits, *labels)
    assert isinstance(nodes["low/committee"].settings, GatherStage)
    assert gathered.committee.header.reach == 0.0
    leg = prepared.complex
    frame = snapshots["complex"].positions[4]
    _, forces = of_openmm(mixed_system(leg, gathered, interpolate=False), frame)
    _, plain = of_openmm(openmm_system(leg.structure), frame)
    others = np.setdiff1d(np.arange(len(forces)), leg.ligand)
    # 1e-2 kJ/mol/nm: rounding of Coulomb forces of 1e4.
    assert np.abs(forces - plain)[others].max() < 1e-2
    assert np.abs(forces - plain)[leg.ligand].max() > 1.0


def test_baselines_are_named_among_the_approximations(config, prepared, tmp_path):
    told = dict(approximations(config, prepared, {}))
    assert "feels no field" in told["mechanical embedding"]
    assert "learned potential" not in told
    assert "torsion constants and nothing else" in told["torsion refit (a baseline)"]
    plain = dict(approximations(config_of(tmp_path), prepared, {}))
    assert "learned potential" in plain
    assert not {"mechanical embedding", "torsion refit (a baseline)"} & set(plain)


def test_the_refit_is_a_branch_of_the_graph_that_changes_nothing_else(config, nodes, tmp_path):
    without = campaign_graph(
        config_of(
            tmp_path,
            ("[potential]\n", '[potential]\nembedding = "mechanical"\n'),
            ("steps = 40", "steps = 3"),
        )
    )
    added = set(nodes) - {node.name for node in without}
    assert added == {
        "torsions/refit",
        *(f"{leg}/torsions/{run}" for leg in ("complex", "solvent") for run in range(2)),
        "complex/torsion-works",
        "solvent/torsion-works",
    }
    assert [name for name in nodes if name not in added] == [node.name for node in without]
    spec = nodes["torsions/refit"].settings.spec
    assert (spec.highest, spec.rotors) == (3, True)
    assert spec.width == pytest.approx(2 * kcal_per_mol)
    assert set(nodes["torsions/refit"].wants) == set(nodes["low/member/0"].wants)
    draws = {nodes[f"{leg}/torsion-works"].settings.seed for leg in ("complex", "solvent")}
    assert len(draws) == 1  # the same constants in both legs
    seen = {"prepared"}
    for node in nodes.values():
        assert seen >= {*node.needs, *node.wants}
        seen.add(node.name)


def test_a_ligand_that_has_nothing_to_refit_is_refused_before_anything_runs(tmp_path):
    """p-Xylene turns at its methyl groups only."""
    asked = config_of(tmp_path, ("[abfe.complex]\n", TABLE.replace("rotors = true\n", "")))
    assert asked.torsions.rotors is False
    with pytest.raises(InputError, match="no bond of the ligand can be turned") as error:
        prepare(asked, EXAMPLES)
    assert "torsions.rotors = true" in error.value.remedy
    with pytest.raises(InputError, match="torsions.width"):
        config_of(tmp_path, ("[abfe.complex]\n", TABLE.replace('"2 kcal/mol"', '"2 K"')))
    with pytest.raises(InputError, match="torsions.highest"):
        config_of(tmp_path, ("[abfe.complex]\n", TABLE.replace("highest = 3", "highest = 9")))


def test_the_stages_recover_planted_torsions_and_give_their_works(
    config, prepared, nodes, labels, snapshots, planted
):
    found = refit(nodes["torsions/refit"].settings, prepared, *labels)
    assert found.kinds == KINDS
    assert found.change == pytest.approx(CHANGE, abs=1e-8)
    words = in_words(found)
    assert words["refitted torsion C3-C3-C4-H1"].startswith("k1 +0.40 ± 0.00, k2 -0.70")
    thermal = kt(300.0) / kj_per_mol
    drawn = []
    for name in ("complex", "solvent"):
        leg = prepared.leg(name)
        runs = []
        for run in range(2) if name == "solvent" else range(1):
            settings = nodes[f"{name}/torsions/{run}"].settings
            runs.append(sample_refitted(settings, prepared, snapshots[name], found))
        made = refit_works(nodes[f"{name}/torsion-works"].settings, prepared, snapshots[name], planted, *runs)
        plain = openmm_system(leg.structure)
        numbers = leg.structure.system.numbers[leg.ligand]
        new = refitted_system(plain, leg.ligand, numbers, planted)
        frames = [snapshots[name].positions[3], runs[0].positions[0]]
        ends = [(of_openmm(new, at)[0] - of_openmm(plain, at)[0]) / thermal for at in frames]
        # 1e-6 kT: the whole complex has -4e4 kJ/mol, in double precision.
        assert made.forward[0] == pytest.approx(ends[0], abs=1e-6)
        assert made.reverse[0] == pytest.approx(-ends[1], abs=1e-6)
        assert made.forward.shape == (3,)
        assert made.members.shape == (50, len(made.reverse))
        assert made.run_forward.tolist() == snapshots[name].run[3:].tolist() == [1, 0, 1]
        assert made.run_reverse.shape == made.reverse.shape
        assert set(made.run_reverse.tolist()) == set(range(len(runs)))
        drawn.append(made)
    # Both legs drew the same constants: what these say of the frames is what the works say.
    draws = planted.draws(50, nodes["solvent/torsion-works"].settings.seed) - CHANGE.ravel()
    for made in drawn:
        columns = np.linalg.lstsq(draws, made.members, rcond=None)[0]
        assert draws @ columns == pytest.approx(made.members, abs=1e-9)
        assert CHANGE.ravel() @ columns == pytest.approx(-made.reverse, abs=1e-9)


def test_works_of_a_free_rotor_give_the_exact_free_energy_and_its_model_error():
    """H2O2 that turns freely, then in k (1 + cos 2 phi): dG = k - ln I0(k), d dG/dk = 1 - I1(k)/I0(k)."""
    k, sigma, n, thermal = 1.3, 0.1, 4000, kt(300.0)
    rng = np.random.default_rng(9)
    free = rng.uniform(-np.pi, np.pi, n)
    held = rng.vonmises(np.pi, k, n) / 2 + np.pi * rng.integers(0, 2, n)

    def frames(phi):
        at = np.zeros((len(phi), 5, 3))  # the fifth atom stands for the solvent
        at[:, 1, 2] = 2.7
        at[:, 2] = [1.8, 0.0, -0.4]
        at[:, 3] = np.stack([1.8 * np.cos(phi), 1.8 * np.sin(phi), np.full(len(phi), 3.1)], axis=1)
        return at

    found = TorsionRefit(
        TorsionSpec(highest=2), ("H1-O2-O2-H1",), np.zeros((1, 2)), np.array([[0.0, k * thermal]]),
        np.diag([1e-20, (sigma * thermal) ** 2]), 0.0, 0.0, 0.0, 0, 0, "exact",
    )  # fmt: skip
    atoms = MolecularSystem.from_atoms([8, 8, 1, 1, 18], frames(free)[0], None, [[0, 1], [0, 2], [1, 3]])
    leg = SimpleNamespace(structure=SimpleNamespace(system=atoms), ligand=np.arange(4))
    prepared = SimpleNamespace(solvent=leg, leg=lambda name: leg)
    run = Trajectory(frames(held), rng.normal(size=n), SampleSpec(n_frames=n), {})
    snapshots = Snapshots(frames(free), np.zeros(n), 0, 0)
    made = refit_works(RefitWorksStage("solvent", 300.0, 3), prepared, snapshots, found, run)
    result = bar(made.forward, made.reverse, seed=1, n_resamples=50)
    assert result.error < 0.03
    assert result.value == pytest.approx(k - np.log(special.i0(k)), abs=4 * result.error)
    slope = 1 - special.i1(k) / special.i0(k)
    # Four standard errors of a standard deviation of 50 draws.
    assert model_error(made.members).error == pytest.approx(sigma * slope, rel=4 / np.sqrt(98))


def test_works_of_both_legs_reach_the_record_and_a_missing_leg_is_left_out():
    works = RefitWorks(np.arange(3.0), np.arange(4.0), np.zeros((50, 4)), [0, 1, 0], [0, 0, 1, 2])
    results = {"complex/torsion-works": works}
    (only,) = torsion_works(results)
    assert (only.leg, only.correction, only.description) == (
        "complex", "torsions", "instantaneous, 3 and 4 frames"
    )  # fmt: skip
    assert only.w_r.tolist() == works.reverse.tolist()
    assert only.members.shape == (50, 4)
    assert (only.run_f.tolist(), only.run_r.tolist()) == ([0, 1, 0], [0, 0, 1, 2])
    both = torsion_works({**results, "solvent/torsion-works": works})
    assert [one.leg for one in both] == ["complex", "solvent"]
    assert torsion_works({}) == []


def test_the_refit_stands_beside_the_headline_and_is_no_part_of_it(make_campaign):
    plain = make_campaign()
    rng = np.random.default_rng(4)
    works = tuple(
        SwitchingResult(
            leg, "torsions", rng.normal(d + 0.02, 0.2, 30), rng.normal(-d + 0.02, 0.2, 30),
            "instantaneous, 30 and 30 frames", rng.normal(0.0, 0.05, (50, 30)),
        )
        for leg, d in (("complex", 0.9), ("solvent", 0.4))
    )  # fmt: skip
    result = replace(plain, switching=(*plain.switching, *works))
    before, after = summarise(plain, n_resamples=20), summarise(result, n_resamples=20)
    assert before.torsions is None
    assert before.refitted is None
    assert after.total.value == before.total.value
    got = after.torsions.difference
    assert got.value == pytest.approx(0.5, abs=4 * got.sampling)
    assert 0 < got.model < 0.1
    assert after.refitted.value == pytest.approx(after.mm.value + got.value)
    told = tree(result, after)
    assert set(told["baselines"]) == {"correction torsions", "ΔG bind (torsion refit)"}
    assert set(told["headline"]) == set(tree(plain, before)["headline"])
    assert tree(plain, before)["baselines"] == {}
    assert "torsions" in told["corrections"]
    text = page(result, after)
    assert "ΔG bind (torsion refit)" in text
    assert "MM → torsion refit, complex" in text
    assert "torsion refit" not in page(plain, before)
    with pytest.raises(InputError, match="come 2 times"):
        replace(result, switching=(*result.switching, works[0]))


def test_runs_of_the_refit_are_judged_with_the_baseline_and_not_with_the_headline(make_campaign):
    """Its energy falls from the first frame to the last."""
    plain = make_campaign()
    rng = np.random.default_rng(4)
    works = tuple(
        SwitchingResult(
            leg, "torsions", rng.normal(0.4, 0.2, 30), rng.normal(-0.4, 0.2, 30), "instantaneous",
            rng.normal(0.0, 0.05, (50, 30)), run_f=np.arange(30) % 3, run_r=np.arange(30) % 3,
            time_f=np.arange(30) // 3, time_r=np.arange(30) // 3,
        )
        for leg in ("complex", "solvent")
    )  # fmt: skip
    falling = Trace("complex/torsions/0", np.arange(200.0), -20.0 * np.arange(200) + rng.normal(0, 8, 200))
    result = replace(plain, switching=(*plain.switching, *works), traces=(*plain.traces, falling))
    before, after = summarise(plain, n_resamples=20), summarise(result, n_resamples=20)
    (seen,) = [one for one in after.diagnoses if one.beside and one.verdict.level != "PASS"]
    assert seen.subject == "complex/torsions"
    assert "drifts" in seen.verdict.reasons[0]
    assert after.total.verdict == before.total.verdict

    def said(judged):
        return " ".join((*judged.verdict.reasons, *judged.verdict.also))

    assert "complex/torsions: run 0: drifts" in said(after.torsions.difference)
    assert "complex/torsions: run 0: drifts" in said(after.refitted)
    assert "of the baseline alone" in page(result, after)
    same = replace(falling, name="complex/ml-low/0")
    judged = summarise(replace(plain, traces=(*plain.traces, same)), n_resamples=20).total
    assert "complex/ml-low: run 0: drifts" in said(judged)
