"""A potential with a quantum readout from labels to OpenMM: training, transfer, files, frozen graph."""

from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from openmm import unit
from openmmml import MLPotential

from drupe.mlp import Committee, Dataset, FitSpec, TransferSpec, load, passes
from drupe.mlp.backbones.settings import EquivariantSettings
from drupe.mlp.fitted import Fitted
from drupe.mlp.readouts import compiled_series
from drupe.mlp.readouts.settings import VqcSettings
from drupe.mlp.shot_noise import measurement_of
from drupe.mlp.training import train_member
from drupe.mlp.transfer import transfer_member
from drupe.units import kj_per_mol, nanometer


@pytest.fixture
def committee(hybrid_committee) -> Committee:
    return hybrid_committee


@pytest.fixture(scope="module")
def fitted(ligand, low_data, vqc) -> Fitted:
    spec = FitSpec(
        members=1, steps=60, features=12, batch=6, readout="vqc", readout_settings=vqc, precision="float32"
    )
    return train_member(low_data, spec, 0, ligand.force_field)


def test_it_learns(fitted, low_data, ligand):
    curve = fitted.curve
    assert curve.force[-1] < 0.8 * curve.force[0]
    names = {name for name in fitted.stored.weights if name.startswith("readout.energies.")}
    assert names == {
        f"readout.energies.{name}" for name in ("angles.weight", "angles.bias", "rotations", "weight", "bias")
    }
    assert np.abs(fitted.stored.weights["readout.energies.weight"]).min() > 1e-6


@pytest.mark.parametrize(
    ("backbone", "settings"),
    [
        ("painn", None),
        ("tensornet", None),
        ("acsf", None),
        pytest.param(
            "equivariant", EquivariantSettings(max_l=1, radial_width=8), marks=pytest.mark.needs("e3nn")
        ),
    ],
)
def test_a_circuit_learns_behind_any_backbone(backbone, settings, low_data, ligand, scene):
    spec = FitSpec(
        members=2,
        steps=50,
        layers=1,
        features=8,
        batch=6,
        backbone=backbone,
        settings=settings,
        readout="vqc",
        readout_settings=VqcSettings(qubits=3, layers=2, entangler="cx"),
        precision="float32",
    )
    stored = []
    for member in range(2):
        made = train_member(low_data, spec, member, ligand.force_field)
        # Weights of <Z> start at zero, and the circuit's rotations have no slope there.
        assert np.abs(made.stored.weights["readout.energies.weight"]).min() > 1e-6
        assert made.curve.force[-1] < made.curve.force[0]
        stored.append(made.stored)
    committee = Committee(tuple(stored))
    again = Committee.from_bytes(committee.to_bytes())
    assert np.array_equal(again.predict(*scene).forces_qm, committee.predict(*scene).forces_qm)
    found = measurement_of(committee, *scene)
    assert found.energy == pytest.approx(committee.predict(*scene).energy, abs=1e-12)
    assert found.variance(1) > 0


def test_it_transfers(fitted, low_data, labels, ligand):
    high = Dataset.from_labels(labels[:10], which="high")
    spec = TransferSpec(steps=15, learning_rate=1e-3, batch=4, rank=2, max_force_drift=0.01)
    moved = transfer_member(fitted.potential, high, low_data, spec)
    assert moved.stored.header.readout == "vqc"
    assert moved.curve.energy[-1] < moved.curve.energy[0]
    name = "readout.energies.rotations"
    assert (moved.stored.weights[name] != fitted.stored.weights[name]).any()


def test_a_file_keeps_it(committee, vqc, scene, tmp_path):
    committee.save(tmp_path / "hybrid.drupe")
    again = load(tmp_path / "hybrid.drupe")
    assert again.header.readout_settings == vqc
    assert np.array_equal(again.predict(*scene).forces_mm, committee.predict(*scene).forces_mm)
    assert "with a vqc readout" in repr(again)


def test_a_committee_without_a_choice_of_readouts_is_read_and_predicts_the_same():
    """Written before readouts could be chosen: header version 5."""
    old = load(Path(__file__).parents[1] / "data" / "committee-v5.drupe")
    assert (old.header.readout, old.header.readout_settings) == ("classical", None)
    qm = np.array([[0, 0, 0.2], [0, 1.4, -0.9], [0, -1.4, -0.9]])
    made = old.predict(qm, np.array([[4.0, 1, 0], [0, 0, 5.0]]), np.array([0.5, -0.5]))
    assert made.energy == pytest.approx(-75.98957174276026, abs=1e-13)  # what that version printed


def test_the_frozen_graph_gives_the_same_bits(committee, frames, scene, monkeypatch):
    monkeypatch.setattr(passes, "_WORTH_IT", 1)
    asked, compiled = [], compiled_series._compiled
    monkeypatch.setattr(compiled_series, "_compiled", lambda kind: asked.append(kind) or compiled(kind))
    quick, plain = Committee(committee.members), Committee(committee.members)
    for qm in frames[:4]:
        asked.clear()
        found = quick.evaluate(qm, *scene[1:], fixed_coulomb=True)
        assert asked  # the compiled pass, before and in the frozen graph
    assert quick.network().frozen
    want = plain.evaluate(frames[3], *scene[1:], fixed_coulomb=True)
    assert not plain.network().frozen
    for name in ("energies", "forces_qm", "forces_mm"):
        assert np.array_equal(getattr(found, name), getattr(want, name))


def test_members_apart_average_to_the_committee(committee, scene):
    made = committee.evaluate(*scene, fixed_coulomb=True)
    assert made.apart().forces_qm.mean(0) == pytest.approx(made.forces_qm, abs=1e-13)
    assert abs(made.energies[0] - made.energies[1]) > 1e-6


def test_it_runs_in_openmm_with_forces_that_are_differences(ligand, committee):
    """The molecule and two charges, as a mixed system."""
    system = openmm.System()
    for index in range(ligand.system.getNumParticles()):
        system.addParticle(ligand.system.getParticleMass(index))
    for force in ligand.system.getForces():
        system.addForce(openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(force)))
    topology = openmm.app.Topology()
    chain = topology.addChain()
    residue = topology.addResidue("TMP", chain)
    for atom in ligand.topology.atoms():
        topology.addAtom(atom.name, atom.element, residue)
    atoms = list(topology.atoms())
    for one, other in ligand.topology.bonds():
        topology.addBond(atoms[one.index], atoms[other.index])
    (coulomb,) = (f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    for charge in (0.6, -0.6):
        system.addParticle(23.0)
        coulomb.addParticle(charge, 0.25, 0.0)
        topology.addAtom("Na", openmm.app.element.sodium, topology.addResidue("ION", chain))
    qm = ligand.positions
    outside = qm.mean(0) + np.array([[0.0, 2.0, 9.0], [7.0, -3.0, 6.0]])
    places = np.concatenate([qm, outside])
    mixed = MLPotential("drupe", model=committee).createMixedSystem(
        topology, system, list(range(len(qm))), embedding="electrostatic"
    )
    context = openmm.Context(
        mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )

    def energy(shift, atom, axis):
        moved = places.copy()
        moved[atom, axis] += shift
        context.setPositions(moved / nanometer)
        made = context.getState(getEnergy=True).getPotentialEnergy()
        return made.value_in_unit(unit.kilojoule_per_mole) * kj_per_mol

    context.setPositions(places / nanometer)
    forces = context.getState(getForces=True).getForces(asNumpy=True)
    forces = forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer) * kj_per_mol / nanometer
    step = 2e-3
    for atom, axis in ((0, 0), (5, 2), (len(qm), 1), (len(qm) + 1, 0)):
        near = energy(step, atom, axis) - energy(-step, atom, axis)
        far = energy(2 * step, atom, axis) - energy(-2 * step, atom, axis)
        assert -forces[atom, axis] == pytest.approx((8 * near - far) / (12 * step), abs=1e-7)
    # The whole is the MM energy without the molecule's own, and the learned term.
    mm = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    mm.setPositions(places / nanometer)
    full = (
        mm.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * kj_per_mol
    )
    own = float(committee.stack.baseline(torch.tensor(qm[None])))
    learned = committee.evaluate(qm, outside, np.array([0.6, -0.6]), fixed_coulomb=False).energies.mean()
    # 1e-6 hartree: OpenMM's Coulomb constant in nine digits.
    assert energy(0.0, 0, 0) == pytest.approx(full - own + float(learned), abs=1e-6)
