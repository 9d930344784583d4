"""PaiNN: scalar and vector features per atom from positions (bohr) and the electric field (hartree/(e bohr)).

Schutt, Unke, Gastegger, Equivariant message passing for the prediction of tensorial properties and
molecular spectra, ICML 2021. The field enters the vector channel of the first layer; moments of the MM
charges, where they are read, the channel of their kind.

Every weight has a leading ``members`` axis; the radial filters are matrices that all members share.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from drupe.mlp.backbones.pairs import DensePairs, bounded, spread
from drupe.mlp.backbones.registry import NetworkSize
from drupe.mlp.backbones.settings import ChargeMoments
from drupe.mlp.backbones.stacked import StackedLinear
from drupe.mlp.charge_sums import charge_sums_of

__all__ = ["PaiNN"]


class PaiNN(nn.Module):
    """Message passing with scalars and vectors.

    Parameters
    ----------
    size
        Elements, width, layers, radial functions, cutoff, members.
    settings
        Moments of the MM charges to read beside their field, up to vectors; None for none.
    """

    static = True
    species: Tensor

    def __init__(self, size: NetworkSize, settings: ChargeMoments | None = None) -> None:
        super().__init__()
        self.charge_sums = charge_sums_of(settings)
        members, features = size.members, size.features
        self.field_scale = size.field_scale
        self.register_buffer("species", size.species, persistent=False)
        self.pairs = DensePairs(len(size.species), size.radial, size.cutoff, size.box)
        kinds = (members, size.n_species, features)
        self.embedding = nn.Parameter(torch.randn(kinds, dtype=torch.float64))
        self.field_gain = nn.Parameter(0.3 * torch.randn(kinds, dtype=torch.float64))
        if self.charge_sums is not None:
            shape = (members, 1 + self.charge_sums.order, self.charge_sums.count, features)
            gain = 1 / math.sqrt(self.charge_sums.count)
            self.charge_gains = nn.Parameter(gain * torch.randn(shape, dtype=torch.float64))
            self.charge_centre = nn.Parameter(0.3 * torch.randn(kinds, dtype=torch.float64))
        self.messages = nn.ModuleList(_Message(members, features, size.radial) for _ in range(size.layers))
        self.updates = nn.ModuleList(_Update(members, features) for _ in range(size.layers))

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
        even, odd = pairs.even, pairs.turned(pairs.unit)
        scalar = self.embedding[:, self.species].repeat(1, frames, 1)
        gain = self.field_gain[:, self.species].repeat(1, frames, 1)
        vector = bounded(field, self.field_scale).reshape(1, frames * atoms, 3, 1) * gain[:, :, None]
        if self.charge_sums is not None:
            # Row 0 are sums, rows 1 to 3 vectors.
            moments = sums.reshape(frames * atoms, -1, self.charge_sums.count).transpose(0, 1)
            centre = self.charge_centre[:, self.species].repeat(1, frames, 1)
            scalar = scalar + torch.matmul(moments[0], self.charge_gains[:, 0]) * centre
            if self.charge_sums.order:
                along = torch.matmul(moments[1:].flatten(0, 1), self.charge_gains[:, 1])
                along = along.reshape(len(along), 3, frames * atoms, -1).transpose(1, 2)
                vector = vector + along * centre[:, :, None]
        for message, update in zip(self.messages, self.updates, strict=True):
            scalar, vector = message(scalar, vector, even, odd, frames)
            scalar, vector = update(scalar, vector)
        return scalar


class _Message(nn.Module):
    """Neighbours to atom: ds_i = sum_j W(r) p_j; dv_i = sum_j W'(r) p'_j r_ij/r + W''(r) p''_j v_j."""

    def __init__(self, members: int, features: int, radial: int) -> None:
        super().__init__()
        self.features, self.radial = features, radial
        self.inner = StackedLinear(members, features, features)
        self.outer = StackedLinear(members, features, 3 * features)
        shape = (members, radial, features)
        gain = 1 / math.sqrt(radial)
        self.to_scalar = nn.Parameter(gain * torch.randn(shape, dtype=torch.float64))
        self.to_vector = nn.Parameter(gain * torch.randn(shape, dtype=torch.float64))
        self.through = nn.Parameter(gain * torch.randn(shape, dtype=torch.float64))

    def forward(
        self, scalar: Tensor, vector: Tensor, even: Tensor, odd: Tensor, frames: int
    ) -> tuple[Tensor, Tensor]:
        members, rows, width = scalar.shape
        first, second, third = self.outer(functional.silu(self.inner(scalar))).split(width, dim=-1)
        carried = torch.cat([first[:, :, None], third[:, :, None] * vector], dim=2)  # members, rows, 4, width
        gains = torch.cat([self.to_scalar[:, :, None], self.through[:, :, None].expand(-1, -1, 3, -1)], dim=2)
        seen = spread(even, carried.reshape(members, rows, 4 * width), gains.flatten(2), frames)
        seen = seen.reshape(members, rows, 4, width)
        turned = spread(odd, second, self.to_vector, frames).reshape(members, rows, 3, width)
        return scalar + seen[:, :, 0], vector + seen[:, :, 1:] + turned


class _Update(nn.Module):
    """Within an atom: vectors are mixed linearly, their norms and products feed the scalars."""

    def __init__(self, members: int, features: int) -> None:
        super().__init__()
        self.mix = StackedLinear(members, features, 2 * features, bias=False)
        self.inner = StackedLinear(members, 2 * features, features)
        self.outer = StackedLinear(members, features, 3 * features)

    def forward(self, scalar: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        members, rows, width = scalar.shape
        one, two = (
            self.mix(vector.reshape(members, 3 * rows, width)).reshape(members, rows, 3, -1).split(width, -1)
        )
        norm = torch.sqrt((two * two).sum(2) + 1e-4) - 1e-2
        gates = self.outer(functional.silu(self.inner(torch.cat([scalar, norm], dim=-1))))
        keep, cross, turn = gates.split(width, dim=-1)
        scalar = scalar + keep + cross * (one * two).sum(2)
        return scalar, vector + turn[:, :, None] * one
