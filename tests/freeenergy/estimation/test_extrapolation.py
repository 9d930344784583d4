import numpy as np

from drupe.freeenergy.estimation.extrapolation import model_doubt, outside


def test_frames_like_the_training_set_pass():
    # One in twenty lies beyond the edge.
    passed = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        passed += outside(np.where(rng.random(60) < 0.05, 1.1, 0.7)).level == "PASS"
    assert passed >= 19


def test_many_frames_outside_warn_most_fail_and_one_far_out_is_told():
    def share(count):
        return np.concatenate([np.full(count, 1.3), np.full(100 - count, 0.8)])

    assert outside(share(35)).level == "WARN"
    got = outside(share(70))
    assert got.level == "FAIL"
    assert "70 of 100 frames lie outside" in got.reasons[0]
    far = outside(np.array([0.5] * 99 + [3.1]))
    assert far.level == "WARN"
    assert "farthest 3.1" in far.reasons[0]


def test_two_of_three_frames_outside_are_too_few_to_accuse():
    assert outside(np.array([1.2, 1.1, 0.9])).level == "PASS"


def test_a_training_set_without_an_edge_and_frames_nobody_compared_are_said():
    assert "fewer than 19 labels has no edge" in outside(np.full(8, np.nan)).reasons[0]
    assert "no frame" in outside(np.zeros(0)).reasons[0]


def test_a_committee_that_doubts_itself_warns():
    assert model_doubt(np.full(10, 0.8)).level == "PASS"
    got = model_doubt(np.array([0.5, 6.0]))
    assert got.level == "WARN"
    assert "4.3 kT" in got.reasons[0]
    assert model_doubt(np.full(3, np.nan)).level == "WARN"
