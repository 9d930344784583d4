"""Linear regression with unknown noise: closed forms, exact data, and coverage of the posterior."""

import numpy as np
import pytest
from scipy import stats

from drupe.mlp.evidence import Group, posterior

P = 6


def data(rng, n, noise, truth):
    design = rng.normal(size=(n, P))
    return Group(design, design @ truth + noise * rng.normal(size=n), n)


def test_no_data_leave_the_prior():
    nothing = Group(np.zeros((0, P)), np.zeros(0), 0)
    got = posterior([nothing, nothing])
    assert got.mean.tolist() == [0.0] * P
    assert got.covariance == pytest.approx(np.eye(P), abs=1e-15)
    assert np.isnan(got.noise).all()
    assert got.determined == (0.0, 0.0)
    assert got.log_evidence == 0.0


def test_the_mean_the_covariance_and_the_evidence_are_those_of_a_gaussian():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=P)
    groups = [data(rng, 30, 0.5, truth), data(rng, 50, 2.0, truth)]
    got = posterior(groups)
    design = np.concatenate([g.design for g in groups])
    target = np.concatenate([g.target for g in groups])
    noise = np.repeat(got.noise, [30, 50])
    precision = np.eye(P) + (design / noise[:, None] ** 2).T @ design
    assert got.covariance == pytest.approx(np.linalg.inv(precision), rel=1e-9, abs=1e-12)
    assert got.mean == pytest.approx(np.linalg.solve(precision, design.T @ (target / noise**2)), rel=1e-9)
    marginal = design @ design.T + np.diag(noise**2)
    want = stats.multivariate_normal(np.zeros(80), marginal).logpdf(target)
    assert got.log_evidence == pytest.approx(want, rel=1e-9)
    # Nothing is more probable than the noise that was found, with a flat prior of each variance.
    for change in ([1.05, 1.0], [0.95, 1.0], [1.0, 1.05], [1.0, 0.95]):
        moved = design @ design.T + np.diag((noise * np.repeat(change, [30, 50])) ** 2)
        there = stats.multivariate_normal(np.zeros(80), moved).logpdf(target)
        assert there + 2 * np.log(change).sum() < want
    # Both groups together settle no more than there is.
    assert 0 < sum(got.determined) < P


def test_each_kind_of_data_gets_its_own_noise():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=P)
    got = posterior([data(rng, 400, 0.1, truth), data(rng, 900, 3.0, truth)])
    # Four standard errors of a standard deviation, sigma / sqrt(2 n).
    assert got.noise[0] == pytest.approx(0.1, rel=4 / np.sqrt(800))
    assert got.noise[1] == pytest.approx(3.0, rel=4 / np.sqrt(1800))


def test_exact_data_are_reproduced():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=P)
    got = posterior([data(rng, 20, 0.0, truth), data(rng, 30, 0.0, truth)])
    assert got.mean == pytest.approx(truth, abs=1e-11)


def test_values_that_a_projection_took_away_do_not_count():
    """Residuals of m means: with the number of rows instead, the noise comes out too small."""
    rng = np.random.default_rng(4)
    truth, m = rng.normal(size=P), 200
    design, target = [], []
    for _ in range(m):  # pairs from their mean hold one value each
        x = rng.normal(size=(2, P))
        y = x @ truth + rng.normal(size=2)
        design.append(x - x.mean(0))
        target.append(y - y.mean())
    got = posterior([Group(np.concatenate(design), np.concatenate(target), m)])
    assert got.noise[0] == pytest.approx(1.0, rel=4 / np.sqrt(2 * m))


def test_errors_cover_the_truth_as_often_as_they_say():
    inside, count = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=P)
        got = posterior([data(rng, 25, 0.7, truth), data(rng, 40, 2.5, truth)])
        whitened = np.linalg.solve(np.linalg.cholesky(got.covariance), got.mean - truth)
        inside += int((np.abs(whitened) < 1.0).sum())
        count += P
    want = 2 * stats.norm.cdf(1.0) - 1
    # Three binomial errors; the estimated noise costs less than one.
    assert abs(inside / count - want) < 3 * np.sqrt(want * (1 - want) / count)


@pytest.mark.parametrize(("few", "many"), [(6, 5), (12, 11), (6, 60)])
def test_few_data_do_not_make_errors_too_small(few, many):
    """As many values as constants, or fewer: the evidence alone would often find no noise at all."""
    chi2 = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=P)
        got = posterior([data(rng, few, 0.5, truth), data(rng, many, 3.0, truth)])
        off = got.mean - truth
        chi2.append(off @ np.linalg.solve(got.covariance, off) / P)
    # A mean of 40 values of variance 2 / P about 1, doubled for the estimated noise.
    assert np.mean(chi2) < 1 + 2 * 3 * np.sqrt(2 / P / 40)
    assert np.mean(chi2) > 0.5


def test_one_or_two_values_of_a_kind_are_not_read():
    rng = np.random.default_rng(8)
    truth = rng.normal(size=P)
    enough = data(rng, 30, 0.5, truth)
    got = posterior([data(rng, 2, 0.0, truth), enough])
    assert got.mean.tolist() == posterior([enough]).mean.tolist()
    assert np.isnan(got.noise[0])
    assert got.determined[0] == 0.0
