"""Fresh labels against a potential: exact residuals, and what is said when a promise is not kept."""

import math

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.estimation.label_check import LabelDifferences, label_check
from drupe.records import pack, unpack
from drupe.units import kcal_per_mol, kt

KT = kt(300.0) / kcal_per_mol  # kcal/mol


def fresh(difference, leg="complex", wanted=None, run=None):
    d = np.asarray(difference, float)
    run = np.arange(len(d)) if run is None else run
    return LabelDifferences(
        leg, "core", len(d) if wanted is None else wanted, d, np.ones_like(d), 0.5 + 0 * d, run
    )


def judge(c, s, model=0.5, label=None, n_resamples=100):
    return label_check(c, s, model=model, label=label, temperature_k=300.0, seed=1, n_resamples=n_resamples)


def test_the_residual_is_the_exponential_average_of_complex_less_solvent():
    # Gaussian differences: -ln <exp(-d)> = mean - sigma^2 / 2. 0.02: four standard errors of 40 000 labels.
    rng = np.random.default_rng(1)
    got = judge(
        fresh(rng.normal(1.0, 0.6, 40_000)), fresh(rng.normal(0.4, 0.2, 40_000), "solvent"), n_resamples=1
    )
    assert got.residual == pytest.approx((1.0 - 0.18) - (0.4 - 0.02), abs=0.02)
    assert got.cumulant == pytest.approx(got.residual, abs=0.02)
    assert got.spread == pytest.approx(np.sqrt((0.36 + 0.04) / 2), rel=0.02)


def test_harmonic_labels_give_the_free_energy_difference_that_is_known():
    # Potential x^2 / 2 in both legs; labels 1.3 x^2 / 2 in the complex, the potential itself in solvent.
    rng = np.random.default_rng(2)
    values = []
    for _ in range(5):
        leg = fresh(0.15 * rng.normal(size=4000) ** 2)
        values.append(judge(leg, fresh(np.zeros(4000), "solvent"), n_resamples=1).residual)
    # 0.5 ln 1.3; three standard errors of the mean of five.
    assert np.mean(values) == pytest.approx(0.5 * math.log(1.3), abs=3 * np.std(values) / math.sqrt(5) + 1e-3)


def test_an_offset_common_to_both_legs_cancels_and_one_of_a_leg_does_not():
    rng = np.random.default_rng(3)
    c, s = rng.normal(0, 0.3, 10), rng.normal(0, 0.3, 10)
    plain = judge(fresh(c), fresh(s, "solvent"))
    moved = judge(fresh(c - 1.9e6), fresh(s - 1.9e6, "solvent"))
    assert moved.residual == pytest.approx(plain.residual, abs=1e-8)  # 4e-10 kT per number
    assert moved.error == pytest.approx(plain.error, abs=1e-8)
    assert judge(fresh(c + 3.0), fresh(s, "solvent")).residual == pytest.approx(
        plain.residual + 3.0, abs=1e-12
    )


def test_the_error_is_the_scatter_of_repeats():
    values, errors = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        got = judge(fresh(rng.normal(0, 0.5, 12)), fresh(rng.normal(0, 0.5, 12), "solvent"))
        values.append(got.residual)
        errors.append(got.error)
    # 25 %: three standard errors of a standard deviation from 100 repeats, and the bootstrap's 1 / (2 n).
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.25)


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_a_perfect_potential_hardly_ever_fails_on_eight_labels_of_two_runs(spread):
    verdicts = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        run = np.arange(8) % 2
        legs = [fresh(rng.normal(0, spread, 8), leg, run=run) for leg in ("complex", "solvent")]
        verdicts.append(judge(*legs, model=0.2, n_resamples=50).verdict.level)
    # Three standard errors are one in 370; by runs alone 1, 10 and 17 of 200 failed.
    assert verdicts.count("FAIL") <= 2


@pytest.mark.parametrize(("shift", "spread", "count"), [(20.0, 1.0, 8), (50.0, 5.0, 8), (40.0, 0.3, 4)])
def test_a_potential_that_is_far_off_fails_however_few_the_labels(shift, spread, count):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        legs = [
            fresh(rng.normal(one, spread, count), name) for one, name in ((shift, "complex"), (0, "solvent"))
        ]
        assert judge(*legs, model=0.2, label=0.2, n_resamples=50).verdict.level == "FAIL"


def test_a_residual_within_what_was_promised_passes():
    passed = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        owed = rng.normal(0.0, 0.5)
        got = judge(fresh(owed + rng.normal(0, 0.4, 10)), fresh(rng.normal(0, 0.4, 10), "solvent"))
        passed += got.verdict.level == "PASS"
    assert passed >= 18


@pytest.mark.parametrize(
    ("owed", "label", "level"), [(1.4, None, "WARN"), (3.0, None, "FAIL"), (3.0, 2.5, "WARN")]
)
def test_a_residual_beyond_the_model_error_warns_and_beyond_all_errors_fails(owed, label, level):
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 0.2, 30)
    got = judge(fresh(owed + noise), fresh(noise, "solvent"), label=label).verdict
    assert got.level == level
    assert f"{owed * KT:+.2f} kcal/mol" in str(got)


def test_too_few_effective_labels_are_warned_of_with_the_cumulant_as_a_cross_check():
    d = np.zeros(12)
    d[3] = -20.0
    got = judge(fresh(d), fresh(np.zeros(12), "solvent"), model=50.0)
    assert got.size[0] == pytest.approx(1.0, abs=1e-6)
    assert got.verdict.level == "WARN"
    assert "rests on 1.0 (complex) and 12.0 (solvent) effective labels" in str(got.verdict)
    assert f"{got.cumulant * KT:+.2f} kcal/mol" in str(got.verdict)
    assert got.part == pytest.approx(math.hypot(got.residual, got.error))


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_nobody_checked_is_said_and_gives_no_number(missing):
    legs = [fresh(np.zeros(6)), fresh(np.zeros(6), "solvent")]
    if missing < 2:
        legs[missing] = None
    else:
        legs = [None, None]
    got = judge(*legs)
    assert math.isnan(got.residual)
    assert got.part is None
    assert got.verdict.level == "WARN"
    assert "checked" in str(got.verdict)


def test_failed_labels_are_counted_and_one_label_has_no_error():
    got = judge(fresh([0.1], wanted=4), fresh([0.0], "solvent"))
    assert got.error is None
    assert math.isnan(got.cumulant)
    assert "3 fresh labels failed" in str(got.verdict) + " ".join(got.verdict.also)
    none = judge(fresh([], wanted=4), fresh([0.0], "solvent")).verdict
    assert "of 5 fresh labels asked for, 0 (complex) and 1 (solvent) succeeded" in str(none)


def test_without_any_error_nothing_is_judged():
    assert "cannot be judged" in str(judge(fresh([0.1]), fresh([0.0], "solvent"), model=None).verdict)


def test_labels_of_one_run_count_together():
    rng = np.random.default_rng(6)
    run = np.repeat(np.arange(4), 5)
    d = rng.normal(0, 1.0, 4)[run] + rng.normal(0, 0.1, 20)
    by_run = judge(fresh(d, run=run), fresh(rng.normal(0, 0.1, 20), "solvent")).error
    assert by_run > 1.5 * judge(fresh(d), fresh(rng.normal(0, 0.1, 20), "solvent")).error


def test_differences_that_do_not_fit_together_are_refused():
    with pytest.raises(InputError, match="fresh labels of the complex"):
        fresh([0.0, float("nan")])
    with pytest.raises(InputError, match="columns"):
        fresh([0.0, 1.0], run=np.arange(3))


def test_a_check_survives_storage():
    got = judge(fresh(np.zeros(6)), fresh(np.ones(6), "solvent"))
    again = unpack(pack(got))
    assert (again.residual, again.verdict) == (got.residual, got.verdict)
