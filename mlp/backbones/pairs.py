"""Dense pairs of a batch of molecules: positions (bohr) in, radial functions and directions out.

Every pair is there, near or far: for molecules of tens of atoms that costs less than a neighbour list, and
sums over neighbours become matrix products. In a periodic box a pair is an atom and the nearest image of the
other.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from drupe.errors import InputError
from drupe.units import angstrom

__all__ = ["DensePairs", "Pairs", "bounded", "fade", "spread"]


class Pairs(NamedTuple):
    """``waves`` (frames, i, j, radial), zero for i = j and beyond the cutoff; ``unit`` (frames, i, j, 3)."""

    waves: Tensor
    unit: Tensor

    @property
    def even(self) -> Tensor:
        """Radial functions as one matrix per frame, shape ``(frames, atoms, radial * atoms)``."""
        frames, atoms, _, radial = self.waves.shape
        return self.waves.transpose(2, 3).reshape(frames, atoms, radial * atoms)

    def turned(self, shapes: Tensor) -> Tensor:
        """Radial functions times functions of the direction.

        ``shapes`` (frames, i, j, k); returns ``(frames, atoms * k, radial * atoms)``.
        """
        frames, atoms, _, radial = self.waves.shape
        out = torch.einsum("fijr,fijk->fikrj", self.waves, shapes)
        return out.reshape(frames, atoms * shapes.shape[-1], radial * atoms)


class DensePairs(nn.Module):
    """Sine waves under a smooth fade (Gasteiger et al., Directional message passing, ICLR 2020, eq. 7).

    Parameters
    ----------
    atoms, radial
        Number of atoms and of radial functions.
    cutoff
        Distance at which neighbours fade out, bohr; two derivatives vanish there.
    box
        Box vectors as rows, ``(3, 3)``, bohr; None for a molecule without a box.

    Raises
    ------
    InputError
        If the box is less than twice as high as the cutoff: an atom would have two images near enough.
    """

    frequencies: Tensor
    eye: Tensor
    box: Tensor | None
    inverse_box: Tensor | None

    def __init__(self, atoms: int, radial: int, cutoff: float, box: Tensor | None = None) -> None:
        super().__init__()
        self.cutoff = cutoff
        inverse = None if box is None else _inverse_of(box, cutoff)
        self.register_buffer("box", box, persistent=False)
        self.register_buffer("inverse_box", inverse, persistent=False)
        frequencies = torch.arange(1, radial + 1, dtype=torch.float64) * (math.pi / cutoff)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.register_buffer("eye", torch.eye(atoms, dtype=torch.float64), persistent=False)

    def forward(self, positions: Tensor) -> Pairs:
        """Pairs of positions of shape ``(frames, atoms, 3)``, bohr; in a box, of any images."""
        apart = positions[:, None] - positions[:, :, None]  # from i to j at [:, i, j]
        if self.box is not None and self.inverse_box is not None:
            # Whole numbers of a box at least twice as high as the cutoff: what is within it is found.
            apart = apart - torch.round(apart @ self.inverse_box) @ self.box
        squared = (apart * apart).sum(-1) + self.eye
        inverse = torch.rsqrt(squared)
        distance = squared * inverse
        weight = fade(distance / self.cutoff) * (1 - self.eye) * inverse
        waves = torch.sin(distance[..., None] * self.frequencies) * weight[..., None]
        return Pairs(waves, apart * inverse[..., None])


def _inverse_of(box: Tensor, cutoff: float) -> Tensor:
    if box.shape != (3, 3) or not bool(torch.linalg.det(box).abs() > 0):
        raise InputError(f"box vectors {box.tolist()} span no volume", remedy="give three rows, bohr")
    inverse: Tensor = torch.linalg.inv(box)
    height = float((1 / torch.linalg.vector_norm(inverse, dim=0)).min())  # between opposite faces
    if height < 2 * cutoff:
        raise InputError(
            f"a box with faces {height / angstrom:.2f} A apart is too small for a cutoff of "
            f"{cutoff / angstrom:.2f} A",
            remedy=f"use a cutoff of at most {height / 2 / angstrom:.2f} A, or a larger cell",
        )
    return inverse


def fade(x: Tensor) -> Tensor:
    """1 at x = 0, 0 from x = 1 on, at both ends with two vanishing derivatives."""
    x = x.clamp(max=1.0)
    return 1 - x**3 * (10 - 15 * x + 6 * x * x)


def bounded(field: Tensor, scale: float) -> Tensor:
    """Field with its direction kept and its size brought below 1; ``scale`` is where it saturates."""
    return field * torch.rsqrt((field * field).sum(-1, keepdim=True) + scale**2)


def spread(filters: Tensor, values: Tensor, gains: Tensor, frames: int) -> Tensor:
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
