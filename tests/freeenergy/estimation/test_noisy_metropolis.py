"""Monte Carlo with noisy energies against systems that are solved exactly."""

import numpy as np
import pytest
from scipy.special import i0, i1

from drupe.errors import InputError
from drupe.freeenergy.estimation.noisy_metropolis import Measured, MetropolisSpec, sample_noisy

WALKERS, STEPS, FORGET = 2000, 300, 60


def harmonic(deviation):
    """U = x^2 / 2 in kT, so <x^2> = 1; the noise of an energy is ``deviation(x)``."""

    def measure(x, rng):
        spread = deviation(x[:, 0]) * np.ones(len(x))
        return Measured(x[:, 0] ** 2 / 2 + spread * rng.normal(size=len(x)), spread**2)

    return measure


def mean_square(measure, rule, move=1.5):
    """<x^2> with its standard error: walkers are independent."""
    start = np.random.default_rng(3).normal(size=(WALKERS, 1))
    chain = sample_noisy(measure, start, MetropolisSpec(STEPS, move, rule, seed=4))
    each = (chain.positions[FORGET:, :, 0] ** 2).mean(0)
    return each.mean(), each.std(ddof=1) / np.sqrt(WALKERS), chain


@pytest.mark.parametrize("deviation", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rule", ["penalty", "stored"])
def test_the_penalty_makes_noise_harmless(deviation, rule):
    found, error, chain = mean_square(harmonic(lambda x: deviation), rule)
    assert error < 0.02
    assert found == pytest.approx(1.0, abs=4 * error)
    assert chain.noise == pytest.approx(2 * deviation**2)


def test_plain_metropolis_on_fresh_energies_is_biased():
    """1.30 instead of 1 for this noise and these moves: far outside its own error."""
    found, error, _ = mean_square(harmonic(lambda x: np.sqrt(0.5)), "plain")
    assert found == pytest.approx(1.305, abs=5 * error)
    assert found - 1 > 10 * error


@pytest.mark.parametrize("rule", ["penalty", "stored"])
def test_noise_may_depend_on_the_place(rule):
    uneven = harmonic(lambda x: 0.3 + 0.5 / (1 + np.exp(-2 * x)))
    found, error, _ = mean_square(uneven, rule)
    assert found == pytest.approx(1.0, abs=4 * error)


def test_with_stored_energies_the_penalty_is_the_change_of_the_variance():
    """Equal noise everywhere: nothing to pay, so chains with and without reported noise are the same."""
    known = mean_square(harmonic(lambda x: 0.7), "stored")[2]

    def silent(x, rng):
        return harmonic(lambda x: 0.7)(x, rng)._replace(variance=np.zeros(len(x)))

    assert np.array_equal(known.positions, mean_square(silent, "stored")[2].positions)


def test_noise_costs_acceptance():
    clean, noisy = (mean_square(harmonic(lambda x, s=s: s), "penalty")[2].acceptance for s in (0.0, 1.0))
    assert noisy < 0.7 * clean


def circle(shots):
    """U = 10 cos x in kT, measured as <Z> of one qubit with angle x."""

    def measure(x, rng):
        expected = np.cos(x[:, 0])
        up = rng.binomial(shots, (1 + expected) / 2)
        return Measured(10 * (2 * up / shots - 1), 100 * (1 - expected**2) / shots)

    return measure


def test_shot_noise_of_a_qubit_on_a_circle():
    """<cos x> = -I1(10) / I0(10); shots are not Gaussian, which is small for 200 of them."""
    start = np.pi + 0.3 * np.random.default_rng(3).normal(size=(WALKERS, 1))
    found = {}
    for rule in ("penalty", "plain"):
        chain = sample_noisy(circle(200), start, MetropolisSpec(STEPS, 0.8, rule, seed=4))
        each = np.cos(chain.positions[FORGET:, :, 0]).mean(0)
        found[rule] = each.mean(), each.std(ddof=1) / np.sqrt(WALKERS)
    want = -i1(10.0) / i0(10.0)
    assert found["penalty"][0] == pytest.approx(want, abs=4 * found["penalty"][1])
    assert found["plain"][0] - want > 4 * found["plain"][1]


def test_refuses_what_has_no_meaning():
    with pytest.raises(InputError, match="no acceptance rule"):
        MetropolisSpec(10, 1.0, "lucky")
    for steps, move in ((0, 1.0), (2.5, 1.0), (5, 0.0), (5, np.inf), (5, np.nan)):
        with pytest.raises(InputError, match="whole number of steps and a finite move"):
            MetropolisSpec(steps, move)

    def broken(x, rng):
        return Measured(np.full(len(x), np.nan), np.zeros(len(x)))

    with pytest.raises(InputError, match="no number"):
        sample_noisy(broken, np.zeros((2, 1)), MetropolisSpec(5, 1.0))


@pytest.mark.parametrize(
    ("energy", "variance", "name"),
    [
        (np.zeros(1), np.zeros(4), "energy"),
        (np.zeros(4), 0.0, "variance"),
        (np.zeros((4, 1)), np.zeros(4), "energy"),
    ],
)
def test_every_walker_has_its_own_energy(energy, variance, name):
    with pytest.raises(InputError, match=rf"measured {name} of shape .* for 4 walkers"):
        sample_noisy(lambda x, rng: Measured(energy, variance), np.zeros((4, 2)), MetropolisSpec(5, 1.0))


@pytest.mark.parametrize("start", [np.zeros((0, 2)), np.array([[0.0], [np.nan]]), np.array(1.0)])
def test_a_start_that_is_none_is_refused(start):
    with pytest.raises(InputError, match="give finite positions"):
        sample_noisy(
            lambda x, rng: Measured(np.zeros(len(x)), np.zeros(len(x))), start, MetropolisSpec(5, 1.0)
        )
