"""D3(BJ) energy in torch: positions (bohr) in, energies (hartree) out, differentiable once."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from drupe.embedding.meanfield.dispersion import D3Energy

__all__ = ["DispersionEnergy"]


class DispersionEnergy:
    """Energies of frames by dftd3, with its gradients.

    Parameters
    ----------
    numbers
        Atomic numbers, ``(atoms,)``.
    functional
        Whose published parameters are used.

    Raises
    ------
    InputError
        If there are no parameters for this functional.
    MachineError
        If dftd3 is not installed.
    """

    static = False

    def __init__(self, numbers: NDArray[np.int64], functional: str) -> None:
        self._model = D3Energy(numbers, functional)

    def __call__(self, positions: Tensor) -> Tensor:
        """Energies ``(frames,)`` in hartree of positions ``(frames, atoms, 3)`` in bohr."""
        energy: Tensor = _Library.apply(positions, self._model)  # type: ignore[no-untyped-call]
        return energy


class _Library(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, model: D3Energy) -> Tensor:
        found = [model(place) for place in positions.detach().to("cpu", torch.float64).numpy()]
        forces = np.array([one[1] for one in found]).reshape(positions.shape)
        ctx.save_for_backward(positions.new_tensor(forces))
        return positions.new_tensor([one[0] for one in found])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (forces,) = ctx.saved_tensors
        return -upstream[:, None, None] * forces, None
