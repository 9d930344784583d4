"""Slopes in the loss: what they are, their gradient, and that missing ones change nothing."""

import dataclasses

import numpy as np
import pytest
import torch

from drupe.mlp import Dataset
from drupe.mlp.loss import LossWeights, loss_of, measure, predict_frames, scales_of, slope_loss
from drupe.mlp.training_set import prepare

SLOPES = LossWeights(energy=0.0, forces=0.0, mm_forces=0.0, charge=0.0, polarizability=0.0, slopes=1.0)
ALL = LossWeights(energy=0.3, forces=1.0, mm_forces=0.3, charge=1e-3, polarizability=1e-3, slopes=1.0)


@pytest.fixture
def prepared(slope_labels, ligand, random_members):
    return prepare(
        Dataset.from_labels(slope_labels[:5]), ligand.force_field, random_members[0].header.damping
    )


def test_a_slope_is_the_derivative_of_the_potential_along_its_direction(
    slope_labels, random_members, prepared
):
    potential, one = random_members[0], slope_labels[1]
    made = predict_frames(potential, prepared)
    mm, charges = torch.tensor(one.mm_positions), torch.tensor(one.mm_charges)
    for k, direction in enumerate(one.directions):
        step = 1e-3
        with torch.no_grad():
            energies = [
                float(potential(torch.tensor(one.qm_positions + s * step * direction), mm, charges))
                for s in (-2, -1, 1, 2)
            ]
        found = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * step)
        # What training compares: slope of the label less all that is fixed, and slope of the network.
        network = -float((torch.tensor(direction) * made.forces[1].detach()).sum())
        fixed = one.slopes[k] - float(prepared.slopes[1, k])
        assert network + fixed == pytest.approx(found, abs=1e-9)  # energies of 1e-13, over the step


def test_gradient_of_the_slope_term_is_the_slope_of_the_loss(random_members, prepared):
    potential = random_members[1]
    scales = scales_of(prepared, 0.0)
    parameters = [p for p in potential.parameters() if p.requires_grad]
    loss = loss_of(potential, prepared, scales, SLOPES, 0.0)
    slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
    draw = torch.Generator().manual_seed(1)
    along = [torch.randn(p.shape, generator=draw, dtype=p.dtype) for p in parameters]
    want = sum(float((g * v).sum()) for g, v in zip(slopes, along, strict=True) if g is not None)
    start = [p.detach().clone() for p in parameters]

    def at(s: float) -> float:
        with torch.no_grad():
            for p, p0, v in zip(parameters, start, along, strict=True):
                p.copy_(p0 + s * v)
        return float(loss_of(potential, prepared, scales, SLOPES, 0.0).detach())

    step = 1e-4
    try:
        found = (at(-2 * step) - 8 * at(-step) + 8 * at(step) - at(2 * step)) / (12 * step)
    finally:
        at(0.0)
    assert abs(want) > 1e-3
    assert found == pytest.approx(want, rel=1e-7)


def test_a_model_that_learned_nothing_has_a_slope_term_of_one(prepared):
    nothing = torch.zeros_like(prepared.forces)
    found = float(slope_loss(nothing, prepared, scales_of(prepared, 0.0).slope))
    assert found == pytest.approx(1.0, rel=1e-4)  # the labels' own errors, 1e-6, are in the denominator


def test_missing_slopes_change_nothing(labels, slope_labels, ligand, random_members):
    potential = random_members[0]
    without = Dataset.from_labels(labels[:5], which="low")
    mixed = Dataset.from_labels(slope_labels[:5])
    garbage = np.random.default_rng(2).normal(size=mixed.directions.shape)
    masked = dataclasses.replace(
        without,
        directions=garbage,
        slopes=mixed.slopes,
        slope_errors=mixed.slope_errors,
        has_slopes=np.zeros_like(mixed.has_slopes),
    )
    results = []
    for data in (without, masked):
        frames = prepare(data, ligand.force_field, potential.header.damping)
        scales = scales_of(frames, -300.0)
        loss = loss_of(potential, frames, scales, ALL, -300.0)
        gradient = torch.autograd.grad(loss, list(potential.parameters()), allow_unused=True)
        results.append((float(loss.detach()), [g for g in gradient if g is not None]))
        assert np.isnan(measure(potential, frames, scales, -300.0).slope)
    assert results[0][0] == results[1][0]
    assert all(torch.equal(a, b) for a, b in zip(results[0][1], results[1][1], strict=True))


def test_only_the_frames_with_slopes_count(labels, slope_labels, ligand, random_members):
    potential = random_members[0]
    some = Dataset.from_labels([*labels[:3], *slope_labels[3:6]])
    alone = some.take([3, 4, 5])
    sets = [prepare(data, ligand.force_field, potential.header.damping) for data in (some, alone)]
    scales = scales_of(sets[1], 0.0)
    assert scales_of(sets[0], 0.0).slope == pytest.approx(scales.slope, rel=1e-12)
    first, second = (float(loss_of(potential, data, scales, SLOPES, 0.0).detach()) for data in sets)
    assert first == pytest.approx(second, rel=1e-12)
