"""Fit potentials to labels: a `Dataset` (hartree, bohr, e) in, a `Committee` out.

Each member starts from its own weights and holds out its own blocks; the result depends on the data, the
specification and the member's number only.
"""

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drupe.errors import InputError
from drupe.hardware.platforms import torch_device
from drupe.mlp.baseline_energy import Baseline
from drupe.mlp.charge_sums import charge_sums_of
from drupe.mlp.committee import Committee
from drupe.mlp.dataset import Dataset
from drupe.mlp.descent import Found, Judged, Plan, descend, frames_of_step, one_thread
from drupe.mlp.fit_folder import FitFolder
from drupe.mlp.fit_progress import FitProgress
from drupe.mlp.fitted import FitCurve, Fitted
from drupe.mlp.loss import NO_ERRORS, Errors, LossWeights, Scales, loss_of, measure, predict_frames, scales_of
from drupe.mlp.potential import Potential, PotentialHeader
from drupe.mlp.processes import MemberTask, fit_in_processes
from drupe.mlp.specs import FitSpec
from drupe.mlp.training_set import TrainingSet, prepare
from drupe.records import content_key

__all__ = ["fit_task", "train", "train_member"]


_log = logging.getLogger(__name__)

_NUMBERS = 3  # raised when the same fit gives other numbers: a stored state is of one of these only
_PRECISIONS = {"float64": torch.float64, "float32": torch.float32}
_SHOWN = 64  # fitted frames whose errors the learning curve shows


def train(
    dataset: Dataset,
    spec: FitSpec,
    baseline: Baseline | None = None,
    on_member: Callable[[int], None] = lambda done: None,
    *,
    workers: int = 1,
    folder: FitFolder | None = None,
    on_progress: Callable[[FitProgress], None] = lambda progress: None,
    device: str = "cpu",
) -> Committee:
    """Fit a committee.

    Parameters
    ----------
    dataset
        Labels; forces on QM atoms or slopes are required.
    spec
        How to fit.
    baseline
        What to learn the difference to, strongly advised below some hundred labels: MM terms of the molecule
        (`LigandForceField`), or `Ani2x` where its weights are on this machine.
    on_member
        Called with the number of members done.
    workers
        Members fitted at a time, each in a process of its own with one thread; the result is the same to
        the last bit. 1 fits them here, one after the other.
    folder
        Where fits are kept: one that was killed goes on from there, one that is finished is not repeated.
    on_progress
        Called about sixty times per member, with several workers within a second or so.
    device
        Where the networks are fitted, by torch's name; ``"auto"`` takes a GPU where there is one. Off the
        processor sums have no fixed order, and the same fit ends with other last digits.

    Raises
    ------
    InputError
        If the labels have neither forces nor slopes, are of one geometry, or do not fit the baseline, or
        ``workers`` is no number of processes.
    ConvergenceError
        If the loss stops being a number.
    MachineError
        If a worker is killed, or the device is not there.
    """
    _check(dataset)
    if not isinstance(workers, int) or workers < 1:
        raise InputError(f"workers={workers!r}", remedy="give a whole number of processes, from 1 on")
    _log.info("%s", dataset.summary)
    if not dataset.has_energy.any():
        _log.warning(
            "no label has an energy: the potential's forces are learned, its energies have an arbitrary zero"
        )
    fits: list[Fitted] = []
    if workers > 1:

        def done(fit: Fitted) -> None:
            fits.append(fit)
            on_member(len(fits))

        fit_in_processes(dataset, spec, baseline, device, workers, folder, done, on_progress)
    else:
        for member in range(spec.members):
            fits.append(
                train_member(
                    dataset, spec, member, baseline, folder=folder, on_progress=on_progress, device=device
                )
            )
            on_member(member + 1)
    return Committee.from_fits(fits, dataset)


def fit_task(settings: MemberTask, dataset: Dataset) -> Fitted:
    """Fit one member in a worker process."""
    folder = None if settings.folder is None else FitFolder(settings.folder, settings.every_s)
    with Path(settings.progress).open("a", buffering=1) as told:
        return train_member(
            dataset,
            settings.spec,
            settings.member,
            settings.baseline,
            folder=folder,
            device=settings.device,
            on_progress=lambda progress: print(progress.to_line(), file=told),
        )


@one_thread()
def train_member(
    dataset: Dataset,
    spec: FitSpec,
    member: int,
    baseline: Baseline | None = None,
    *,
    folder: FitFolder | None = None,
    on_progress: Callable[[FitProgress], None] = lambda progress: None,
    device: str = "cpu",
) -> Fitted:
    """Fit member number ``member`` of the committee; see `train`."""
    _check(dataset)
    if not 0 <= member < spec.members:
        raise InputError(
            f"member {member} of a committee of {spec.members}", remedy="count members from 0 to members - 1"
        )
    where = torch_device(device)
    asked: dict[str, Any] = {
        "labels": dataset.key,
        "spec": spec,
        "member": member,
        "baseline": baseline,
        "numbers": _NUMBERS,
        "torch": torch.__version__,
    }
    if where.type != "cpu":
        asked["device"] = where.type
    key = content_key("Fit", asked)
    if folder is not None and (known := folder.done(key)) is not None:
        return known
    data = prepare(
        dataset, baseline, spec.damping, spec.reach, charge_sums_of(spec.settings), spec.dispersion
    )
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
        settings=spec.settings,
        border=dataset.border,
        dispersion=spec.dispersion,
        readout=spec.readout,
        readout_settings=spec.readout_settings,
        energies=dataset.energies if bool(present.any()) else "none",
    )
    fit = _Fit(dataset, spec, member, data, scales, header, where)
    found = descend(
        dict(fit.potential.named_parameters()),
        lambda: dict(fit.potential.named_parameters()),
        fit.loss,
        fit.judge,
        Plan(spec.steps, spec.learning_rate, spec.weight_decay, spec.average, spec.plateau, spec.patience),
        fit=key,
        start=None if folder is None else folder.state(key),
        save=(lambda state: None) if folder is None else folder.save,
        on_row=lambda row: on_progress(FitProgress(member, spec.steps, row)),
    )
    made = fit.fitted(found)
    if folder is not None:
        folder.finish(key, made)
    return made


def _check(dataset: Dataset) -> None:
    """Refuse before anything is fitted what cannot become a potential."""
    if dataset.n_geometries < 2:
        raise InputError(
            f"{dataset.n_frames} label(s) of {dataset.n_geometries} geometry cannot be trained on",
            remedy="label at least two different snapshots; about twenty are a useful start",
        )
    if not dataset.has_forces_qm.any() and not dataset.has_slopes.any():
        raise InputError(
            f"none of the labels has forces on QM atoms or slopes of its energy ({dataset.summary})",
            remedy="energies alone do not make a stable potential: label with forces of the energy that is "
            'learned (Level(forces="exact"), or "low" with which="low"), or transfer from a low level',
        )


class _Fit:
    """One fit under way: its potential, the frames it is fitted to and those it holds out."""

    def __init__(
        self,
        dataset: Dataset,
        spec: FitSpec,
        member: int,
        data: TrainingSet,
        scales: Scales,
        header: PotentialHeader,
        device: torch.device,
    ) -> None:
        self.spec, self.member, self.scales, self.zero = spec, member, scales, header.energy_zero
        first = np.random.default_rng([spec.seed, member])
        precision = _PRECISIONS[spec.precision]
        self.potential = _fresh(header, int(first.integers(2**62))).to(device, precision)
        self.averaged = Potential(header).to(device)
        outside = _held_out(dataset, spec, member)
        self.held_out = np.flatnonzero(outside)
        self.kept = data.take(torch.from_numpy(np.flatnonzero(~outside))).to(device)
        self.fitted_frames = self.kept.relative_to(self.zero).to(device, precision)
        self.held = data.take(torch.from_numpy(self.held_out)).to(device) if outside.any() else None
        shown = np.unique(np.linspace(0, self.kept.n_frames - 1, _SHOWN).round().astype(np.int64))
        self.shown = self.kept.take(torch.from_numpy(shown)) if self.held is not None else self.kept
        self.weights = LossWeights(
            spec.energy_weight,
            spec.force_weight,
            spec.mm_force_weight,
            spec.charge_pull,
            spec.polarizability_pull,
            spec.slope_weight,
        )

    def loss(self, step: int) -> Tensor:
        """Loss of the frames of a step."""
        batch = self.fitted_frames
        if self.spec.batch < batch.n_frames:
            seed = (self.spec.seed, self.member, 3)
            batch = batch.take(frames_of_step(step, self.spec.batch, batch.n_frames, seed))
        return loss_of(self.potential, batch, self.scales, self.weights, 0.0)

    def judge(self, weights: Mapping[str, Tensor]) -> Judged:
        """Errors of averaged weights; the score is taken on frames held out, where there are any."""
        self.averaged.load_state_dict(weights)
        on_kept = measure(self.averaged, self.shown, self.scales, self.zero)
        on_held = (
            NO_ERRORS if self.held is None else measure(self.averaged, self.held, self.scales, self.zero)
        )
        return Judged(_score(on_kept if self.held is None else on_held), on_kept, on_held)

    def fitted(self, found: Found) -> Fitted:
        """What the fit leaves behind."""
        self.averaged.load_state_dict(found.weights)
        return Fitted(
            stored=self.averaged.stored(),
            member=self.member,
            curve=FitCurve.from_rows(found.rows, found.best_step),
            held_out=self.held_out,
            held_out_error=_energy_errors(self.averaged, self.held, self.zero),
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
            bias[..., -1] = 0.2
    return potential


def _held_out(dataset: Dataset, spec: FitSpec, member: int) -> NDArray[np.bool_]:
    """Frames this member holds out: whole blocks, other blocks for other members."""
    judged = dataset.has_forces_qm | dataset.has_slopes.any(1) | dataset.has_energy
    # A block without any label to judge by would end the fit at once.
    names = np.unique(dataset.blocks[judged])
    order = np.random.default_rng([spec.seed, 2**31]).permutation(names)
    start = member * len(names) // spec.members
    chosen: list[int] = []
    count = 0
    sizes = {int(name): int((dataset.blocks == name).sum()) for name in np.roll(order, -start)}
    for name, size in sizes.items():
        if count + size <= spec.held_out * dataset.n_frames:
            chosen.append(name)
            count += size
    if not chosen and spec.held_out > 0:
        # Three equal runs are usual: a third is better than nothing.
        chosen = [name for name, size in sizes.items() if 3 * size <= dataset.n_frames][:1]
    if not chosen and spec.held_out > 0:
        _log.warning(
            "no block of labels is small enough to be held out (%d blocks, at most %.0f %% of %d frames): "
            "the fit cannot stop early and standard errors are not calibrated",
            len(names),
            100 * spec.held_out,
            dataset.n_frames,
        )
    if not chosen:
        return np.zeros(dataset.n_frames, bool)
    dataset.split(chosen)  # refuses a geometry on both sides
    return np.asarray(np.isin(dataset.blocks, chosen))


def _energy_errors(potential: Potential, held: TrainingSet | None, zero: float) -> NDArray[np.float64]:
    if held is None:
        return np.zeros(0)
    error = predict_frames(potential, held).energy.detach() + zero - held.energy
    return np.asarray(torch.where(held.has_energy > 0, error, torch.nan).cpu().numpy())
