"""A reach of zero is mechanical embedding: the surroundings act on the fixed charges only."""

import dataclasses

import numpy as np
import pytest
import torch

from drupe.mlp import Committee, Dataset, FitSpec, accuracy, train
from drupe.mlp.loss import predict_frames
from drupe.mlp.potential import Potential
from drupe.mlp.training_set import prepare


@pytest.fixture(scope="module")
def deaf(random_committee, with_reach):
    return with_reach(random_committee.members, 0.0)


@pytest.fixture(scope="module")
def wet(frames, waters):
    mm, charges, _ = waters(np.random.default_rng(5), frames[3], 40)
    return frames[3], mm, charges


def coulomb(committee, qm, mm, charges):
    """Energy of the fixed charges and its forces on both sides, straight from the formula."""
    apart = qm[:, None] - mm
    distance = np.linalg.norm(apart, axis=2)
    energy = committee.header.fixed_charges[:, None] * charges / distance
    push = (energy / distance**2)[..., None] * apart
    return energy.sum(), push.sum(1), -push.sum(0)


def test_the_energy_is_that_without_surroundings_and_the_coulomb_energy_of_fixed_charges(deaf, wet):
    qm, mm, charges = wet
    alone = deaf.predict(qm, np.zeros((0, 3)), np.zeros(0))
    made = deaf.predict(qm, mm, charges)
    energy, on_qm, on_mm = coulomb(deaf, qm, mm, charges)
    # 1e-10: energies of 300 hartree lose five digits.
    assert made.energy == pytest.approx(alone.energy + energy, abs=1e-10)
    assert made.forces_qm == pytest.approx(alone.forces_qm + on_qm, abs=1e-11)
    assert made.forces_mm == pytest.approx(on_mm, abs=1e-12)


def test_openmm_gets_no_force_on_the_surroundings(deaf, wet):
    qm, mm, charges = wet
    made = deaf.evaluate(qm, mm, charges, fixed_coulomb=False)
    assert made.forces_mm.shape == mm.shape
    assert not made.forces_mm.any()
    assert not made.apart().mm_charge.any()


def test_the_graph_of_training_is_the_same_formula(deaf, wet):
    qm, mm, charges = wet
    single = Potential.from_stored(deaf.members[0])
    place, around = torch.tensor(qm, requires_grad=True), torch.tensor(mm, requires_grad=True)
    energy = single(place, around, torch.tensor(charges)).sum()
    energy.backward()
    want = Committee(deaf.members[:1]).predict(qm, mm, charges)
    assert float(energy.detach()) == pytest.approx(want.energy, abs=1e-10)
    assert -place.grad.numpy() == pytest.approx(want.forces_qm, abs=1e-11)
    assert -around.grad.numpy() == pytest.approx(want.forces_mm, abs=1e-12)


def test_training_sees_what_evaluation_gives(deaf, ligand, truth, frames, wet):
    _, mm, charges = wet
    labels = [truth.label(ligand, frames[i], mm, charges) for i in range(2)]
    stored = deaf.members[0]
    kept = prepare(Dataset.from_labels(labels, which="low"), stored.header.baseline, 2.0, 0.0)
    made = predict_frames(Potential.from_stored(stored), kept)
    for i, label in enumerate(labels):
        want = Committee((stored,)).predict(label.qm_positions, label.mm_positions, label.mm_charges)
        missing = label.forces_qm - kept.forces[i].numpy()
        assert made.forces[i].detach().numpy() + missing == pytest.approx(want.forces_qm, abs=1e-10)
        square = ((want.forces_mm - label.forces_mm) ** 2).sum()
        assert float(made.mm_square[i].detach()) == pytest.approx(square, rel=1e-8)


def test_a_field_that_polarises_is_learned_with_electrostatic_embedding_only(ligand, low_data):
    spec = FitSpec(members=1, steps=60, features=8, layers=1)
    with_field = train(low_data, spec, ligand.force_field)
    without = train(low_data, dataclasses.replace(spec, reach=0.0), ligand.force_field)
    assert without.header.reach == 0
    assert "mechanical embedding" in repr(without)
    missed = [accuracy(made, low_data).mm_force for made in (with_field, without)]
    assert missed[0] < 0.8 * missed[1]


def test_a_committee_that_feels_nothing_knows_its_errors(ligand, labels):
    data = Dataset.from_labels(labels[:20], which="low", blocks=[i // 4 for i in range(20)])
    spec = FitSpec(members=2, steps=30, features=8, layers=1, radial=4, reach=0.0)
    made = train(data, spec, ligand.force_field)
    assert made.calibration.noise is not None
    first = made.predict(*data.frame(0)[:4], force_errors=True)
    assert np.isfinite(first.forces_mm_error.sigma).all()
    assert (first.forces_mm_error.sigma > 0).all()
