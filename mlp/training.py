"""Fit potentials to labels: a `Dataset` (hartree, bohr, e) in, a `Committee` out.

Each member starts from its own weights and holds out its own blocks; the result depends on the data, the
specification and the member's number only.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drupe.errors import InputError
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.committee import Committee
from drupe.mlp.dataset import Dataset
from drupe.mlp.descent import descend
from drupe.mlp.fitted import FitCurve, Fitted
from drupe.mlp.loss import NO_ERRORS, Errors, LossWeights, Scales, loss_of, measure, predict_frames, scales_of
from drupe.mlp.potential import BACKBONES, Potential, PotentialHeader
from drupe.mlp.training_set import TrainingSet, prepare
from drupe.records import register

__all__ = ["FitSpec", "train", "train_member"]


def _same(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew no slopes and version 2 no reach; what they left out has the same meaning now."""
    return fields


@register(version=3, upgrades={1: _same, 2: _same})
@dataclass(frozen=True)
class FitSpec:
    """Everything that fixes a fit except the data.

    Parameters
    ----------
    backbone
        Architecture; ``"painn"``.
    members
        Size of the committee.
    seed
        Seed of all random numbers.
    steps
        Optimiser steps per member at most.
    learning_rate
        Peak learning rate; warm-up before, cosine decay after.
    features, layers, radial
        Size of the network.
    cutoff
        Neighbours inside the molecule, bohr.
    damping
        Gaussian width of the charges for the learned electrostatics, bohr.
    batch
        Frames per step; all of them when there are fewer.
    held_out
        Largest fraction of the frames a member holds out (whole blocks) to stop early.
    patience
        Stop after so many steps without a better held-out force error.
    average
        Decay of the moving average of the weights.
    weight_decay
        Decoupled decay of the weights.
    energy_weight, force_weight, mm_force_weight, slope_weight
        Weights of the dimensionless loss terms.
    charge_pull, polarizability_pull
        Pull of charges towards the fixed ones and of polarizabilities towards zero.
    energy_bound
        hartree: no atom's learned energy passes this, however far a geometry is from the data.
    reach
        bohr: residues whose centre is farther than this from every QM atom act on the fixed charges only,
        faded smoothly (`drupe.mlp.reach`). None lets all charges act, which a periodic box cannot have.
    """

    backbone: str = "painn"
    members: int = 4
    seed: int = 1
    steps: int = 1500
    learning_rate: float = 4e-3
    features: int = 24
    layers: int = 2
    radial: int = 8
    cutoff: float = 9.5
    damping: float = 2.0
    batch: int = 16
    held_out: float = 0.25
    patience: int = 500
    average: float = 0.99
    weight_decay: float = 1e-3
    energy_weight: float = 0.3
    force_weight: float = 1.0
    mm_force_weight: float = 0.3
    charge_pull: float = 1e-3
    polarizability_pull: float = 1e-3
    energy_bound: float = 0.1
    slope_weight: float = 1.0
    reach: float | None = None

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise InputError(
                f"no backbone is called {self.backbone!r}", remedy=f"use one of: {', '.join(BACKBONES)}"
            )
        positive = ("members", "steps", "learning_rate", "features", "layers", "radial", "cutoff", "damping")
        for name in (*positive, "batch", "patience", "energy_bound"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(
                    f"{name} = {value} in the fit specification", remedy="give a positive number"
                )
        if self.reach is not None and not (math.isfinite(self.reach) and self.reach > 0):
            raise InputError(
                f"reach = {self.reach} in the fit specification", remedy="give a number of bohr, or None"
            )
        if not 0 <= self.held_out < 0.9 or not 0 <= self.average < 1:
            raise InputError(
                f"held_out = {self.held_out} and average = {self.average} are not fractions",
                remedy="give held_out below 0.9 and average below 1",
            )


def train(
    dataset: Dataset,
    spec: FitSpec,
    baseline: LigandForceField | None = None,
    on_member: Callable[[int], None] = lambda done: None,
) -> Committee:
    """Fit a committee.

    Parameters
    ----------
    dataset
        Labels; forces on QM atoms or slopes are required.
    spec
        How to fit.
    baseline
        MM terms of the molecule to learn the difference to; strongly advised below some hundred labels.
    on_member
        Called with the number of members done.

    Raises
    ------
    InputError
        If the labels have neither forces nor slopes, or do not fit the baseline.
    ConvergenceError
        If the loss stops being a number.
    """
    fits = []
    for member in range(spec.members):
        fits.append(train_member(dataset, spec, member, baseline))
        on_member(member + 1)
    return Committee.from_fits(fits, dataset)


def train_member(
    dataset: Dataset, spec: FitSpec, member: int, baseline: LigandForceField | None = None
) -> Fitted:
    """Fit member number ``member`` of the committee; see `train`."""
    if not dataset.has_forces_qm.any() and not dataset.has_slopes.any():
        raise InputError(
            f"none of the labels has forces on QM atoms or slopes of its energy ({dataset.summary})",
            remedy="energies alone do not make a stable potential: label with forces of the energy that is "
            'learned (Level(forces="exact"), or "low" with which="low"), or transfer from a low level',
        )
    if not 0 <= member < spec.members:
        raise InputError(
            f"member {member} of a committee of {spec.members}", remedy="count members from 0 to members - 1"
        )
    data = prepare(dataset, baseline, spec.damping, spec.reach)
    present = data.has_energy > 0
    zero = float(data.energy[present].mean()) if bool(present.any()) else 0.0
    scales = scales_of(data, zero)
    header = PotentialHeader(
        numbers=dataset.numbers,
        fixed_charges=dataset.fixed_charges,
        total_charge=dataset.total_charge,
        backbone=spec.backbone,
        features=spec.features,
        layers=spec.layers,
        radial=spec.radial,
        cutoff=spec.cutoff,
        damping=spec.damping,
        field_scale=0.02,
        energy_scale=min(scales.force, spec.energy_bound),
        energy_bound=spec.energy_bound,
        charge_scale=0.1,
        polarizability_scale=5.0,
        energy_zero=zero,
        level=dataset.level,
        training_set=dataset.key,
        baseline=baseline,
        reach=spec.reach,
    )
    return _fit(dataset, spec, member, data, scales, header)


def _fit(
    dataset: Dataset, spec: FitSpec, member: int, data: TrainingSet, scales: Scales, header: PotentialHeader
) -> Fitted:
    rng = np.random.default_rng([spec.seed, member])
    potential = _fresh(header, int(rng.integers(2**62)))
    zero = header.energy_zero
    outside = _held_out(dataset, spec, member)
    kept = data.take(torch.from_numpy(np.flatnonzero(~outside)))
    held = data.take(torch.from_numpy(np.flatnonzero(outside))) if outside.any() else None
    weights = LossWeights(
        spec.energy_weight,
        spec.force_weight,
        spec.mm_force_weight,
        spec.charge_pull,
        spec.polarizability_pull,
        spec.slope_weight,
    )

    def loss() -> Tensor:
        batch = kept
        if spec.batch < kept.n_frames:
            batch = kept.take(torch.from_numpy(np.sort(rng.permutation(kept.n_frames)[: spec.batch])))
        return loss_of(potential, batch, scales, weights, zero)

    rows: list[tuple[int, float, Errors, Errors]] = []
    averaged = Potential(header)
    best: dict[str, Tensor] = {}
    best_score, best_step = math.inf, 0
    for now in descend(
        potential,
        loss,
        steps=spec.steps,
        learning_rate=spec.learning_rate,
        weight_decay=spec.weight_decay,
        average=spec.average,
        reports=60,
    ):
        averaged.load_state_dict(now.weights)
        on_kept = measure(averaged, kept, scales, zero)
        on_held = NO_ERRORS if held is None else measure(averaged, held, scales, zero)
        rows.append((now.step, now.loss, on_kept, on_held))
        score = _score(on_kept if held is None else on_held)
        if not best or score < best_score:
            best, best_score, best_step = now.weights, score, now.step
        elif now.step - best_step >= spec.patience:
            break
    averaged.load_state_dict(best)
    return Fitted(
        stored=averaged.stored(),
        member=member,
        curve=FitCurve.from_rows(rows, best_step),
        held_out=np.flatnonzero(outside),
        held_out_error=_energy_errors(averaged, held, zero),
    )


def _score(errors: Errors) -> float:
    """What is to become small: the force error, or the next best thing that these frames have."""
    return next((e for e in (errors.force, errors.slope, errors.energy) if math.isfinite(e)), math.inf)


def _fresh(header: PotentialHeader, seed: int) -> Potential:
    potential = Potential(header, seed=seed)
    with torch.no_grad():
        # A square has no slope at zero: polarizabilities start at 4 % of their scale instead.
        bias = potential.readout.last.bias
        if bias is not None:
            bias[..., 2] = 0.2
    return potential


def _held_out(dataset: Dataset, spec: FitSpec, member: int) -> NDArray[np.bool_]:
    """Frames this member holds out: whole blocks, other blocks for other members."""
    names = np.unique(dataset.blocks)
    order = np.random.default_rng([spec.seed, 2**31]).permutation(names)
    start = member * len(names) // spec.members
    chosen: list[int] = []
    count = 0
    for name in np.roll(order, -start):
        size = int((dataset.blocks == name).sum())
        if count + size <= spec.held_out * dataset.n_frames:
            chosen.append(int(name))
            count += size
    if not chosen:
        return np.zeros(dataset.n_frames, bool)
    dataset.split(chosen)  # refuses a geometry on both sides
    return np.asarray(np.isin(dataset.blocks, chosen))


def _energy_errors(potential: Potential, held: TrainingSet | None, zero: float) -> NDArray[np.float64]:
    if held is None:
        return np.zeros(0)
    error = predict_frames(potential, held).energy.detach() + zero - held.energy
    return np.asarray(torch.where(held.has_energy > 0, error, torch.nan).numpy())
