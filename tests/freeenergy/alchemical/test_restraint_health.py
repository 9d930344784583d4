import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.alchemical.restraint_health import (
    RestraintTrace,
    deviations,
    free_health,
    restrained_health,
)
from drupe.freeenergy.alchemical.restraints import BoreschRestraint
from drupe.units import angstrom, kcal_per_mol, kt

RESTRAINT = BoreschRestraint(
    receptor=[2, 1, 0],
    ligand=[3, 4, 5],
    distance=6.0 * angstrom,
    angles=np.array([1.5, 1.2]),
    dihedrals=np.array([3.1, -0.2, 1.1]),  # the first close to pi: it must wrap
    k_distance=10.0 * kcal_per_mol / angstrom**2,
    k_angles=np.array([40.0, 40.0]) * kcal_per_mol,
    k_dihedrals=np.array([30.0, 30.0, 30.0]) * kcal_per_mol,
)
REST = np.array([RESTRAINT.distance, *RESTRAINT.angles, *RESTRAINT.dihedrals])
SIGMA = np.sqrt(kt(300.0) / np.array([RESTRAINT.k_distance, *RESTRAINT.k_angles, *RESTRAINT.k_dihedrals]))


def held(n, seed, shift=0.0):
    values = REST + SIGMA * (shift + np.random.default_rng(seed).normal(size=(n, 6)))
    values[:, 3:] = np.angle(np.exp(1j * values[:, 3:]))  # dihedrals in (-pi, pi], as they are measured
    return values


def test_deviations_are_in_sigma_the_short_way_round():
    off = deviations(RESTRAINT, held(20_000, 1), 300.0)
    # Unit normal; 0.04: four standard errors of a mean and a width from 20 000 frames.
    assert off.mean(axis=0) == pytest.approx(np.zeros(6), abs=0.04)
    assert off.std(axis=0) == pytest.approx(np.ones(6), abs=0.04)


def test_a_restraint_that_holds_passes():
    for judge in (restrained_health, free_health):
        assert sum(judge(RESTRAINT, held(50, seed), 300.0).level == "PASS" for seed in range(20)) >= 18


def test_a_restraint_that_pulls_at_the_pose_warns_and_one_that_does_not_hold_fails():
    shift = np.zeros(6)
    shift[2] = 3.0
    got = restrained_health(RESTRAINT, held(50, 2, shift), 300.0)
    assert got.level == "WARN"
    assert got.reasons[0].startswith("angle B: its mean lies +2.9 sigma")
    shift[2] = 9.0
    got = restrained_health(RESTRAINT, held(50, 2, shift), 300.0)
    assert got.level == "FAIL"
    assert "does not hold" in got.reasons[0]


def test_a_jump_to_another_well_is_counted_and_named():
    values = held(60, 3)
    values[20:41, 5] += np.pi
    got = free_health(RESTRAINT, values, 300.0)
    assert "dihedral C jumps 2 times between wells" in (*got.reasons, *got.also)
    assert not any("dihedral A jumps" in reason for reason in (*got.reasons, *got.also))


def test_a_ligand_that_is_somewhere_else_fails():
    values = held(40, 4)
    values[:, 0] += 5.0 * angstrom
    got = free_health(RESTRAINT, values, 300.0)
    assert got.level == "FAIL"
    assert "distance: no frame comes within 3 sigma" in got.reasons[0]


@pytest.mark.parametrize("judge", [restrained_health, free_health])
def test_anchors_in_a_line_are_broken(judge):
    values = held(40, 5)
    values[7, 1] = np.radians(174.0)
    got = judge(RESTRAINT, values, 300.0)
    assert got.level == "FAIL"
    assert "angle A comes within 6 degrees" in got.reasons[0]


@pytest.mark.parametrize("judge", [restrained_health, free_health])
def test_coordinates_that_nobody_kept_or_that_are_no_numbers_do_not_pass(judge):
    assert judge(RESTRAINT, np.zeros((0, 6)), 300.0).level == "WARN"
    values = held(40, 5)
    values[3, 4] = np.nan
    got = judge(RESTRAINT, values, 300.0)
    assert (got.level, got.reasons) == ("FAIL", ("1 of 40 frames have coordinates that are not finite",))


def test_a_trace_with_five_values_is_refused():
    with pytest.raises(InputError, match="restraint trace of 3 frames"):
        RestraintTrace("complex/sample/0", np.arange(3), np.zeros((3, 5)), held=False)
