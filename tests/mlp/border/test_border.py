"""What the network sees across a covalent border, and what training makes of it."""

import dataclasses

import numpy as np
import pytest
import torch

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.embedding.regions.boundary import quantum_region
from drupe.mlp import Committee, Dataset
from drupe.mlp.backbones.settings import AcsfSettings
from drupe.mlp.border import border_of
from drupe.mlp.force import LearnedForce
from drupe.mlp.loss import predict_frames
from drupe.mlp.potential import Potential
from drupe.mlp.readouts.settings import VqcSettings
from drupe.mlp.shot_noise import measurement_of
from drupe.mlp.training_set import prepare
from drupe.units import angstrom

SCHEMES = ["z1", "rc", "rcd"]
HF = Level("HF", "sto-3g", auxbasis=None, scf_tolerance=1e-11, gradient_tolerance=1e-7)
ACSF = {"backbone": "acsf", "settings": AcsfSettings(charge_radial=4, charge_cutoff=9.0, angular_cutoff=6.0)}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_the_network_sees_is_what_the_label_saw(peptide, labels, scheme):
    """Link atoms and charges of another frame, by the code of the labels."""
    border, rows = border_of(labels[scheme][0])
    system = peptide.at(5)
    region = quantum_region(system, peptide.regions, dataclasses.replace(HF, boundary=scheme))
    qm, mm = system.positions[peptide.qm], system.positions[peptide.regions.mm_atoms]
    charges = system.charges[peptide.regions.mm_atoms]
    made = border.cap(qm, mm, charges, None, rows)
    assert made.positions == pytest.approx(region.positions, abs=1e-9)
    kept = np.flatnonzero(made.charges)

    def sorted_sites(points, values):
        table = np.column_stack([points, values])
        return table[np.lexsort(np.round(table, 6).T)]

    want = sorted_sites(region.points, region.charges)
    assert sorted_sites(made.points[kept], made.charges[kept]) == pytest.approx(want, abs=1e-9)
    assert made.charges[rows[0]] == 0.0  # not nearly: the link atom is 0.4 A away
    lost = charges[rows[0]] if scheme == "z1" else 0.0
    assert made.charges.sum() == pytest.approx(charges.sum() - lost, abs=1e-12)
    # Forces back: the same as the label's.
    rng = np.random.default_rng(2)
    on_region, on_points = rng.normal(size=made.positions.shape), np.zeros(made.points.shape)
    for point, value in zip(region.points, (pushed := rng.normal(size=region.points.shape)), strict=True):
        on_points[kept[np.linalg.norm(made.points[kept] - point, axis=1).argmin()]] = value
    for got, wanted in zip(
        made.scatter(on_region, on_points), region.scatter(on_region, pushed), strict=True
    ):
        assert got == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "changes", [{}, {"reach": 14.0}, {"reach": 0.0}, ACSF], ids=["painn", "reach", "mechanical", "acsf"]
)
def test_forces_are_slopes_on_hosts_and_neighbours(labels, terms, scheme, changes, random_model):
    data = Dataset.from_labels(labels[scheme][:2])
    committee = random_model(data, terms, **changes)
    qm, mm, charges, groups, rows = data.frame(1)
    made = committee.predict(qm, mm, charges, groups, rows)

    def energy(moved_qm, moved_mm):
        return committee.predict(moved_qm, moved_mm, charges, groups, rows).energy

    step = 1e-4
    for atom in range(len(qm)):
        for axis in range(3):
            shift = np.zeros_like(qm)
            shift[atom, axis] = step
            slope = (energy(qm + shift, mm) - energy(qm - shift, mm)) / (2 * step)
            assert made.forces_qm[atom, axis] == pytest.approx(-slope, abs=2e-7)
    for atom in (*rows, 0, len(mm) - 1):
        shift = np.zeros_like(mm)
        shift[atom] = [step, -step, step]
        slope = (energy(qm, mm + shift) - energy(qm, mm - shift)) / (2 * step)
        assert made.forces_mm[atom] @ [1, -1, 1] == pytest.approx(-slope, abs=3e-7)
    assert made.forces_qm.sum(0) + made.forces_mm.sum(0) == pytest.approx(np.zeros(3), abs=1e-10)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "changes", [{}, {"reach": 14.0}, {"reach": 0.0}, ACSF], ids=["painn", "reach", "mechanical", "acsf"]
)
def test_training_sees_the_forces_that_are_predicted(labels, terms, scheme, changes, random_model):
    """QM forces and the squared miss on thousands of MM atoms, by the quadratic form and by hand."""
    data = Dataset.from_labels(labels[scheme][:2])
    committee = random_model(data, terms, **changes)
    potential = Potential.from_stored(committee.members[0])
    header = committee.header
    reduced = prepare(data, terms, header.damping, header.reach, potential.backbone.charge_sums)
    made = predict_frames(potential, reduced)
    for i in range(2):
        one = Committee(committee.members[:1]).predict(*data.frame(i))
        missed = one.forces_qm - data.forces_qm[i]
        assert (made.forces - reduced.forces)[i].detach().numpy() == pytest.approx(missed, abs=1e-9)
        wanted = ((one.forces_mm - data.forces_mm[i]) ** 2).sum()
        assert float(made.mm_square[i].detach()) == pytest.approx(wanted, rel=1e-7)
        energy = float((made.energy[i] - reduced.energy[i]).detach()) + header.energy_zero
        assert energy == pytest.approx(one.energy - data.energy[i], abs=1e-9)


def test_two_link_atoms_and_two_hosts(random_model):
    """Butane without its ends: each end gives its charge to three hydrogens of its own."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles("CCCC"))
    AllChem.EmbedMolecule(molecule, randomSeed=7)
    rng = np.random.default_rng(3)
    place = molecule.GetConformer().GetPositions() * angstrom
    charges = rng.normal(size=14) * 0.2
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]
    numbers = [a.GetAtomicNum() for a in molecule.GetAtoms()]
    found = []
    for k in range(2):
        moved = place + 0.05 * k * rng.normal(size=place.shape)
        system = MolecularSystem.from_atoms(numbers, moved, charges - charges.mean(), bonds)
        regions = Partition.select(system, qm=[1, 2, 7, 8, 9, 10], charge=0)
        found.append(label(system, regions, HF))
    data = Dataset.from_labels(found)
    assert data.border.link_hosts.tolist() == [[0, 0], [1, 1]]
    assert [len(data.border.takers(k)) for k in range(2)] == [3, 3]
    assert data.border.ties.tolist() == [[0, k] for k in (0, 2, 3, 4)] + [[1, k] for k in (1, 5, 6, 7)]
    committee = random_model(data, None)
    qm, mm, values, groups, rows = data.frame(1)
    region = quantum_region(system, regions, HF)
    seen = data.border.cap(qm, mm, values, groups, rows)
    assert seen.positions == pytest.approx(region.positions, abs=1e-9)
    made = committee.predict(qm, mm, values, groups, rows)
    step = 1e-4
    for atom in range(len(mm)):
        shift = np.zeros_like(mm)
        shift[atom] = [step, step, -step]
        ends = [committee.predict(qm, mm + sign * shift, values, groups, rows).energy for sign in (1, -1)]
        assert made.forces_mm[atom] @ [1, 1, -1] == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=3e-7)
    reduced = prepare(data, None, 2.0)
    forces = predict_frames(Potential.from_stored(committee.members[0]), reduced)
    missed = Committee(committee.members[:1]).predict(*data.frame(1)).forces_mm - data.forces_mm[1]
    assert float(forces.mm_square[1].detach()) == pytest.approx((missed**2).sum(), rel=1e-7)


def test_the_total_charge_is_that_of_the_region(labels, terms, random_model):
    """Fixed charges of a cut region are no whole number; the network adds exactly what is missing."""
    data = Dataset.from_labels(labels["rcd"])
    assert abs(data.fixed_charges.sum()) > 0.01
    assert data.total_charge == 0
    committee = random_model(data, terms)
    place = np.vstack([data.positions[0], labels["rcd"][0].link_positions])[None]
    nothing = torch.zeros(1, 6, 0, dtype=torch.float64)
    shift = committee.stack.atom_terms(
        torch.tensor(place), torch.zeros(1, 6, 3, dtype=torch.float64), nothing
    ).shift
    total = shift.sum(-1).detach().numpy() + data.fixed_charges.sum()
    assert total == pytest.approx(0.0, abs=1e-14)


def test_circuits_are_measured_with_the_border_and_the_residues_of_the_frame(labels, terms, random_model):
    data = Dataset.from_labels(labels["rcd"])
    quantum = {"readout": "vqc", "readout_settings": VqcSettings(qubits=4, layers=1)}
    committee = random_model(data, terms, reach=8.0, **quantum)
    qm, mm, charges, groups, rows = data.frame(1)
    want = committee.predict(qm, mm, charges, groups, rows).energy
    assert measurement_of(committee, qm, mm, charges, groups, rows).energy == pytest.approx(want, abs=1e-12)
    # Both count: without residues the reach cuts between other atoms.
    apart = np.arange(len(mm))
    assert abs(committee.predict(qm, mm, charges, apart, rows).energy - want) > 1e-7


def test_a_model_keeps_its_border(labels, terms, random_model):
    committee = random_model(Dataset.from_labels(labels["rcd"]), terms)
    frame = Dataset.from_labels(labels["rcd"]).frame(0)
    again = Committee.from_bytes(committee.to_bytes())
    assert again.predict(*frame).energy == committee.predict(*frame).energy
    assert "5 atoms and 1 link atom(s)" in repr(again)
    force = LearnedForce(committee, frame.mm_charges, border=frame.border_atoms)
    build_again, arguments = force.__reduce__()
    assert build_again(*arguments).key == force.key
