"""Cosine readout: features in, energies out (hartree); w cos(W f + p) + b."""

import math

import torch
from torch import Tensor, nn

from drupe.mlp.backbones.stacked import StackedLinear
from drupe.mlp.readouts.bounded import bounded_weights
from drupe.mlp.readouts.registry import ReadoutSize
from drupe.mlp.readouts.settings import CosineSettings

__all__ = ["Cosine", "angle_layer"]


class Cosine(nn.Module):
    """What the circuit without gates between its qubits computes, with a phase for its rotations.

    Parameters
    ----------
    size
        Width of the features, members, scale and bound of energies.
    settings
        Number of cosines.
    """

    def __init__(self, size: ReadoutSize, settings: CosineSettings) -> None:
        super().__init__()
        self.size = size
        self.angles = angle_layer(size, settings.width)
        self.weight = nn.Parameter(torch.zeros(size.members, settings.width, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(size.members, 1, dtype=torch.float64))

    def forward(self, features: Tensor) -> Tensor:
        """Energies, shape ``(members, rows)``, hartree."""
        weight, bias = bounded_weights(self.weight, self.bias, self.size)
        return torch.bmm(torch.cos(self.angles(features)), weight[:, :, None])[:, :, 0] + bias

    def hold(self) -> None:
        """There is nothing to prepare."""


def angle_layer(size: ReadoutSize, width: int) -> StackedLinear:
    """Map from features to angles, with phases all over the circle."""
    made = StackedLinear(size.members, size.features, width)
    assert made.bias is not None
    nn.init.uniform_(made.bias, -math.pi, math.pi)
    return made
