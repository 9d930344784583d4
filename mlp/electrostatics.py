"""Potential and field of point charges at the QM atoms, and the chain rule back to all positions.

Pure torch functions in atomic units. A charge is a Gaussian of ``width`` a (bohr) as seen by a QM atom:
phi(r) = erf(r/a)/r; ``width`` 0 is the bare 1/r. Nothing is cut off; `drupe.mlp.reach` weighs charges.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Field", "field_at", "pull_back"]

_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


class Field(NamedTuple):
    """What the charges make at the QM atoms, and the pair quantities the chain rule needs.

    ``potential`` (qm,) hartree/e; ``field`` (qm, 3) hartree/(e bohr); ``slope`` (qm, mm) is
    g = -phi'(r)/r times the charge; ``curve`` (qm, mm) is g'(r)/r times the charge; ``share`` (qm, mm) is
    phi(r) times the charge.
    """

    potential: Tensor
    field: Tensor
    slope: Tensor
    curve: Tensor
    share: Tensor


def field_at(qm: Tensor, mm: Tensor, charges: Tensor, width: float) -> Field:
    """Potential phi_i and field E_i = -grad_i phi_i of the charges at the QM atoms.

    Parameters
    ----------
    qm
        QM positions, shape ``(qm, 3)``, bohr.
    mm
        Positions of the charges, shape ``(mm, 3)``, bohr.
    charges
        Shape ``(mm,)``, e.
    width
        Gaussian width a of the damping, bohr; 0 for none.

    Returns
    -------
    Field
        Differentiable with respect to all inputs.
    """
    squared = ((qm * qm).sum(-1)[:, None] + (mm * mm).sum(-1)) - 2 * (qm @ mm.T)
    inverse = torch.rsqrt(squared)
    inverse2 = inverse * inverse
    if width > 0:
        # Beyond six widths the bell is 0 in double precision; exp of less would be slow denormal numbers.
        scaled = (torch.sqrt(squared) / width).clamp(max=6.0)
        phi = torch.erf(scaled) * inverse
        bell = (_TWO_OVER_ROOT_PI / width) * torch.exp(-scaled * scaled)
        slope = (phi - bell) * inverse2
        curve = (2 / width**2 * bell - 3 * slope) * inverse2
    else:
        phi = inverse
        slope = inverse * inverse2
        curve = -3 * slope * inverse2
    slope = slope * charges
    field = qm * slope.sum(-1)[:, None] - slope @ mm
    return Field(phi @ charges, field, slope, curve * charges, phi * charges)


def pull_back(
    qm: Tensor, mm: Tensor, made: Field, on_potential: Tensor, on_field: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient of sum_i c_i phi_i + e_i . E_i with respect to all positions, in closed form.

    Parameters
    ----------
    qm, mm
        Positions as given to `field_at`.
    made
        What `field_at` returned for them.
    on_potential
        c, shape ``(qm,)``.
    on_field
        e, shape ``(qm, 3)``.

    Returns
    -------
    tuple of Tensor
        Gradients of shape ``(qm, 3)`` and ``(mm, 3)``.
    """
    # With d = R_i - R_j:  d/dR_j = sum_i [c g - curve (e.d)] d - g e,
    # and minus the same summed over j for R_i.
    along = (on_field * qm).sum(-1)[:, None] - on_field @ mm.T
    weight = on_potential[:, None] * made.slope - made.curve * along
    to_mm = weight.T @ qm - mm * weight.sum(0)[:, None] - made.slope.T @ on_field
    to_qm = weight @ mm - qm * weight.sum(1)[:, None] + made.slope.sum(1)[:, None] * on_field
    return to_qm, to_mm
