"""Estimators against closed forms, invariances, and pymbar. Gaussian works obey Crooks' theorem exactly."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drupe.errors import InputError
from drupe.freeenergy.estimation.bennett import acceptance_root, one_sided, overlap
from drupe.freeenergy.estimation.diagnostics import Verdict
from drupe.freeenergy.estimation.estimators import bar, crooks_gaussian, cumulant, jarzynski
from drupe.freeenergy.estimation.results import FreeEnergy
from drupe.records import pack, unpack


def gaussian_works(df, sigma, n_f, n_r, seed):
    rng = np.random.default_rng(seed)
    half = sigma**2 / 2
    return rng.normal(df + half, sigma, n_f), rng.normal(-df + half, sigma, n_r)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 2.0])
@pytest.mark.parametrize("ratio", [1, 4])
def test_bar_recovers_the_exact_answer(sigma, ratio):
    w_f, w_r = gaussian_works(3.0, sigma, 400 * ratio, 400, seed=7)
    got = bar(w_f, w_r, seed=1)
    assert got.value == pytest.approx(3.0, abs=4 * got.error)  # four standard errors
    assert 0.0 < got.error < 0.2  # else a huge error would pass


@pytest.mark.parametrize("ratio", [1, 4])
def test_the_error_is_the_scatter_of_repeats(ratio):
    cases = [gaussian_works(0.0, 1.5, 50 * ratio, 50, seed) for seed in range(200)]
    values = [bar(*case, seed=0, n_resamples=1) for case in cases]
    scatter = np.std([one.value for one in values], ddof=1)
    # 15 %: three standard errors of a standard deviation from 200 repeats.
    assert np.mean([one.error for one in values]) == pytest.approx(scatter, rel=0.15)


@given(shift=st.floats(-50, 50))
@settings(max_examples=25)
def test_a_constant_moves_through_unchanged(shift):
    w_f, w_r = gaussian_works(0.0, 1.0, 30, 40, seed=3)
    base = bar(w_f, w_r, seed=0, n_resamples=1).value
    moved = bar(w_f + shift, w_r - shift, seed=0, n_resamples=1).value
    assert moved == pytest.approx(base + shift, abs=1e-8)


def test_an_absolute_energy_in_the_works_costs_no_digits_and_no_verdict():
    w_f, w_r = gaussian_works(0.0, 1.0, 60, 60, seed=3)
    plain, shifted = bar(w_f, w_r, seed=0), bar(w_f - 1.9e6, w_r + 1.9e6, seed=0)
    # 1e-8: 1.9e6 kT in double precision carries 4e-10 kT per work.
    assert shifted.value == pytest.approx(plain.value - 1.9e6, abs=1e-8)
    assert shifted.verdict.level == plain.verdict.level == "PASS"
    assert shifted.error == pytest.approx(plain.error, abs=1e-8)


def test_swapping_the_ends_flips_the_sign_of_every_estimator():
    w_f, w_r = gaussian_works(2.0, 1.5, 60, 50, seed=5)
    assert bar(w_r, w_f, seed=0).value == pytest.approx(-bar(w_f, w_r, seed=0).value, abs=1e-9)
    crossing = crooks_gaussian(w_f, w_r, seed=0).value
    assert crooks_gaussian(w_r, w_f, seed=0).value == pytest.approx(-crossing, abs=1e-9)
    reverse = jarzynski(w_f, seed=0, direction="reverse").value
    assert reverse == pytest.approx(-jarzynski(w_f, seed=0).value, abs=1e-12)


def test_kernels_agree_with_pymbar():
    from pymbar.other_estimators import bar as their_bar
    from pymbar.other_estimators import bar_overlap

    for n_f, n_r, sigma in ((200, 200, 1.0), (70, 20, 2.5)):
        w_f, w_r = gaussian_works(1.3, sigma, n_f, n_r, seed=2)
        root = acceptance_root(w_f, w_r)
        theirs = their_bar(w_f, w_r, uncertainty_method="MBAR")
        with warnings.catch_warnings():
            # pymbar hands scipy's root finder options that this solver does not know.
            warnings.filterwarnings("ignore", message="Unknown solver options")
            shared = bar_overlap(w_f, w_r)
        assert root == pytest.approx(theirs["Delta_f"], abs=1e-8)  # their tolerance is 1e-12 relative
        assert overlap(w_f, w_r, root) == pytest.approx(shared, abs=1e-6)  # their MBAR stops at 1e-7
        formula = bar(w_f, w_r, seed=0, n_resamples=1).error
        assert formula == pytest.approx(theirs["dDelta_f"], abs=1e-6)


def test_works_hundreds_of_kt_apart_do_not_underflow():
    assert acceptance_root(np.full(5, 900.0), np.full(5, 900.0)) == pytest.approx(0.0, abs=1e-6)


def test_jarzynski_and_the_cumulant_meet_for_gaussian_works():
    w_f, _ = gaussian_works(1.0, 0.5, 4000, 2, seed=9)
    first, second = jarzynski(w_f, seed=1), cumulant(w_f, seed=1)
    assert first.value == pytest.approx(1.0, abs=4 * first.error)
    assert second.value == pytest.approx(first.value, abs=4 * first.error)
    assert first.verdict.level == "FAIL"  # one direction is never enough
    assert (first.n_forward, first.n_reverse) == (4000, 0)


def test_effective_size_is_one_when_one_work_carries_everything():
    _, size = one_sided(np.array([-40.0, 0.0, 0.0, 0.0]))
    assert size == pytest.approx(1.0, abs=1e-12)
    assert one_sided(np.zeros(8))[1] == pytest.approx(8.0, rel=1e-12)


def test_crooks_gaussian_is_where_the_two_densities_cross():
    w_f, w_r = gaussian_works(0.4, 1.2, 80, 80, seed=4)
    w_r = 3.0 + 1.7 * w_r  # unequal widths: a root of the quadratic, not the middle of the means
    x = crooks_gaussian(w_f, w_r, seed=0).value

    def log_density(mean, sd):
        return -0.5 * ((x - mean) / sd) ** 2 - math.log(sd)

    ours = log_density(w_f.mean(), w_f.std()), log_density(-w_r.mean(), w_r.std())
    assert ours[0] == pytest.approx(ours[1], abs=1e-9)
    assert min(w_f.mean(), -w_r.mean()) < x < max(w_f.mean(), -w_r.mean())


def test_the_same_seed_gives_the_same_error():
    w_f, w_r = gaussian_works(0.0, 1.0, 30, 30, seed=1)
    assert bar(w_f, w_r, seed=3).error == bar(w_f, w_r, seed=3).error


@pytest.mark.parametrize("side", [0, 1])
def test_a_missing_direction_gives_no_number_and_says_which(side):
    sides = [np.array([]), np.array([0.1, 0.2, 0.3])]
    got = bar(sides[side], sides[1 - side], seed=0)
    assert math.isnan(got.value)
    assert math.isnan(got.error)
    assert got.verdict.level == "FAIL"
    assert ("forward", "reverse")[side] in got.verdict.reasons[0]


def test_works_that_never_meet_give_no_number():
    got = bar(np.full(20, 400.0) + np.arange(20), np.full(20, 400.0) + np.arange(20), seed=0)
    assert math.isnan(got.value)
    assert got.verdict.level == "FAIL"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_work_that_is_no_number_is_refused_and_named(bad):
    with pytest.raises(InputError, match=r"1 of 3 reverse works.*number 1"):
        bar([0.0, 1.0], [0.0, bad, 1.0], seed=0)


def test_a_table_of_works_is_refused():
    with pytest.raises(InputError, match="shape"):
        bar(np.zeros((4, 2)), np.zeros(4), seed=0)


def test_parts_of_the_error_add_in_quadrature_and_the_unknown_stay_out():
    one = FreeEnergy(1.0, Verdict("PASS"), "BAR", sampling=0.3, replicate=0.4, model=0.3, label=1.2)
    assert one.error == pytest.approx(1.3, rel=1e-12)  # sqrt(0.4^2 + 0.3^2 + 1.2^2): replicate > sampling
    assert math.isnan(FreeEnergy(1.0, Verdict("PASS"), "BAR").error)
    with pytest.raises(InputError, match=r"model error is -0\.1"):
        FreeEnergy(1.0, Verdict("PASS"), "BAR", model=-0.1)


def test_a_free_energy_survives_storage():
    one = bar(*gaussian_works(0.0, 1.0, 6, 6, seed=1), seed=1)
    again = unpack(pack(one))
    assert again == one
    assert again.verdict.level == "FAIL"
