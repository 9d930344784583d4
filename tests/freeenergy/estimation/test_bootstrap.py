"""Errors of works that come from few independent runs, against the scatter of many repeats."""

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.estimation.bootstrap import scatter
from drupe.freeenergy.estimation.estimators import bar


def works_of_runs(n_runs, per_run, spread, seed):
    """Works of one dF = 0 whose runs differ by ``spread`` kT, and the run of each."""
    rng = np.random.default_rng(seed)
    runs = np.repeat(np.arange(n_runs), per_run)
    sides = [rng.normal(0.5, 1.0, len(runs)) + rng.normal(0.0, spread, n_runs)[runs] for _ in range(2)]
    return *sides, (runs, runs)


def mean(x):
    return float(x.mean())


@pytest.mark.parametrize(("n_runs", "per_run", "spread"), [(4, 10, 0.0), (4, 10, 1.0), (10, 4, 0.5)])
def test_the_error_of_a_mean_is_its_scatter_over_repeats(n_runs, per_run, spread):
    values, squares = [], []
    for seed in range(300):
        f, _, runs = works_of_runs(n_runs, per_run, spread, seed)
        values.append(f.mean())
        squares.append(scatter(mean, (f,), runs[:1], seed=seed, n_resamples=60) ** 2)
    # Variance of the mean, exactly; 15 %: three standard errors of 300 chi^2 with three degrees of freedom.
    exact = (spread**2 + 1.0 / per_run) / n_runs
    assert np.mean(squares) == pytest.approx(exact, rel=0.15)
    assert np.var(values) == pytest.approx(exact, rel=0.25)


def test_runs_that_differ_make_the_error_of_bar_larger_and_right():
    spread = 1.0
    found, plain = [], []
    for seed in range(40):
        f, r, runs = works_of_runs(5, 20, spread, seed)
        found.append(bar(f, r, seed=seed, n_resamples=20, runs=runs))
        plain.append(bar(f, r, seed=seed, n_resamples=2))
    scattered = np.std([one.value for one in found])
    # 35 %: three standard errors of a scatter from 40 repeats.
    assert np.sqrt(np.mean([one.error**2 for one in found])) == pytest.approx(scattered, rel=0.35)
    assert np.mean([one.error for one in plain]) < 0.5 * scattered


def test_works_of_one_run_are_warned_of():
    f, r, _ = works_of_runs(4, 25, 0.0, 1)
    one, four = np.zeros(100, int), np.arange(100) % 4
    got = bar(f, r, seed=1, n_resamples=10, runs=(one, four)).verdict
    assert got.level == "WARN"
    assert "all forward works start from one run" in got.reasons[0]
    assert bar(f, r, seed=1, n_resamples=10, runs=(four, four)).verdict.level == "PASS"


def test_the_numbers_of_the_runs_do_not_matter_and_their_count_must_fit():
    f, r, (runs, _) = works_of_runs(3, 8, 0.5, 2)
    first = bar(f, r, seed=4, n_resamples=30, runs=(runs, runs)).error
    assert bar(f, r, seed=4, n_resamples=30, runs=(runs + 7, runs - 3)).error == first
    with pytest.raises(InputError, match="24 works come with runs of shape"):
        bar(f, r, seed=4, n_resamples=30, runs=(runs[:-1], runs))
