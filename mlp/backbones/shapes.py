"""Functions of a direction up to l = 2, as coefficients of nine orthonormal 3 x 3 matrices.

1 scalar, 3 components of a vector (antisymmetric matrices), 5 of a symmetric traceless matrix, in this order.
"""

import math

import torch
from torch import Tensor

__all__ = ["PARTS", "basis", "count_of", "shapes_of"]

PARTS = (1, 3, 5)  # functions of each l


def basis() -> Tensor:
    """The matrices, shape ``(9, 3, 3)``."""
    made = torch.zeros(9, 3, 3, dtype=torch.float64)
    half = math.sqrt(0.5)
    for i in range(3):
        made[0, i, i] = 1 / math.sqrt(3)
        made[7, i, i] = (half, -half, 0.0)[i]
        made[8, i, i] = (-1, -1, 2)[i] / math.sqrt(6)
    for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        made[1 + k, i, j], made[1 + k, j, i] = -half, half
        made[4 + k, i, j] = made[4 + k, j, i] = half
    return made


def count_of(order: int) -> int:
    """Functions with l up to ``order``, at most 2."""
    return sum(PARTS[: order + 1])


def shapes_of(unit: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Values of the functions, and their slopes times the distance.

    Parameters
    ----------
    unit
        Directions u, shape ``(pairs, 3)``.
    order
        Highest l, 0 to 2.

    Returns
    -------
    tuple of Tensor
        ``(pairs, k)``: 1, the components of u, and u'Bu for the five traceless B; ``(pairs, k, 3)``: r times
        the derivative with the vector r u, which is perpendicular to u.
    """
    value = [torch.ones_like(unit[:, :1])]
    slope = [torch.zeros_like(unit[:, None])]
    if order > 0:
        eye = torch.eye(3, dtype=unit.dtype, device=unit.device)
        value.append(unit)
        slope.append(eye - unit[:, :, None] * unit[:, None])
    if order > 1:
        towards = torch.einsum("kxy,py->pkx", basis()[4:].to(unit), unit)
        square = (towards * unit[:, None]).sum(-1)
        value.append(square)
        slope.append(2 * (towards - square[..., None] * unit[:, None]))
    return torch.cat(value, dim=1), torch.cat(slope, dim=1)
