"""E(3) message passing on e3nn: positions (bohr) and field (hartree/(e bohr)) in, scalar features out.

The architecture of Willow, Yang, Myung, arXiv 2508.04098: features of both parities up to ``max_l``; messages
are tensor products of neighbours' features with spherical harmonics, weighted by a radial network on Bessel
functions; self-interaction for each element; gates; scalars of every layer are read out. The field enters as
vectors beside the elements' scalars. Members are evaluated one after the other. Needs e3nn, an extra.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from drupe.errors import InputError
from drupe.mlp.backbones.pairs import DensePairs, bounded
from drupe.mlp.backbones.registry import NetworkSize
from drupe.mlp.backbones.settings import EquivariantSettings
from drupe.mlp.backbones.stacked import StackedLinear, keep_out_of_weights

try:
    from e3nn import o3
    from e3nn.nn import Gate
except ImportError as error:
    raise InputError(
        "the backbone 'equivariant' needs e3nn, which is not installed",
        remedy="pip install -c constraints.txt 'drupe[equivariant]', or take another backbone",
    ) from error

__all__ = ["Equivariant"]

_NEIGHBOURS = 12.0  # messages are divided by the square root of this usual number


class Equivariant(nn.Module):
    """Message passing with irreducible representations.

    Parameters
    ----------
    size
        ``features`` is the number of scalars and of vectors of each parity.
    settings
        Highest angular momentum, number of tensors, width of the radial network.
    """

    charge_sums = None
    static = False
    species: Tensor
    elements: Tensor

    def __init__(self, size: NetworkSize, settings: EquivariantSettings) -> None:
        super().__init__()
        self.field_scale, self.members = size.field_scale, size.members
        self.register_buffer("species", size.species, persistent=False)
        elements = functional.one_hot(size.species, size.n_species).to(torch.float64)
        self.register_buffer("elements", elements, persistent=False)
        self.pairs = DensePairs(len(size.species), size.radial, size.cutoff, size.box)
        kinds = (size.members, size.n_species, size.features)
        self.embedding = nn.Parameter(torch.randn(kinds, dtype=torch.float64))
        self.field_gain = nn.Parameter(0.3 * torch.randn(kinds, dtype=torch.float64))
        self.harmonics = o3.Irreps.spherical_harmonics(settings.max_l)
        before = o3.Irreps(f"{size.features}x0e + {size.features}x1o")
        layers = []
        with _double_precision():
            for _ in range(size.layers):
                layers.append(_Layer(before, self.harmonics, size, settings))
                before = layers[-1].after
        self.layers = nn.ModuleList(layers)
        self.last = StackedLinear(size.members, size.layers * size.features, size.features)

    def forward(self, positions: Tensor, field: Tensor, sums: Tensor) -> Tensor:
        """Scalar features.

        Parameters
        ----------
        positions
            Shape ``(frames, atoms, 3)``, bohr.
        field
            Electric field at the atoms, same shape, hartree/(e bohr).
        sums
            Not used.

        Returns
        -------
        Tensor
            Shape ``(members, frames * atoms, features)``.
        """
        return functional.silu(self.last(torch.cat(self.scalars(positions, field), dim=-1)))

    def scalars(self, positions: Tensor, field: Tensor) -> list[Tensor]:
        """Scalars of each layer, ``(members, frames * atoms, features)``, before they are put together."""
        frames, atoms, _ = positions.shape
        pairs = self.pairs(positions)
        frame, here, there = torch.nonzero(pairs.waves.detach().any(-1), as_tuple=True)
        waves, unit = pairs.waves[frame, here, there], pairs.unit[frame, here, there]
        shapes = o3.spherical_harmonics(self.harmonics, unit, normalize=False, normalization="component")
        to, start = frame * atoms + here, frame * atoms + there
        elements = self.elements.repeat(frames, 1)
        small = bounded(field, self.field_scale).reshape(frames * atoms, 1, 3)
        kinds = self.species.repeat(frames)
        found: list[list[Tensor]] = [[] for _ in self.layers]
        for member in range(self.members):
            vectors = (self.field_gain[member, kinds][..., None] * small).flatten(1)
            x = torch.cat([self.embedding[member, kinds], vectors], dim=-1)
            for scalars, layer in zip(found, self.layers, strict=True):
                x = layer(x, elements, waves, shapes, to, start, member)
                scalars.append(x[:, : self.embedding.shape[2]])
        return [torch.stack(scalars) for scalars in found]


class _Layer(nn.Module):
    """Convolution, self-interaction and gate; scalars come first in what it returns."""

    def __init__(
        self, before: o3.Irreps, harmonics: o3.Irreps, size: NetworkSize, settings: EquivariantSettings
    ) -> None:
        super().__init__()
        wanted = [
            (size.features if momentum < 2 else settings.tensor_features, (momentum, parity))
            for momentum in range(settings.max_l + 1)
            for parity in (1, -1)
        ]
        made = {path for _, one in before for _, two in harmonics for path in one * two}
        hidden = [(count, o3.Irrep(*ir)) for count, ir in wanted if o3.Irrep(*ir) in made]
        scalars = o3.Irreps([(count, ir) for count, ir in hidden if ir.l == 0])
        gated = o3.Irreps([(count, ir) for count, ir in hidden if ir.l > 0])
        gates = o3.Irreps([(gated.num_irreps, "0e")])
        self.gate = Gate(
            scalars,
            [functional.silu if ir.p == 1 else torch.tanh for _, ir in scalars],
            gates,
            [torch.sigmoid],
            gated,
        )
        self.after = self.gate.irreps_out
        self.up = o3.Linear(before, before, internal_weights=False, shared_weights=True)
        self.product = _convolution(before, harmonics, {ir for _, ir in self.gate.irreps_in})
        middle = self.product.irreps_out
        self.down = o3.Linear(middle, self.gate.irreps_in, internal_weights=False, shared_weights=True)
        species = o3.Irreps([(size.n_species, "0e")])
        self.own = o3.FullyConnectedTensorProduct(
            before, species, self.gate.irreps_in, internal_weights=False, shared_weights=True
        )
        for module in (self.gate, self.up, self.product, self.down, self.own):
            keep_out_of_weights(module)
        self.up_weight, self.down_weight, self.own_weight = (
            nn.Parameter(torch.randn(size.members, module.weight_numel, dtype=torch.float64))
            for module in (self.up, self.down, self.own)
        )
        widths = (size.radial, settings.radial_width, settings.radial_width, self.product.weight_numel)
        # No bias: what is zero at the cutoff stays zero.
        self.radial = nn.ParameterList(
            torch.randn(size.members, a, b, dtype=torch.float64) / math.sqrt(a) for a, b in pairwise(widths)
        )

    def forward(
        self,
        x: Tensor,
        elements: Tensor,
        waves: Tensor,
        shapes: Tensor,
        to: Tensor,
        start: Tensor,
        member: int,
    ) -> Tensor:
        weights = waves
        for k, linear in enumerate(self.radial):
            weights = (functional.silu(weights) if k else weights) @ linear[member]
        sent = self.product(self.up(x, self.up_weight[member])[start], shapes, weights)
        seen = torch.zeros(len(x), sent.shape[1], dtype=x.dtype, device=x.device)
        seen = seen.index_add(0, to, sent) / math.sqrt(_NEIGHBOURS)
        mixed = self.down(seen, self.down_weight[member]) + self.own(x, elements, self.own_weight[member])
        made: Tensor = self.gate(mixed)
        return made


def _convolution(before: o3.Irreps, harmonics: o3.Irreps, wanted: set[o3.Irrep]) -> o3.TensorProduct:
    """Features times harmonics, one weight per path and channel, into the irreps that are of use."""
    out: list[tuple[int, o3.Irrep]] = []
    paths = []
    for i, (count, one) in enumerate(before):
        for j, (_, two) in enumerate(harmonics):
            for ir in one * two:
                if ir in wanted:
                    paths.append((i, j, len(out), "uvu", True))
                    out.append((count, ir))
    return o3.TensorProduct(
        before, harmonics, o3.Irreps(out), paths, internal_weights=False, shared_weights=False
    )


@contextmanager
def _double_precision() -> Iterator[None]:
    """Coupling coefficients are rounded to torch's default type when they are made."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
