"""Campaigns in explicit solvent: methanol in a box of water through the bodies of the tasks."""

import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openmm
import pytest
from openmm import app, unit

from drupe.embedding.labeling import Level, label
from drupe.embedding.regions import periodic
from drupe.embedding.regions.partition import Partition
from drupe.embedding.structures.openmm_objects import read_openmm
from drupe.embedding.structures.structure import locate, openmm_system, openmm_topology, read_amber
from drupe.errors import InputError
from drupe.freeenergy.alchemical.alchemy import Schedule, WindowSamples
from drupe.freeenergy.alchemical.leg_run import LegRun
from drupe.freeenergy.alchemical.leg_tables import Tables
from drupe.freeenergy.alchemical.restraints import BoreschRestraint
from drupe.freeenergy.alchemical.solvent_box import in_water, tip3p_molecule
from drupe.freeenergy.campaigns import assembled_scene, assembly, fitting, preparation
from drupe.freeenergy.campaigns.approximations import approximations
from drupe.freeenergy.campaigns.assembled_trust import restraint_traces
from drupe.freeenergy.campaigns.config import Config, read_config
from drupe.freeenergy.campaigns.fitting import Gathered
from drupe.freeenergy.campaigns.preparation import Leg, Prepared, high_level, prepare
from drupe.freeenergy.campaigns.stages import (
    LabelledSnapshot,
    LabelStage,
    Place,
    SampleStage,
    SnapshotStage,
    label_snapshot,
    pick_snapshots,
    sample_leg,
)
from drupe.freeenergy.campaigns.switch_stages import SwitchStage, sample_mixed, switch_forward
from drupe.freeenergy.campaigns.systems import mixed_system, mm_system
from drupe.freeenergy.campaigns.workflow import campaign_graph
from drupe.freeenergy.simulation.dynamics import langevin_context, potential_kt
from drupe.freeenergy.simulation.periodic import is_periodic
from drupe.freeenergy.simulation.sampling import SampleSpec
from drupe.freeenergy.switches.switching import LAMBDA, SwitchSpec
from drupe.records import pack
from drupe.store import Row, Store
from drupe.units import angstrom, kcal_per_mol, kt, nanometer

sys.path.insert(0, str(Path(__file__).parents[1]))
from ethanol_pair import write_pair
from learned_molecule import committee, force_field, molecule

HOST = Path(__file__).parents[3] / "examples" / "cb7-b2" / "campaign.toml"
KINDS = ("prmtop", "inpcrd")
REACH = 4.5 * angstrom
T = 300.0
SPEC = SampleSpec(
    temperature_k=T, step_fs=1.0, n_equilibration=50, n_frames=3, stride=40, minimise=30, pressure_bar=1.0
)


@pytest.fixture(scope="module")
def leg():
    found = molecule()
    alone = read_openmm(found.topology, force_field(), found.positions / nanometer)
    structure = in_water(alone, range(6), edge_nm=2.4)
    regions = Partition.select(structure.system, qm=list(range(6)), charge=0, cores=[[1, 5]])
    return Leg(structure, regions, np.arange(6))


@pytest.fixture(scope="module")
def prepared(leg):
    return Prepared(leg, leg)


@pytest.fixture(scope="module")
def run(prepared):
    return sample_leg(SampleStage("solvent", SPEC, Place("CPU", 1)), prepared)


@pytest.fixture(scope="module")
def snapshots(run):
    return pick_snapshots(SnapshotStage("solvent", 1, 2), run)


@pytest.fixture(scope="module")
def models():
    return [Gathered(committee((n, n + 1), reach=REACH), ()) for n in (0, 5)]


def energy(system, positions, box, lam=None):
    """kT, in double precision."""
    parameters = None if lam is None else {LAMBDA: lam}
    context = langevin_context(
        system, positions, temperature_k=T, step_fs=1.0, friction_per_ps=1.0, seed=1, box=box,
        parameters=parameters, platform="Reference",
    )  # fmt: skip
    return potential_kt(context, T)


def test_the_mm_runs_keep_their_boxes_and_the_volume_moves(run, snapshots):
    assert run.boxes.shape == (3, 3, 3)
    assert snapshots.boxes.shape == (3, 3, 3)
    assert run.spec.pressure_bar == 1.0
    start = 2.4 * nanometer
    assert np.all(np.abs(run.boxes[:, 0, 0] / start - 1) < 0.1)


def test_a_label_sees_whole_molecules_around_the_ligand_in_the_box_of_its_frame(prepared, leg, snapshots):
    level = Level(functional="LDA", basis="STO-3G", environment="cluster", cluster_radius=REACH)
    reference = LabelledSnapshot("solvent", 0, -1, None)
    # A box that is not that of the structure: water at its far side comes back nearer.
    tight = replace(snapshots, boxes=0.97 * snapshots.boxes)
    made = label_snapshot(LabelStage("solvent", 1, level), prepared, tight, reference)
    system = leg.structure.system.with_positions(tight.positions[1]).with_box(tight.boxes[1])
    cluster = periodic.cut_cluster(system, leg.ligand, REACH).system
    alone = Partition.select(cluster, qm=list(range(6)), charge=0)
    want = label(cluster, alone, replace(level, environment="all", cluster_radius=None))
    assert made.label.energy_low == pytest.approx(want.energy_low, abs=1e-8)
    assert np.count_nonzero(made.label.mm_charges) == cluster.n_atoms - 6
    assert made.label.mm_groups is not None


def test_forces_on_mm_atoms_are_shown_by_leg_as_both_have_water(prepared, snapshots, models):
    level = Level(functional="LDA", basis="STO-3G", environment="cluster", cluster_radius=REACH)
    reference = LabelledSnapshot("solvent", 0, -1, None)
    stages = [LabelStage(leg, index, level) for index, leg in enumerate(("complex", "solvent"))]
    labels = [label_snapshot(stage, prepared, snapshots, reference) for stage in stages]
    dataset = fitting._dataset(labels, "low")
    found = {one.quantity: one for one in fitting._parity("low", models[0].committee, dataset, labels)}
    forces = found["force_mm"]
    assert len(forces.reference) == len(forces.group) > 0
    half = len(forces.group) // 2
    assert forces.group == ("complex",) * half + ("solvent",) * half
    strongest = [np.abs(one.label.forces_mm).max() for one in labels]
    assert [np.abs(part).max() for part in np.split(forces.reference, 2)] == strongest


def test_two_potentials_differ_in_the_box_by_what_they_predict(leg, snapshots, models):
    """What the level differences are made of is what the dynamics feels."""
    thermal = kt(T)
    frame, box = snapshots.positions[0], snapshots.boxes[0]
    felt = [energy(mixed_system(leg, one, interpolate=False), frame, box) for one in models]
    run = type("Run", (), {"positions": frame[None], "boxes": box[None]})
    frames = fitting._frames(leg, [run])
    said = [
        fitting._predicted(one.committee, leg, frames, thermal).energies.mean(axis=0)[0] for one in models
    ]
    assert abs(felt[1] - felt[0]) > 0.1
    assert felt[1] - felt[0] == pytest.approx(said[1] - said[0], abs=1e-4)


def test_a_switch_starts_in_the_box_of_its_snapshot(prepared, leg, snapshots, models):
    """One increment: its work is the difference of the two ends at the start."""
    at = SwitchSpec(n_steps=1, step_fs=1.0, temperature_k=T, friction_per_ps=1.0, direction="forward")
    settings = SwitchStage("solvent", 1, at, 3, Place("Reference", 1))
    work = switch_forward(settings, prepared, snapshots, models[0])
    frame, box = snapshots.positions[2], snapshots.boxes[2]
    ends = mixed_system(leg, models[0], interpolate=True, group=7)
    low, high = (energy(ends, frame, box, lam) for lam in (0.0, 1.0))
    assert low == pytest.approx(energy(mm_system(leg), frame, box), abs=1e-3)
    assert work.value == pytest.approx(high - low, abs=1e-3)
    other = energy(ends, frame, 0.97 * box, 1.0) - energy(ends, frame, 0.97 * box, 0.0)
    assert abs(other - (high - low)) > 1e-2


def test_ml_mm_runs_are_at_constant_pressure_with_rigid_water(prepared, leg, snapshots, models):
    spec = replace(SPEC, minimise=0, n_equilibration=5, n_frames=2, stride=10)
    made = sample_mixed(
        SampleStage("solvent", spec, Place("CPU", 1), start=1), prepared, snapshots, models[0]
    )
    assert made.boxes.shape == (2, 3, 3)
    waters = made.positions[:, 6:].reshape(2, -1, 3, 3)
    apart = np.linalg.norm(waters[:, :, 1] - waters[:, :, 0], axis=-1)
    assert np.ptp(apart) < 1e-3 * apart.mean()


def test_restraint_coordinates_of_a_run_take_the_nearest_images(run):
    """Anchors on both sides of a box are neighbours: distance and angles as if nothing were cut."""
    edge = run.boxes[0, 0, 0]
    near = np.array([[0, 0, 0], [2.5, 0.3, 0], [4.0, 2.0, 0.4], [6.5, 2.2, 1], [8, 0.1, 1.5], [10, 1, 3]])
    torn = near.copy()
    torn[2:] += (edge, -edge, 2 * edge)
    restraint = BoreschRestraint(
        receptor=(0, 1, 2), ligand=(3, 4, 5), distance=4.0, angles=(1.5, 1.5), dihedrals=(0.0, 0.0, 0.0),
        k_distance=0.01, k_angles=(0.1, 0.1), k_dihedrals=(0.1, 0.1, 0.1),
    )  # fmt: skip
    found = []
    for place in (near, torn):
        cube = np.eye(3)[None] * edge
        one = type("Run", (), {"positions": place[None], "boxes": cube, "spec": replace(SPEC, n_frames=1)})
        node = type("Node", (), {"name": "complex/sample/0"})
        results = type("Results", (dict,), {"nodes": [node]})({"complex/sample/0": one})
        found.append(next(iter(restraint_traces(results, restraint))).values)
    np.testing.assert_allclose(found[1], found[0], atol=1e-9)


@pytest.fixture(scope="module")
def host():
    config = read_config(HOST)
    return config, prepare(config, HOST.parent)


def test_the_host_and_its_guest_are_both_in_water_of_the_same_kind(host):
    config, found = host
    complex_, alone = found.complex, found.solvent
    assert complex_.structure.system.n_atoms == 4491
    names = set(alone.structure.system.residue_names)
    assert names == {"B2", "HOH"}
    edge = alone.structure.system.box[0, 0]
    assert edge > 24 * angstrom + np.ptp(alone.structure.system.positions[alone.ligand], axis=0).max()
    assert complex_.counter_ions is alone.counter_ions is None
    nodes = campaign_graph(config)
    assert {node.stage for node in nodes} == {"MM sampling", "restraint", "alchemical windows"}
    assert all(node.settings.spec.pressure_bar == 1.0 for node in nodes if hasattr(node.settings, "spec"))
    told = dict(approximations(config, found, {}))
    assert "1 bar" in told["box of water"]
    assert "charges that DFT sees" not in told


def test_the_picture_leaves_out_the_water(host):
    _, found = host
    shown = assembled_scene.regions_of(found, found.complex.ligand[:6])
    assert set(shown.residue_names) == {"CUC", "B2"}
    assert set(np.array(shown.residue_names)[shown.qm]) == {"B2"}
    inside = found.complex.structure.system
    np.testing.assert_array_equal(shown.numbers[shown.anchors], inside.numbers[found.complex.ligand[:6]])
    assert assembled_scene.receptor_of(found) == "1 residue, 126 atoms, 1445 waters"


def test_a_reach_that_the_box_of_the_ligand_does_not_allow_is_refused_before_anything_runs(tmp_path):
    write_pair(tmp_path, edge_nm=1.8)
    quickstart = (HOST.parents[1] / "t4l-xylene" / "quickstart.toml").read_text()
    text = quickstart[quickstart.index("[dynamics]") :]
    head = """
name = "pair"
[system]
topology = "complex.pdb"
system = "complex.xml"
ligand = "resname EOH"
[regions]
cores = ["resname EOH and name O2 H8"]
[level]
functional = "HF"
basis = "STO-3G"
[water]
padding = "5 A"
"""
    near, far = (
        Config.model_validate(tomllib.loads(f'{head}reach = "{reach}"\n{text}')) for reach in ("4 A", "6.4 A")
    )
    edges = [leg.structure.system.box[0, 0] for leg in vars(prepare(near, tmp_path)).values()]
    assert edges[1] < edges[0]
    with pytest.raises(InputError, match=f"faces are {edges[1]:.2f} bohr apart"):
        prepare(far, tmp_path)


def test_a_complex_without_a_box_is_put_into_one():
    text = HOST.read_text().replace("complex-explicit", "complex-vacuum")
    config = Config.model_validate(tomllib.loads(text))
    found = prepare(config, HOST.parent)
    system = found.complex.structure.system
    assert system.box is not None
    assert system.n_atoms > 4000
    assert {"CUC", "B2", "HOH"} == set(system.residue_names)
    assert is_periodic(found.complex.structure)


def test_the_same_complex_from_a_pdb_file_and_a_serialised_system(host, tmp_path):
    config, found = host
    files = (locate(f"package:openmmtools/data/cb7-b2/complex-explicit.{kind}", Path()) for kind in KINDS)
    plain = read_amber(*files, implicit_solvent=None)
    system = plain.system
    (tmp_path / "system.xml").write_text(plain.openmm_xml)
    with (tmp_path / "complex.pdb").open("w") as out:
        topology = openmm_topology(system)
        topology.setPeriodicBoxVectors(system.box / nanometer * unit.nanometer)
        app.PDBFile.writeFile(topology, system.positions / nanometer * unit.nanometer, out)
    text = HOST.read_text()
    for line in text.splitlines():
        if line.startswith("topology"):
            text = text.replace(line, 'topology = "complex.pdb"')
        if line.startswith("coordinates"):
            text = text.replace(line, 'system = "system.xml"')
    other = prepare(Config.model_validate(tomllib.loads(text)), tmp_path)
    assert other.complex.ligand.tolist() == found.complex.ligand.tolist()
    mine, theirs = found.complex.structure.system, other.complex.structure.system
    np.testing.assert_array_equal(theirs.charges, mine.charges)
    np.testing.assert_allclose(theirs.positions, mine.positions, atol=2e-3 * angstrom)  # PDB's digits
    dry = tomllib.loads(
        text.replace("[water]", "[experiment]")
        .replace("pressure =", "source =")
        .replace('padding = "12 A"', "value_kcal = 0.0")
    )
    with pytest.raises(InputError, match="cannot be read with the implicit solvent OBC2"):
        prepare(Config.model_validate(dry), tmp_path)


@pytest.mark.parametrize(("kind", "verdict"), [("ion", "PASS"), ("water", "PASS"), ("none", "FAIL")])
def test_the_charge_of_a_ligand_is_taken_over_or_the_number_is_refused(kind, verdict):
    """A sodium ion as the ligand, with the chloride that makes its box neutral."""
    config = Config.model_validate(
        tomllib.loads(HOST.read_text().replace("[water]", f'[water]\ncounter_ions = "{kind}"'))
    )
    boxed = in_water(tip3p_molecule("NA"), [0], edge_nm=2.4)
    ions = preparation._counter_ions(boxed, np.array([0]), config)
    ion = Leg(boxed, Partition.select(boxed.system, qm=[0], charge=1), np.array([0]), ions)
    assert assembled_scene.net_charge_of(Prepared(ion, ion), config).level == verdict
    if ions is not None:
        assert set(np.array(boxed.system.residue_names)[ions.atoms]) == {"CL" if kind == "ion" else "HOH"}


def test_a_neutral_ligand_needs_no_counter_ion(host):
    config, found = host
    assert assembled_scene.net_charge_of(found, config) is None


CORRECTED = '[water]\ncounter_ions = "none"\nfinite_size_correction = true'


@pytest.fixture(scope="module")
def charged_host(tmp_path_factory):
    """The host and its guest, which got a charge of +1, from a PDB file and a serialised System."""
    folder = tmp_path_factory.mktemp("charged")
    files = (locate(f"package:openmmtools/data/cb7-b2/complex-explicit.{kind}", Path()) for kind in KINDS)
    plain = read_amber(*files, implicit_solvent=None)
    forces = openmm_system(plain)
    (pairs,) = (one for one in forces.getForces() if isinstance(one, openmm.NonbondedForce))
    atom = plain.system.residue_names.index("B2")
    charge, sigma, epsilon = pairs.getParticleParameters(atom)
    pairs.setParticleParameters(atom, charge._value + 1.0, sigma, epsilon)
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(forces))
    with (folder / "complex.pdb").open("w") as out:
        topology = openmm_topology(plain.system)
        topology.setPeriodicBoxVectors(plain.system.box / nanometer * unit.nanometer)
        app.PDBFile.writeFile(topology, plain.system.positions / nanometer * unit.nanometer, out)
    kept = [line for line in HOST.read_text().splitlines() if not line.startswith("coordinates")]
    text = "\n".join("topology = 'complex.pdb'" if line.startswith("topology") else line for line in kept)
    text = text.replace("[system]", "[system]\nsystem = 'system.xml'\ncharge = 1\nmultiplicity = 2")
    config = Config.model_validate(tomllib.loads(text.replace("[water]", CORRECTED)))
    return config, prepare(config, folder)


def boxes_of(leg, *edges):
    """What a repeat of a leg hands on, with its boxes scaled."""
    boxes = np.array(edges)[:, None, None] * leg.structure.system.box
    return LegRun("", Tables(np.zeros((1, 1, 1))), Schedule((0,), (1,), (1,)), SPEC, boxes)


def test_a_corrected_ligand_is_alone_with_its_water_and_no_longer_fails(charged_host):
    config, found = charged_host
    here, there = found.complex, found.solvent
    assert here.counter_ions is there.counter_ions is None
    assert set(there.structure.system.residue_names) == {"B2", "HOH"}
    assert there.structure.system.charges.sum() == pytest.approx(1.0, abs=1e-2)  # the file's digits
    plain = config.model_copy(
        update={"water": config.water.model_copy(update={"finite_size_correction": False})}
    )
    assert assembled_scene.net_charge_of(found, plain).level == "FAIL"
    assert assembled_scene.finite_size_of(here, [boxes_of(here, 1.0)], plain) is None
    assert assembled_scene.net_charge_of(found, config) is None
    legs = {
        name: assembled_scene.finite_size_of(leg, [boxes_of(leg, 0.99, 1.01), boxes_of(leg, 1.0)], config)
        for name, leg in (("complex", here), ("solvent", there))
    }
    assert legs["complex"].decoupling.verdict.level == "WARN"
    assert legs["solvent"].decoupling.verdict.level == "PASS"
    assert legs["complex"].receptor_charge == pytest.approx(0.0, abs=1e-2)
    assert legs["complex"].n_waters == 1445
    assert legs["complex"].box == pytest.approx(here.structure.system.box)
    # B2 in CB7 has 30-odd atoms; a sphere of 2.5 A is benzene's, one of 5 A holds 500 A^3.
    assert 2.5 * angstrom < legs["complex"].radius < 5 * angstrom
    assert legs["solvent"].radius == pytest.approx(legs["complex"].radius, rel=1e-3)  # PDB's digits
    told = dict(approximations(config, found, {}, legs))
    (name,) = (one for one in told if one.startswith("finite-size correction"))
    assert "charge +1" in name
    thermal = kt(config.dynamics.temperature) / kcal_per_mol
    added = (legs["solvent"].decoupling.value - legs["complex"].decoupling.value) * thermal
    assert f"{added:+.2f} kcal/mol of dG_bind(MM)" in told[name]
    assert "Poisson-Boltzmann" in told[name]


def test_the_windows_of_a_campaign_give_the_box_of_its_correction(charged_host, tmp_path):
    config, found = charged_host
    box = found.solvent.structure.system.box
    volumes = np.linalg.det(box) * (0.97 + 0.001 * np.arange(40))
    rng = np.random.default_rng(1)
    rows = {}
    with Store(tmp_path / "store") as store:
        for index in range(2):
            x = rng.normal(index, 1.0, 40)
            u = 0.5 * np.array([x, x - 1.0]) ** 2
            # Another box in the window without charge: it must not count.
            window = WindowSamples(
                index, u, np.zeros((1, 3)), Schedule((0, 0), (1, 0), (1, 1)), SPEC, {},
                last_box=box, volumes=volumes * (1 + index),
            )  # fmt: skip
            part = store.scratch / "task-x"
            part.write_bytes(pack(window))
            name = f"solvent/window/0/{index}"
            rows[name] = Row(
                f"k{index}", name, "alchemical windows", "done", store.adopt(part), 1, 0, 1.0, 1.0, None
            )
        nodes = [SimpleNamespace(name=name) for name in rows]
        leg = assembly._mm_leg(assembly._Results(nodes, rows, store), "solvent", found, config)
    edges = box[0, 0] * np.cbrt(volumes / np.linalg.det(box))
    assert leg.finite_size.box == pytest.approx(edges.mean() * np.eye(3), rel=1e-12)
    assert leg.finite_size.receptor_charge is None
    assert len(leg.repeats) == config.abfe.repeats == 1


def test_a_neutral_ligand_has_nothing_to_correct(host):
    config, found = host
    corrected = Config.model_validate(tomllib.loads(HOST.read_text().replace("[water]", CORRECTED)))
    run = boxes_of(found.complex, 1.0)
    assert assembled_scene.finite_size_of(found.complex, [run], corrected) is None
    assert not any("finite-size" in name for name, _ in approximations(corrected, found, {}, {}))


@pytest.mark.parametrize("kind", ["ion", "water"])
def test_a_counter_ion_and_a_correction_exclude_each_other(tmp_path, kind):
    path = tmp_path / "input.toml"
    path.write_text(HOST.read_text().replace("[water]", CORRECTED.replace("none", kind)))
    with pytest.raises(InputError, match=f'counter_ions = "{kind}" are two ways.*set counter_ions = "none"'):
        read_config(path)
    path.write_text(HOST.read_text().replace("[water]", "[water]\nfinite_size_correction = true"))
    with pytest.raises(InputError, match='counter_ions = "ion" are two ways'):
        read_config(path)


def test_levels_and_fits_know_how_far_charges_act():
    text = (HOST.parents[1] / "t4l-xylene" / "quickstart.toml").read_text()
    text = text.replace('implicit_solvent = "OBC2"\n', "") + '\n[water]\nreach = "10 A"\n'
    config = Config.model_validate(tomllib.loads(text))
    level = high_level(config)
    assert (level.environment, level.cluster_radius) == ("cluster", pytest.approx(10 * angstrom))
    fits = [node.settings.spec for node in campaign_graph(config) if node.name.startswith("low/member")]
    assert {spec.reach for spec in fits} == {level.cluster_radius}


def test_a_switch_in_a_periodic_box_needs_a_potential_with_a_reach(leg):
    with pytest.raises(InputError, match="reach"):
        mixed_system(leg, Gathered(committee(), ()), interpolate=True)
