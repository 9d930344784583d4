"""Predictions and the dimensionless loss on a `TrainingSet` (hartree, bohr, e); one member at a time."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from drupe.mlp.potential import Potential
from drupe.mlp.readout import AtomTerms
from drupe.mlp.training_set import TrainingSet

__all__ = ["Errors", "LossWeights", "Scales", "loss_of", "measure", "predict_frames", "scales_of"]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the dimensionless terms: each is 1 for a model that learned nothing."""

    energy: float
    forces: float
    mm_forces: float
    charge: float
    polarizability: float


class Scales(NamedTuple):
    """What the baseline leaves over, hartree and hartree/bohr: the units of the loss."""

    energy: float
    force: float
    mm_square: float


class Errors(NamedTuple):
    """Root mean squares: energy hartree, force hartree/bohr, MM force as a fraction of the left-over."""

    energy: float
    force: float
    mm_force: float


NO_ERRORS = Errors(math.nan, math.nan, math.nan)


class _Predicted(NamedTuple):
    energy: Tensor
    forces: Tensor
    mm_square: Tensor
    response: Tensor  # z = (q - q0, dE/d(field)) of each frame
    terms: AtomTerms


def scales_of(data: TrainingSet, energy_zero: float) -> Scales:
    """Root mean squares of what there is to learn, never zero."""
    energy = _mean((data.energy - energy_zero) ** 2, data.has_energy).sqrt()
    force = _mean((data.forces**2).mean((1, 2)), data.has_forces).sqrt()
    square = _mean(data.mm_square, data.has_mm)
    return Scales(max(float(energy), 1e-5), max(float(force), 1e-5), max(float(square), 1e-12))


def predict_frames(potential: Potential, data: TrainingSet, *, graph: bool = False) -> _Predicted:
    """Energy, QM forces and squared MM force error that the network makes of the frames.

    With ``graph`` the results can be differentiated with respect to the weights.
    """
    place = data.positions.detach().requires_grad_()
    field = data.field.detach().requires_grad_()
    energies, terms = potential.learned(place, data.potential, field)
    to_place, to_field = torch.autograd.grad(energies.sum(), (place, field), create_graph=graph)
    shift = terms.shift[0]
    through = torch.einsum("fixy,fiy->fix", data.gradient, to_field)
    forces = shift[..., None] * data.field - to_place - through
    z = torch.cat([shift, to_field.reshape(len(shift), -1)], dim=1)
    square = (
        data.mm_square + 2 * (z * data.mm_cross).sum(1) + torch.einsum("fa,fab,fb->f", z, data.mm_gram, z)
    )
    return _Predicted(energies[0], forces, square, z, terms)


def loss_of(
    potential: Potential, data: TrainingSet, scales: Scales, weights: LossWeights, energy_zero: float
) -> Tensor:
    """Weighted sum of squared relative errors and of the pulls on charges and polarizabilities."""
    made = predict_frames(potential, data, graph=True)
    energy = _mean((made.energy + energy_zero - data.energy) ** 2, data.has_energy) / scales.energy**2
    force = _mean(((made.forces - data.forces) ** 2).mean((1, 2)), data.has_forces) / scales.force**2
    mm = _mean(made.mm_square, data.has_mm) / scales.mm_square
    charge = (made.terms.shift**2).mean() / potential.header.charge_scale**2
    polarizability = (made.terms.polarizability**2).mean() / potential.header.polarizability_scale**2
    return (
        weights.energy * energy
        + weights.forces * force
        + weights.mm_forces * mm
        + weights.charge * charge
        + weights.polarizability * polarizability
    )


def measure(potential: Potential, data: TrainingSet, scales: Scales, energy_zero: float) -> Errors:
    """Errors on frames; nan where no frame has the quantity."""
    made = predict_frames(potential, data)
    with torch.no_grad():
        energy = _rms((made.energy + energy_zero - data.energy) ** 2, data.has_energy)
        force = _rms(((made.forces - data.forces) ** 2).mean((1, 2)), data.has_forces)
        mm = _rms(made.mm_square.clamp(min=0) / scales.mm_square, data.has_mm)
    return Errors(energy, force, mm)


def _mean(values: Tensor, present: Tensor) -> Tensor:
    return (values * present).sum() / present.sum().clamp(min=1)


def _rms(values: Tensor, present: Tensor) -> float:
    return float(_mean(values, present).sqrt()) if float(present.sum()) > 0 else float("nan")
