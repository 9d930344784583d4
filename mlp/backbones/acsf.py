"""Atom-centred symmetry functions and a network per element: positions, field and charge sums to features.

The molecule's own functions are TorchANI's AEV (Smith, Isayev, Roitberg, Chem. Sci. 8, 3192 (2017)) with a
cutoff that is smooth in all derivatives. The surroundings come in channels of their own: charge-weighted
radial sums, the size of the field, and the field's projections on the directions of the neighbours, one for
each element. Bohr, e, hartree/(e bohr).
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from drupe.errors import InputError
from drupe.mlp.backbones.pairs import DensePairs, bounded
from drupe.mlp.backbones.registry import NetworkSize
from drupe.mlp.backbones.settings import AcsfSettings
from drupe.mlp.backbones.stacked import StackedLinear, keep_out_of_weights
from drupe.mlp.charge_sums import charge_sums_of
from drupe.mlp.quiet_torchani import AEVComputer, ANIAngular, ANIRadial

__all__ = ["Acsf"]

_START = 1.5  # bohr; where the first radial function sits
_OVERLAP = 1.42  # of neighbouring functions, as in ANI-2x: eta times the square of their distance
_ZETA = 14.1 / 16  # ANI-2x has 14.1 for four sections
_ALONG_FIELD = 4  # radial functions of the projections on the field


class Acsf(nn.Module):
    """One network per element on symmetry functions.

    Parameters
    ----------
    size
        ``radial`` is the number of radial functions, ``layers`` the depth of the networks.
    settings
        Angular functions and sums over charges.
    """

    order: Tensor
    back: Tensor
    elements: Tensor
    species: Tensor

    static = False

    def __init__(self, size: NetworkSize, settings: AcsfSettings) -> None:
        super().__init__()
        if size.box is not None:
            raise InputError(
                "the backbone 'acsf' knows no periodic box", remedy="take painn, tensornet or equivariant"
            )
        self.field_scale, self.members = size.field_scale, size.members
        self.charge_sums = charge_sums_of(settings)
        self.functions = _functions(size, settings)
        self.pairs = DensePairs(len(size.species), _ALONG_FIELD, size.cutoff)
        order = torch.argsort(size.species, stable=True)
        self.counts = torch.bincount(size.species, minlength=size.n_species).tolist()
        elements = functional.one_hot(size.species, size.n_species).to(torch.float64)
        for name, value in (
            ("species", size.species),
            ("order", order),
            ("back", torch.argsort(order)),
            ("elements", elements),
        ):
            self.register_buffer(name, value, persistent=False)
        inputs = self.functions.out_dim + 1 + size.n_species * _ALONG_FIELD + settings.charge_radial
        widths = [inputs] + [size.features] * size.layers
        self.networks = nn.ModuleList(
            nn.ModuleList(StackedLinear(size.members, a, b) for a, b in pairwise(widths))
            for _ in range(size.n_species)
        )

    def forward(self, positions: Tensor, field: Tensor, sums: Tensor) -> Tensor:
        """Scalar features.

        Parameters
        ----------
        positions
            Shape ``(frames, atoms, 3)``, bohr.
        field
            Electric field at the atoms, same shape, hartree/(e bohr).
        sums
            Sums over the charges, shape ``(frames, atoms, charge_radial)``, e.

        Returns
        -------
        Tensor
            Shape ``(members, frames * atoms, features)``.
        """
        frames = len(positions)
        own = 4 * self.functions(self.species.repeat(frames, 1), positions)  # of the order one
        small = bounded(field, self.field_scale)
        pairs = self.pairs(positions)
        moments = torch.einsum("fijr,fijx,js->fixsr", pairs.waves, pairs.unit, self.elements)
        along = torch.einsum("fixsr,fix->fisr", moments, small).flatten(2)
        inputs = torch.cat([own, (small * small).sum(-1, keepdim=True), along, sums], dim=-1)
        made = []
        parts = torch.split(inputs[:, self.order], self.counts, dim=1)
        for layers, part in zip(self.networks, parts, strict=True):
            rows = part.reshape(1, -1, part.shape[-1]).expand(self.members, -1, -1)
            for layer in layers.children():
                rows = functional.silu(layer(rows))
            made.append(rows.reshape(self.members, frames, part.shape[1], -1))
        return torch.cat(made, dim=2)[:, :, self.back].flatten(1, 2)


def _functions(size: NetworkSize, settings: AcsfSettings) -> AEVComputer:
    """TorchANI's computer with bohr for its angstrom."""

    def shifts(cutoff: float, count: int) -> list[float]:
        return [_START + k * (cutoff - _START) / count for k in range(count)]

    def eta(cutoff: float, count: int) -> float:
        return _OVERLAP * (count / (cutoff - _START)) ** 2

    sections = settings.angular_sections
    radial = ANIRadial(
        eta(size.cutoff, size.radial), shifts(size.cutoff, size.radial), size.cutoff, cutoff_fn="smooth"
    )
    angular = ANIAngular(
        eta(settings.angular_cutoff, settings.angular_radial),
        _ZETA * sections**2,
        shifts(settings.angular_cutoff, settings.angular_radial),
        [math.pi * (k + 0.5) / sections for k in range(sections)],
        settings.angular_cutoff,
        cutoff_fn="smooth",
    )
    computer = AEVComputer(radial, angular, size.n_species)
    keep_out_of_weights(computer)
    return computer.double()
