"""Readout by a quantum circuit: features in, energies out (hartree); Linear, angles, circuit, <Z>, Linear.

arXiv 2508.04098. Angles enter once, so the energy is a truncated Fourier series of them, which is also how
it is computed: see `drupe.mlp.readouts.series`.
"""

import math

import torch
from torch import Tensor, nn

from drupe.hardware.circuits import expectations
from drupe.mlp.readouts.bounded import bounded_weights
from drupe.mlp.readouts.cosine import angle_layer
from drupe.mlp.readouts.registry import ReadoutSize
from drupe.mlp.readouts.series import FourierSeries
from drupe.mlp.readouts.settings import VqcSettings

__all__ = ["Vqc"]


class Vqc(nn.Module):
    """A circuit for each atom, with rotations that all atoms share.

    Parameters
    ----------
    size
        Width of the features, members, scale and bound of energies.
    settings
        The circuit.
    """

    held: Tensor | None

    def __init__(self, size: ReadoutSize, settings: VqcSettings) -> None:
        super().__init__()
        self.size, self.settings = size, settings
        members, qubits = size.members, settings.qubits
        self.angles = angle_layer(size, qubits)
        turns = torch.empty(members, settings.layers, qubits, dtype=torch.float64)
        self.rotations = nn.Parameter(turns.uniform_(-math.pi, math.pi))
        self.weight = nn.Parameter(torch.zeros(members, qubits, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(members, 1, dtype=torch.float64))
        self.series = FourierSeries(settings.circuit)
        self.register_buffer("held", None, persistent=False)
        self.register_load_state_dict_pre_hook(Vqc._let_go)  # type: ignore[no-untyped-call]

    def forward(self, features: Tensor) -> Tensor:
        """Energies, shape ``(members, rows)``, hartree."""
        angles = self.angles(features)
        weight, bias = self.observable()
        if self.held is not None:
            return self.series.held(self.held, angles) + bias.detach()
        if self.settings.diff_method == "observable":
            made: Tensor = self.series(self.series.coefficients(weight, self.rotations), angles)
            return made + bias
        simulate = expectations(self.settings.circuit, self.settings.diff_method)
        expected = torch.stack([simulate(*one) for one in zip(angles, self.rotations, strict=True)])
        return (expected * weight[:, None]).sum(-1) + bias

    def observable(self) -> tuple[Tensor, Tensor]:
        """Weights ``(members, qubits)`` and constant ``(members, 1)`` of sum w_k Z_k + b, hartree."""
        return bounded_weights(self.weight, self.bias, self.size)

    def _let_go(self, *loading: object) -> None:
        """Forget an observable that belongs to weights which are about to be replaced."""
        self.held = None

    def hold(self) -> None:
        """Find the observable once and for all.

        Its weights may be loaded anew, but not changed in place, and are constants to every derivative.
        """
        weight, _ = self.observable()
        self.held = self.series.coefficients(weight, self.rotations).detach()
