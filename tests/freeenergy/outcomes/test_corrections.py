"""Corrections, committee spread and the sums they go into."""

import math

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.estimation.diagnostics import Verdict
from drupe.freeenergy.estimation.results import FreeEnergy
from drupe.freeenergy.estimation.reweighting import model_error
from drupe.freeenergy.outcomes.corrections import (
    binding_free_energy,
    combine,
    end_state_correction,
    over_repeats,
)


def gaussian_works(df, sigma, n, seed):
    rng = np.random.default_rng(seed)
    half = sigma**2 / 2
    return rng.normal(df + half, sigma, n), rng.normal(-df + half, sigma, n)


def known(value, **parts):
    return FreeEnergy(value, Verdict("PASS"), "exact", **parts)


def test_a_correction_is_complex_minus_solvent():
    got = end_state_correction(
        *gaussian_works(5.0, 0.8, 300, 1), *gaussian_works(2.0, 0.8, 300, 2), 300.0, seed=1
    )
    assert got.difference.value == pytest.approx(3.0, abs=4 * got.difference.error)
    parts = math.hypot(got.complex_leg[0].error, got.solvent_leg[0].error)
    assert got.difference.error == pytest.approx(parts, rel=1e-12)
    assert got.difference.model is None
    assert got.difference.verdict.level == "PASS"
    assert [one.method for one in got.complex_leg] == [
        "BAR",
        "MBAR",
        "Jarzynski forward",
        "Jarzynski reverse",
        "Crooks-Gaussian",
    ]


def test_an_absolute_energy_common_to_both_legs_cancels():
    c, s = gaussian_works(5.0, 0.8, 60, 1), gaussian_works(2.0, 0.8, 60, 2)
    plain = end_state_correction(*c, *s, 300.0, seed=1)
    e = 1.9e6
    moved = end_state_correction(c[0] - e, c[1] + e, s[0] - e, s[1] + e, 300.0, seed=1)
    assert moved.difference.value == pytest.approx(plain.difference.value, abs=1e-8)  # 4e-10 kT per work


def test_the_leg_that_fails_is_named():
    got = end_state_correction(
        *gaussian_works(5.0, 0.8, 6, 1), *gaussian_works(2.0, 0.8, 300, 2), 300.0, seed=1
    )
    assert got.difference.verdict.level == "FAIL"
    assert all(reason.startswith("complex: ") for reason in got.difference.verdict.reasons)


def test_a_leg_without_reverse_works_gives_no_number():
    got = end_state_correction(
        gaussian_works(5.0, 0.8, 60, 1)[0], [], *gaussian_works(2.0, 0.8, 60, 2), 300.0, seed=1
    )
    assert math.isnan(got.difference.value)
    assert got.difference.verdict.level == "FAIL"


def test_a_committee_of_constant_offsets_has_the_spread_of_the_offsets():
    offsets = np.array([-0.3, 0.1, 0.2, 0.0])
    got = model_error(np.tile(offsets[:, None], 25))
    assert got.members == pytest.approx(offsets, abs=1e-12)
    assert got.error == pytest.approx(offsets.std(ddof=1), rel=1e-12)
    assert got.effective_size == pytest.approx(np.full(4, 25.0))


def test_an_offset_of_one_member_cancels_between_the_legs():
    offsets = np.tile(np.array([-3.0, 1.0, 2.0])[:, None], 20)
    assert model_error(offsets, offsets[:, :9]).error == pytest.approx(0.0, abs=1e-12)


def test_reweighting_is_exponential_not_a_mean():
    rng = np.random.default_rng(0)
    differences = rng.normal(0.0, 0.8, (1, 20000))
    # Gaussian: -ln <exp(-d)> = -sigma^2 / 2; 0.03 is four standard errors of 20000 frames.
    assert model_error(differences).members[0] == pytest.approx(-0.32, abs=0.03)


def test_one_member_has_no_model_error():
    got = model_error(np.zeros((1, 10)))
    assert got.error is None
    assert "no model error" in got.verdict.reasons[0]


def test_a_member_far_from_the_mean_warns():
    differences = np.zeros((2, 20))
    differences[1, 0] = -30.0
    assert model_error(differences).verdict.level == "WARN"


def test_committees_of_different_size_are_refused():
    with pytest.raises(InputError, match="4 committee members and the solvent 3"):
        model_error(np.zeros((4, 5)), np.zeros((3, 5)))
    with pytest.raises(InputError, match="one leg only"):
        end_state_correction([0.0], [0.0], [0.0], [0.0], 300.0, 1, members_complex=np.zeros((4, 5)))


def test_double_decoupling_has_the_right_signs():
    # Ligand that is 20 kT harder to decouple in the complex, restraint release worth -12 kT.
    got = binding_free_energy(
        known(20.0), known(0.0), release_numerical=-12.0, release_analytic=-12.0, temperature_k=300.0
    )
    assert got.value == pytest.approx(-8.0, abs=1e-12)
    assert got.verdict.level == "PASS"


def test_a_restraint_that_disagrees_with_itself_fails_the_binding_free_energy():
    got = binding_free_energy(
        known(20.0), known(0.0), release_numerical=-12.0, release_analytic=-13.0, temperature_k=300.0
    )
    assert got.verdict.level == "FAIL"
    assert got.verdict.reasons[0].startswith("restraint")


def test_parts_stay_apart_in_a_sum():
    got = combine(
        {"a": (1.0, known(1.0, sampling=0.3)), "b": (-1.0, known(4.0, sampling=0.4, model=0.2))}, "sum"
    )
    assert got.value == -3.0
    assert got.sampling == pytest.approx(0.5, rel=1e-12)
    assert (got.model, got.label) == (0.2, None)


def test_repeats_give_the_larger_of_estimator_and_scatter():
    got = over_repeats([known(v, sampling=0.1) for v in (1.0, 2.0, 3.0)])
    assert got.value == pytest.approx(2.0)
    assert got.error == pytest.approx(1.0, rel=1e-12)  # standard deviation of 1, 2, 3


def test_one_repeat_keeps_its_estimator_error_and_says_what_is_missing():
    got = over_repeats([known(1.0, sampling=0.1)])
    assert got.replicate is None
    assert got.error == pytest.approx(0.1)
    assert got.verdict.level == "WARN"


def test_a_number_that_does_not_exist_has_no_error():
    rng = np.random.default_rng(2)
    w, members = rng.normal(0.5, 1.0, 30), rng.normal(0.0, 0.1, (4, 10))
    got = end_state_correction(
        w,
        [],
        w,
        w,
        300.0,
        1,
        members_complex=members,
        members_solvent=members,
        label_error=0.5,
        n_resamples=2,
    )
    assert np.isnan(got.difference.value)
    assert np.isnan(got.difference.error)
    assert got.difference.verdict.level == "FAIL"
