"""TensorNet: features of rank 0, 1 and 2 per atom from positions (bohr) and the field (hartree/(e bohr)).

Simeon, De Fabritiis, TensorNet: Cartesian tensor representations for efficient learning of molecular
potentials, NeurIPS 2023. A feature is a 3 x 3 matrix: a scalar, an antisymmetric matrix that stands for a
vector, and a symmetric traceless one. Matrices of an atom and of its message are multiplied, so bodies above
pairs enter without spherical harmonics. The field enters the vector part, moments of the MM charges the part
of their kind. Written from the paper's equations for dense pairs and stacked members.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from drupe.mlp.backbones.pairs import DensePairs, Pairs, bounded
from drupe.mlp.backbones.registry import NetworkSize
from drupe.mlp.backbones.settings import ChargeMoments
from drupe.mlp.backbones.shapes import PARTS, basis, count_of
from drupe.mlp.backbones.stacked import StackedLinear
from drupe.mlp.charge_sums import charge_sums_of

__all__ = ["TensorNet"]

_PARTS = list(PARTS)
_KIND = [kind for kind, count in enumerate(_PARTS) for _ in range(count)]


class TensorNet(nn.Module):
    """Message passing with matrices.

    Parameters
    ----------
    size
        Elements, width, layers, radial functions, cutoff, members.
    settings
        Moments of the MM charges to read beside their field; None for none.
    """

    static = True
    species: Tensor
    elements: Tensor
    basis: Tensor

    def __init__(self, size: NetworkSize, settings: ChargeMoments | None = None) -> None:
        super().__init__()
        self.charge_sums = charge_sums_of(settings)
        members, features = size.members, size.features
        self.field_scale = size.field_scale
        self.register_buffer("species", size.species, persistent=False)
        elements = functional.one_hot(size.species, size.n_species).to(torch.float64)
        self.register_buffer("elements", elements, persistent=False)
        self.register_buffer("basis", basis(), persistent=False)
        self.pairs = DensePairs(len(size.species), size.radial, size.cutoff, size.box)
        kinds = (members, size.n_species, features)
        self.centre = nn.Parameter(1 + 0.5 * torch.randn(kinds, dtype=torch.float64))
        self.field_gain = nn.Parameter(0.3 * torch.randn(kinds, dtype=torch.float64))
        self.gains = _gains(members, size.radial * size.n_species, features)
        if self.charge_sums is not None:
            self.charge_centre = nn.Parameter(0.3 * torch.randn(kinds, dtype=torch.float64))
            self.charge_gains = _gains(members, self.charge_sums.count, features)
        self.inner = StackedLinear(members, features, 2 * features)
        self.outer = StackedLinear(members, 2 * features, 3 * features)
        self.mix = _Mix(members, features)
        self.layers = nn.ModuleList(
            _Interaction(members, features, size.radial, self.basis) for _ in range(size.layers)
        )
        self.last = StackedLinear(members, 3 * features, features)

    def forward(self, positions: Tensor, field: Tensor, sums: Tensor) -> Tensor:
        """Scalar features.

        Parameters
        ----------
        positions
            Shape ``(frames, atoms, 3)``, bohr.
        field
            Electric field at the atoms, same shape, hartree/(e bohr).
        sums
            Moments of the charges, shape ``(frames, atoms, k)``, e; not used without settings.

        Returns
        -------
        Tensor
            Shape ``(members, frames * atoms, features)``.
        """
        frames, atoms, _ = positions.shape
        pairs = self.pairs(positions)
        near = pairs.waves.permute(0, 1, 3, 2).flatten(1, 2)  # frames, atoms * radial, atoms
        x = self._embed(pairs, frames)
        gain = self.field_gain[:, self.species].repeat(1, frames, 1)
        along = bounded(field, self.field_scale).reshape(1, frames * atoms, 3, 1).transpose(1, 2)
        x = torch.cat([x[:, :1], x[:, 1:4] + along * gain[:, None], x[:, 4:]], dim=1)
        if self.charge_sums is not None:
            x = x + self._charges(sums, self.charge_sums.order)
        gates = self.outer(functional.silu(self.inner(_flat_norm((x * x).sum(1)))))
        x = self.mix(x) * _per_part(gates)
        for layer in self.layers:
            x = layer(x, near, frames)
        norms = torch.cat([(part * part).sum(1) for part in torch.split(x, _PARTS, dim=1)], dim=-1)
        return functional.silu(self.last(_flat_norm(norms)))

    def _embed(self, pairs: Pairs, frames: int) -> Tensor:
        """Matrices of the neighbours' directions, weighted by distance and by both elements."""
        unit = pairs.unit
        members, _, _, width = self.gains.shape
        squares = torch.einsum("fijx,fijy,kxy->fijk", unit, unit, self.basis[4:])
        shapes = torch.cat([torch.ones_like(unit[..., :1]), unit, squares], dim=-1).flatten(0, 1)
        waves = (pairs.waves[..., None] * self.elements[:, None]).flatten(3).flatten(0, 1)
        # What does not depend on weights comes first: one row of moments per atom and shape.
        moments = torch.bmm(shapes.transpose(1, 2), waves).transpose(0, 1)
        parts = [
            torch.matmul(some.flatten(0, 1), self.gains[:, :, kind]).reshape(members, len(some), -1, width)
            for kind, some in enumerate(torch.split(moments, _PARTS))
        ]
        here = self.centre[:, self.species].repeat(1, frames, 1)
        return torch.cat(parts, dim=1) * here[:, None]

    def _charges(self, sums: Tensor, order: int) -> Tensor:
        """Matrices of the moments of the charges."""
        members, _, _, width = self.charge_gains.shape
        frames, atoms, _ = sums.shape
        moments = sums.reshape(frames * atoms, count_of(order), -1).transpose(0, 1)
        parts = [
            torch.matmul(some.flatten(0, 1), self.charge_gains[:, :, kind]).reshape(
                members, len(some), -1, width
            )
            for kind, some in enumerate(torch.split(moments, _PARTS[: order + 1]))
        ]
        made = torch.cat(parts, dim=1) * self.charge_centre[:, self.species].repeat(1, frames, 1)[:, None]
        return functional.pad(made, (0, 0, 0, 0, 0, 9 - made.shape[1]))


class _Mix(nn.Module):
    """Linear maps of scalars, vectors and tensors, each among themselves."""

    def __init__(self, members: int, features: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(StackedLinear(members, features, features, bias=False) for _ in _PARTS)

    def forward(self, x: Tensor) -> Tensor:
        members, _, rows, width = x.shape
        mixed = [
            linear(part.reshape(members, -1, width)).reshape(members, -1, rows, width)
            for linear, part in zip(self.maps, torch.split(x, _PARTS, dim=1), strict=True)
        ]
        return torch.cat(mixed, dim=1)


class _Interaction(nn.Module):
    """Message, matrix product with the atom's own matrix, and what the product adds."""

    basis: Tensor

    def __init__(self, members: int, features: int, radial: int, basis: Tensor) -> None:
        super().__init__()
        self.register_buffer("basis", basis, persistent=False)
        self.gains = _gains(members, radial, features)
        self.before, self.after = _Mix(members, features), _Mix(members, features)

    def forward(self, x: Tensor, near: Tensor, frames: int) -> Tensor:
        x = _bounded_norm(x)
        y = self.before(x)
        message = self._message(y, near, frames)
        own, other = self._matrices(y), self._matrices(message)
        y = self._parts(_product(own, other) + _product(other, own))
        y = self.after(_bounded_norm(y))
        matrix: Tensor = self._matrices(y)
        added: Tensor = y + self._parts(_product(matrix, matrix))
        return x + added

    def _message(self, y: Tensor, near: Tensor, frames: int) -> Tensor:
        """Sum over neighbours and radial functions; over neighbours first, so that one product serves all."""
        members, _, rows, width = y.shape
        values = (
            y.reshape(members, 9, frames, -1, width)
            .permute(2, 3, 0, 1, 4)
            .reshape(frames, -1, members * 9 * width)
        )
        gains = self.gains[:, :, _KIND].transpose(0, 1).reshape(-1, members * 9 * width)
        seen = torch.bmm(near, values).reshape(rows, -1, members * 9 * width)
        out: Tensor = (seen * gains).sum(1)
        return out.reshape(rows, members, 9, width).permute(1, 2, 0, 3)

    def _matrices(self, x: Tensor) -> Tensor:
        """Coefficients ``(members, 9, rows, width)`` to matrices ``(members, 3, 3, rows, width)``."""
        members, _, rows, width = x.shape
        made = torch.matmul(self.basis.flatten(1).T, x.reshape(members, 9, rows * width))
        return made.reshape(members, 3, 3, rows, width)

    def _parts(self, matrices: Tensor) -> Tensor:
        """Matrices back to coefficients."""
        members, _, _, rows, width = matrices.shape
        made = torch.matmul(self.basis.flatten(1), matrices.reshape(members, 9, rows * width))
        return made.reshape(members, 9, rows, width)


def _product(one: Tensor, two: Tensor) -> Tensor:
    made: Tensor = (one[:, :, :, None] * two[:, None]).sum(2)
    return made


def _bounded_norm(x: Tensor) -> Tensor:
    return x / ((x * x).sum(1, keepdim=True) + 1)


def _flat_norm(values: Tensor) -> Tensor:
    """Layer norm without weights (Ba, Kiros, Hinton 2016); torch's own cannot be written down for a graph."""
    apart = values - values.mean(-1, keepdim=True)
    return apart * torch.rsqrt((apart * apart).mean(-1, keepdim=True) + 1e-5)


def _per_part(gates: Tensor) -> Tensor:
    """Three gates per feature ``(members, rows, 3 * width)`` to ``(members, 9, rows, width)``."""
    members, rows, _ = gates.shape
    return gates.reshape(members, rows, 3, -1).permute(0, 2, 1, 3)[:, _KIND]


def _gains(members: int, radial: int, features: int) -> nn.Parameter:
    shape = (members, radial, len(_PARTS), features)
    return nn.Parameter(torch.randn(shape, dtype=torch.float64) / math.sqrt(radial))
