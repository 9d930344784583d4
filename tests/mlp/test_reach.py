"""The switch on whole groups of charges: limits, invariances, and every derivative against autograd."""

import dataclasses

import numpy as np
import pytest
import torch

from drupe.errors import InputError
from drupe.mlp import Committee, Dataset
from drupe.mlp.loss import predict_frames
from drupe.mlp.potential import Potential
from drupe.mlp.reach import PLATEAU, fade_groups
from drupe.mlp.training_set import prepare
from drupe.units import angstrom

REACH = 14.0


@pytest.fixture(scope="module")
def near(random_committee, with_reach):
    return with_reach(random_committee.members, REACH)


@pytest.fixture(scope="module")
def wet(frames, waters):
    mm, charges, groups = waters(np.random.default_rng(5), frames[3], 40)
    return frames[3], mm, charges, groups


def weights(qm, mm, groups, reach=REACH):
    return fade_groups(torch.tensor(qm), torch.tensor(mm), torch.tensor(groups), reach)


def test_groups_count_fully_near_any_atom_and_not_at_all_beyond_the_reach(wet):
    qm, mm, _, groups = wet
    made = weights(qm, mm, groups)
    centre = np.array([mm[groups == g].mean(0) for g in range(40)])
    nearest = np.linalg.norm(centre[:, None] - qm, axis=2).min(1)
    weight = made.weight.numpy()
    assert (weight[nearest < PLATEAU * REACH] == 1).all()
    assert (weight[nearest > REACH] == 0).all()
    between = (nearest > PLATEAU * REACH) & (nearest < REACH)
    assert between.sum() > 5
    assert (nearest > REACH).any()
    assert ((weight[between] > 0) & (weight[between] <= 1)).all()
    assert np.array_equal(made.per_charge.numpy(), weight[groups])


def test_slopes_of_the_weights_equal_autograd(wet):
    qm, mm, _, groups = wet
    place, around = torch.tensor(qm, requires_grad=True), torch.tensor(mm, requires_grad=True)
    made = fade_groups(place, around, torch.tensor(groups), REACH)
    for g in np.flatnonzero((made.weight > 0.01) & (made.weight < 0.99))[:4]:
        want_qm, want_mm = torch.autograd.grad(made.weight[g], (place, around), retain_graph=True)
        # 1e-12: a handful of operations in double precision.
        assert torch.allclose(made.slope[:, g], want_qm, atol=1e-12)
        members = groups == g
        assert torch.allclose(made.on_charges()[members], want_mm[members], atol=1e-12)
        assert not want_mm[~members].any()


def test_forces_of_the_short_way_equal_autograd_of_the_formula(near, wet):
    qm, mm, charges, groups = wet
    place, around = torch.tensor(qm, requires_grad=True), torch.tensor(mm, requires_grad=True)
    energies = near.stack(place, around, torch.tensor(charges), torch.tensor(groups))
    want = torch.autograd.grad(energies.mean(), (place, around))
    made = near.predict(qm, mm, charges, groups)
    assert made.member_energies == pytest.approx(energies.detach().numpy(), abs=1e-11)
    # 1e-11 hartree/bohr: sums of 120 charges with terms near 0.1.
    assert made.forces_qm == pytest.approx(-want[0].numpy(), abs=1e-11)
    assert made.forces_mm == pytest.approx(-want[1].numpy(), abs=1e-11)


def test_forces_are_finite_differences_on_the_rim(near, wet):
    qm, mm, charges, groups = wet
    fading = np.flatnonzero((lambda w: (w > 0.2) & (w < 0.8))(weights(qm, mm, groups).weight.numpy()))
    forces = near.predict(qm, mm, charges, groups)
    step = 1e-3
    atom = 3 * int(fading[0]) + 1
    for on_mm, i, axis in ((True, atom, 0), (True, atom, 2), (False, 0, 1), (False, 7, 0)):
        ends = []
        for sign in (1, -1):
            inner, outer = qm.copy(), mm.copy()
            (outer if on_mm else inner)[i, axis] += sign * step
            ends.append(near.predict(inner, outer, charges, groups).energy)
        got = (forces.forces_mm if on_mm else forces.forces_qm)[i, axis]
        # 1e-6 hartree/bohr: h^2/6 of third derivatives near 1 hartree/bohr^3.
        assert got == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=1e-6)


def test_the_rim_is_really_in_the_forces(near, wet):
    """Net force and torque vanish only with the derivative of the weights."""
    qm, mm, charges, groups = wet
    made = near.predict(qm, mm, charges, groups)
    total = made.forces_qm.sum(0) + made.forces_mm.sum(0)
    torque = np.cross(qm, made.forces_qm).sum(0) + np.cross(mm, made.forces_mm).sum(0)
    # 1e-10: rounding of sums of forces times 20 bohr.
    assert total == pytest.approx(np.zeros(3), abs=1e-10)
    assert torque == pytest.approx(np.zeros(3), abs=1e-9)


def test_all_charges_on_the_plateau_give_the_value_without_reach(near, random_committee, with_reach, wet):
    qm, mm, charges, groups = wet
    wide = with_reach(random_committee.members, 80.0)
    want = random_committee.predict(qm, mm, charges)
    got = wide.predict(qm, mm, charges, groups)
    assert got.energy == pytest.approx(want.energy, abs=1e-12)
    assert got.forces_mm == pytest.approx(want.forces_mm, abs=1e-12)
    assert abs(near.predict(qm, mm, charges, groups).energy - want.energy) > 1e-6


def test_groups_beyond_the_reach_act_on_the_fixed_charges_only(near, wet):
    qm, mm, charges, groups = wet
    far = np.concatenate([mm, mm[:3] + np.array([90.0, 0, 0])])
    more, tags = np.concatenate([charges, charges[:3]]), np.concatenate([groups, [99, 99, 99]])
    one = near.evaluate(qm, mm, charges, groups, fixed_coulomb=False)
    two = near.evaluate(qm, far, more, tags, fixed_coulomb=False)
    assert two.energies == pytest.approx(one.energies, abs=1e-13)
    assert not two.forces_mm[-3:].any()
    whole = near.predict(qm, far, more, tags)
    apart = np.linalg.norm(qm[:, None] - far[-3:], axis=2)
    fixed = float((near.header.fixed_charges[:, None] * charges[:3] / apart).sum())
    # 1e-11: differences of energies of 3 hartree.
    assert whole.energy - near.predict(qm, mm, charges, groups).energy == pytest.approx(fixed, abs=1e-11)


def test_order_of_charges_numbers_of_groups_and_rotations_do_not_matter(near, wet):
    qm, mm, charges, groups = wet
    want = near.predict(qm, mm, charges, groups)
    rng = np.random.default_rng(2)
    order = rng.permutation(len(mm))
    names = rng.permutation(5000)[:40]
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    got = near.predict(qm @ turn + 7.0, mm[order] @ turn + 7.0, charges[order], names[groups][order])
    assert got.energy == pytest.approx(want.energy, abs=1e-11)
    assert got.forces_mm == pytest.approx(want.forces_mm[order] @ turn, abs=1e-11)


def test_a_water_that_crosses_the_rim_makes_no_step(near, wet):
    """The work along the path is the change of energy: the integral of the force by Simpson's rule."""
    qm, mm, charges, groups = wet
    start = qm.mean(0)
    outward = np.array([0.0, 0.0, 1.0])
    moved = mm.copy()
    path = np.linspace(9.0, 24.0, 121)
    energies, work = [], []
    for z in path:
        moved[:3] = mm[:3] - mm[:3].mean(0) + start + z * outward
        made = near.evaluate(qm, moved, charges, groups, fixed_coulomb=False)
        energies.append(made.energies.mean())
        work.append(-(made.forces_mm[:3] @ outward).sum())
    step = path[1] - path[0]
    simpson = step / 3 * (work[0] + work[-1] + 4 * sum(work[1:-1:2]) + 2 * sum(work[2:-1:2]))
    # 2e-7: h^4/180 of the fourth derivative of the force over 15 bohr, with features of 3.5 bohr.
    assert simpson == pytest.approx(energies[-1] - energies[0], abs=2e-7)
    assert abs(energies[-1] - energies[0]) > 1e-6
    assert energies[-1] == pytest.approx(energies[-8], abs=1e-14)


def test_training_sees_what_evaluation_gives(near, ligand, truth, frames, waters):
    """Energy, QM forces and squared MM force error of the reduced frames, against the evaluation."""
    labels, tags = [], []
    for i in range(3):
        mm, charges, groups = waters(np.random.default_rng(40 + i), frames[i], 25 + i)
        charges[-3:] = 0.0
        labels.append(truth.label(ligand, frames[i], mm, charges))
        tags.append(groups)
    data = Dataset.from_labels(labels, which="low", groups=tags)
    single = Committee((near.members[0],))
    stored = single.members[0]
    kept = prepare(data, stored.header.baseline, stored.header.damping, REACH)
    made = predict_frames(Potential.from_stored(stored), kept)
    for i, (label, groups) in enumerate(zip(labels, tags, strict=True)):
        want = single.predict(label.qm_positions, label.mm_positions, label.mm_charges, groups)
        gone = label.energy_low - float(kept.energy[i])
        # 1e-10: energies of 300 hartree lose five digits.
        assert float(made.energy[i].detach()) + gone + stored.header.energy_zero == pytest.approx(
            want.energy, abs=1e-10
        )
        missing = label.forces_qm - kept.forces[i].numpy()
        assert made.forces[i].detach().numpy() + missing == pytest.approx(want.forces_qm, abs=1e-10)
        square = ((want.forces_mm - label.forces_mm) ** 2).sum()
        assert float(made.mm_square[i].detach()) == pytest.approx(square, rel=1e-8)


def test_committee_predicts_a_data_set_with_groups(near, ligand, truth, frames, waters):
    mm, charges, groups = waters(np.random.default_rng(3), frames[0], 12)
    labels = [truth.label(ligand, frames[i], mm + 0.01 * i, charges) for i in range(2)]
    data = Dataset.from_labels(labels, which="low", groups=[groups, groups])
    made = near.predict_all(data)
    assert made[1].energy == pytest.approx(
        near.predict(frames[1], mm + 0.01, charges, groups).energy, abs=1e-12
    )


def test_refuses_charges_that_do_not_say_where_they_belong(near, ligand, truth, frames, wet):
    qm, mm, charges, groups = wet
    with pytest.raises(InputError, match="no group numbers for 120 charges"):
        near.predict(qm, mm, charges)
    with pytest.raises(InputError, match="119 group numbers"):
        near.predict(qm, mm, charges, groups[1:])
    near.predict(qm, np.zeros((0, 3)), np.zeros(0))
    labels = [truth.label(ligand, frames[i], mm, charges) for i in range(2)]
    without = Dataset.from_labels(labels, which="low")
    with pytest.raises(InputError, match="frame 0 does not say which MM atoms belong together"):
        prepare(without, None, 2.0, REACH)
    with pytest.raises(InputError, match="groups of label 1 have shape"):
        Dataset.from_labels(labels, which="low", groups=[groups, groups[1:]])
    with pytest.raises(InputError, match="groups of 1 labels"):
        Dataset.from_labels(labels, which="low", groups=[groups])
    one = Dataset.from_labels(labels, which="low", groups=[groups * 0] * 2)
    with pytest.raises(InputError, match=r"reaches .* bohr from its centre"):
        prepare(one, None, 2.0, 9.0 * angstrom)
    with pytest.raises(InputError, match="the reach of a potential is -1"):
        dataclasses.replace(near.header, reach=-1.0)


def test_says_what_lies_beyond(near, random_committee):
    assert "within 7.4 A" in near.header.electrostatics
    assert "fixed charges only" in near.header.electrostatics
    assert near.header.electrostatics in repr(near)
    assert "all MM charges" in repr(random_committee)


def test_a_common_set_of_charges_makes_less_noise_than_a_sphere_for_each_atom(frames, waters):
    """What the learned charges cost by moving the rim over waters, against a switch for each QM atom.

    Charge differences that add to zero, a box full of waters, the same molecule at 60 places in it: the
    spread of sum dq phi beyond that of a far larger reach.
    """
    rng = np.random.default_rng(8)
    qm = frames[0]
    dq = rng.normal(size=len(qm)) * 0.1
    dq -= dq.mean()
    errors = {"together": [], "apart": []}
    for seed in range(40):
        mm, charges, groups = waters(np.random.default_rng(100 + seed), qm, 700, 13.0)
        reach = 17.0
        apart = np.linalg.norm(qm[:, None] - mm, axis=2)
        shares = charges / apart
        full = shares * weights(qm, mm, groups, 22.0).per_charge.numpy()
        together = shares * weights(qm, mm, groups, reach).per_charge.numpy()
        single = np.stack(
            [weights(qm[i : i + 1], mm, groups, reach).per_charge.numpy() for i in range(len(qm))]
        )
        errors["together"].append(float(dq @ (together - full).sum(1)))
        errors["apart"].append(float(dq @ (shares * single - full).sum(1)))
    assert np.std(errors["together"]) < 0.5 * np.std(errors["apart"])
