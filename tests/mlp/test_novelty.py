"""Distance from the training set: false alarms, hot runs, planted distortions, and where it can be read."""

import dataclasses
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from ase import Atoms
from openmm import app, unit
from openmmml import MLPotential

from drupe.errors import InputError
from drupe.mlp import Committee, Dataset, FitSpec, TransferSpec, load, train
from drupe.mlp.calculator import DrupeCalculator
from drupe.mlp.fingerprints import known_frames
from drupe.mlp.monitor import Monitor, MonitorSpec, read_candidates, uncertainty
from drupe.mlp.novelty import alike, shrunk_covariance
from drupe.mlp.potential import Potential
from drupe.mlp.sources import frames_of_arrays
from drupe.mlp.transfer import transfer
from drupe.units import angstrom, nanometer

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin" / "phenol.drupe"
NOTHING = np.zeros((0, 3)), np.zeros(0)


def run(ligand, kelvin, count, seed):
    """Frames 0.5 ps apart, of a run of their own; bohr."""
    integrator = openmm.LangevinMiddleIntegrator(kelvin, 5 / unit.picosecond, 0.0005)
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(ligand.system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(ligand.positions / nanometer)
    context.setVelocitiesToTemperature(kelvin, seed)
    integrator.step(4000)
    found = []
    for _ in range(count):
        integrator.step(1000)
        place = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        found.append(np.array(place) * nanometer)
    return np.array(found)


@pytest.fixture(scope="module")
def cold(ligand):
    return run(ligand, 300, 60, 71)


@pytest.fixture(scope="module")
def hot(ligand):
    return run(ligand, 800, 60, 72)


def bare(ligand, places):
    frames = frames_of_arrays(
        ligand.numbers,
        places,
        level="toy",
        energies=np.zeros(len(places)),
        fixed_charges=ligand.force_field.charges,
    )
    return Dataset.from_labels(frames, energies="relative")


@pytest.fixture(scope="module")
def fitted(random_members, ligand, frames):
    """Forty frames at 300 K, and two networks that are nearly MM: features need no training to tell."""
    members = []
    for seed in (1, 2):
        one = Potential(random_members[0].header, seed=seed)
        draw = torch.Generator().manual_seed(seed)
        torch.nn.init.normal_(one.readout.last.weight, std=1e-3, generator=draw)
        members.append(one.stored())
    return Committee(tuple(members)).referred_to(bare(ligand, np.array(frames)))


def novelties(committee, places):
    return np.array([committee.predict(place, *NOTHING).novelty for place in places])


def stretched(places, bond, by):
    moved = places.copy()
    way = places[:, bond[1]] - places[:, bond[0]]
    moved[:, bond[1]] += by * way / np.linalg.norm(way, axis=1, keepdims=True)
    return moved


def lifted(ligand, places, degrees):
    """One methyl group turned out of the plane of the ring, about the ring atom it hangs on."""
    neighbours = {i: set() for i in range(18)}
    for a, b in ligand.force_field.bond_atoms.tolist():
        neighbours[a].add(b)
        neighbours[b].add(a)
    carbon = next(i for i in range(18) if ligand.numbers[i] == 6 and len(neighbours[i]) == 4)
    hinge = next(i for i in neighbours[carbon] if ligand.numbers[i] == 6)
    left, right = (i for i in neighbours[hinge] if i != carbon)
    group = [carbon, *(i for i in neighbours[carbon] if i != hinge)]
    moved = places.copy()
    axis = places[:, right] - places[:, left]
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle, apart = np.radians(degrees), places[:, group] - places[:, [hinge]]
    along = (apart * axis[:, None]).sum(-1, keepdims=True) * axis[:, None]
    moved[:, group] = (
        places[:, [hinge]]
        + along
        + (apart - along) * np.cos(angle)
        + np.cross(axis[:, None], apart) * np.sin(angle)
    )
    return moved


def test_few_cold_frames_and_most_hot_ones_are_outside(fitted, cold, hot):
    # Forty frames make the edge: their own scatter is in the share beyond it.
    allowed = 0.05 + 2 * np.sqrt(0.05 * 0.95 * (1 / 60 + 1 / 40))
    assert (novelties(fitted, cold) > 1).mean() < allowed
    assert (novelties(fitted, hot) > 1).mean() > 0.8


def test_of_unseen_frames_a_known_share_is_outside(random_committee, ligand, cold):
    places = np.concatenate([cold, run(ligand, 300, 140, 73)])
    frames = np.random.default_rng(2).permutation(200)
    count = 60
    data = bare(ligand, places[frames[:count]])
    found = novelties(random_committee.referred_to(data), places[frames[count:]])
    error = np.sqrt(0.05 * 0.95 * (1 / 140 + 1 / count))
    assert (found > 1).mean() == pytest.approx(0.05, abs=2.5 * error)


def test_a_stretched_bond_and_a_group_turned_where_no_label_was_are_outside(fitted, ligand, cold):
    bond = next(b for b in ligand.force_field.bond_atoms if (ligand.numbers[b] == 6).all())
    assert (novelties(fitted, stretched(cold[:20], bond, 0.25 * angstrom)) > 1).all()
    assert (novelties(fitted, lifted(ligand, cold[:20], 60)) > 1).all()


def test_a_field_that_no_label_had_is_outside(fitted, cold):
    near = cold[0].mean(0) + np.array([0.0, 0.0, 6.0])
    charged = fitted.predict(cold[0], near[None], np.array([2.0]))
    assert charged.novelty > 1.5 * fitted.predict(cold[0], *NOTHING).novelty


def test_neither_place_nor_orientation_nor_exchange_of_like_atoms_matter(fitted, ligand, cold):
    place = cold[3]
    want = fitted.predict(place, *NOTHING).novelty
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    assert fitted.predict(place @ turn + 40.0, *NOTHING).novelty == pytest.approx(want, rel=1e-9)
    kinds = fitted.novelty.kinds
    hydrogens = np.flatnonzero(kinds == np.argmax(np.bincount(kinds)))  # of both methyl groups
    assert len(hydrogens) == 6
    swapped = place.copy()
    swapped[hydrogens[:3]] = place[np.roll(hydrogens[:3], 1)]
    assert fitted.predict(swapped, *NOTHING).novelty == pytest.approx(want, rel=1e-9)


def test_atoms_that_bonds_do_not_tell_apart_are_of_one_kind(ligand, frames):
    kinds = alike(ligand.numbers, np.array(frames))
    assert sorted(np.bincount(kinds).tolist()) == [2, 2, 4, 4, 6]
    order = np.random.default_rng(4).permutation(18)
    again = alike(ligand.numbers[order], np.array(frames)[:, order])
    assert np.array_equal(again, kinds[order])


def test_covariance_of_few_samples_is_better_than_the_plain_one():
    rng = np.random.default_rng(8)
    root = rng.normal(size=(12, 12)) / 3 + np.eye(12)
    truth = root @ root.T
    errors = np.zeros(2)
    for _ in range(50):
        samples = rng.normal(size=(15, 12)) @ root.T
        plain = samples.T @ samples / 15
        errors += [((found - truth) ** 2).sum() for found in (shrunk_covariance(samples), plain)]
    assert errors[0] < 0.7 * errors[1]
    many = rng.normal(size=(20_000, 12)) @ root.T
    assert shrunk_covariance(many) == pytest.approx(many.T @ many / 20_000, abs=5e-3)
    # Samples along one line say nothing of the others: a share of their variance goes there.
    assert np.linalg.eigvalsh(shrunk_covariance(np.outer([1.0, -1.0, 2.0, -2.0], np.ones(3)))).min() > 0


def test_it_is_stored_and_costs_no_second_pass(fitted, cold, monkeypatch):
    again = Committee.from_bytes(fitted.to_bytes())
    assert "training set of 40 frames" in repr(again)
    want = fitted.predict(cold[1], *NOTHING).novelty
    calls = []
    honest = Potential.learned
    monkeypatch.setattr(Potential, "learned", lambda self, *a: (calls.append(1), honest(self, *a))[1])
    assert again.predict(cold[1], *NOTHING).novelty == want
    assert len(calls) == 1


def test_models_that_know_nothing_of_their_training_set_are_read_and_say_so():
    old = load(EXAMPLE)
    assert old.novelty is None
    assert old.header.dispersion is None
    assert "training set not recorded" in repr(old)
    place = np.random.default_rng(0).normal(size=(len(old.header.numbers), 3)) * 4
    made = old.evaluate(place, *NOTHING, np.zeros(0, int), fixed_coulomb=False)
    assert np.isnan(old.novelty_of(made))


def test_too_few_frames_have_no_edge(random_committee, ligand, cold):
    few = random_committee.referred_to(bare(ligand, cold[:18]))
    assert np.isnan(few.predict(cold[30], *NOTHING).novelty)
    assert np.isfinite(random_committee.referred_to(bare(ligand, cold[:19])).novelty.edge)


def simulation_of(ligand, committee, start, kelvin):
    system = MLPotential("drupe", model=committee).createMixedSystem(
        ligand.topology, ligand.system, range(18), embedding="electrostatic"
    )
    integrator = openmm.LangevinMiddleIntegrator(kelvin, 1.0 / unit.picosecond, 0.0005)
    integrator.setRandomNumberSeed(6)
    made = app.Simulation(ligand.topology, system, integrator, openmm.Platform.getPlatformByName("Reference"))
    made.context.setPositions(start / nanometer)
    made.context.setVelocitiesToTemperature(kelvin, 3)
    return made


def test_the_monitor_collects_what_is_outside(fitted, ligand, cold, hot, tmp_path):
    spec = MonitorSpec(collect_force=1.0, stop_force=2.0, collect_novelty=1.0, stop_novelty=9.0, every=20)
    counts = []
    for name, start, kelvin in (("cold", cold[5], 300), ("hot", hot[5], 800)):
        simulation = simulation_of(ligand, fitted, start, kelvin)
        monitor = Monitor(tmp_path / name, spec)
        simulation.reporters.append(monitor)
        simulation.step(240)
        found = read_candidates(tmp_path / name)
        counts.append(len(found))
        assert all(one.novelty > 1 for one in found)
        place = simulation.context.getState(positions=True).getPositions(asNumpy=True)
        at_end = np.array(place.value_in_unit(unit.nanometer)) * nanometer
        want = fitted.predict(at_end, *NOTHING).novelty
        assert monitor.last.novelty == pytest.approx(want, rel=1e-6)
        assert uncertainty(simulation).novelty == pytest.approx(want, rel=1e-6)
    assert counts[0] <= 3 < 6 <= counts[1]


def test_the_monitor_asks_for_a_record(fitted, ligand, cold, tmp_path):
    spec = MonitorSpec(collect_force=1.0, stop_force=2.0, collect_novelty=1.0, every=5)
    few = fitted.referred_to(bare(ligand, cold[:10]))
    for committee, found in ((dataclasses.replace(fitted, novelty=None), "no record"), (few, "10 frames")):
        simulation = simulation_of(ligand, committee, cold[0], 300)
        simulation.reporters.append(Monitor(tmp_path, spec))
        with pytest.raises(InputError, match=found):
            simulation.step(5)
    headless = tuple(
        dataclasses.replace(one, header=dataclasses.replace(one.header, energies="none"))
        for one in fitted.members
    )
    simulation = simulation_of(ligand, Committee(headless), cold[0], 300)
    simulation.reporters.append(Monitor(tmp_path, MonitorSpec(1.0, 2.0, collect_energy=0.1, every=5)))
    with pytest.raises(InputError, match="limits for energies, and no label of the model had one"):
        simulation.step(5)
    with pytest.raises(InputError, match="limits to collect and to stop"):
        MonitorSpec(collect_force=1.0, stop_force=2.0, collect_novelty=2.0, stop_novelty=1.0)


def test_in_ase(fitted, ligand, cold):
    atoms = Atoms(numbers=ligand.numbers, positions=cold[2] / angstrom, calculator=DrupeCalculator(fitted))
    atoms.get_potential_energy()
    want = fitted.predict(cold[2], *NOTHING).novelty
    assert atoms.calc.results["novelty"] == pytest.approx(want, rel=1e-9)


def test_a_transferred_potential_is_compared_with_the_labels_of_its_forces(fitted, labels, low_data, cold):
    high = Dataset.from_labels(labels[:4], which="high")
    made = transfer(fitted, high, low_data, TransferSpec(steps=2, max_force_drift=1.0))
    # Forty frames of the start, twenty of the low level that are among them, four of the high level too.
    assert len(known_frames(low_data.prints, made.seen)) == 20
    assert len(known_frames(high.prints, made.seen)) == 4
    assert made.novelty.frames == low_data.n_frames
    want = fitted.referred_to(low_data)  # two steps hardly move the features
    assert novelties(made, cold[:3]) == pytest.approx(novelties(want, cold[:3]), rel=0.02)


def test_training_remembers_all_labels(low_data, ligand):
    made = train(low_data, FitSpec(members=2, steps=2, features=8, layers=1), ligand.force_field)
    assert "training set of 20 frames" in repr(made)
    with pytest.raises(InputError, match="2 that know"):
        Committee(made.members[:1], novelty=made.novelty)


def test_a_frame_is_judged_by_the_members_that_held_it_out(fitted, low_data):
    first = Committee(fitted.members[:1]).referred_to(low_data).novelty
    judged = fitted.referred_to(low_data, [np.arange(20), np.zeros(0, np.int64)]).novelty
    assert judged.edge == pytest.approx(first.edge, rel=1e-9)
    assert fitted.referred_to(low_data).novelty.edge != pytest.approx(first.edge, rel=1e-3)
