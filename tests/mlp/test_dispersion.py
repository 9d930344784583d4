"""D3(BJ) as a term of a potential: against dftd3 itself, in every place where the potential is evaluated."""

import copy
import dataclasses

import numpy as np
import openmm
import pytest
from ase import Atoms
from dftd3.interface import DispersionModel, RationalDampingParam
from openmm import unit
from openmmml import MLPotential

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.embedding.export import write_extxyz
from drupe.errors import InputError
from drupe.mlp import Committee, Dataset, FitSpec, TransferSpec, accuracy
from drupe.mlp.calculator import DrupeCalculator
from drupe.mlp.dispersion import with_dispersion
from drupe.mlp.extxyz import frames_of_extxyz
from drupe.mlp.sources import frames_of_arrays
from drupe.mlp.training import train_member
from drupe.mlp.training_set import prepare
from drupe.mlp.transfer import transfer_member
from drupe.units import angstrom, ev, kj_per_mol, nanometer


def library(numbers, place, functional="pbe"):
    """Energy and forces of dftd3, asked anew."""
    damping = RationalDampingParam(method=functional, atm=False)
    found = DispersionModel(numbers, place).get_dispersion(damping, grad=True)
    return float(found["energy"]), -found["gradient"]


@pytest.fixture(scope="module")
def dispersed(random_committee):
    """The random committee with D3(BJ) on top of its MM terms."""
    header = dataclasses.replace(random_committee.header, dispersion="PBE")
    members = tuple(dataclasses.replace(one, header=header) for one in random_committee.members)
    return dataclasses.replace(random_committee, members=members)


@pytest.fixture(scope="module")
def plain_data(low_data):
    return dataclasses.replace(low_data, dispersion="none")


def test_it_adds_dftd3s_own_numbers(random_committee, dispersed, ligand, frames, scene):
    nothing = np.zeros((0, 3)), np.zeros(0)
    for frame in (scene, (frames[7], *nothing), (frames[30], *nothing)):
        without, with_it = random_committee.predict(*frame), dispersed.predict(*frame, force_errors=True)
        energy, forces = library(ligand.numbers, frame[0])
        assert energy < -0.01  # hartree: no trifle
        assert with_it.energy - without.energy == pytest.approx(energy, abs=1e-12)
        assert with_it.forces_qm - without.forces_qm == pytest.approx(forces, abs=1e-12)
        assert np.array_equal(with_it.forces_mm, without.forces_mm)
        assert with_it.energy_sigma == pytest.approx(without.energy_sigma, rel=1e-9)


def test_forces_are_finite_differences(dispersed, scene):
    qm, mm, charges = scene
    forces, step = dispersed.predict(*scene).forces_qm, 1e-3
    for atom, axis in ((0, 2), (9, 1)):
        at = []
        for count in (1, -1, 2, -2):
            moved = qm.copy()
            moved[atom, axis] += count * step
            at.append(dispersed.predict(moved, mm, charges).energy)
        slope = (8 * (at[0] - at[1]) - (at[2] - at[3])) / (12 * step)
        assert -forces[atom, axis] == pytest.approx(slope, abs=1e-8)


def test_the_file_and_the_words_name_it(random_committee, dispersed, scene, tmp_path):
    again = Committee.from_bytes(dispersed.to_bytes())
    assert again.header.dispersion == "PBE"
    assert again.predict(*scene).energy == dispersed.predict(*scene).energy
    assert "D3(BJ) of PBE among its atoms is in the energy" in repr(again)
    assert "D3" not in repr(random_committee)


def test_in_ase(random_committee, dispersed, ligand, frames):
    atoms = Atoms(numbers=ligand.numbers, positions=frames[3] / angstrom)
    energies = []
    for committee in (random_committee, dispersed):
        atoms.calc = DrupeCalculator(committee)
        energies.append(atoms.get_potential_energy())
    assert energies[1] - energies[0] == pytest.approx(library(ligand.numbers, frames[3])[0] / ev, abs=1e-9)


@pytest.mark.parametrize("interpolate", [False, True])
def test_in_a_mixed_system(random_committee, dispersed, ligand, frames, interpolate):
    states = []
    for committee in (random_committee, dispersed):
        system = MLPotential("drupe", model=committee).createMixedSystem(
            ligand.topology, ligand.system, range(18), embedding="electrostatic", interpolate=interpolate
        )
        context = openmm.Context(
            copy.deepcopy(system),
            openmm.VerletIntegrator(0.0005),
            openmm.Platform.getPlatformByName("Reference"),
        )
        context.setPositions(frames[5] / nanometer)
        states.append(context.getState(energy=True, forces=True))
    energy, forces = library(ligand.numbers, frames[5])
    without, with_it = (state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) for state in states)
    assert with_it - without == pytest.approx(energy / kj_per_mol, abs=1e-6)
    bare, whole = (
        np.array(state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer))
        for state in states
    )
    assert whole - bare == pytest.approx(forces / kj_per_mol * nanometer, abs=1e-4)


def test_training_sees_what_is_left(plain_data, ligand):
    held = with_dispersion(plain_data, "PBE")
    assert held.dispersion == "PBE-d3bj"
    assert held.level == "toy + PBE-d3bj"
    energy, forces = library(ligand.numbers, plain_data.positions[4])
    assert held.energy[4] - plain_data.energy[4] == pytest.approx(energy, abs=1e-12)
    assert held.forces_qm[4] - plain_data.forces_qm[4] == pytest.approx(forces, abs=1e-12)
    left = prepare(held, ligand.force_field, 2.0, dispersion="pbe")
    want = prepare(plain_data, ligand.force_field, 2.0)
    assert left.energy.numpy() == pytest.approx(want.energy.numpy(), abs=1e-11)
    assert left.forces.numpy() == pytest.approx(want.forces.numpy(), abs=1e-12)


def test_slopes_have_it_too(slope_labels):
    high = dataclasses.replace(Dataset.from_labels(slope_labels[:3], which="high"), dispersion="none")
    own = dataclasses.replace(high, energy_low=high.energy)  # energies without core corrections
    held = with_dispersion(own, "PBE")
    found = prepare(held, None, 2.0, dispersion="PBE").slopes.numpy()
    assert found == pytest.approx(prepare(own, None, 2.0).slopes.numpy(), abs=1e-12)
    assert np.abs(held.slopes - own.slopes).max() > 1e-5


def test_totals_are_those_of_the_labels_and_the_network_is_the_same(plain_data, ligand):
    spec = FitSpec(members=1, steps=4, features=8, layers=1, held_out=0)
    held = with_dispersion(plain_data, "PBE")
    without = train_member(plain_data, spec, 0, ligand.force_field)
    with_it = train_member(held, dataclasses.replace(spec, dispersion="PBE"), 0, ligand.force_field)
    one, other = (Committee((fit.stored,)) for fit in (without, with_it))
    for name, value in without.stored.weights.items():
        assert with_it.stored.weights[name] == pytest.approx(value, abs=1e-8)
    frame = plain_data.frame(2)
    energy, _ = library(ligand.numbers, frame[0])
    assert other.predict(*frame).energy - one.predict(*frame).energy == pytest.approx(energy, abs=1e-8)
    found, want = accuracy(other, held), accuracy(one, plain_data)
    assert found.force == pytest.approx(want.force, rel=1e-5)


def test_labels_of_another_dispersion_are_refused_with_what_to_do(plain_data, dispersed, ligand):
    spec = FitSpec(members=1, steps=1, features=8, layers=1, held_out=0, dispersion="PBE")
    for held, found, remedy in (
        ("none", "the labels hold no dispersion", 'with_dispersion(dataset, "PBE")'),
        ("unknown", "is not known", 'dispersion="PBE-d3bj"'),
        ("B3LYP-d3bj", "hold the dispersion B3LYP-d3bj", 'FitSpec(dispersion="B3LYP")'),
        ("PBE-d4", "hold the dispersion PBE-d4", "leave FitSpec(dispersion=) out"),
    ):
        data = dataclasses.replace(plain_data, dispersion=held)
        for refused in (
            lambda data=data: train_member(data, spec, 0, ligand.force_field),
            lambda data=data: accuracy(dispersed, data),
            lambda data=data: prepare(data, None, 2.0, dispersion="PBE"),
        ):
            with pytest.raises(InputError, match=found) as caught:
                refused()
            assert remedy in caught.value.remedy


def test_what_is_there_is_not_added_again(plain_data, labels):
    once = with_dispersion(plain_data, "PBE")
    with pytest.raises(InputError, match="'PBE-d3bj', D3"):
        with_dispersion(once, "PBE")
    with pytest.raises(InputError, match="'unknown', D3"):
        with_dispersion(dataclasses.replace(plain_data, dispersion="unknown"), "PBE")
    high = dataclasses.replace(Dataset.from_labels(labels[:3], which="high"), dispersion="none")
    with pytest.raises(InputError, match="core corrections") as caught:
        with_dispersion(high, "PBE")
    assert 'dispersion="d3bj"' in caught.value.remedy
    with pytest.raises(InputError, match="no d3bj parameters"):
        with_dispersion(plain_data, "PBE,LYP")


def test_a_transfer_keeps_it_and_asks_for_it(plain_data, dispersed):
    held = with_dispersion(plain_data, "PBE")
    header = dataclasses.replace(dispersed.header, level=held.level)
    low = dataclasses.replace(dispersed.members[0], header=header)
    spec = TransferSpec(steps=2, max_force_drift=1.0)
    start = Committee((low,)).stack
    assert transfer_member(start, held, held, spec).stored.header.dispersion == "PBE"
    with pytest.raises(InputError, match="the labels hold no dispersion"):
        transfer_member(start, plain_data, held, spec)


def test_labels_and_their_files_say_what_they_hold(tmp_path):
    made = []
    for dispersion in (None, "d3bj"):
        rows = []
        for i in range(2):
            at = angstrom * np.array([[0, 0, 0.12], [0, 0.76 + 0.02 * i, -0.47], [0, -0.76, -0.47]])
            system = MolecularSystem.from_atoms([8, 1, 1], at, charges=[-0.8, 0.4, 0.4])
            region = Partition.select(system, qm=range(3), charge=0)
            rows.append(label(system, region, Level("HF", "STO-3G", dispersion=dispersion)))
        made.append(rows)
    plain, held = (Dataset.from_labels(rows, which="low") for rows in made)
    assert (plain.dispersion, held.dispersion) == ("none", "HF-d3bj")
    added = with_dispersion(plain, "HF")
    assert added.energy == pytest.approx(held.energy, abs=1e-9)
    assert added.forces_qm == pytest.approx(held.forces_qm, abs=1e-7)
    assert plain.level != held.level
    for which in ("low", "high"):
        with pytest.raises(InputError, match="different levels"):
            Dataset.from_labels([made[0][0], made[1][1]], which=which)
    write_extxyz(tmp_path / "labels.extxyz", [(f"frame-{i}", one) for i, one in enumerate(made[1])])
    found = Dataset.from_labels(frames_of_extxyz(tmp_path / "labels.extxyz"))
    assert found.dispersion == "HF-d3bj"
    assert found.level.startswith("HF-d3bj/STO-3G/none/Level-")
    bare = (tmp_path / "labels.extxyz").read_text().replace("dispersion=d3bj ", "")
    (tmp_path / "old.extxyz").write_text(bare)
    assert Dataset.from_labels(frames_of_extxyz(tmp_path / "old.extxyz")).dispersion == "unknown"
    frames = frames_of_arrays(
        plain.numbers, plain.positions, level="x", energies=plain.energy, dispersion="none"
    )
    assert Dataset.from_labels(frames).dispersion == "none"


def test_an_unknown_functional_is_refused_by_name(low_data):
    with pytest.raises(InputError, match="no functional 'PEB'"):
        with_dispersion(dataclasses.replace(low_data, dispersion="none"), "PEB")
