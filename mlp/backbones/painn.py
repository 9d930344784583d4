"""PaiNN: scalar and vector features per atom from positions (bohr) and the electric field (hartree/(e bohr)).

Schutt, Unke, Gastegger, Equivariant message passing for the prediction of tensorial properties and
molecular spectra, ICML 2021. The field enters the vector channel of the first layer.

Every weight has a leading ``members`` axis: a committee is one module and one evaluation. Pairs are dense,
and the radial filters are contracted as matrix products over neighbours that all members share.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PaiNN", "StackedLinear"]


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


class PaiNN(nn.Module):
    """Message passing with scalars and vectors.

    Parameters
    ----------
    species
        Index of each atom's element, shape ``(atoms,)``.
    n_species
        Number of different elements.
    features, layers, radial
        Width, number of interaction layers, number of radial functions.
    cutoff
        Distance at which neighbours fade out, bohr.
    field_scale
        Field at which the field feature saturates, hartree/(e bohr).
    members
        Number of stacked networks.
    """

    species: Tensor
    frequencies: Tensor
    eye: Tensor

    def __init__(
        self,
        species: Tensor,
        *,
        n_species: int,
        features: int,
        layers: int,
        radial: int,
        cutoff: float,
        field_scale: float,
        members: int = 1,
    ) -> None:
        super().__init__()
        self.features, self.radial, self.members = features, radial, members
        self.cutoff, self.field_scale = cutoff, field_scale
        self.register_buffer("species", species, persistent=False)
        frequencies = torch.arange(1, radial + 1, dtype=torch.float64) * (math.pi / cutoff)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.register_buffer("eye", torch.eye(len(species), dtype=torch.float64), persistent=False)
        self.embedding = nn.Parameter(torch.randn(members, n_species, features, dtype=torch.float64))
        self.field_gain = nn.Parameter(0.3 * torch.randn(members, n_species, features, dtype=torch.float64))
        self.messages = nn.ModuleList(_Message(members, features, radial) for _ in range(layers))
        self.updates = nn.ModuleList(_Update(members, features) for _ in range(layers))

    def forward(self, positions: Tensor, field: Tensor) -> Tensor:
        """Scalar features.

        Parameters
        ----------
        positions
            Shape ``(frames, atoms, 3)``, bohr.
        field
            Electric field at the atoms, same shape, hartree/(e bohr).

        Returns
        -------
        Tensor
            Shape ``(members, frames * atoms, features)``.
        """
        frames, atoms, _ = positions.shape
        even, odd = self._filters(positions)
        bounded = field * torch.rsqrt((field * field).sum(-1, keepdim=True) + self.field_scale**2)
        scalar = self.embedding[:, self.species].repeat(1, frames, 1)
        gain = self.field_gain[:, self.species].repeat(1, frames, 1)
        vector = bounded.reshape(1, frames * atoms, 3, 1) * gain[:, :, None]
        for message, update in zip(self.messages, self.updates, strict=True):
            scalar, vector = message(scalar, vector, even, odd, frames)
            scalar, vector = update(scalar, vector)
        return scalar

    def _filters(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Radial functions, and radial functions times unit vectors, between all pairs."""
        frames, atoms, _ = positions.shape
        apart = positions[:, None] - positions[:, :, None]  # from i to j at [:, i, j]
        squared = (apart * apart).sum(-1) + self.eye
        inverse = torch.rsqrt(squared)
        distance = squared * inverse
        x = (distance / self.cutoff).clamp(max=1.0)
        # 1 at 0, 0 at the cutoff, both with two vanishing derivatives.
        fade = (1 - x**3 * (10 - 15 * x + 6 * x * x)) * (1 - self.eye) * inverse
        waves = torch.sin(distance[..., None] * self.frequencies) * fade[..., None]  # frames, i, j, radial
        unit = apart * inverse[..., None]
        even = waves.transpose(2, 3).reshape(frames, atoms, self.radial * atoms)
        odd = torch.einsum("fijk,fijx->fixkj", waves, unit).reshape(frames, 3 * atoms, self.radial * atoms)
        return even, odd


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
        seen = _spread(even, carried.reshape(members, rows, 4 * width), gains.flatten(2), frames)
        seen = seen.reshape(members, rows, 4, width)
        turned = _spread(odd, second, self.to_vector, frames).reshape(members, rows, 3, width)
        return scalar + seen[:, :, 0], vector + seen[:, :, 1:] + turned


def _spread(filters: Tensor, values: Tensor, gains: Tensor, frames: int) -> Tensor:
    """Sum over neighbours j and radial functions k of filters_kj gains_k values_j, all members at once.

    ``filters`` (frames, out, radial * atoms), ``values`` (members, frames * atoms, width), ``gains``
    (members, radial, width); returns (members, frames, out, width).
    """
    members, rows, width = values.shape
    atoms = rows // frames
    columns = values.reshape(members, frames, 1, atoms, width) * gains[:, None, :, None]
    columns = columns.permute(1, 2, 3, 0, 4).reshape(frames, -1, members * width)
    out = torch.bmm(filters, columns)
    return out.reshape(frames, -1, members, width).permute(2, 0, 1, 3)


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
