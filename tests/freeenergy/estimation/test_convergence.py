"""Convergence in time: a planted drift is found, stationary frames are left alone."""

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.estimation.chain import mbar
from drupe.freeenergy.estimation.convergence import convergence
from drupe.records import pack, unpack

SPRINGS = np.array([1.0, 3.0, 9.0])


def windows(frames, seed, drift=0.0):
    """Harmonic frames whose widths grow in time by the factor 1 + drift."""
    rng = np.random.default_rng(seed)
    found = []
    for k in SPRINGS:
        x = rng.normal(scale=k**-0.5, size=frames) * np.linspace(1.0, 1.0 + drift, frames)
        found.append(0.5 * np.outer(SPRINGS, x**2))
    return found


def test_stationary_frames_are_left_alone_in_at_least_18_of_20_seeds():
    levels = [convergence(windows(80, seed), fractions=(1.0,)).verdict.level for seed in range(20)]
    assert levels.count("PASS") >= 18


def test_a_planted_drift_is_found_in_every_seed():
    # Widths that grow by 1.5: the halves differ by about 1.4 kT, five to nine times their error.
    found = [convergence(windows(200, seed, drift=1.5), fractions=(1.0,)) for seed in range(10)]
    assert all(one.verdict.level != "PASS" for one in found)
    assert all("drifts" in one.verdict.reasons[0] for one in found)


def test_a_drift_there_and_back_again_is_found_in_every_seed():
    # Widths that grow by 1.5 until the middle and shrink again: the halves agree, the quarters do not.
    found = []
    for seed in range(10):
        first, second = windows(100, seed, drift=1.5), windows(100, 100 + seed, drift=1.5)
        frames = [np.hstack([a, b[:, ::-1]]) for a, b in zip(first, second, strict=True)]
        found.append(convergence(frames, fractions=(1.0,)))
    assert sum(abs(one.drift) < 2.81 * one.drift_error for one in found) >= 8
    assert all(one.bend > 2.81 * one.bend_error for one in found)
    assert all(any("middle" in reason for reason in one.verdict.reasons) for one in found)


def test_a_drift_of_many_kt_fails_and_a_small_one_warns():
    tilted = windows(400, 1)
    early, late = ([u[:, :200] for u in tilted], [u[:, 200:] for u in tilted])

    def shifted(by):
        # Frames of the second half see the last state raised: its free energy rises by as much.
        raised = [np.array([u[0], u[1] + by / 2, u[2] + by]) for u in late]
        return [np.hstack(pair) for pair in zip(early, raised, strict=True)]

    small, large = (convergence(shifted(by), fractions=(1.0,)) for by in (1.0, 4.0))
    base = convergence(tilted, fractions=(1.0,)).drift
    assert small.drift == pytest.approx(base + 1.0, abs=1e-5)
    assert large.drift == pytest.approx(base + 4.0, abs=1e-5)
    assert (small.verdict.level, large.verdict.level) == ("WARN", "FAIL")
    # The middle has as much of either half as the outer quarters.
    assert abs(large.bend) < 2.81 * large.bend_error


def test_whole_and_parts_are_the_mbar_of_these_frames():
    data = windows(60, 2)
    found = convergence(data, fractions=(0.25, 0.5, 1.0))
    assert found.fractions.tolist() == [0.25, 0.5, 1.0]
    first = mbar(np.hstack([u[:, :15] for u in data]), [15] * 3)
    last = mbar(np.hstack([u[:, 45:] for u in data]), [15] * 3)
    whole = mbar(np.hstack(data), [60] * 3)
    assert found.forward[0] == pytest.approx(first.values[-1], abs=1e-6)
    assert found.forward_errors[0] == pytest.approx(first.errors[-1], abs=1e-6)
    assert found.backward[0] == pytest.approx(last.values[-1], abs=1e-6)
    assert found.forward[-1] == found.backward[-1] == pytest.approx(whole.values[-1], abs=1e-6)
    assert found.drift == pytest.approx(found.backward[1] - found.forward[1], abs=1e-9)
    assert found.drift_error == pytest.approx(np.hypot(found.backward_errors[1], found.forward_errors[1]))


def test_time_turned_round_turns_the_drift_round():
    data = windows(52, 3, drift=0.5)
    there, back = (convergence(one, fractions=(0.4,)) for one in (data, [u[:, ::-1] for u in data]))
    assert back.drift == pytest.approx(-there.drift, abs=1e-6)
    assert back.bend == pytest.approx(there.bend, abs=1e-6)
    assert back.forward[0] == pytest.approx(there.backward[0], abs=1e-6)


def test_a_part_without_frames_has_no_number_and_one_frame_per_window_no_verdict_but_fail():
    found = convergence(windows(3, 4), fractions=(0.1, 1.0))
    assert np.isnan(found.forward[0])
    assert np.isfinite(found.forward[-1])
    alone = convergence(windows(1, 5), fractions=(1.0,))
    assert alone.verdict.level == "FAIL"
    assert "cannot be judged" in alone.verdict.reasons[0]


def test_states_that_are_all_the_same_do_not_drift():
    found = convergence([np.zeros((2, 20))] * 2, fractions=(1.0,))
    assert found.drift == pytest.approx(0.0, abs=1e-7)
    assert found.verdict.level == "PASS"


def test_no_windows_at_all_are_refused():
    with pytest.raises(InputError, match="no windows"):
        convergence([])


@pytest.mark.parametrize("fractions", [(), (0.0, 1.0), (1.5,)])
def test_fractions_that_are_none_are_refused(fractions):
    with pytest.raises(InputError, match="fractions"):
        convergence(windows(20, 6), fractions=fractions)


def test_it_survives_storage():
    found = convergence(windows(20, 7), fractions=(0.1, 1.0))
    again = unpack(pack(found))
    assert again.forward.tobytes() == found.forward.tobytes()
    assert again.verdict == found.verdict
