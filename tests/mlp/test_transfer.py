import dataclasses

import numpy as np
import pytest

from drupe.embedding import Level
from drupe.errors import ConvergenceError, InputError
from drupe.mlp import Committee, Dataset, TransferSpec, accuracy
from drupe.mlp.leave_out import transfer_without
from drupe.mlp.loss import measure, predict_frames, scales_of
from drupe.mlp.potential import Potential
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


def test_the_guard_looks_at_low_level_frames_that_the_fit_does_not(moved, low_fits, low_data):
    before, after = low_fits[0].potential, moved.potential
    frames = prepare(low_data, before.header.baseline, before.header.damping)
    change = (predict_frames(after, frames).forces - predict_frames(before, frames).forces).detach().numpy()
    of_blocks = np.array([np.sqrt((change[low_data.blocks == b] ** 2).mean()) for b in range(5)])
    assert min(abs(moved.force_drift - of_blocks)) < 1e-12
    assert np.ptp(of_blocks) > 1e-9


def test_a_guard_without_frames_of_its_own_says_so(low_fits, low_data, high_data, caplog):
    spec = dataclasses.replace(SPEC, steps=2)
    transfer_member(low_fits[0].potential, high_data, low_data, spec)
    assert "the guard looks at" not in caplog.text
    transfer_member(low_fits[0].potential, high_data, low_data.take(range(9)), spec)
    assert "9 low-level labels: the guard looks at the frames whose forces are held" in caplog.text
    stretch = dataclasses.replace(low_data, blocks=np.zeros(20, np.int64))
    caplog.clear()
    transfer_member(low_fits[0].potential, high_data, stretch, spec)
    assert not caplog.text


def test_labels_with_other_fixed_charges_are_refused(low_fits, low_data, high_data):
    other = dataclasses.replace(high_data, fixed_charges=high_data.fixed_charges + 1e-3 * np.eye(18)[0])
    with pytest.raises(
        InputError, match=r"the high-level labels have other fixed charges .* by up to 0.001 e"
    ):
        transfer_member(low_fits[0].potential, other, low_data, SPEC)


def test_corrections_of_another_low_level_are_refused(low_fits, low_data, labels):
    few = [labels[i] for i in (0, 1, 4)]

    def transferred(functional):
        level = Level(functional, "def2-SVP", core="CCSD(T)")
        high = Dataset.from_labels([dataclasses.replace(one, level=level) for one in few])
        plain = Level("PBE", "def2-SVP").low_name
        low = dataclasses.replace(low_data, level=plain)
        stored = low_fits[0].stored
        header = dataclasses.replace(stored.header, level=plain)
        potential = Potential.from_stored(dataclasses.replace(stored, header=header))
        return transfer_member(potential, high, low, dataclasses.replace(SPEC, steps=1))

    assert transferred("PBE").stored.header.level == Level("PBE", "def2-SVP", core="CCSD(T)").energy_key
    with pytest.raises(InputError, match=r"low energies of the high-level labels are of the level B3LYP"):
        transferred("B3LYP")


@pytest.fixture(scope="module")
def informed(low_fits, low_data, strong_labels):
    """The same seven frames, steps and seed with energies only, with three slopes each, with forces."""
    spec = dataclasses.replace(SPEC, steps=80, learning_rate=4e-3)
    few = low_data.take(range(8))
    made = {}
    for name, source in strong_labels.items():
        high = Dataset.from_labels([source[i] for i in (0, 1, 4, 7, 10, 13, 16)])
        made[name] = transfer_member(low_fits[0].potential, high, few, spec)
    return made


@pytest.mark.slow
def test_forces_of_the_high_level_teach_forces(informed, low_fits, strong_labels):
    unseen = Dataset.from_labels(strong_labels["forces"][20:])
    found = {name: accuracy(Committee((fit.stored,)), unseen) for name, fit in informed.items()}
    found["low"] = accuracy(Committee((low_fits[0].stored,)), unseen)
    # Measured on twenty unseen frames, rms force errors in 1e-3 hartree/bohr: low-level potential 4.96, from
    # energies 4.65, slopes 4.17, forces 4.03 (still falling at 80 steps); on MM atoms in 1e-6: 17 from
    # energies, 4.6 from forces; spread of energy errors in 1e-4 hartree: 9.9 from energies, 6.5 from forces.
    assert found["forces"].force < 0.85 * found["low"].force
    assert found["forces"].force < 0.9 * found["energies"].force
    assert found["slopes"].force < 0.95 * found["energies"].force
    assert found["forces"].mm_force < 0.5 * found["energies"].mm_force
    assert found["forces"].energy_spread < 0.8 * found["energies"].energy_spread


def test_curves_show_the_forces_of_both_levels(informed):
    curve = informed["forces"].curve
    assert curve.force_high[-1] < 0.85 * curve.force_high[0]
    assert np.isfinite(curve.mm_force_high).all()
    assert np.isfinite(curve.force).all()
    assert np.isnan(informed["energies"].curve.force_high).all()
    slopes = informed["slopes"].curve.slope
    assert slopes[-1] < 0.9 * slopes[0]


def test_forces_that_are_not_to_be_read_change_nothing(
    low_fits, low_data, labels, exact_labels, slope_labels
):
    spec = dataclasses.replace(SPEC, steps=3, force_weight=0.0, mm_force_weight=0.0, slope_weight=0.0)
    chosen = (0, 1, 4)
    made = []
    for source in (labels, exact_labels, slope_labels):
        high = Dataset.from_labels([source[i] for i in chosen])
        made.append(transfer_member(low_fits[0].potential, high, low_data.take(range(4)), spec))
    # Without anything to read, the default weights do the same.
    plain = dataclasses.replace(SPEC, steps=3)
    high = Dataset.from_labels([labels[i] for i in chosen])
    made.append(transfer_member(low_fits[0].potential, high, low_data.take(range(4)), plain))
    for one in made[1:]:
        for name, weight in one.stored.weights.items():
            assert np.array_equal(weight, made[0].stored.weights[name])
        assert one.force_drift == made[0].force_drift


def test_guard_lets_forces_move_to_those_of_the_high_level_only(low_fits, low_data, exact_labels, informed):
    """Forces moved far more than the bound, as the labels ask; moved away from the labels, it is a fault."""
    assert informed["forces"].force_drift < 1e-4
    before = low_fits[0].potential
    rehearsal = prepare(low_data.take(range(8)), before.header.baseline, before.header.damping)
    first, after = (
        predict_frames(p, rehearsal).forces.detach() for p in (before, informed["forces"].potential)
    )
    assert float(((after - first) ** 2).mean().sqrt()) > 4e-4
    # Next to no weight on them, and a rate that fits four energies at any price.
    right = Dataset.from_labels([exact_labels[i] for i in (0, 1, 4, 7)])
    spec = dataclasses.replace(SPEC, steps=40, learning_rate=1e-2, max_force_drift=1e-4, force_weight=1e-9)
    with pytest.raises(ConvergenceError, match="more than"):
        transfer_member(before, right, low_data.take(range(4)), spec)


def test_labels_of_all_kinds_transfer_together(low_fits, low_data, labels, exact_labels, slope_labels):
    mixed = [labels[0], exact_labels[1], slope_labels[4], exact_labels[7]]
    high = Dataset.from_labels(mixed)
    fit = transfer_member(low_fits[0].potential, high, low_data, dataclasses.replace(SPEC, steps=3))
    for errors in (fit.curve.energy, fit.curve.slope, fit.curve.force_high, fit.curve.force):
        assert np.isfinite(errors).all()


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
