"""A data set reduced to what training needs: targets and a quadratic form for MM forces (hartree, bohr, e).

Positions do not change in training, so everything the MM atoms contribute is worked out once. MM forces are
linear in c = q - q0, e = dE/d(field) and s = dE/d(charge sums): F_mm = F_fixed - A'z with z = (c, e, s), so
that the squared error over thousands of MM atoms is z'Gz + 2 b'z + const with a small matrix G = AA' per
frame. What z does to the QM atoms themselves is linear too: - H z. Where bonds are cut, the gradient of the
network with the positions of the link atoms acts on MM atoms as well and is part of z.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drupe.errors import InputError
from drupe.mlp.baseline_energy import Baseline, EnergyOfFrames, energy_of
from drupe.mlp.border import Capped
from drupe.mlp.border_gradients import BackToAtoms
from drupe.mlp.charge_sums import ChargeSums, Sums, sums_at
from drupe.mlp.dataset import Dataset
from drupe.mlp.dispersion import check_dispersion_of
from drupe.mlp.electrostatics import Field, field_at, pull_back
from drupe.mlp.reach import Reached, fade_groups, weighted

__all__ = ["TrainingSet", "prepare"]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Frames as tensors (float64).

    ============  ======================  =====================================================
    field         shape                   meaning
    ============  ======================  =====================================================
    positions     ``(frames, n, 3)``      QM atoms, then link atoms
    potential     ``(frames, n)``         damped potential of the charges
    field         ``(frames, n, 3)``      damped field
    sums          ``(frames, n, k)``      charge sums of the backbone
    response      ``(frames, 3n, m)``     H: derivative of damped potential, field and sums with QM positions
    link_share    ``(frames, 3q, 3l)``    what gradients at the l link atoms add to those on the q QM atoms
    energy        ``(frames,)``           label minus baseline minus sum q0 phi (zero not removed)
    forces        ``(frames, q, 3)``      the same for forces on QM atoms
    mm_gram       ``(frames, m, m)``      G, with m = (4 + k) n, and 3l more for link atoms
    mm_cross      ``(frames, m)``         b
    mm_square     ``(frames,)``           const: squared MM force the fixed charges leave over
    directions    ``(frames, k, q, 3)``   unit vectors
    slopes        ``(frames, k)``         label minus the same terms, derivative along them
    slope_errors  ``(frames, k)``         of the labels
    has_*         ``(frames,)``           1 where the label has it, else 0; ``has_slopes (frames, k)``
    ============  ======================  =====================================================
    """

    positions: Tensor
    potential: Tensor
    field: Tensor
    sums: Tensor
    response: Tensor
    link_share: Tensor
    energy: Tensor
    forces: Tensor
    mm_gram: Tensor
    mm_cross: Tensor
    mm_square: Tensor
    directions: Tensor
    slopes: Tensor
    slope_errors: Tensor
    has_energy: Tensor
    has_forces: Tensor
    has_mm: Tensor
    has_slopes: Tensor

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.energy)

    def parts(self, size: int) -> "Iterator[TrainingSet]":
        """Go through all frames, ``size`` at a time."""
        for first in range(0, self.n_frames, size):
            yield self.take(torch.arange(first, min(first + size, self.n_frames)))

    def take(self, frames: Tensor) -> "TrainingSet":
        """Keep some frames."""
        return replace(self, **{name: getattr(self, name)[frames] for name in self.__dataclass_fields__})

    def relative_to(self, energy_zero: float) -> "TrainingSet":
        """Count energies from ``energy_zero``, hartree: what is left fits into single precision."""
        return replace(self, energy=self.energy - energy_zero)

    def to(self, device: torch.device, dtype: torch.dtype = torch.float64) -> "TrainingSet":
        """All tensors on another device, in another precision."""
        moved = {name: getattr(self, name).to(device, dtype) for name in self.__dataclass_fields__}
        return replace(self, **moved)


def prepare(
    dataset: Dataset,
    baseline: Baseline | None,
    damping: float,
    reach: float | None = None,
    charge_sums: ChargeSums | None = None,
    dispersion: str | None = None,
) -> TrainingSet:
    """Reduce a data set.

    Parameters
    ----------
    dataset
        The labels.
    baseline
        What to subtract, or None.
    damping
        Gaussian width of the damped electrostatics, bohr.
    reach
        Of the damped electrostatics, bohr; None for all charges, 0 for none.
    charge_sums
        Sums over the charges that the backbone reads, if it does.
    dispersion
        Functional whose D3(BJ) is subtracted as well: the labels have to hold it.

    Raises
    ------
    InputError
        If there is a reach and a frame does not say which charges belong together, or a group of charges is
        wider than the reach; or the labels do not hold the dispersion.
    """
    check_dispersion_of(dispersion, dataset)
    columns: dict[str, list[Tensor]] = {name: [] for name in TrainingSet.__dataclass_fields__}
    base_energy = energy_of(baseline, dataset.network_numbers, dispersion)
    links = len(dataset.network_numbers) - len(dataset.numbers)
    fixed = torch.tensor(np.pad(dataset.fixed_charges, (0, links)))
    for i in range(dataset.n_frames):
        for name, value in _frame(dataset, i, base_energy, fixed, damping, reach, charge_sums).items():
            columns[name].append(value)
    return TrainingSet(**{name: torch.stack(values) for name, values in columns.items()})


def _frame(
    dataset: Dataset,
    i: int,
    base_energy: EnergyOfFrames | None,
    fixed: Tensor,
    damping: float,
    reach: float | None,
    charge_sums: ChargeSums | None,
) -> dict[str, Tensor]:
    place_qm, place_mm, values, groups, border_atoms = dataset.frame(i)
    capped: Capped | None = None
    if dataset.border is not None and border_atoms is not None:
        capped = dataset.border.cap(place_qm, place_mm, values, groups, border_atoms)
        place_qm, place_mm, values, groups = capped.positions, capped.points, capped.charges, capped.groups
    origin = place_qm.mean(axis=0)
    charged = np.flatnonzero(values)
    qm, mm = torch.tensor(place_qm - origin), torch.tensor(place_mm[charged] - origin)
    charges = torch.tensor(values[charged])
    bare, damped = field_at(qm, mm, charges, 0.0), field_at(qm, mm, charges, damping)
    reached = _reached(qm, mm, groups, charged, reach, i) if reach else None
    felt = damped if reached is None else weighted(damped, qm, mm, reached.per_charge)
    if reach == 0:
        felt = weighted(damped, qm, mm, torch.zeros_like(charges))
    known = [pull_back(qm, mm, bare, fixed, torch.zeros_like(qm))]
    energy = torch.tensor(dataset.energy[i]) - fixed @ bare.potential
    if base_energy is not None:
        place = qm[None].clone().requires_grad_()
        base = base_energy(place)
        (slope,) = torch.autograd.grad(base.sum(), place)
        energy = energy - base.detach()[0]
        known.append((slope[0], torch.zeros_like(mm)))
    short = sums_at(qm, mm, charges, charge_sums)
    responses = zip(_responses(qm, mm, felt, damped, reached), _sums_responses(short, len(mm)), strict=True)
    to_qm, to_mm = (torch.cat(parts, dim=k) for parts, k in zip(responses, (1, 0), strict=True))
    forces, directions = torch.tensor(dataset.forces_qm[i]), torch.tensor(dataset.directions[i])
    slopes, left = torch.tensor(dataset.slopes[i]), torch.tensor(dataset.forces_mm[i])
    link_share = torch.zeros(3 * len(forces), 0, dtype=torch.float64)
    atoms = charged
    if capped is not None:
        back = BackToAtoms(capped, charged)
        known = [back.gradients(*one) for one in known]
        link_share, to_mm = back.links_on_qm, back.responses(to_qm, to_mm)
        atoms = np.arange(capped.n_mm)
    left = left[torch.from_numpy(atoms)]
    for on_qm, on_mm in known:
        forces, left = forces + on_qm, left + on_mm
        slopes = slopes - torch.einsum("kix,ix->k", directions, on_qm)
    has_mm = bool(dataset.has_forces_mm[i]) and len(values) > 0
    if not has_mm:
        left, to_mm = torch.zeros_like(left), torch.zeros_like(to_mm)
    return {
        "positions": qm,
        "potential": felt.potential,
        "field": felt.field,
        "sums": short.value,
        "response": to_qm,
        "link_share": link_share,
        "energy": energy,
        "forces": forces,
        "mm_gram": to_mm @ to_mm.T,
        "mm_cross": to_mm @ left.reshape(-1),
        "mm_square": (left * left).sum(),
        "directions": directions,
        "slopes": slopes,
        "slope_errors": torch.tensor(dataset.slope_errors[i]),
        "has_energy": _flag(dataset.has_energy[i]),
        "has_forces": _flag(dataset.has_forces_qm[i]),
        "has_mm": _flag(has_mm),
        "has_slopes": torch.tensor(dataset.has_slopes[i], dtype=torch.float64),
    }


def _reached(
    qm: Tensor, mm: Tensor, groups: NDArray[np.int64] | None, charged: NDArray[np.int64], reach: float, i: int
) -> Reached:
    """Weigh the groups of one frame."""
    if groups is None and len(charged):
        raise InputError(
            f"frame {i} does not say which MM atoms belong together: reach={reach:g} switches residues",
            remedy="label again with this version, or pass Dataset.from_labels(..., groups=...)",
        )
    numbers = np.zeros(0, np.int64) if groups is None else groups[charged]
    group = torch.from_numpy(np.unique(numbers, return_inverse=True)[1].reshape(-1))
    reached = fade_groups(qm, mm, group, reach)
    centre = reached.sum_groups(mm.T).T / reached.size[:, None]
    width = torch.linalg.vector_norm(mm - centre[group], dim=1)
    if len(width) and float(width.max()) > reach:
        raise InputError(
            f"a group of MM atoms in frame {i} reaches {float(width.max()):.1f} bohr from its centre, more "
            f"than reach={reach:g} bohr",
            remedy="groups are residues, made whole over a periodic boundary; a residue that is so large "
            "needs a larger reach",
        )
    return reached


def _responses(
    qm: Tensor, mm: Tensor, felt: Field, plain: Field, reached: Reached | None
) -> tuple[Tensor, Tensor]:
    """H and A: derivatives of potential and field at the QM atoms, with QM and with MM positions."""
    n, count = felt.slope.shape
    eye = torch.eye(3, dtype=torch.float64)
    apart = qm[:, None] - mm
    outer = felt.curve[..., None, None] * apart[:, :, :, None] * apart[:, :, None, :]
    block = outer + felt.slope[..., None, None] * eye  # -d(field)/d(charge's position)
    to_qm = torch.zeros(n, 3, n, 4, dtype=torch.float64)
    atoms = torch.arange(n)
    to_qm[atoms, :, atoms, 0] = -felt.field
    to_qm[atoms, :, atoms, 1:] = block.sum(1)
    on_potential = (felt.slope[..., None] * apart)[:, None]
    to_mm = torch.cat([on_potential, -block.permute(0, 2, 1, 3)], dim=1)  # n, 4, mm, 3
    if reached is not None:
        parts = torch.cat([plain.share[:, None], (plain.slope[..., None] * apart).transpose(1, 2)], dim=1)
        whole = reached.sum_groups(parts)  # what each group would make: n, 4, groups
        to_qm = to_qm + torch.einsum("kgx,icg->kxic", reached.slope, whole)
        to_mm = to_mm + whole[:, :, reached.group, None] * reached.on_charges()
    # z holds all c first, then the e of each atom.
    order = torch.cat([4 * atoms, (4 * atoms[:, None] + torch.arange(1, 4)).reshape(-1)])
    return to_qm.reshape(3 * n, 4 * n)[:, order], to_mm.reshape(4 * n, 3 * count)[order]


def _sums_responses(short: Sums, n_mm: int) -> tuple[Tensor, Tensor]:
    """The part of the charge sums in H and in A."""
    n, count = short.value.shape
    pulls = short.on_charges()
    own = short.value.new_zeros(n, count, 3).index_add(0, short.qm, -pulls)
    to_qm = own.new_zeros(n, 3, n, count)
    atoms = torch.arange(n)
    to_qm[atoms, :, atoms] = own.transpose(1, 2)
    to_mm = own.new_zeros(n, count, n_mm, 3)
    to_mm[short.qm, :, short.mm] = pulls
    return to_qm.flatten(2).flatten(0, 1), to_mm.flatten(2).flatten(0, 1)


def _flag(value: "bool | np.bool_") -> Tensor:
    return torch.tensor(float(value), dtype=torch.float64)
