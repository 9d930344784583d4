"""Properties any weights must have: random networks, nothing trained."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from drupe.errors import ConvergenceError, InputError
from drupe.mlp.electrostatics import field_at
from drupe.mlp.evaluation import evaluate
from drupe.mlp.potential import Potential

STEP = 2e-3  # bohr


def slope(energy, positions, atom, axis):
    """Fourth-order central difference."""

    def at(shift):
        moved = positions.copy()
        moved[atom, axis] += shift * STEP
        return energy(moved)

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * STEP)


@pytest.mark.parametrize("fixed_coulomb", [True, False])
def test_forces_are_finite_differences_of_the_energy(random_stack, scene, fixed_coulomb):
    qm, mm, charges = scene
    made = evaluate(random_stack, qm, mm, charges, fixed_coulomb=fixed_coulomb)

    def mean(a, b):
        return evaluate(random_stack, a, b, charges, fixed_coulomb=fixed_coulomb).energies.mean()

    # 2e-8 hartree/bohr: rounding of energies near 300 hartree over the step, and h^4 of the stretching terms.
    near = int(np.argmin(np.linalg.norm(mm[:, None] - qm, axis=2).min(1)))
    for atom, axis in ((0, 0), (3, 1), (11, 2)):
        assert -made.forces_qm[atom, axis] == pytest.approx(
            slope(lambda x: mean(x, mm), qm, atom, axis), abs=2e-8
        )
    for atom, axis in ((near, 0), (near, 2), (17, 1)):
        assert -made.forces_mm[atom, axis] == pytest.approx(
            slope(lambda x: mean(qm, x), mm, atom, axis), abs=2e-8
        )
    assert np.abs(made.forces_mm[near]).max() > 1e-5


def test_short_way_equals_the_formula(random_stack, scene):
    qm, mm, charges = scene
    made = evaluate(random_stack, qm, mm, charges, fixed_coulomb=True)
    at, around = torch.tensor(qm, requires_grad=True), torch.tensor(mm, requires_grad=True)
    energies = random_stack(at, around, torch.tensor(charges))
    to_qm, to_mm = torch.autograd.grad(energies.mean(), (at, around))
    assert made.energies == pytest.approx(energies.detach().numpy(), rel=1e-13)
    # 1e-12: both are double precision, the sums are of the order one.
    assert made.forces_qm == pytest.approx(-to_qm.numpy(), abs=1e-12)
    assert made.forces_mm == pytest.approx(-to_mm.numpy(), abs=1e-12)


# 1e-11: rounding of rotated coordinates. Mirrored, torsion phases of pi with seven digits show.
@pytest.mark.parametrize(("sign", "tolerance"), [(1, 1e-11), (-1, 2e-8)])
def test_turning_moving_and_mirroring_change_nothing_but_the_frame(random_stack, scene, sign, tolerance):
    qm, mm, charges = scene
    here = evaluate(random_stack, qm, mm, charges, fixed_coulomb=True)
    turn = sign * Rotation.from_euler("xyz", [0.4, -1.1, 2.0]).as_matrix()
    shift = np.array([30.0, -12.0, 7.0])
    there = evaluate(random_stack, qm @ turn.T + shift, mm @ turn.T + shift, charges, fixed_coulomb=True)
    assert there.energies == pytest.approx(here.energies, abs=tolerance)
    assert there.forces_qm == pytest.approx(here.forces_qm @ turn.T, abs=tolerance)
    assert there.forces_mm == pytest.approx(here.forces_mm @ turn.T, abs=tolerance)


def test_no_net_force(random_stack, scene):
    made = evaluate(random_stack, *scene, fixed_coulomb=True)
    assert made.forces_qm.sum(0) + made.forces_mm.sum(0) == pytest.approx(np.zeros(3), abs=1e-11)


def test_order_of_charges_and_of_like_atoms_does_not_matter(ligand, random_stack, scene):
    qm, mm, charges = scene
    here = evaluate(random_stack, qm, mm, charges, fixed_coulomb=True)
    order = np.random.default_rng(0).permutation(len(mm))
    there = evaluate(random_stack, qm, mm[order], charges[order], fixed_coulomb=True)
    assert there.energies == pytest.approx(here.energies, rel=1e-13)
    assert there.forces_mm == pytest.approx(here.forces_mm[order], abs=1e-12)
    # Two hydrogens of one methyl group carry the same charge and parameters.
    methyl = methyl_pair(ligand)
    swapped = qm.copy()
    swapped[methyl] = qm[methyl[::-1]]
    moved = evaluate(random_stack, swapped, mm, charges, fixed_coulomb=True)
    assert moved.energies == pytest.approx(here.energies, abs=1e-10)


def methyl_pair(ligand):
    carbon = next(
        i for i, j in ligand.force_field.bond_atoms if ligand.numbers[i] == 6 and ligand.numbers[j] == 1
    )
    bonded = [int(j if i == carbon else i) for i, j in ligand.force_field.bond_atoms if carbon in (i, j)]
    hydrogens = [i for i in bonded if ligand.numbers[i] == 1]
    return np.array(hydrogens[:2])


def test_total_charge_is_exact_and_polarizabilities_are_positive(random_stack, scene):
    qm = scene[0]
    field = torch.tensor(0.02 * np.random.default_rng(1).normal(size=(3, 18, 3)))
    terms = random_stack.atom_terms(torch.tensor(np.stack([qm, qm * 1.01, qm * 0.99])), field, field[..., :0])
    total = random_stack.fixed_charges.sum() + terms.shift.sum(-1)
    # 1e-15 per charge: the sum is exact up to rounding.
    assert total.detach().numpy() == pytest.approx(
        np.full(total.shape, random_stack.header.total_charge), abs=2e-14
    )
    assert float(terms.shift.detach().abs().max()) > 1e-3
    assert float(terms.polarizability.detach().min()) >= 0


def test_untrained_is_baseline_and_fixed_charges(ligand, random_stack, scene):
    qm, mm, charges = scene
    fresh = Potential(random_stack.header)
    energy = float(fresh(*(torch.tensor(x) for x in scene)).detach())
    want = random_stack.header.energy_zero + float(fresh.baseline(torch.tensor(qm[None])))
    for q0, place in zip(ligand.force_field.charges, qm, strict=True):
        want += float(q0 * (charges / np.linalg.norm(mm - place, axis=1)).sum())
    # What the printed fixed charges lack to a whole number is spread evenly.
    damped = field_at(*(torch.tensor(x) for x in scene), fresh.header.damping).potential
    want -= float(ligand.force_field.charges.sum() * damped.mean())
    assert energy == pytest.approx(want, abs=1e-12)


def test_a_stack_is_its_members(random_members, random_stack, scene):
    alone = [evaluate(one, *scene, fixed_coulomb=True) for one in random_members]
    stacked = evaluate(random_stack, *scene, fixed_coulomb=True)
    assert stacked.energies == pytest.approx([float(one.energies[0]) for one in alone], abs=1e-12)
    assert stacked.forces_qm == pytest.approx(np.mean([one.forces_qm for one in alone], axis=0), abs=1e-12)
    assert stacked.forces_mm == pytest.approx(np.mean([one.forces_mm for one in alone], axis=0), abs=1e-12)


def test_learned_energy_stays_bounded_far_from_the_data(random_stack, scene):
    qm, _, _ = scene
    place = torch.tensor(qm[None] * 0.4)
    terms = random_stack.atom_terms(place, torch.full_like(place, 5.0), place[..., :0])
    assert float(terms.energy.detach().abs().max()) <= random_stack.header.energy_bound


def test_refuses_what_does_not_fit(random_stack, scene):
    qm, mm, charges = scene
    with pytest.raises(InputError, match="do not fit"):
        evaluate(random_stack, qm[:-1], mm, charges, fixed_coulomb=True)
    with pytest.raises(InputError, match="with charges of shape"):
        evaluate(random_stack, qm, mm, charges[:, None], fixed_coulomb=True)
    bad = qm.copy()
    bad[0, 0] = np.nan
    with pytest.raises(ConvergenceError, match="not finite"):
        evaluate(random_stack, bad, mm, charges, fixed_coulomb=True)
    with pytest.raises(InputError, match="computes in"):
        dataclasses.replace(random_stack.header, units="eV, angstrom, e")
