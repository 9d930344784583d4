"""Every rule of the verdict, from both sides of its bound."""

import re

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.estimation.diagnostics import (
    Verdict,
    repeats_verdict,
    standard_state_verdict,
    verdict,
    worst,
)
from drupe.units import kcal_per_mol, kt


def gaussian_works(df, sigma, n_f, n_r, seed):
    rng = np.random.default_rng(seed)
    half = sigma**2 / 2
    return rng.normal(df + half, sigma, n_f), rng.normal(-df + half, sigma, n_r)


def test_enough_good_works_pass():
    assert verdict(*gaussian_works(2.0, 1.0, 100, 100, seed=0)) == Verdict("PASS")


def test_six_works_per_direction_fail_however_good_they_are():
    got = verdict(*gaussian_works(2.0, 0.3, 6, 6, seed=0))
    assert got.level == "FAIL"
    assert "min(n) x overlap = 6 x" in got.reasons[0]


def test_the_smaller_side_counts():
    w_f, w_r = gaussian_works(2.0, 0.3, 500, 6, seed=0)
    assert verdict(w_f, w_r).level == "FAIL"
    assert verdict(w_r, w_f).level == "FAIL"


def test_fast_switches_fail_for_lack_of_overlap():
    got = verdict(*gaussian_works(0.0, 6.0, 500, 500, seed=1))
    assert got.level == "FAIL"
    assert got.reasons[0].startswith("overlap")


@pytest.mark.parametrize("n", [10, 200])
def test_works_that_break_the_second_law_do_not_belong_together(n):
    w_f, w_r = gaussian_works(0.0, 1.0, n, n, seed=2)
    other_f, _ = gaussian_works(-4.0, 1.0, n, n, seed=3)
    got = verdict(other_f, w_r)
    assert got.level == "FAIL"
    assert "second law" in got.reasons[0]
    assert "second law" not in str(verdict(w_f, w_r))


def test_works_of_another_system_fail_in_either_direction():
    mine = gaussian_works(0.0, 1.0, 100, 100, seed=4)
    other = gaussian_works(12.0, 1.0, 100, 100, seed=5)
    assert verdict(*mine).level == verdict(*other).level == "PASS"
    assert verdict(mine[0], other[1]).level == "FAIL"  # dissipation below zero
    assert verdict(other[0], mine[1]).level == "FAIL"  # no overlap


@pytest.mark.parametrize("shift", [3.0, 5.0])
def test_works_too_narrow_for_their_dissipation_fail_although_they_overlap(shift):
    w_f, w_r = gaussian_works(0.0, 1.0, 200, 200, seed=8)
    got = verdict(w_f + shift, w_r)
    assert got.level == "FAIL"
    assert got.reasons[0].startswith("the two directions do not obey one fluctuation theorem")


def test_works_of_one_system_are_not_called_inconsistent():
    # 100 cases of 50 works a side: by the tables of the rule none is expected, three are allowed.
    cases = [gaussian_works(0.0, sigma, 50, 50, seed) for seed in range(50) for sigma in (1.0, 2.0)]
    assert sum("fluctuation theorem" in str(verdict(*case)) for case in cases) <= 3


def test_an_identity_switch_is_no_violation():
    assert verdict(np.zeros(40), np.zeros(40)).level == "PASS"
    assert verdict(np.full(40, -1.9e6 + 0.1), np.full(40, 1.9e6 - 0.1)).level == "PASS"


def test_one_sided_hysteresis_warns():
    # Right works so wide that their tails are hardly reached: one case of many, found by its seed.
    got = verdict(*gaussian_works(0.0, 2.2, 250, 250, seed=30))
    text = " ".join((*got.reasons, *got.also))
    assert "one-sided averages rest on" in text
    assert "one-sided estimates differ" in text
    assert got.level == "WARN"


@pytest.mark.parametrize(
    ("works", "word"), [(([], [1.0, 2.0]), "no forward"), (([1.0, 2.0], [1.0]), "only one")]
)
def test_a_missing_direction_fails_and_is_named(works, word):
    got = verdict(*works)
    assert got.level == "FAIL"
    assert word in got.reasons[0]


def test_one_repeat_has_no_replicate_error():
    got = repeats_verdict([1.0], [0.1])
    assert got.level == "WARN"
    assert "no replicate error" in got.reasons[0]


def test_repeats_that_scatter_more_than_they_claim_warn():
    assert repeats_verdict([1.0, 1.2, 0.9], [0.15, 0.15, 0.15]).level == "PASS"
    assert repeats_verdict([1.0, 3.0, -1.0], [0.15, 0.15, 0.15]).level == "WARN"


def test_a_repeat_that_is_of_another_state_fails():
    got = repeats_verdict([1.0, 1.1, 31.0], [0.1, 0.1, 0.1])
    assert got.level == "FAIL"
    assert "different states" in str(got)
    assert repeats_verdict([1.0, 1.1, 1.9], [0.01, 0.01, 0.01]).level == "WARN"  # 0.5 kT
    assert repeats_verdict([1.0, 31.0], [1e9, 1e9]).level == "PASS"
    for unknown in (0.0, float("nan")):
        assert repeats_verdict([1.0, 1.1, 31.0], [unknown] * 3).level == "FAIL"


def test_a_reason_never_calls_a_number_smaller_than_itself():
    found = str(verdict(*gaussian_works(0.0, 0.02, 10, 10, seed=1)))
    said = re.search(r"= ([0-9.]+) is below ([0-9.]+):", found)
    assert said is not None, found
    assert 9.99 < float(said[1]) < float(said[2])


@pytest.mark.parametrize(("gap", "level"), [(0.04, "PASS"), (0.06, "WARN"), (0.29, "WARN"), (0.31, "FAIL")])
def test_the_standard_state_bounds_are_in_kcal_per_mol(gap, level):
    for temperature_k in (150.0, 300.0):
        shift = gap * kcal_per_mol / kt(temperature_k)
        assert standard_state_verdict(-12.0, -12.0 + shift, temperature_k).level == level
        assert standard_state_verdict(-12.0, -12.0 - shift, temperature_k).level == level


def test_a_release_that_is_no_number_fails():
    assert standard_state_verdict(float("nan"), -12.0, 300.0).level == "FAIL"


def test_the_worst_rules_and_nothing_is_lost():
    got = worst(
        [
            ("a", Verdict("WARN", ("x",))),
            ("b", Verdict("PASS")),
            ("c", Verdict("FAIL", ("y",), ("z",))),
        ]
    )
    assert got == Verdict("FAIL", ("c: y",), ("a: x", "c: z"))
    assert worst([]) == Verdict("PASS")


def test_a_verdict_without_reason_or_with_a_made_up_level_is_refused():
    with pytest.raises(InputError, match="has no reason"):
        Verdict("FAIL")
    with pytest.raises(InputError, match="MAYBE"):
        Verdict("MAYBE", ("x",))


def test_the_same_few_works_again_and_again_are_still_few():
    rng = np.random.default_rng(3)
    w_f, w_r = rng.normal(0.5, 1.0, 4), rng.normal(0.5, 1.0, 4)
    got = verdict(np.tile(w_f, 100), np.tile(w_r, 100))
    assert got.level == "FAIL"
    assert "min(n) x overlap = 4" in str(got)
