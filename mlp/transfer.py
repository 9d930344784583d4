"""Carry a potential from its low level to a few labels of a higher level (hartree, bohr).

1. The energy zero moves by the mean of E_high - E_low. 2. The network is fitted to the high level with a low
learning rate: weights are pulled to where they came from, and a second readout on the same backbone keeps
reproducing the low-level labels (replay). Where the high level has energies only, they are fitted as the
potential's own low-level energy plus E_high - E_low, and forces are pulled to the low-level potential's;
where it has forces or slopes too, all labels are fitted as they stand and nothing pulls those forces back.
3. The guard refuses forces that moved too far, on low-level frames that were held out: from those of the low
level where nothing says how they should move; else beyond the change that the high-level labels ask for, or
away from them.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drupe.errors import ConvergenceError, InputError
from drupe.mlp.adapters import adapt, effective_weights
from drupe.mlp.committee import Committee
from drupe.mlp.dataset import Dataset
from drupe.mlp.descent import Judged, Plan, descend, frames_of_step, one_thread
from drupe.mlp.fit_folder import FitFolder
from drupe.mlp.fit_progress import FitProgress
from drupe.mlp.fitted import FitCurve, Fitted
from drupe.mlp.loss import (
    NO_ERRORS,
    Errors,
    LossWeights,
    Predicted,
    left_over,
    loss_of,
    mean_of,
    measure,
    predict_frames,
    scales_of,
    slope_loss,
)
from drupe.mlp.potential import Potential, PotentialHeader
from drupe.mlp.same_molecule import check_fixed_charges, check_molecule
from drupe.mlp.specs import TransferSpec
from drupe.mlp.training_set import TrainingSet, prepare
from drupe.records import content_key

__all__ = ["transfer", "transfer_member"]

_log = logging.getLogger(__name__)

_NUMBERS = 3  # raised when the same transfer gives other numbers
_WATCHED = 0.2  # share of the low-level frames that the guard looks at and the fit does not
_FEWEST = 10  # low-level frames; of fewer none is spared
_SMALLEST_ENERGY = 1e-4  # hartree; energies are not fitted more sharply than this scale asks for
_REPLAY = LossWeights(energy=0.3, forces=1.0, mm_forces=0.3, charge=1e-3, polarizability=1e-3)


def transfer(
    committee: Committee,
    high: Dataset,
    low: Dataset,
    spec: TransferSpec,
    on_member: Callable[[int], None] = lambda done: None,
    *,
    folder: FitFolder | None = None,
    on_progress: Callable[[FitProgress], None] = lambda progress: None,
) -> Committee:
    """Transfer every member; calibration and training set (for novelty) stay those of the low level.

    Parameters
    ----------
    committee
        Members trained on ``low``.
    high
        Labels with high-level energies, and forces or slopes where they are there.
    low
        Labels of the low level, for replay; from ten on a fifth of them is held out for the guard.
    spec
        How to fit.
    on_member
        Called with the number of members done.
    folder
        Where fits are kept: one that was killed goes on from there, one that is finished is not repeated.
    on_progress
        Called about sixty times per member.

    Raises
    ------
    InputError
        If the data sets are of other atoms, or ``high`` lacks energies.
    ConvergenceError
        If forces move by ``spec.max_force_drift`` more than the labels ask for.
    """
    fits = []
    for number, stored in enumerate(committee.members):
        start = Potential.from_stored(stored)
        fits.append(transfer_member(start, high, low, spec, number, folder=folder, on_progress=on_progress))
        on_member(number + 1)
    members = tuple(fit.stored for fit in fits)
    made = Committee(members, committee.calibration, seen=committee.seen).having_seen(low).having_seen(high)
    return made if committee.novelty is None else made.referred_to(low)


@one_thread()
def transfer_member(
    potential: Potential,
    high: Dataset,
    low: Dataset,
    spec: TransferSpec,
    member: int = 0,
    *,
    folder: FitFolder | None = None,
    on_progress: Callable[[FitProgress], None] = lambda progress: None,
) -> Fitted:
    """Transfer one potential; see `transfer`."""
    _check(potential, high, low)
    key = content_key(
        "Transfer",
        {
            "start": potential.stored(),
            "high": high.key,
            "low": low.key,
            "spec": spec,
            "member": member,
            "numbers": _NUMBERS,
            "torch": torch.__version__,
        },
    )
    if folder is not None and (known := folder.done(key)) is not None:
        return known
    present = high.has_energy
    offset = float((high.energy - high.energy_low)[present].mean())
    header = dataclasses.replace(
        potential.header,
        energy_zero=potential.header.energy_zero + offset,
        level=high.level,
        training_set=high.key,
    )
    fit = _Transfer(potential, header, high, low, spec, member)
    found = descend(
        fit.parameters,
        fit.weights,
        fit.loss,
        fit.judge,
        Plan(spec.steps, spec.learning_rate, 0.0, spec.average, plateau=None, patience=None),
        fit=key,
        start=None if folder is None else folder.state(key),
        save=(lambda state: None) if folder is None else folder.save,
        on_row=lambda row: on_progress(FitProgress(member, spec.steps, row)),
    )
    fit.averaged.load_state_dict(found.weights)
    drift = fit.drift()
    if not drift <= spec.max_force_drift:
        raise ConvergenceError(
            f"transfer moved the forces of member {member} by {drift:.5f} hartree/bohr rms more than "
            f"its labels ask for, the bound is {spec.max_force_drift:.5f}",
            remedy="raise force_pull or weight_pull, add labels, or raise max_force_drift knowingly",
        )
    made = Fitted(
        stored=fit.averaged.stored(),
        member=member,
        curve=FitCurve.from_rows(found.rows, found.best_step),
        held_out=np.zeros(0, np.int64),
        held_out_error=np.zeros(0),
        force_drift=drift,
    )
    if folder is not None:
        folder.finish(key, made)
    return made


class _Transfer:
    """One transfer under way: targets, rehearsal, and the networks that share a backbone."""

    def __init__(
        self,
        potential: Potential,
        header: PotentialHeader,
        high: Dataset,
        low: Dataset,
        spec: TransferSpec,
        member: int,
    ) -> None:
        self.spec, self.low_zero, self.high_zero = spec, potential.header.energy_zero, header.energy_zero
        self.start = {name: value.detach().clone() for name, value in potential.named_parameters()}
        self.moved, self.averaged, self.replayed = Potential(header), Potential(header), Potential(header)
        for module in (self.moved, self.averaged, self.replayed):
            module.load_state_dict(self.start)
        self.replayed.backbone = self.moved.backbone  # one backbone, two readouts
        network = self.moved.get_submodule("backbone")
        if spec.rank is None:
            backbone = dict(network.named_parameters())
        else:
            backbone = adapt(network, spec.rank, spec.seed + member)
        self.parameters: dict[str, Tensor] = {
            f"{part} {name}": value
            for part, parameters in (
                ("backbone", backbone),
                ("readout", dict(self.moved.readout.named_parameters())),
                ("replay", dict(self.replayed.readout.named_parameters())),
            )
            for name, value in parameters.items()
        }
        reads = potential.backbone.charge_sums
        self.targets, known = (
            prepare(data, header.baseline, header.damping, header.reach, reads, header.dispersion)
            for data in (high, low)
        )
        self.scales = scales_of(known, self.low_zero)
        apart = _watched(low, spec.seed)
        self.rehearsal = known.take(torch.from_numpy(np.flatnonzero(~apart)))
        self.watched = known.take(torch.from_numpy(np.flatnonzero(apart))) if apart.any() else self.rehearsal
        self.tells_qm = bool(
            (spec.force_weight > 0 and self.targets.has_forces.any())
            or (spec.slope_weight > 0 and self.targets.has_slopes.any())
        )
        self.tells_mm = bool(spec.mm_force_weight > 0 and self.targets.has_mm.any())
        self.informed = self.tells_qm or self.tells_mm
        first = predict_frames(potential, self.rehearsal)
        self.before, self.response_before = first.forces.detach(), first.response.detach()
        self.watched_before = predict_frames(potential, self.watched).forces.detach()
        at_high = predict_frames(potential, self.targets)
        correction = torch.tensor(high.energy - high.energy_low)
        # Energies alone are fitted as the low-level potential plus E_high - E_low of the label: so the few of
        # them are spent on the correction, not on the low-level potential's own errors. Forces of the high
        # level are whole, and energies beside them have to be so too, or the two would not belong together.
        self.wanted = (
            self.targets.energy if self.informed else at_high.energy.detach() + self.low_zero + correction
        )
        self.asked = left_over(at_high, self.targets, self.high_zero)
        # What there is to learn: the correction, or all that the potential misses of whole energies.
        spread = float(correction[self.targets.has_energy > 0].std())
        self.energy_scale = max(self.asked.energy if self.informed else spread, _SMALLEST_ENERGY)
        self.member = member

    def weights(self) -> Mapping[str, Tensor]:
        """Weights of the potential as they are now."""
        return effective_weights(self.moved, self.start)

    def loss(self, step: int) -> Tensor:
        """Loss of the frames of a step."""
        spec = self.spec
        some, again = (
            frames_of_step(step, spec.batch, data.n_frames, (spec.seed, self.member, number))
            for number, data in ((7, self.targets), (8, self.rehearsal))
        )
        batch, old = self.targets.take(some), self.rehearsal.take(again)
        made, rehearsed = (
            predict_frames(self.moved, batch, graph=True),
            predict_frames(self.moved, old, graph=True),
        )
        missed = (made.energy + self.high_zero - self.wanted[some]) * batch.has_energy
        energy = (missed**2).sum() / batch.has_energy.sum().clamp(min=1) / self.energy_scale**2
        drift = energy.new_zeros(())
        if not self.tells_qm:
            drift = drift + ((rehearsed.forces - self.before[again]) ** 2).mean() / self.scales.force**2
        if not self.tells_mm:
            turned = rehearsed.response - self.response_before[again]
            moved = torch.einsum("fa,fab,fb->f", turned, old.mm_gram, turned)
            drift = drift + moved.mean() / self.scales.mm_square
        told = self._forces_of_high(made, batch) if self.informed else 0.0
        names = self.weights()
        count = sum(value.numel() for value in self.start.values())
        distance = torch.stack([((names[k] - v) ** 2).sum() for k, v in self.start.items()]).sum() / count
        replay = loss_of(self.replayed, old, self.scales, _REPLAY, self.low_zero)
        return (
            energy
            + spec.replay_weight * replay
            + spec.force_pull * drift
            + told
            + spec.weight_pull * distance
        )

    def _forces_of_high(self, made: Predicted, batch: TrainingSet) -> Tensor:
        """Misses of forces and slopes, in units of what the low-level potential misses of them."""
        on_qm = mean_of(((made.forces - batch.forces) ** 2).mean((1, 2)), batch.has_forces)
        on_mm = mean_of(made.mm_square, batch.has_mm)
        spec = self.spec
        return (
            spec.force_weight * on_qm / self.asked.force**2
            + spec.mm_force_weight * on_mm / self.asked.mm_square
            + spec.slope_weight * slope_loss(made.forces, batch, self.asked.slope)
        )

    def judge(self, weights: Mapping[str, Tensor]) -> Judged:
        """Errors at the high level, and those at the low level through the second readout."""
        self.averaged.load_state_dict(weights)
        on_high = measure(self.averaged, self.targets, self.scales, self.high_zero)
        on_low = measure(self.replayed, self.rehearsal, self.scales, self.low_zero)
        shown = Errors(on_high.energy, on_low.force, on_low.mm_force, on_high.slope)
        return Judged(on_high.energy, shown, NO_ERRORS, on_high)

    def drift(self) -> float:
        """Rms change of forces on QM atoms that the labels do not ask for, hartree/bohr.

        Over low-level frames whose forces the fit does not hold in place, less the change that high-level
        forces or slopes ask for at their own frames; or what the error against these forces grew by, if that
        is more.
        """
        after = predict_frames(self.averaged, self.watched).forces.detach()
        moved = float(((after - self.watched_before) ** 2).mean().sqrt())
        if not self.informed:
            return moved
        left = left_over(predict_frames(self.averaged, self.targets), self.targets, self.high_zero)
        known = [
            (before, now)
            for before, now, there, weight in (
                (self.asked.force, left.force, self.targets.has_forces, self.spec.force_weight),
                (self.asked.slope, left.slope, self.targets.has_slopes, self.spec.slope_weight),
            )
            if weight > 0 and bool(there.any())
        ]
        beyond = moved - max((before for before, _ in known), default=0.0)
        return max(0.0, beyond, *(now - before for before, now in known))


def _watched(low: Dataset, seed: int) -> NDArray[np.bool_]:
    """Low-level frames that the guard keeps to itself: whole blocks, or the last fifth of long stretches."""
    if low.n_frames < _FEWEST:
        _log.warning(
            "%d low-level labels: the guard looks at the frames whose forces are held in place, between them "
            "forces may move further; %d labels or more spare some for it",
            low.n_frames,
            _FEWEST,
        )
        return np.zeros(low.n_frames, bool)
    room = int(_WATCHED * low.n_frames)
    chosen: list[int] = []
    count = 0
    for name in np.random.default_rng([seed, 2**30]).permutation(np.unique(low.blocks)):
        size = int((low.blocks == name).sum())
        if count + size <= room:
            chosen.append(int(name))
            count += size
    return np.isin(low.blocks, chosen) if chosen else np.arange(low.n_frames) >= low.n_frames - room


def _check(potential: Potential, high: Dataset, low: Dataset) -> None:
    for name, data in (("high", high), ("low", low)):
        check_molecule(potential.header, data, f"{name}-level labels")
        check_fixed_charges(potential.header, data, f"{name}-level labels")
    for name, data in (("high", high), ("low", low)):
        if data.energies != potential.header.energies:
            raise InputError(
                f"the {name}-level labels have {data.energies} energies, the potential learned from labels "
                f"with {potential.header.energies}",
                remedy="train the potential on labels with energies, and use one kind of energies for both",
            )
    if low.n_geometries < 2:
        raise InputError(
            f"{low.n_frames} rehearsal label(s) of {low.n_geometries} geometry are too few",
            remedy="pass the labels the potential was trained on as low",
        )
    if low.level != potential.header.level:
        raise InputError(
            f"the rehearsal labels are of the level {low.level}, the potential of {potential.header.level}",
            remedy="pass the labels the potential was trained on as low",
        )
    if high.level_low not in ("", low.level):
        raise InputError(
            f"the low energies of the high-level labels are of the level {high.level_low}, the rehearsal "
            f"labels of {low.level}: what is added to these is not what the potential misses",
            remedy="compute the corrections on top of the level the potential was trained on",
        )
    if int(high.has_energy.sum()) < 2:
        raise InputError(
            f"{int(high.has_energy.sum())} high-level energies are too few to transfer to",
            remedy="compute core corrections for at least two snapshots; about seven are a useful start",
        )
    lost = int((high.has_energy & ~high.has_energy_low).sum())
    if lost:
        raise InputError(
            f"{lost} of the high-level labels do not say their low-level energy",
            remedy="give both energies of these frames: the difference is what is learned",
        )
