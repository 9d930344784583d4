"""Classical readout of the energy alone: features in, energies out (hartree); Linear, SiLU, Linear."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from drupe.mlp.backbones.stacked import StackedLinear
from drupe.mlp.readouts.registry import ReadoutSize
from drupe.mlp.readouts.settings import ClassicalSettings

__all__ = ["Perceptron"]


class Perceptron(nn.Module):
    """One hidden layer; a control whose size is free.

    Parameters
    ----------
    size
        Width of the features, members, scale and bound of energies.
    settings
        Width of the hidden layer.
    """

    def __init__(self, size: ReadoutSize, settings: ClassicalSettings) -> None:
        super().__init__()
        self.size = size
        self.inner = StackedLinear(size.members, size.features, settings.width)
        self.last = StackedLinear(size.members, settings.width, 1, zero=True)

    def forward(self, features: Tensor) -> Tensor:
        """Energies, shape ``(members, rows)``, hartree."""
        out = self.last(functional.silu(self.inner(features)))[:, :, 0]
        bound = self.size.energy_bound
        return bound * torch.tanh(out * (self.size.energy_scale / bound))

    def hold(self) -> None:
        """There is nothing to prepare."""
