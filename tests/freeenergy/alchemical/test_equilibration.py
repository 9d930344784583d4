"""Frames in equilibrium: transients of known length, and every rule of the verdict from both sides."""

import numpy as np
import pytest

from drupe.freeenergy.alchemical.equilibration import equilibrated, start_of_equilibrium
from drupe.freeenergy.alchemical.leg_tables import Tables
from drupe.records import pack, unpack


def tables(frames, seed, states=3, transient=0.0, length=1.0):
    """White harmonic frames; ``transient`` kT on the energies of state 1 that dies out over ``length``."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(states, frames))
    u = 0.5 * (x[:, None, :] - 0.5 * np.arange(states)[None, :, None]) ** 2
    u[1] += transient * np.exp(-np.arange(frames) / length)
    return Tables(u)


def test_a_transient_is_cut_off_in_the_window_that_has_it():
    found = [equilibrated(tables(1000, seed, transient=30.0, length=50.0))[1] for seed in range(7)]
    discarded = np.array([one.discarded for one in found])
    # 30 kT die out to the noise of 0.7 kT within 50 ln(30 / 0.7) = 190 frames; where exactly the most
    # independent frames are left is noise.
    assert discarded[:, 1].min() >= 120
    assert np.median(discarded[:, 1]) <= 300
    assert np.median(discarded[:, [0, 2]]) < 100
    assert all(one.kept[1] <= 1000 - one.discarded[1] for one in found)


def test_stationary_windows_keep_most_of_their_frames():
    discarded = [equilibrated(tables(600, seed))[1].discarded for seed in range(6)]
    # The start with the most independent frames scatters: seldom is more than a third lost.
    assert np.mean(np.array(discarded) < 200) > 0.85


def test_frames_used_lie_after_the_start_and_in_order_of_time():
    chosen, found = equilibrated(tables(400, 2, transient=30.0, length=20.0))
    for frames, start, kept in zip(chosen, found.discarded, found.kept, strict=True):
        assert frames.min() >= start
        assert (np.diff(frames) > 0).all()
        assert len(frames) == kept
    assert found.kept_fraction == pytest.approx(found.kept / 400)


def test_too_few_frames_fail_few_warn_and_are_named():
    _, found = equilibrated(tables(12, 3), names=("a", "b", "c"))
    assert found.verdict.level == "FAIL"
    assert "keep fewer than 20 independent frames" in found.verdict.reasons[0]
    _, found = equilibrated(tables(40, 4))
    assert found.kept.min() >= 20
    assert found.verdict.level == "WARN"
    assert "fewer than 50" in found.verdict.reasons[0]
    assert equilibrated(tables(400, 5))[1].verdict.level == "PASS"


def test_a_window_that_settles_in_its_second_half_warns():
    _, found = equilibrated(tables(1000, 6, transient=200.0, length=130.0), names=("a", "slow", "c"))
    assert found.discarded[1] > 500
    assert "second half only" in str(found.verdict)
    assert "slow" in str(found.verdict)


@pytest.mark.parametrize("series", [np.zeros(50), np.full(50, -1.9e6), np.arange(3.0)])
def test_series_without_a_clock_start_at_once(series):
    assert start_of_equilibrium(series) == 0


def test_it_survives_storage():
    _, found = equilibrated(tables(60, 7))
    again = unpack(pack(found))
    assert again.kept.tolist() == found.kept.tolist()
    assert again.verdict == found.verdict
