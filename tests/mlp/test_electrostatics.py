import math

import numpy as np
import pytest
import torch

from drupe.mlp.electrostatics import field_at, pull_back


def setting(seed=0, qm=3, mm=7):
    rng = np.random.default_rng(seed)
    return (
        torch.tensor(rng.normal(size=(qm, 3))),
        torch.tensor(4 * rng.normal(size=(mm, 3))),
        torch.tensor(rng.normal(size=mm)),
    )


@pytest.mark.parametrize("distance", [0.5, 3.0, 12.0])
def test_one_charge_against_the_closed_form(distance):
    at, source = (
        torch.tensor([[0.0, 0.0, distance]], dtype=torch.float64),
        torch.zeros(1, 3, dtype=torch.float64),
    )
    made = field_at(at, source, torch.tensor([-0.7], dtype=torch.float64), 1.6)
    x = distance / 1.6
    potential = -0.7 * math.erf(x) / distance
    bell = 2 / math.sqrt(math.pi) * math.exp(-x * x)
    field = -0.7 * (math.erf(x) - x * bell) / distance**2
    # 1e-13: double precision with a handful of operations.
    assert float(made.potential) == pytest.approx(potential, rel=1e-13)
    assert made.field[0].tolist() == pytest.approx([0, 0, field], rel=1e-13, abs=1e-15)


@pytest.mark.parametrize("width", [0.0, 1.5])
def test_field_is_minus_the_gradient_of_the_potential(width):
    qm, mm, charges = setting()
    qm.requires_grad_()
    made = field_at(qm, mm, charges, width)
    (slope,) = torch.autograd.grad(made.potential.sum(), qm)
    assert torch.allclose(made.field.detach(), -slope, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("width", [0.0, 1.5])
def test_closed_form_gradient_equals_autograd(width):
    qm, mm, charges = setting(1)
    rng = np.random.default_rng(2)
    on_potential, on_field = torch.tensor(rng.normal(size=3)), torch.tensor(rng.normal(size=(3, 3)))
    place, sources = qm.clone().requires_grad_(), mm.clone().requires_grad_()
    made = field_at(place, sources, charges, width)
    want = torch.autograd.grad(
        on_potential @ made.potential + (on_field * made.field).sum(), (place, sources)
    )
    got = pull_back(qm, mm, field_at(qm, mm, charges, width), on_potential, on_field)
    # 1e-10: third powers of distances near 0.3 bohr amplify rounding.
    for one, two in zip(got, want, strict=True):
        assert torch.allclose(one, two, rtol=1e-10, atol=1e-10)


def test_damping_is_gone_at_contact_distances():
    qm, mm, charges = setting(3)
    mm = 4 * mm / torch.linalg.vector_norm(mm, dim=1, keepdim=True) * 4
    bare, damped = field_at(qm, mm, charges, 0.0), field_at(qm, mm, charges, 2.0)
    # erfc(13/2) is 4e-20; what is left is rounding.
    assert torch.allclose(bare.potential, damped.potential, rtol=1e-10)


def test_no_charges_make_nothing():
    made = field_at(torch.ones(2, 3).double(), torch.zeros(0, 3).double(), torch.zeros(0).double(), 1.0)
    assert made.potential.tolist() == [0, 0]
    assert not made.field.any()
