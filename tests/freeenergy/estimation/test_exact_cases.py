"""Verdicts on works whose free energy is known: a PASS for what is right, a FAIL for every planted fault."""

import numpy as np
import pytest
from scipy.stats import chi2

from drupe.errors import InputError
from drupe.freeenergy.estimation.bennett import acceptance_root, fluctuation_misfit
from drupe.freeenergy.estimation.diagnostics import chain_verdict, verdict
from drupe.freeenergy.estimation.estimators import (
    bar,
    crooks_gaussian,
    jarzynski,
    mbar,
    mbar_of_works,
    side_by_side,
)
from drupe.freeenergy.estimation.reweighting import model_error

SEEDS = range(20)
DF = 3.0
#: Works per direction: one-sided averages of wide distributions need more of them to rest on ten.
COUNTS = {0.5: 200, 1.0: 200, 2.0: 1000}


def gaussian_works(df, sigma, n, seed):
    rng = np.random.default_rng(seed)
    half = sigma**2 / 2
    return rng.normal(df + half, sigma, n), rng.normal(-df + half, sigma, n)


def oscillator_works(k, shift, n, seed):
    """Instantaneous works between x^2 / 2 and k (x - shift)^2 / 2: dF = ln(k) / 2, whatever the shift."""
    rng = np.random.default_rng(seed)
    at_0, at_1 = rng.normal(0, 1, n), rng.normal(shift, k**-0.5, n)

    def rise(x):
        return 0.5 * k * (x - shift) ** 2 - 0.5 * x**2

    return rise(at_0), -rise(at_1)


CASES = {
    **{f"Gaussian, {s:g} kT": (DF, lambda seed, s=s: gaussian_works(DF, s, COUNTS[s], seed)) for s in COUNTS},
    "stiffer": (0.5 * np.log(2.0), lambda seed: oscillator_works(2.0, 0.0, 300, seed)),
    "stiffer and moved": (0.5 * np.log(2.0), lambda seed: oscillator_works(2.0, 0.5, 300, seed)),
    "softer": (-0.5 * np.log(1.5), lambda seed: oscillator_works(1 / 1.5, 0.3, 400, seed)),
}


@pytest.mark.parametrize("case", CASES)
def test_exact_cases_pass_and_are_unbiased_with_errors_that_are_their_scatter(case):
    exact, make = CASES[case]
    found = [bar(*make(seed), seed=seed, n_resamples=10) for seed in SEEDS]
    assert sum(one.verdict.level == "PASS" for one in found) >= 18, [str(one.verdict) for one in found]
    values, errors = (np.array([getattr(one, name) for one in found]) for name in ("value", "error"))
    assert values.mean() == pytest.approx(exact, abs=3 * values.std(ddof=1) / np.sqrt(len(SEEDS)))
    # The pulls have unit spread: their squares add to a chi^2, here within its central 99.8 %. The error is
    # the larger of two, so a little more room is left below.
    square = float((((values - exact) / errors) ** 2).sum())
    assert 0.8 * chi2.ppf(0.001, len(SEEDS)) < square < chi2.ppf(0.999, len(SEEDS))


def test_every_estimator_finds_the_exact_answer_within_its_error():
    for seed in range(5):
        for one in side_by_side(*gaussian_works(DF, 1.0, 400, seed), seed=seed, n_resamples=40):
            assert one.value == pytest.approx(DF, abs=4 * one.error), one.method


def test_a_chain_of_oscillators_passes():
    k = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    passed = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x = np.concatenate([rng.normal(0, one**-0.5, 300) for one in k])
        passed += chain_verdict(0.5 * k[:, None] * x**2, np.full(len(k), 300)).level == "PASS"
    assert passed >= 18


def shuffled(seed, sigma, n):
    """Half of the works of either leg in the other's file."""
    a, b = gaussian_works(DF, sigma, n, seed), gaussian_works(DF + 3.0, sigma, n, seed + 50)
    half = n // 2
    return tuple(np.concatenate([one[:half], two[:half]]) for one, two in zip(a, b, strict=True))


FAULTS = {
    "the sign of the reverse works": lambda f, r, other: (f, -r),
    "the sign of the forward works": lambda f, r, other: (-f, r),
    "works of two other states below": lambda f, r, other: (f, other(2.0)[1]),
    "works of two other states above": lambda f, r, other: (f, other(-2.0)[1]),
    "kcal for kJ in both": lambda f, r, other: (f / 4.184, r / 4.184),
    "kJ for kcal in both": lambda f, r, other: (4.184 * f, 4.184 * r),
    "kcal for kJ in one": lambda f, r, other: (f, r / 4.184),
    "kJ for kcal in one": lambda f, r, other: (4.184 * f, r),
    "dissipation below zero": lambda f, r, other: (f - 6.0, r),
    "no overlap": lambda f, r, other: (f + 40.0, r + 40.0),
    "too few": lambda f, r, other: (f[:8], r[:8]),
    "forward only": lambda f, r, other: (f, r[:0]),
    "reverse only": lambda f, r, other: (f[:0], r),
    "one work in a direction": lambda f, r, other: (f[:1], r),
}


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_fails(fault, sigma):
    levels = []
    for seed in range(4):
        f, r = gaussian_works(DF, sigma, 1000, seed)
        given = FAULTS[fault](f, r, lambda off, seed=seed: gaussian_works(DF + off, sigma, 1000, seed + 100))
        levels.append(verdict(*given).level)
    assert levels == ["FAIL"] * 4


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_works_of_shuffled_legs_fail(sigma):
    assert {verdict(*shuffled(seed, sigma, 1000)).level for seed in range(4)} == {"FAIL"}


def test_a_factor_common_to_all_works_is_told_by_the_slope():
    f, r = gaussian_works(0.0, 1.0, 2000, 1)
    for factor in (1.0, 4.184, 1 / 4.184):
        root = acceptance_root(factor * f, factor * r)
        # 10 %: four standard errors of a slope from 2000 + 2000 works.
        slope = fluctuation_misfit(factor * f, factor * r, root).slope
        assert slope == pytest.approx(1 / factor, rel=0.1)


def test_how_often_right_works_are_accused():
    # By its rule 1 of 10 000 of the likelihood ratios that are chi^2; with few works they are so roughly.
    cases = [gaussian_works(0.0, sigma, n, seed) for seed in range(60) for sigma, n in ((1.0, 25), (2.0, 60))]
    assert sum("Crooks" in str(verdict(*case)) for case in cases) <= 1


def test_one_nan_is_refused_by_every_estimator():
    f, r = gaussian_works(DF, 1.0, 50, 1)
    f[7] = np.nan
    for estimate in (bar, crooks_gaussian, mbar_of_works, side_by_side):
        with pytest.raises(InputError, match="1 of 50 forward works are not finite .*number 7"):
            estimate(f, r, **({} if estimate is mbar_of_works else {"seed": 1}))
    with pytest.raises(InputError, match="number 7"):
        jarzynski(f, seed=1)
    with pytest.raises(InputError, match="sample 7 in state 0"):
        mbar(np.array([f, f]), [25, 25])


def test_no_estimate_comes_with_an_error_of_zero():
    one, none = np.array([1.5]), np.zeros(0)
    for given in ((one, none), (none, one), (one, one), (np.full(30, 1.0), np.full(30, -1.0))):
        for found in side_by_side(*given, seed=1, n_resamples=20):
            assert found.sampling is None, found.method
            assert np.isnan(found.error)


@pytest.mark.parametrize(("times", "level"), [(5, "FAIL"), (2, "WARN")])
def test_works_that_are_given_again_are_not_new_works(times, level):
    for seed in SEEDS:
        w_f, w_r = gaussian_works(DF, 1.0, 400 // times, seed)
        again = verdict(np.repeat(w_f, times), np.repeat(w_r, times))
        assert again.level == level
        assert any("works are copies of others" in reason for reason in again.reasons)
    rounding = w_f + 1e-13 * np.arange(len(w_f))[:, None]  # copies but for rounding
    assert verdict(rounding.ravel()[:2000], w_r).level == "FAIL"


def test_an_exact_number_has_no_error_rather_than_one_of_zero():
    for rows in (np.zeros((2, 40)), np.tile(np.linspace(0, 3, 40), (2, 1))):
        total = mbar(rows, [20, 20]).total
        assert total.value == pytest.approx(0.0, abs=1e-9)
        assert total.sampling is None
    f = np.full(100, 5.0)
    assert bar(f + 1e-13 * np.arange(100), -f, seed=1).sampling is None


@pytest.mark.parametrize(
    "works", [["a", "b"], np.array([1.0 + 2.0j, 1.0]), np.ma.masked_greater([1.0, 2.0, 9.0], 5.0)]
)
def test_works_that_are_no_real_numbers_are_refused(works):
    with pytest.raises(InputError, match="the forward works have"):
        verdict(works, [1.0, 2.0])


@pytest.mark.parametrize(
    ("u", "counts", "message"),
    [(np.zeros((2, 20)), [10.5, 10.5], "counts are"), (np.zeros((1, 20)), [20], "one state only")],
)
def test_counts_that_are_none_are_refused(u, counts, message):
    with pytest.raises(InputError, match=message):
        mbar(u, counts)


def test_two_members_that_are_one_potential_are_no_committee():
    rng = np.random.default_rng(2)
    members = rng.normal(size=(3, 50))
    assert model_error(members).verdict.level == "PASS"
    copied = model_error(np.vstack([members, members[:1]]))
    assert copied.verdict.level == "FAIL"
    alike = model_error(np.zeros((4, 50)))
    assert (alike.verdict.level, alike.error) == ("FAIL", None)
