"""Short-ranged sums over the MM charges at the QM atoms, and the chain rule back to all positions.

G_iak = sum_j q_j f_k(r_ij) Y_a(u_ij), in e, over distances r and directions u from atom i to charge j, with
f_k(r) = exp(-eta (r - r_k)^2) w(r / r_c): the radial symmetry functions of Behler and Parrinello, Phys. Rev.
Lett. 98, 146401 (2007), weighted with charges as in Boselt, Thurlemann, Riniker, J. Chem. Theory Comput. 17,
2641 (2021), and with Y_a of higher l the moments of the charges around the atom: what its field alone does
not tell of a hydrogen bond. Pure torch functions in atomic units; only pairs inside the cutoff are worked on.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from drupe.mlp.backbones.pairs import fade
from drupe.mlp.backbones.settings import AcsfSettings, BackboneSettings, ChargeMoments
from drupe.mlp.backbones.shapes import count_of, shapes_of

__all__ = ["ChargeSums", "Sums", "charge_sums_of", "pull_back_sums", "sums_at"]

_NEAREST = 2.0  # bohr; no MM atom comes nearer to a QM atom, so no function is spent below


@dataclass(frozen=True)
class ChargeSums:
    """Which sums: ``count`` Gaussians from 2 bohr to ``cutoff`` (bohr), where they end, and the highest l."""

    count: int
    cutoff: float
    order: int = 0

    @property
    def width(self) -> int:
        """Number of sums at an atom: of each shape all Gaussians, shape by shape."""
        return self.count * count_of(self.order)


class Sums(NamedTuple):
    """The sums, and the pair quantities the chain rule needs.

    ``value`` (qm, width) e; ``qm``, ``mm`` (pairs,) indices of the pairs inside the cutoff; ``unit``
    (pairs, 3) from the QM atom to the charge; ``bell``, ``steep`` (pairs, count) are f and f' times the
    charge; ``shape`` (pairs, a) is Y and ``turn`` (pairs, a, 3) its derivative with the charge's position.
    """

    value: Tensor
    qm: Tensor
    mm: Tensor
    unit: Tensor
    bell: Tensor
    steep: Tensor
    shape: Tensor
    turn: Tensor

    def on_charges(self) -> Tensor:
        """Derivative of each pair's part with the position of its charge, ``(pairs, width, 3)``, e/bohr."""
        along = (self.steep[:, None] * self.shape[..., None])[..., None] * self.unit[:, None, None]
        return (along + self.bell[:, None, :, None] * self.turn[:, :, None]).flatten(1, 2)


def charge_sums_of(settings: BackboneSettings | None) -> ChargeSums | None:
    """Sums that a backbone with these settings reads; None for none."""
    if isinstance(settings, AcsfSettings):
        return ChargeSums(settings.charge_radial, settings.charge_cutoff)
    if isinstance(settings, ChargeMoments):
        return ChargeSums(settings.charge_radial, settings.charge_cutoff, settings.charge_order)
    return None


def sums_at(qm: Tensor, mm: Tensor, charges: Tensor, wanted: ChargeSums | None) -> Sums:
    """Sums of the charges at the QM atoms.

    Parameters
    ----------
    qm, mm
        Positions, shapes ``(qm, 3)`` and ``(mm, 3)``, bohr.
    charges
        Shape ``(mm,)``, e.
    wanted
        Which sums; None for none, then ``width`` is 0.

    Returns
    -------
    Sums
        Differentiable with respect to all inputs.
    """
    if wanted is None:
        nothing = torch.zeros(0, dtype=torch.int64, device=qm.device)
        flat, empty = qm.new_zeros(0, 3), qm.new_zeros(0, 0)
        return Sums(qm.new_zeros(len(qm), 0), nothing, nothing, flat, empty, empty, empty, flat[:, None])
    with torch.no_grad():
        squared = ((qm * qm).sum(-1)[:, None] + (mm * mm).sum(-1)) - 2 * (qm @ mm.T)
        i, j = torch.nonzero(squared < wanted.cutoff**2, as_tuple=True)
    apart = mm[j] - qm[i]
    distance = torch.linalg.vector_norm(apart, dim=-1)[:, None]
    unit = apart / distance
    shifts = torch.linspace(_NEAREST, wanted.cutoff, wanted.count + 1, dtype=qm.dtype, device=qm.device)[:-1]
    narrow = (wanted.count / (wanted.cutoff - _NEAREST)) ** 2  # as wide as they are apart
    off = distance - shifts
    free = torch.exp(-narrow * off * off) * charges[j][:, None]
    x = (distance / wanted.cutoff).clamp(max=1.0)
    faded = fade(x)
    falling = -30 * x**2 * (1 - x) ** 2 / wanted.cutoff
    shape, turn = shapes_of(unit, wanted.order)
    bell = free * faded
    parts = (shape[..., None] * bell[:, None]).flatten(1)
    value = qm.new_zeros(len(qm), wanted.width).index_add(0, i, parts)
    steep = free * (falling - 2 * narrow * off * faded)
    return Sums(value, i, j, unit, bell, steep, shape, turn / distance[..., None])


def pull_back_sums(made: Sums, on_sums: Tensor, n_mm: int) -> tuple[Tensor, Tensor]:
    """Gradient of sum_iak s_iak G_iak with respect to all positions, in closed form.

    Parameters
    ----------
    made
        What `sums_at` returned.
    on_sums
        s, shape ``(qm, width)``.
    n_mm
        Number of MM atoms.

    Returns
    -------
    tuple of Tensor
        Gradients of shape ``(qm, 3)`` and ``(mm, 3)``.
    """
    to_mm = torch.zeros(n_mm, 3, dtype=on_sums.dtype, device=on_sums.device)
    to_qm = torch.zeros(len(on_sums), 3, dtype=on_sums.dtype, device=on_sums.device)
    if not len(made.qm):
        return to_qm, to_mm
    weight = on_sums[made.qm].reshape(len(made.qm), made.shape.shape[1], -1)
    radial = ((weight @ made.steep[..., None])[..., 0] * made.shape).sum(-1)
    across = (weight @ made.bell[..., None] * made.turn).sum(1)
    pushed = radial[:, None] * made.unit + across
    return to_qm.index_add(0, made.qm, -pushed), to_mm.index_add(0, made.mm, pushed)
