"""Predictions and the dimensionless loss on a `TrainingSet` (hartree, bohr, e); one member at a time."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from drupe.mlp.potential import Potential
from drupe.mlp.readout import AtomTerms
from drupe.mlp.training_set import TrainingSet

__all__ = [
    "Errors",
    "LossWeights",
    "Predicted",
    "Scales",
    "left_over",
    "loss_of",
    "mean_of",
    "measure",
    "predict_frames",
    "scales_of",
    "slope_loss",
]


_AT_ONCE = 64  # frames in memory when errors are measured


@dataclass(frozen=True)
class LossWeights:
    """Weights of the dimensionless terms: each is 1 for a model that learned nothing."""

    energy: float
    forces: float
    mm_forces: float
    charge: float
    polarizability: float
    slopes: float = 0.0


class Scales(NamedTuple):
    """What the baseline leaves over, hartree and hartree/bohr: the units of the loss."""

    energy: float
    force: float
    mm_square: float
    slope: float


class Errors(NamedTuple):
    """Root mean squares: energy hartree; force, slope hartree/bohr; MM force a fraction of the left-over."""

    energy: float
    force: float
    mm_force: float
    slope: float = math.nan


NO_ERRORS = Errors(math.nan, math.nan, math.nan, math.nan)


class Predicted(NamedTuple):
    """What the network makes of frames."""

    energy: Tensor
    forces: Tensor
    mm_square: Tensor
    response: Tensor  # z = (q - q0, dE/d(field), dE/d(sums), dE/d(link atoms)) of each frame
    terms: AtomTerms


def scales_of(data: TrainingSet, energy_zero: float) -> Scales:
    """Root mean squares of what there is to learn, never zero.

    A direction has norm 1, so slopes along random ones are as large as a component of the force: where
    there are slopes only, their scale is that of the forces too.
    """
    energy = mean_of((data.energy - energy_zero) ** 2, data.has_energy).sqrt()
    force = mean_of((data.forces**2).mean((1, 2)), data.has_forces).sqrt()
    square = mean_of(data.mm_square, data.has_mm)
    slope = mean_of(data.slopes**2, data.has_slopes).sqrt()
    if not bool(data.has_forces.any()):
        force = slope
    return Scales(
        max(float(energy), 1e-5),
        max(float(force), 1e-5),
        max(float(square), 1e-12),
        max(float(slope), 1e-5),
    )


def slope_miss(forces: Tensor, data: TrainingSet) -> Tensor:
    """Predicted minus wanted dE/ds, shape ``(frames, k)``, of predicted ``forces (frames, n, 3)``."""
    return -torch.einsum("fkix,fix->fk", data.directions, forces) - data.slopes


def slope_loss(forces: Tensor, data: TrainingSet, scale: float) -> Tensor:
    """Mean squared miss of the slopes, in units of ``scale`` and of each label's own error."""
    if not data.slopes.shape[1]:
        return forces.new_zeros(())
    relative = slope_miss(forces, data) ** 2 / (scale**2 + data.slope_errors**2)
    return mean_of(relative, data.has_slopes)


def predict_frames(potential: Potential, data: TrainingSet, *, graph: bool = False) -> Predicted:
    """Energy, QM forces and squared MM force error that the network makes of the frames.

    With ``graph`` the results can be differentiated with respect to the weights.
    """
    place = data.positions.detach().requires_grad_()
    field = data.field.detach().requires_grad_()
    sums = data.sums.detach().requires_grad_()
    energies, terms = potential.learned(place, data.potential, field, sums)
    to_place, to_field, to_sums = torch.autograd.grad(
        energies.sum(), (place, field, sums), create_graph=graph, materialize_grads=True
    )
    shift = terms.shift[0]
    z = torch.cat([shift, to_field.flatten(1), to_sums.flatten(1)], dim=1)
    forces = -to_place - torch.einsum("fab,fb->fa", data.response, z).reshape(to_place.shape)
    atoms = data.forces.shape[1]
    if atoms < forces.shape[1]:  # link atoms: their forces go to their hosts
        handed = torch.einsum("fab,fb->fa", data.link_share, forces[:, atoms:].flatten(1))
        forces = forces[:, :atoms] + handed.reshape(len(forces), atoms, 3)
        z = torch.cat([z, to_place[:, atoms:].flatten(1)], dim=1)
    square = (
        data.mm_square + 2 * (z * data.mm_cross).sum(1) + torch.einsum("fa,fab,fb->f", z, data.mm_gram, z)
    )
    return Predicted(energies[0], forces, square, z, terms)


def loss_of(
    potential: Potential, data: TrainingSet, scales: Scales, weights: LossWeights, energy_zero: float
) -> Tensor:
    """Weighted sum of squared relative errors and of the pulls on charges and polarizabilities."""
    made = predict_frames(potential, data, graph=True)
    energy = mean_of((made.energy + energy_zero - data.energy) ** 2, data.has_energy) / scales.energy**2
    force = mean_of(((made.forces - data.forces) ** 2).mean((1, 2)), data.has_forces) / scales.force**2
    mm = mean_of(made.mm_square, data.has_mm) / scales.mm_square
    slope = slope_loss(made.forces, data, scales.slope)
    charge = (made.terms.shift**2).mean() / potential.header.charge_scale**2
    polarizability = (made.terms.polarizability**2).mean() / potential.header.polarizability_scale**2
    return (
        weights.energy * energy
        + weights.forces * force
        + weights.mm_forces * mm
        + weights.charge * charge
        + weights.polarizability * polarizability
        + weights.slopes * slope
    )


def measure(potential: Potential, data: TrainingSet, scales: Scales, energy_zero: float) -> Errors:
    """Errors on frames; nan where no frame has the quantity."""
    squares, counts = np.zeros(4), np.zeros(4)
    for part in data.parts(_AT_ONCE):
        made = predict_frames(potential, part)
        with torch.no_grad():
            for k, (square, present) in enumerate(
                (
                    ((made.energy + energy_zero - part.energy) ** 2, part.has_energy),
                    (((made.forces - part.forces) ** 2).mean((1, 2)), part.has_forces),
                    (made.mm_square.clamp(min=0) / scales.mm_square, part.has_mm),
                    (slope_miss(made.forces, part) ** 2, part.has_slopes),
                )
            ):
                squares[k] += float((square * present).sum())
                counts[k] += float(present.sum())
    there = counts > 0
    return Errors(*np.where(there, np.sqrt(squares / np.where(there, counts, 1)), np.nan).tolist())


def left_over(made: Predicted, data: TrainingSet, energy_zero: float) -> Scales:
    """What a potential misses of the labels, never zero: the units of a loss that goes on from there."""
    rest = replace(
        data,
        energy=data.energy - made.energy.detach(),
        forces=data.forces - made.forces.detach(),
        mm_square=made.mm_square.detach().clamp(min=0),
        slopes=-slope_miss(made.forces.detach(), data),
    )
    return scales_of(rest, energy_zero)


def mean_of(values: Tensor, present: Tensor) -> Tensor:
    """Mean over what is there; zero where nothing is."""
    return (values * present).sum() / present.sum().clamp(min=1)
