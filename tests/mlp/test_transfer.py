import dataclasses

import numpy as np
import pytest

from drupe.errors import ConvergenceError, InputError
from drupe.mlp import Committee, Dataset, TransferSpec
from drupe.mlp.leave_out import transfer_without
from drupe.mlp.loss import measure, predict_frames, scales_of
from drupe.mlp.training_set import prepare
from drupe.mlp.transfer import transfer, transfer_member

SPEC = TransferSpec(steps=60)


@pytest.fixture(scope="module")
def high_data(labels):
    return Dataset.from_labels([labels[i] for i in (0, 1, 4, 7, 10, 13, 16)], which="high")


@pytest.fixture(scope="module")
def moved(low_fits, high_data, low_data):
    return transfer_member(low_fits[0].potential, high_data, low_data, SPEC)


@pytest.mark.slow
def test_energies_move_to_the_high_level_and_forces_stay(moved, low_fits, high_data, low_data, ligand):
    before, after = low_fits[0].potential, moved.potential
    data = prepare(high_data, ligand.force_field, before.header.damping)
    low_energy = predict_frames(before, data).energy.detach().numpy() + before.header.energy_zero
    high_energy = predict_frames(after, data).energy.detach().numpy() + after.header.energy_zero
    correction = high_data.energy - high_data.energy_low
    missed = high_energy - low_energy - correction
    # On these seven frames the mean shift alone leaves 3.6e-4 hartree, the fit 0.7e-4 (measured). On unseen
    # frames the fit is no better than the mean shift: seven energies do not fix the shape of a correction.
    assert np.sqrt((missed**2).mean()) < 0.6 * correction.std()
    rehearsal = prepare(low_data, ligand.force_field, before.header.damping)
    scales = scales_of(rehearsal, before.header.energy_zero)
    old = measure(before, rehearsal, scales, before.header.energy_zero).force
    new = measure(after, rehearsal, scales, before.header.energy_zero).force
    assert moved.force_drift < SPEC.max_force_drift
    assert new < old + moved.force_drift + 1e-12
    assert moved.force_drift > 1e-6


def test_header_says_what_the_potential_is_now(moved, high_data, low_fits):
    header, old = moved.stored.header, low_fits[0].stored.header
    offset = float((high_data.energy - high_data.energy_low).mean())
    assert header.energy_zero == pytest.approx(old.energy_zero + offset, abs=1e-12)
    assert header.training_set == high_data.key
    assert header.level == high_data.level


def test_guard_refuses_when_forces_move_too_far(low_fits, high_data, low_data):
    with pytest.raises(ConvergenceError, match="moved the forces"):
        transfer_member(
            low_fits[0].potential,
            high_data,
            low_data,
            dataclasses.replace(SPEC, steps=10, max_force_drift=1e-8),
        )


def test_committee_keeps_its_calibration(low_fits, low_data, high_data):
    committee = Committee.from_fits(low_fits, low_data)
    made = transfer(committee, high_data, low_data, dataclasses.replace(SPEC, steps=3))
    assert made.sigma_factor == committee.sigma_factor
    assert made.calibration_frames == committee.calibration_frames == 8
    assert len(made.members) == 2


def test_refuses_other_molecules_and_levels(low_fits, high_data, low_data):
    other = dataclasses.replace(high_data, numbers=np.full(18, 6))
    with pytest.raises(InputError, match="are of the atoms"):
        transfer_member(low_fits[0].potential, other, low_data, SPEC)
    with pytest.raises(InputError, match="rehearsal"):
        transfer_member(low_fits[0].potential, high_data, dataclasses.replace(low_data, level="else"), SPEC)


def test_a_frame_left_out_is_predicted_without_its_own_energy(low_fits, high_data, low_data):
    spec = dataclasses.replace(SPEC, steps=5)
    potential = low_fits[0].potential
    got = transfer_without(potential, high_data, low_data, 2, spec)
    correction = high_data.energy - high_data.energy_low
    assert got.reference == pytest.approx(correction[2], abs=1e-12)
    assert got.shift == pytest.approx(np.delete(correction, 2).mean(), abs=1e-12)
    # Another energy of the frame itself must not change what is said of it; another energy elsewhere must.
    for changed, same in ((2, True), (3, False)):
        energy = high_data.energy.copy()
        energy[changed] += 0.01
        other = transfer_without(potential, dataclasses.replace(high_data, energy=energy), low_data, 2, spec)
        assert (other.predicted == pytest.approx(got.predicted, abs=1e-12)) == same
    with pytest.raises(InputError, match="cannot be left out"):
        transfer_without(potential, high_data, low_data, 7, spec)
