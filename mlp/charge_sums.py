"""Short-ranged sums over the MM charges at the QM atoms, and the chain rule back to all positions.

G_ik = sum_j q_j f_k(|R_i - R_j|), in e, with f_k(r) = exp(-eta (r - r_k)^2) w(r / r_c): the radial symmetry
functions of Behler and Parrinello, Phys. Rev. Lett. 98, 146401 (2007), weighted with charges as in Boselt,
Thurlemann, Riniker, J. Chem. Theory Comput. 17, 2641 (2021). Pure torch functions in atomic units; only
pairs inside the cutoff are worked on.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from drupe.mlp.backbones.pairs import fade
from drupe.mlp.backbones.settings import AcsfSettings, BackboneSettings

__all__ = ["ChargeSums", "Sums", "charge_sums_of", "pull_back_sums", "sums_at"]

_NEAREST = 2.0  # bohr; no MM atom comes nearer to a QM atom, so no function is spent below


@dataclass(frozen=True)
class ChargeSums:
    """Which sums: ``count`` Gaussians between 2 bohr and ``cutoff`` (bohr), where all fade out."""

    count: int
    cutoff: float


class Sums(NamedTuple):
    """The sums, and the pair quantities the chain rule needs.

    ``value`` (qm, count) e; ``qm``, ``mm`` (pairs,) indices of the pairs inside the cutoff; ``apart``
    (pairs, 3) R_i - R_j in bohr; ``slope`` (pairs, count) is -f'(r)/r times the charge.
    """

    value: Tensor
    qm: Tensor
    mm: Tensor
    apart: Tensor
    slope: Tensor


def charge_sums_of(settings: BackboneSettings | None) -> ChargeSums | None:
    """Sums that a backbone with these settings reads; None for none."""
    if isinstance(settings, AcsfSettings):
        return ChargeSums(settings.charge_radial, settings.charge_cutoff)
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
        Which sums; None for none, then ``count`` is 0.

    Returns
    -------
    Sums
        Differentiable with respect to all inputs.
    """
    if wanted is None:
        nothing = torch.zeros(0, dtype=torch.int64, device=qm.device)
        return Sums(qm.new_zeros(len(qm), 0), nothing, nothing, qm.new_zeros(0, 3), qm.new_zeros(0, 0))
    with torch.no_grad():
        squared = ((qm * qm).sum(-1)[:, None] + (mm * mm).sum(-1)) - 2 * (qm @ mm.T)
        i, j = torch.nonzero(squared < wanted.cutoff**2, as_tuple=True)
    apart = qm[i] - mm[j]
    distance = torch.linalg.vector_norm(apart, dim=-1)[:, None]
    shifts = torch.linspace(_NEAREST, wanted.cutoff, wanted.count + 1, dtype=qm.dtype, device=qm.device)[:-1]
    narrow = (wanted.count / (wanted.cutoff - _NEAREST)) ** 2  # as wide as they are apart
    off = distance - shifts
    bell = torch.exp(-narrow * off * off) * charges[j][:, None]
    x = (distance / wanted.cutoff).clamp(max=1.0)
    faded = fade(x)
    steep = -30 * x**2 * (1 - x) ** 2 / wanted.cutoff
    value = qm.new_zeros(len(qm), wanted.count).index_add(0, i, bell * faded)
    return Sums(value, i, j, apart, bell * (2 * narrow * off * faded - steep) / distance)


def pull_back_sums(made: Sums, on_sums: Tensor, n_mm: int) -> tuple[Tensor, Tensor]:
    """Gradient of sum_ik s_ik G_ik with respect to all positions, in closed form.

    Parameters
    ----------
    made
        What `sums_at` returned.
    on_sums
        s, shape ``(qm, count)``.
    n_mm
        Number of MM atoms.

    Returns
    -------
    tuple of Tensor
        Gradients of shape ``(qm, 3)`` and ``(mm, 3)``.
    """
    pushed = (made.slope * on_sums[made.qm]).sum(-1)[:, None] * made.apart
    to_mm = torch.zeros(n_mm, 3, dtype=pushed.dtype, device=pushed.device).index_add(0, made.mm, pushed)
    to_qm = torch.zeros(len(on_sums), 3, dtype=pushed.dtype, device=pushed.device)
    return to_qm.index_add(0, made.qm, -pushed), to_mm
