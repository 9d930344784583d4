"""A data set reduced to what training needs: targets and a quadratic form for MM forces (hartree, bohr, e).

Positions do not change in training, so everything the MM atoms contribute is worked out once. MM forces are
linear in c = q - q0 and e = dE/d(field): F_mm = F_fixed - A'z with z = (c, e), so that the squared error
over thousands of MM atoms is z'Gz + 2 b'z + const with a small matrix G = AA' per frame.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from drupe.mlp.baseline import LigandForceField
from drupe.mlp.baseline_energy import BaselineEnergy
from drupe.mlp.dataset import Dataset
from drupe.mlp.electrostatics import field_at, pull_back

__all__ = ["TrainingSet", "prepare"]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Frames as tensors (float64).

    ============  ======================  =====================================================
    field         shape                   meaning
    ============  ======================  =====================================================
    positions     ``(frames, n, 3)``      QM atoms
    potential     ``(frames, n)``         damped potential of the charges
    field         ``(frames, n, 3)``      damped field
    gradient      ``(frames, n, 3, 3)``   derivative of the damped field with its atom's position
    energy        ``(frames,)``           label minus baseline minus sum q0 phi (zero not removed)
    forces        ``(frames, n, 3)``      the same for forces on QM atoms
    mm_gram       ``(frames, 4n, 4n)``    G
    mm_cross      ``(frames, 4n)``        b
    mm_square     ``(frames,)``           const: squared MM force the fixed charges leave over
    directions    ``(frames, k, n, 3)``   unit vectors
    slopes        ``(frames, k)``         label minus the same terms, derivative along them
    slope_errors  ``(frames, k)``         of the labels
    has_*         ``(frames,)``           1 where the label has it, else 0; ``has_slopes (frames, k)``
    ============  ======================  =====================================================
    """

    positions: Tensor
    potential: Tensor
    field: Tensor
    gradient: Tensor
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

    def take(self, frames: Tensor) -> "TrainingSet":
        """Keep some frames."""
        return replace(self, **{name: getattr(self, name)[frames] for name in self.__dataclass_fields__})


def prepare(dataset: Dataset, baseline: LigandForceField | None, damping: float) -> TrainingSet:
    """Reduce a data set.

    Parameters
    ----------
    dataset
        The labels.
    baseline
        MM terms to subtract, or None.
    damping
        Gaussian width of the damped electrostatics, bohr.
    """
    columns: dict[str, list[Tensor]] = {name: [] for name in TrainingSet.__dataclass_fields__}
    force_field = None if baseline is None else BaselineEnergy(baseline)
    fixed = torch.tensor(dataset.fixed_charges)
    for i in range(dataset.n_frames):
        for name, value in _frame(dataset, i, force_field, fixed, damping).items():
            columns[name].append(value)
    return TrainingSet(**{name: torch.stack(values) for name, values in columns.items()})


def _frame(
    dataset: Dataset, i: int, force_field: BaselineEnergy | None, fixed: Tensor, damping: float
) -> dict[str, Tensor]:
    count = int(dataset.mm_counts[i])
    origin = dataset.positions[i].mean(axis=0)
    qm = torch.tensor(dataset.positions[i] - origin)
    mm = torch.tensor(dataset.mm_positions[i, :count] - origin)
    charges = torch.tensor(dataset.mm_charges[i, :count])
    bare, damped = field_at(qm, mm, charges, 0.0), field_at(qm, mm, charges, damping)
    fixed_qm, fixed_mm = pull_back(qm, mm, bare, fixed, torch.zeros_like(qm))
    energy = torch.tensor(dataset.energy[i]) - fixed @ bare.potential
    forces = torch.tensor(dataset.forces_qm[i]) + fixed_qm
    directions = torch.tensor(dataset.directions[i])
    slopes = torch.tensor(dataset.slopes[i]) - torch.einsum("kix,ix->k", directions, fixed_qm)
    if force_field is not None:
        place = qm[None].clone().requires_grad_()
        base = force_field(place)
        (slope,) = torch.autograd.grad(base.sum(), place)
        energy, forces = energy - base.detach()[0], forces + slope[0]
        slopes = slopes - torch.einsum("kix,ix->k", directions, slope[0])
    apart = qm[:, None] - mm
    curved = torch.einsum("ij,ijx,ijy->ixy", damped.curve, apart, apart)
    gradient = damped.slope.sum(1)[:, None, None] * torch.eye(3, dtype=torch.float64) + curved
    gram, cross, square = _mm_form(dataset, i, damped.slope, damped.curve, apart, fixed_mm)
    return {
        "positions": qm,
        "potential": damped.potential,
        "field": damped.field,
        "gradient": gradient,
        "energy": energy,
        "forces": forces,
        "mm_gram": gram,
        "mm_cross": cross,
        "mm_square": square,
        "directions": directions,
        "slopes": slopes,
        "slope_errors": torch.tensor(dataset.slope_errors[i]),
        "has_energy": _flag(dataset.has_energy[i]),
        "has_forces": _flag(dataset.has_forces_qm[i]),
        "has_mm": _flag(dataset.has_forces_mm[i] and count > 0),
        "has_slopes": torch.tensor(dataset.has_slopes[i], dtype=torch.float64),
    }


def _mm_form(
    dataset: Dataset, i: int, slope: Tensor, curve: Tensor, apart: Tensor, fixed_mm: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """G, b and const of one frame; zero where the label has no MM forces."""
    n, count, _ = apart.shape
    on_potential = (slope[..., None] * apart).reshape(n, 3 * count)
    outer = curve[..., None, None] * apart[:, :, :, None] * apart[:, :, None, :]
    block = outer + slope[..., None, None] * torch.eye(3, dtype=torch.float64)
    on_field = -block.permute(0, 2, 1, 3).reshape(3 * n, 3 * count)
    rows = torch.cat([on_potential, on_field])
    left = (torch.tensor(dataset.forces_mm[i, :count]) + fixed_mm).reshape(-1)
    if not dataset.has_forces_mm[i]:
        left, rows = torch.zeros_like(left), torch.zeros_like(rows)
    return rows @ rows.T, rows @ left, left @ left


def _flag(value: "bool | np.bool_") -> Tensor:
    return torch.tensor(float(value), dtype=torch.float64)
