import numpy as np
import pytest

from drupe.freeenergy.estimation.stationarity import drift_of_works, settled


def red_noise(n, memory, seed):
    """A process of variance 1 whose correlation falls by ``memory`` from frame to frame."""
    rng = np.random.default_rng(seed)
    kicks = np.sqrt(1 - memory**2) * rng.normal(size=n)
    x = np.zeros(n)
    x[0] = rng.normal()
    for k in range(1, n):
        x[k] = memory * x[k - 1] + kicks[k]
    return x


@pytest.mark.parametrize(("n", "memory"), [(20, 0.0), (200, 0.0), (400, 0.8)])
def test_settled_runs_pass(n, memory):
    passed = 0
    for seed in range(20):
        runs = {f"run {k}": 8.0 * red_noise(n, memory, 100 * seed + k) - 4000.0 for k in range(3)}
        passed += settled(runs).level == "PASS"
    assert passed >= 18


def test_a_drift_is_found_and_the_run_is_named():
    runs = {"run 0": red_noise(200, 0.3, 1), "run 1": red_noise(200, 0.3, 2) + np.linspace(0, 3, 200)}
    got = settled(runs)
    assert got.level == "WARN"
    assert got.reasons[0].startswith("run 1: drifts by +")
    assert not any(reason.startswith("run 0") for reason in got.reasons)


def test_a_run_that_settles_late_is_found():
    series = red_noise(200, 0.0, 3)
    series[:130] += 15.0
    got = settled({"run 0": series})
    assert any("settles only after 13" in reason for reason in got.reasons)


def test_a_run_of_a_few_frames_says_that_nobody_can_see():
    got = settled({"run 0": np.arange(6.0), "run 1": red_noise(50, 0.0, 5)})
    assert got.level == "WARN"
    assert "1 of 2 runs keep fewer than 10 frames (shortest: 6)" in got.reasons[0]


def test_a_run_that_stands_still_or_is_broken_or_elsewhere_is_not_settled():
    found = settled({"run 0": np.full(40, -3.2e5)})
    assert (found.level, found.reasons) == ("WARN", ("run 0: stands still: nothing moved",))
    fine = {f"run {k}": red_noise(200, 0.0, k) for k in range(3)}
    assert settled(fine).level == "PASS"
    broken = settled({**fine, "run 1": np.where(np.arange(200) == 7, np.nan, fine["run 1"])})
    assert broken.level == "FAIL"
    assert "run 1: holds values that are not finite" in broken.reasons[0]
    apart = settled({**fine, "run 2": fine["run 2"] + 50.0})
    assert apart.level == "FAIL"
    assert "run 2 lie" in apart.reasons[0]
    # Runs of one place that wander slowly are not taken for runs of different places.
    assert settled({f"run {k}": fine[f"run {k}"] + k for k in range(3)}).level == "PASS"


def works(df, n, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(df + 0.5, 1.0, n), rng.normal(-df + 0.5, 1.0, n)


def test_works_whose_free_energy_stays_pass_and_those_that_drift_do_not():
    time = np.linspace(1.0, 10.0, 120).tolist()
    passed = sum(drift_of_works(*works(1.0, 120, seed), time, time).level == "PASS" for seed in range(20))
    assert passed >= 19
    for shift, level in ((1.2, "WARN"), (4.0, "FAIL")):
        early, late = works(0.0, 60, 1), works(shift, 60, 2)
        f, r = (np.concatenate([one, two]) for one, two in zip(early, late, strict=True))
        got = drift_of_works(f, r, time, time)
        assert got.level == level
        assert "late starts" in got.reasons[0]


def test_of_few_works_it_is_said_that_no_drift_can_be_seen():
    got = drift_of_works(*works(0.0, 8, 1), list(range(8)), list(range(8)))
    assert got.level == "WARN"
    assert "holds 4 starts, fewer than 10" in got.reasons[0]


def test_no_run_at_all_is_not_settled():
    assert settled({}).level == "WARN"
