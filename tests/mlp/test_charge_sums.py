"""Charge-weighted sums against finite differences and their limits."""

import numpy as np
import pytest
import torch

from drupe.mlp.charge_sums import ChargeSums, pull_back_sums, sums_at

ORIGIN = torch.zeros(1, 3).double()
WANTED = ChargeSums(count=6, cutoff=8.0)


@pytest.fixture
def scene():
    rng = np.random.default_rng(3)
    qm, mm = rng.normal(size=(4, 3)), rng.normal(size=(30, 3)) * 4 + 3
    return torch.tensor(qm), torch.tensor(mm), torch.tensor(rng.normal(size=30))


def test_closed_form_gradient_is_autograd_and_finite_difference(scene):
    qm, mm, charges = scene
    weights = torch.tensor(np.random.default_rng(4).normal(size=(4, WANTED.count)))

    def value(a, b):
        return (sums_at(a, b, charges, WANTED).value * weights).sum()

    a, b = qm.clone().requires_grad_(), mm.clone().requires_grad_()
    want = torch.autograd.grad(value(a, b), (a, b))
    found = pull_back_sums(sums_at(qm, mm, charges, WANTED), weights, len(mm))
    for one, two in zip(found, want, strict=True):
        assert one.numpy() == pytest.approx(two.numpy(), abs=1e-13)
    step = 1e-4
    atom = int(found[1].abs().sum(1).argmax())
    for axis in range(3):
        moved = torch.zeros_like(mm)
        moved[atom, axis] = step
        slope = float(value(qm, mm + moved) - value(qm, mm - moved)) / (2 * step)
        assert float(found[1][atom, axis]) == pytest.approx(slope, abs=1e-6)  # h^2 of the difference


def test_sums_are_linear_in_charges_and_end_at_the_cutoff(scene):
    qm, mm, charges = scene
    one = sums_at(qm, mm, charges, WANTED).value
    assert sums_at(qm, mm, -2 * charges, WANTED).value.numpy() == pytest.approx(-2 * one.numpy(), abs=1e-13)
    assert total_at(WANTED.cutoff) == 0.0
    far, near = total_at(WANTED.cutoff - 0.4), total_at(WANTED.cutoff - 0.05)
    assert far > 1e-4
    assert 0 < near < far / 8**2  # two derivatives vanish at the cutoff


def total_at(distance):
    """All sums together of one unit charge at a distance."""
    made = sums_at(ORIGIN, torch.tensor([[distance, 0.0, 0.0]]).double(), torch.ones(1).double(), WANTED)
    return float(made.value.sum())


def test_functions_cover_all_distances_evenly():
    """A charge at any distance well inside the cutoff shows: no gap between neighbouring functions."""
    seen = [total_at(r) for r in np.linspace(2.5, 5.0, 26)]
    assert max(seen) < 3 * min(seen)


def test_no_sums_are_asked_for(scene):
    made = sums_at(*scene, None)
    assert made.value.shape == (4, 0)
    to_qm, to_mm = pull_back_sums(made, made.value, 30)
    assert not to_qm.any()
    assert not to_mm.any()
