"""Low-rank adapters of a network's linear maps: a module in, what is left to train out.

W = W0 + A B with A of ``rank`` columns; W0 and everything else in the module stay as they are (Hu et al.,
ICLR 2022, arXiv 2106.09685). B starts at zero, so that nothing has moved before the first step.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from drupe.errors import InputError

__all__ = ["adapt", "effective_weights"]


def adapt(module: nn.Module, rank: int, seed: int) -> dict[str, nn.Parameter]:
    """Freeze a module and give its maps adapters.

    Parameters
    ----------
    module
        Its maps are parameters of shape ``(members, inputs, outputs)`` with more than ``rank`` of both.
    rank
        Columns of A.
    seed
        Of the first A; the random state of the process is left alone.

    Returns
    -------
    dict
        A and B of each map by name, in the module's order.

    Raises
    ------
    InputError
        If no map is larger than the rank.
    """
    draw = torch.Generator().manual_seed(seed)
    moved: dict[str, nn.Parameter] = {}
    for name, value in list(module.named_parameters()):
        value.requires_grad_(False)
        if value.ndim != 3 or min(value.shape[1:]) <= rank:
            continue
        home, _, leaf = name.rpartition(".")
        adapter = _LowRank(value, rank, draw)
        parametrize.register_parametrization(module.get_submodule(home), leaf, adapter)
        moved |= {f"{name} left": adapter.left, f"{name} right": adapter.right}
    if not moved:
        raise InputError(
            f"no linear map of the network has more than {rank} inputs and outputs",
            remedy="lower the rank of the transfer, or leave it out to train all weights",
        )
    return moved


def effective_weights(module: nn.Module, names: Collection[str]) -> Mapping[str, Tensor]:
    """Weights under the names they had before `adapt`, adapters included."""
    found: dict[str, Tensor] = {}
    for name in names:
        home, _, leaf = name.rpartition(".")
        found[name] = getattr(module.get_submodule(home), leaf)
    return found


class _LowRank(nn.Module):
    """W0 in, W0 + A B out."""

    def __init__(self, start: Tensor, rank: int, draw: torch.Generator) -> None:
        super().__init__()
        members, inputs, outputs = start.shape
        left = torch.randn(members, inputs, rank, generator=draw, dtype=start.dtype) / inputs**0.5
        self.left = nn.Parameter(left)
        self.right = nn.Parameter(torch.zeros(members, rank, outputs, dtype=start.dtype))

    def forward(self, start: Tensor) -> Tensor:
        """Add the adapter."""
        return start + torch.bmm(self.left, self.right)
