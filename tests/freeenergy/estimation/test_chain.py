"""MBAR on harmonic oscillators, whose free energies are known."""

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.estimation.chain import mbar, uncorrelated
from drupe.records import pack, unpack


def harmonic(springs, n, seed, offset=0.0):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(0.0, k**-0.5, n) for k in springs])
    return 0.5 * np.outer(springs, x**2) + offset, np.full(len(springs), n)


@pytest.mark.reference
def test_harmonic_oscillators_have_their_exact_free_energies():
    # Exact, per dimension: ln(K) / 2 for K = 1, 2, 4, 8, 16.
    got = mbar(*harmonic([1.0, 2.0, 4.0, 8.0, 16.0], 2000, seed=0))
    exact = np.array([0.0, 0.34657, 0.69315, 1.03972, 1.38629])
    assert (np.abs(got.values - exact) <= 4 * got.errors + 1e-5).all()  # four standard errors
    assert got.errors.max() < 0.03
    assert got.verdict.level == "PASS"
    assert got.total.value == got.values[-1]
    assert got.overlap.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-8)  # a stochastic matrix


def test_an_offset_of_a_million_kt_changes_nothing():
    plain = mbar(*harmonic([1.0, 4.0], 200, seed=1))
    shifted = mbar(*harmonic([1.0, 4.0], 200, seed=1, offset=-1.9e6))
    assert shifted.values == pytest.approx(plain.values, abs=1e-7)  # 4e-10 kT per energy in doubles


def test_a_few_frames_per_window_fail_with_the_pairs_named():
    got = mbar(*harmonic([1.0, 2.0, 4.0], 5, seed=2), names=("on", "half", "off"))
    assert got.verdict.level == "FAIL"
    assert "all 2 neighbouring pairs, first on-half" in got.verdict.reasons[0]


def test_one_gap_in_the_chain_fails_and_is_named():
    rng = np.random.default_rng(3)
    centres = np.array([0.0, 1.0, 9.0, 10.0])
    x = np.concatenate([rng.normal(c, 1.0, 200) for c in centres])
    got = mbar(0.5 * (x - centres[:, None]) ** 2, [200] * 4)
    assert got.verdict.level == "FAIL"
    assert "1 of 3 neighbouring pairs (1-2): overlap" in got.verdict.reasons[0]


@pytest.mark.parametrize(
    ("u", "n", "word"),
    [
        (np.zeros((2, 4)), [2, 3], "shape"),
        (np.zeros((2, 4)), [4, 0], "no samples"),
        (np.array([[0.0, np.nan], [0.0, 0.0]]), [1, 1], "sample 1 in state 0"),
    ],
)
def test_bad_input_is_named(u, n, word):
    with pytest.raises(InputError, match=word):
        mbar(u, n)


def test_names_that_are_not_those_of_the_states_are_refused():
    with pytest.raises(InputError, match="1 names for 2 states"):
        mbar(np.zeros((2, 4)), [2, 2], names=["a"])


def test_a_result_survives_storage():
    got = mbar(*harmonic([1.0, 2.0], 50, seed=4))
    again = unpack(pack(got))
    assert (again.overlap == got.overlap).all()
    assert again.verdict == got.verdict
    assert not again.values.flags.writeable


def autoregressive(rho, n, seed):
    """Standard normal numbers with correlation rho between neighbours; g = (1 + rho) / (1 - rho)."""
    rng = np.random.default_rng(seed)
    x = np.empty(n)
    x[0] = rng.normal()
    for k in range(1, n):
        x[k] = rho * x[k - 1] + np.sqrt(1 - rho**2) * rng.normal()
    return x


def test_correlated_frames_are_thinned_to_their_inefficiency():
    x = autoregressive(0.8, 4000, seed=4)  # g = 9
    u = np.array([0.0 * x, x, 5.0 * np.ones_like(x)])
    kept = uncorrelated(u, 0)
    assert 4000 / 9 / 1.5 < len(kept) < 4000 / 9 * 1.5  # g of 4000 frames is known to about 20 %
    assert (np.diff(kept) > 0).all()


def test_white_and_constant_differences_lose_next_to_nothing():
    x = np.random.default_rng(5).normal(size=500)
    # The estimate of g = 1 from 500 white frames scatters up to 1.3 (measured over eight seeds).
    assert len(uncorrelated(np.array([0.0 * x, x]), 0)) > 350
    assert len(uncorrelated(np.zeros((3, 25)), 1)) == 25
    assert uncorrelated(np.zeros((2, 1)), 1).tolist() == [0]


def test_the_slower_neighbour_decides():
    fast, slow = np.random.default_rng(6).normal(size=2000), autoregressive(0.9, 2000, seed=7)
    both = uncorrelated(np.array([fast, 0.0 * fast, slow]), 1)
    alone = uncorrelated(np.array([fast, 0.0 * fast]), 1)
    assert len(both) < 0.3 * len(alone)
