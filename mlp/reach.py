"""Which charges the learned terms feel: whole groups within a reach, faded smoothly (bohr, e).

A group g (a residue, say one water) counts with one number for the whole molecule,

    s_g = 1 - prod_i [1 - s(|R_i - C_g|)]

with C_g the mean position of its charges and s falling from 1 at three quarters of the reach to 0 at the
reach. So a group acts fully when any QM atom is near it, not at all when none is within reach, and never in
parts: all QM atoms see the same set of charges. Shifts of charge add to (nearly) zero, so that a potential
all atoms share drops out; were each atom to see a sphere of its own, differences between the spheres' rims
would act as a field that is not there. Only closed forms: nothing here needs autograd.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drupe.mlp.electrostatics import Field

__all__ = ["PLATEAU", "Reached", "fade_groups", "near_groups", "pull_back_weights", "weighted"]

Matrix = NDArray[np.float64]

PLATEAU = 0.75  # of the reach: up to here a group counts fully


class Reached(NamedTuple):
    """How much each group counts, and how that changes with the positions.

    ``weight`` (groups,) between 0 and 1; ``slope`` (qm, groups, 3) its derivative with the position of each
    QM atom, 1/bohr: that with the centre of the group is minus its sum over QM atoms; ``size`` (groups,) the
    number of charges in each; ``group`` (mm,) the group of each charge.
    """

    weight: Tensor
    slope: Tensor
    size: Tensor
    group: Tensor

    @property
    def per_charge(self) -> Tensor:
        """Weight of each charge, shape ``(mm,)``."""
        return self.weight[self.group]

    def sum_groups(self, values: Tensor) -> Tensor:
        """Sum over the charges of each group along the last axis: ``(..., mm)`` to ``(..., groups)``."""
        shape = (*values.shape[:-1], len(self.size))
        return values.new_zeros(shape).index_add(-1, self.group, values)

    def on_charges(self) -> Tensor:
        """Derivative of each charge's weight with the charge's own position, ``(mm, 3)``, 1/bohr."""
        return (-self.slope.sum(0) / self.size[:, None])[self.group]


def near_groups(
    qm: Matrix, mm: Matrix, charges: Matrix, groups: NDArray[np.int64], reach: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Leave out charges of zero and the groups that are too far to act.

    Parameters
    ----------
    qm, mm, charges
        Shapes ``(qm, 3)``, ``(mm, 3)`` bohr, ``(mm,)`` e.
    groups
        Any number for each group, shape ``(mm,)``.
    reach
        bohr.

    Returns
    -------
    chosen, group
        Indices of the charges that are kept, and the group of each, from 0 without gaps; `fade_groups`
        of these gives the weights of all, those left out having none.
    """
    chosen = np.flatnonzero(charges)
    names = groups[chosen]
    if (names[1:] < names[:-1]).any():
        chosen = chosen[np.argsort(names, kind="stable")]
        names = groups[chosen]
    starts = np.flatnonzero(np.diff(names, prepend=names[:1] - 1))
    sizes = np.diff(starts, append=len(names))
    centre = np.add.reduceat(mm[chosen], starts, axis=0) / sizes[:, None]
    middle = qm.mean(axis=0)
    radius = np.linalg.norm(qm - middle, axis=1).max()
    near = np.linalg.norm(centre - middle, axis=1) < radius + reach
    return chosen[np.repeat(near, sizes)], np.repeat(np.arange(near.sum()), sizes[near])


def fade_groups(qm: Tensor, mm: Tensor, group: Tensor, reach: float) -> Reached:
    """Weigh groups of charges by their distance from the molecule.

    Parameters
    ----------
    qm, mm
        Positions of the QM atoms ``(qm, 3)`` and of the charges ``(mm, 3)``, bohr.
    group
        Number of the group of each charge, shape ``(mm,)``, from 0 without gaps.
    reach
        Distance of a group's centre from the nearest QM atom at which it stops acting, bohr.

    Returns
    -------
    Reached
        Twice continuously differentiable with respect to ``qm`` and ``mm``.
    """
    count = int(group.max()) + 1 if len(group) else 0
    size = mm.new_zeros(count).index_add(0, group, mm.new_ones(len(group)))
    centre = mm.new_zeros(count, 3).index_add(0, group, mm) / size[:, None]
    apart = qm[:, None] - centre
    distance = torch.linalg.vector_norm(apart, dim=-1)
    x = ((distance / reach - PLATEAU) / (1 - PLATEAU)).clamp(0.0, 1.0)
    # Falls from 1 to 0 with two vanishing derivatives at both ends; ``absent`` is what is missing of 1.
    absent = x**3 * (10 - 15 * x + 6 * x * x)
    falling = 30 * (x * (1 - x)) ** 2 / ((1 - PLATEAU) * reach)
    nothing = absent.prod(0)
    # prod over the others = prod / own; where own is 0 its slope is 0 as well.
    others = nothing / torch.where(absent > 0, absent, torch.ones_like(absent))
    along = -others * falling / distance.clamp(min=1e-9)
    return Reached(1 - nothing, along[..., None] * apart, size, group)


def weighted(made: Field, qm: Tensor, mm: Tensor, weight: Tensor) -> Field:
    """Field of the same charges, each times its ``weight (mm,)``; arguments as in `field_at`."""
    slope = made.slope * weight
    return Field(
        made.share @ weight,
        qm * slope.sum(-1)[:, None] - slope @ mm,
        slope,
        made.curve * weight,
        made.share * weight,
    )


def pull_back_weights(
    qm: Tensor, mm: Tensor, made: Field, reached: Reached, on_potential: Tensor, on_field: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient of sum_i c_i phi_i + e_i . E_i that comes from the weights alone, in closed form.

    Parameters
    ----------
    qm, mm
        Positions as given to `field_at`.
    made
        The field of the charges *before* they were weighted.
    reached
        The weights.
    on_potential, on_field
        c ``(qm,)`` and e ``(qm, 3)``.

    Returns
    -------
    tuple of Tensor
        Gradients of shape ``(qm, 3)`` and ``(mm, 3)``, to be added to those of `pull_back`.
    """
    along = (on_field * qm).sum(-1)[:, None] - on_field @ mm.T
    work = reached.sum_groups(on_potential @ made.share + (made.slope * along).sum(0))
    to_qm = torch.einsum("igx,g->ix", reached.slope, work)
    return to_qm, reached.on_charges() * work[reached.group][:, None]
