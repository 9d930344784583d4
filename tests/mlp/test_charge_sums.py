"""Charge-weighted sums and moments against finite differences, turned scenes and their limits."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from drupe.mlp.backbones.shapes import basis
from drupe.mlp.charge_sums import ChargeSums, pull_back_sums, sums_at

ORIGIN = torch.zeros(1, 3).double()
WANTED = ChargeSums(count=6, cutoff=8.0)
MOMENTS = ChargeSums(count=4, cutoff=8.0, order=2)


@pytest.fixture
def scene():
    rng = np.random.default_rng(3)
    qm, mm = rng.normal(size=(4, 3)), rng.normal(size=(30, 3)) * 4 + 3
    return torch.tensor(qm), torch.tensor(mm), torch.tensor(rng.normal(size=30))


@pytest.mark.parametrize("wanted", [WANTED, MOMENTS], ids=["sums", "moments"])
def test_closed_form_gradient_is_autograd_and_finite_difference(scene, wanted):
    qm, mm, charges = scene
    weights = torch.tensor(np.random.default_rng(4).normal(size=(4, wanted.width)))

    def value(a, b):
        return (sums_at(a, b, charges, wanted).value * weights).sum()

    a, b = qm.clone().requires_grad_(), mm.clone().requires_grad_()
    want = torch.autograd.grad(value(a, b), (a, b))
    made = sums_at(qm, mm, charges, wanted)
    found = pull_back_sums(made, weights, len(mm))
    for one, two in zip(found, want, strict=True):
        assert one.numpy() == pytest.approx(two.numpy(), abs=1e-12)
    pairs = torch.einsum("pk,pkx->px", weights[made.qm], made.on_charges())
    whole = torch.zeros_like(mm).index_add(0, made.mm, pairs)
    assert whole.numpy() == pytest.approx(want[1].numpy(), abs=1e-12)
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


def test_moments_turn_with_the_charges(scene):
    qm, mm, charges = scene
    turn = torch.tensor(Rotation.random(random_state=5).as_matrix())
    here = sums_at(qm, mm, charges, MOMENTS).value.reshape(4, 9, -1)
    there = sums_at(qm @ turn.T, mm @ turn.T, charges, MOMENTS).value.reshape(4, 9, -1)
    assert there[:, 0].numpy() == pytest.approx(here[:, 0].numpy(), abs=1e-12)
    vectors = torch.einsum("xy,iyk->ixk", turn, here[:, 1:4])
    assert there[:, 1:4].numpy() == pytest.approx(vectors.numpy(), abs=1e-12)
    shapes = basis()[4:]
    tensors = torch.einsum("iak,axy->ikxy", here[:, 4:], shapes)
    turned = torch.einsum("xy,ikyz,wz->ikxw", turn, tensors, turn)
    assert there[:, 4:].numpy() == pytest.approx(
        torch.einsum("ikxy,axy->iak", turned, shapes).numpy(), abs=1e-12
    )


def test_moments_of_the_lowest_order_are_the_sums(scene):
    plain = ChargeSums(count=4, cutoff=8.0)
    found = sums_at(*scene, MOMENTS).value[:, :4]
    assert found.numpy() == pytest.approx(sums_at(*scene, plain).value.numpy(), abs=1e-14)


def test_opposite_charges_around_an_atom_leave_its_tensor_only():
    """Equal charges on both sides: vectors cancel, the tensor along their line does not."""
    mm = torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, -3.0]]).double()
    value = sums_at(ORIGIN, mm, torch.ones(2).double(), MOMENTS).value.reshape(9, -1)
    assert value[1:4].numpy() == pytest.approx(np.zeros((3, 4)), abs=1e-14)
    assert value[8].numpy() == pytest.approx(value[0].numpy() * 2 / np.sqrt(6), abs=1e-14)
    assert not value[4:8].any()


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
