"""Weights of a sum of bounded terms that a bound cannot be passed with: no unit in, hartree out."""

import torch
from torch import Tensor

from drupe.mlp.readouts.registry import ReadoutSize

__all__ = ["bounded_weights"]


def bounded_weights(weight: Tensor, bias: Tensor, size: ReadoutSize) -> tuple[Tensor, Tensor]:
    """Scale a last layer over terms between -1 and 1 so that its sum stays within the energy bound.

    Unlike a tanh of the sum, this leaves the energy linear in the terms: a circuit's energy stays the
    expectation of one observable, and its shot noise has no bias.

    Parameters
    ----------
    weight, bias
        Shapes ``(members, terms)`` and ``(members, 1)``.
    size
        Scale and bound.

    Returns
    -------
    tuple of Tensor
        The same in hartree.
    """
    largest = size.energy_scale * torch.cat([weight, bias], dim=1).abs().sum(1, keepdim=True)
    gain = size.energy_scale / (1 + largest / size.energy_bound)
    return gain * weight, gain * bias
