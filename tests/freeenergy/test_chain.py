"""MBAR on harmonic oscillators, whose free energies are known."""

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.chain import mbar
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


def test_a_result_survives_storage():
    got = mbar(*harmonic([1.0, 2.0], 50, seed=4))
    again = unpack(pack(got))
    assert (again.overlap == got.overlap).all()
    assert again.verdict == got.verdict
    assert not again.values.flags.writeable
