"""Weights with a leading ``members`` axis: a committee is one module and one evaluation."""

import math

import torch
from torch import Tensor, nn

__all__ = ["StackedLinear", "keep_out_of_weights"]


class StackedLinear(nn.Module):
    """One affine map per member: ``(members, rows, inputs)`` to ``(members, rows, outputs)``."""

    def __init__(
        self, members: int, inputs: int, outputs: int, *, bias: bool = True, zero: bool = False
    ) -> None:
        super().__init__()
        bound = 0.0 if zero else math.sqrt(3 / inputs)
        weight = torch.empty(members, inputs, outputs, dtype=torch.float64).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs, dtype=torch.float64)) if bias else None

    def forward(self, rows: Tensor) -> Tensor:
        """Apply the maps."""
        if self.bias is None:
            return torch.bmm(rows, self.weight)
        return torch.baddbmm(self.bias, rows, self.weight)


def keep_out_of_weights(module: nn.Module) -> None:
    """Leave the constants of a foreign module out of stored weights: they follow from the header."""
    for part in module.modules():
        for name, value in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, value, persistent=False)
