"""The loop on functions whose minimum is known."""

import math

import numpy as np
import pytest
import torch

from drupe.errors import ConvergenceError
from drupe.mlp.descent import Judged, Plan, descend, frames_of_step
from drupe.mlp.loss import NO_ERRORS

PLAN = Plan(steps=300, learning_rate=0.1, weight_decay=0.0, average=0.9, plateau=None, patience=None)


def minimise(plan, target=2.0, noise=0.0):
    x = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    rates = []

    def loss(step):
        drawn = np.random.default_rng([5, step]).normal()
        return (x - target - noise * drawn) ** 2

    def judge(weights):
        return Judged(abs(float(weights["x"]) - target), NO_ERRORS, NO_ERRORS)

    found = descend(
        {"x": x}, lambda: {"x": x}, loss, judge, plan, on_row=lambda row: rates.append((row.step, row.rate))
    )
    return found, dict(rates)


def test_it_finds_the_minimum_and_averages_the_noise_away():
    found, _ = minimise(PLAN)
    assert float(found.weights["x"]) == pytest.approx(2.0, abs=1e-3)
    noisy, _ = minimise(PLAN, noise=1.0)
    # Steps of 0.1 follow the noise of 1 by some tenths; the average of about ten and the falling rate do not.
    assert float(noisy.weights["x"]) == pytest.approx(2.0, abs=0.1)


def test_the_rate_warms_up_and_falls_along_the_cosine():
    _, rates = minimise(PLAN)
    assert rates[5] == pytest.approx(0.1 * 5 / 9)  # warm-up of 3 %: nine steps
    assert rates[300] == pytest.approx(0.002)
    assert rates[155] == pytest.approx(0.1 * (0.02 + 0.98 * (1 + math.cos(math.pi * 146 / 291)) / 2))


def test_the_rate_is_halved_on_plateaus_and_patience_ends_the_loop():
    plan = Plan(steps=300, learning_rate=0.1, weight_decay=0.0, average=0.9, plateau=20, patience=60)
    # A target that the score does not know: after a while nothing gets better.
    x = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    found = descend(
        {"x": x},
        lambda: {"x": x},
        lambda step: (x - 2.0) ** 2,
        lambda weights: Judged(abs(float(weights["x"]) - 0.5), NO_ERRORS, NO_ERRORS),
        plan,
    )
    assert float(found.weights["x"]) == pytest.approx(0.5, abs=0.2)  # the best, not the last
    last = found.rows[-1]
    assert last.step == found.best_step + 60
    assert last.rate == pytest.approx(0.1 / 4)  # after 20 and 40 steps; the third halving comes too late


def test_a_loss_in_parts_takes_the_same_steps_and_holds_one_part_at_a_time():
    x = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    targets = (1.0, 2.5, 2.5)
    alive = []

    def parts(step):
        for target in targets:
            alive.append(x.grad is None or float(x.grad))
            yield (x - target) ** 2 / 3

    found = descend(
        {"x": x}, lambda: {"x": x}, parts, lambda w: Judged(float(w["x"]), NO_ERRORS, NO_ERRORS), PLAN
    )
    whole, _ = minimise(PLAN)  # of mean 2: the same but for a constant
    assert float(found.weights["x"]) == pytest.approx(float(whole.weights["x"]), abs=1e-12)
    # Each part has gone into the gradient before the next one is made.
    assert alive[:3] == [True, pytest.approx(-2 / 3), pytest.approx(-7 / 3)]


def test_every_frame_is_seen_once_a_round_and_rounds_differ():
    rounds = [
        [frames_of_step(step, 4, 12, (1, 2)).tolist() for step in range(first, first + 3)] for first in (1, 4)
    ]
    for drawn in rounds:
        assert sorted(i for frames in drawn for i in frames) == list(range(12))
    assert rounds[0] != rounds[1]
    assert frames_of_step(9, 50, 12, (1,)).tolist() == list(range(12))


def test_a_loss_that_is_no_number_is_refused():
    x = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    with pytest.raises(ConvergenceError, match="step 1"):
        descend({"x": x}, lambda: {"x": x}, lambda step: x / 0.0 * 0.0, lambda w: None, PLAN)
