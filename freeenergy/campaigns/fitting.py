"""Task bodies of the learned potential: labels in; members, committees, parity and level differences out."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.regions import periodic
from drupe.embedding.structures.structure import Structure
from drupe.errors import ConvergenceError
from drupe.freeenergy.campaigns.preparation import Leg, Prepared
from drupe.freeenergy.campaigns.stages import LabelledSnapshot
from drupe.freeenergy.estimation.chain import uncorrelated
from drupe.freeenergy.outcomes.figure_data import Parity
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.committee import Committee
from drupe.mlp.dataset import Dataset
from drupe.mlp.fit_folder import FitFolder
from drupe.mlp.fitted import Fitted
from drupe.mlp.leave_out import LeftOut, transfer_without
from drupe.mlp.specs import FitSpec, TransferSpec
from drupe.mlp.training import train_member
from drupe.mlp.transfer import transfer_member
from drupe.records import frozen, register
from drupe.units import kt

__all__ = ["CompareStage", "FitStage", "GatherStage", "LevelDifferences", "TransferStage"]

#: MM atoms whose forces are shown in a parity plot: those that feel the ligand most.
_SHOWN_MM_ATOMS: Final[int] = 100
#: Seconds of a fit that a kill may cost.
_STATE_EVERY_S: Final[float] = 30.0


@register(version=1)
@dataclass(frozen=True, eq=False)
class FitStage:
    """Settings of `fit_member`."""

    spec: FitSpec
    member: int


@register(version=1)
@dataclass(frozen=True, eq=False)
class TransferStage:
    """Settings of `transfer_one`."""

    spec: TransferSpec
    member: int


@register(version=1)
@dataclass(frozen=True, eq=False)
class GatherStage:
    """Settings of `gather`: ``"low"`` or ``"core"``, and how many members were asked for."""

    level: str
    members: int


@register(version=1)
@dataclass(frozen=True, eq=False)
class CompareStage:
    """Settings of `compare_levels`: ``low_runs`` says how many of the runs are of the low level."""

    leg: str
    temperature_k: float
    low_runs: int


@register(version=1)
@dataclass(frozen=True, eq=False)
class Gathered:
    """A committee with what it makes of the labels."""

    committee: Committee
    parity: tuple[Parity, ...]


def _same(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 kept neither runs nor what the committees think of the frames, version 2 no times."""
    return fields


@register(version=3, upgrades={1: _same, 2: _same})
@dataclass(frozen=True, eq=False)
class LevelDifferences:
    """Energies of both levels at frames of both ML/MM end states of one leg, kT.

    ``forward`` is u_core - u_low at low-level frames, ``reverse`` is u_low - u_core at core-level
    frames, each ``(frames,)``; ``members_low`` and ``members_core`` are u_m - u_mean of each
    committee at the frames of its own level, ``(members, frames)``. ``run_forward`` and ``run_reverse`` say
    which run each frame is from, ``time_forward`` and ``time_reverse`` when in it, ps. ``novelty_*`` and
    ``sigma_*`` hold what each committee thinks of all frames of its own level: distance from the training set
    (1 is its edge), standard error of the energy (kT).
    """

    forward: NDArray[np.float64]
    reverse: NDArray[np.float64]
    members_low: NDArray[np.float64]
    members_core: NDArray[np.float64]
    run_forward: NDArray[np.int64] | None = None
    run_reverse: NDArray[np.int64] | None = None
    time_forward: NDArray[np.float64] | None = None
    time_reverse: NDArray[np.float64] | None = None
    novelty_low: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    novelty_core: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sigma_low: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sigma_core: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if (value := getattr(self, name)) is not None:
                kind = np.int64 if name.startswith("run") else np.float64
                object.__setattr__(self, name, frozen(value, kind))


def fit_member(settings: FitStage, prepared: Prepared, *labels: LabelledSnapshot, folder: Path) -> Fitted:
    """Fit one member to DFT/MM energies and forces, as the difference to the ligand's MM energy."""
    return train_member(
        _dataset(labels, "low"),
        settings.spec,
        settings.member,
        _baseline(prepared),
        folder=FitFolder(folder, _STATE_EVERY_S),
    )


def transfer_one(
    settings: TransferStage, prepared: Prepared, low: Fitted, *labels: LabelledSnapshot, folder: Path
) -> Fitted:
    """Move one member to the core-corrected energies, replaying the low-level labels."""
    with_core = [one for one in labels if one.label.cores]
    return transfer_member(
        low.potential,
        _dataset(with_core, "high"),
        _dataset(labels, "low"),
        settings.spec,
        settings.member,
        folder=FitFolder(folder, _STATE_EVERY_S),
    )


def leave_out(
    settings: TransferStage,
    prepared: Prepared,
    low: Fitted,
    label: LabelledSnapshot,
    *others: LabelledSnapshot,
) -> LeftOut:
    """Predict the core correction of ``label`` with a transfer that did not see it."""
    labels = [label, *others]
    with_core = [one for one in labels if one.label.cores]
    return transfer_without(
        low.potential, _dataset(with_core, "high"), _dataset(labels, "low"), 0, settings.spec
    )


def gather(
    settings: GatherStage, prepared: Prepared, *parts: "Fitted | LabelledSnapshot | Gathered"
) -> Gathered:
    """Put the members that there are into one committee, calibrate it and compare it with the labels.

    A transferred committee keeps the calibration of the one it came from: core-corrected labels are
    too few to hold some of them out.
    """
    fits = [part for part in parts if isinstance(part, Fitted)]
    labels = [part for part in parts if isinstance(part, LabelledSnapshot)]
    if len(fits) < 2:
        raise ConvergenceError(
            f"{len(fits)} of {settings.members} members of the {settings.level} committee were fitted",
            remedy="see the failed fits: more labels, or other settings of the potential, may help",
        )
    which: Literal["low", "high"] = "low" if settings.level == "low" else "high"
    shown = labels if which == "low" else [one for one in labels if one.label.cores]
    dataset = _dataset(shown, which)
    committee = Committee.from_fits(fits, dataset)
    for source in (part.committee for part in parts if isinstance(part, Gathered)):
        # The low-level labels are what its forces were learned from.
        committee = replace(committee, calibration=source.calibration).referred_to(_dataset(labels, "low"))
    return Gathered(committee, tuple(_parity(settings.level, committee, dataset, shown)))


def compare_levels(
    settings: CompareStage, prepared: Prepared, low: Gathered, core: Gathered, *runs: Any
) -> LevelDifferences:
    """Evaluate both committees at decorrelated frames of both ML/MM end states of a leg."""
    leg = prepared.leg(settings.leg)
    thermal = kt(settings.temperature_k)
    at_low = _frames(leg, runs[: settings.low_runs])
    at_core = _frames(leg, runs[settings.low_runs :])
    low_at_low, core_at_low = (_predicted(one.committee, leg, at_low, thermal) for one in (low, core))
    low_at_core, core_at_core = (_predicted(one.committee, leg, at_core, thermal) for one in (low, core))
    first, from_low, time_low = _kept(runs[: settings.low_runs], low_at_low.energies, core_at_low.energies)
    second, from_core, time_core = _kept(
        runs[settings.low_runs :], core_at_core.energies, low_at_core.energies
    )
    own_low, other_low = low_at_low.energies[:, first], core_at_low.energies[:, first]
    own_core, other_core = core_at_core.energies[:, second], low_at_core.energies[:, second]
    return LevelDifferences(
        forward=other_low.mean(axis=0) - own_low.mean(axis=0),
        reverse=other_core.mean(axis=0) - own_core.mean(axis=0),
        members_low=own_low - own_low.mean(axis=0),
        members_core=own_core - own_core.mean(axis=0),
        run_forward=from_low,
        run_reverse=from_core,
        time_forward=time_low,
        time_reverse=time_core,
        novelty_low=low_at_low.novelty,
        novelty_core=core_at_core.novelty,
        sigma_low=low_at_low.sigma,
        sigma_core=core_at_core.sigma,
    )


def _baseline(prepared: Prepared) -> LigandForceField:
    structure: Structure = prepared.solvent.structure
    return LigandForceField.from_structure(structure, prepared.solvent.ligand.tolist())


def _dataset(labels: Sequence[LabelledSnapshot], which: Literal["low", "high"]) -> Dataset:
    """Blocks are trajectories: runs of the two legs count apart."""
    names = sorted({(one.leg, one.run) for one in labels})
    blocks = [names.index((one.leg, one.run)) for one in labels]
    return Dataset.from_labels([one.label for one in labels], which=which, blocks=blocks)


def _kept(
    runs: Sequence[Any], own: NDArray[np.float64], other: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Frames a correlation time of the energy difference apart, run by run: indices, runs, times (ps)."""
    kept, numbers, times, start = [], [], [], 0
    for number, run in enumerate(runs):
        here = slice(start, start + len(run.positions))
        kept.append(
            start + uncorrelated(np.array([own[:, here].mean(axis=0), other[:, here].mean(axis=0)]), 0)
        )
        numbers.append(np.full(len(kept[-1]), number))
        times.append(run.spec.frame_times_ps[kept[-1] - start])
        start = here.stop
    return np.concatenate(kept), np.concatenate(numbers), np.concatenate(times)


def _frames(leg: Leg, runs: Sequence[Any]) -> list[NDArray[np.float64]]:
    """Positions of all frames, in a box with the molecules at their images nearest to the ligand."""
    system = leg.structure.system
    return [
        frame
        if run.boxes is None
        else periodic.gather(system.with_positions(frame).with_box(run.boxes[k]), leg.ligand).positions
        for run in runs
        for k, frame in enumerate(run.positions)
    ]


class _Predicted(NamedTuple):
    """Energies ``(members, frames)`` from the level's zero and their standard error, kT; novelty."""

    energies: NDArray[np.float64]
    sigma: NDArray[np.float64]
    novelty: NDArray[np.float64]


def _predicted(
    committee: Committee, leg: Leg, frames: Sequence[NDArray[np.float64]], thermal: float
) -> _Predicted:
    """What a committee makes of all frames."""
    system = leg.structure.system
    around = np.setdiff1d(np.arange(system.n_atoms), leg.ligand)
    charges, groups = system.charges[around], system.residue_runs[around]
    found = [committee.predict(frame[leg.ligand], frame[around], charges, groups) for frame in frames]
    return _Predicted(
        (np.array([one.member_energies for one in found]).T - committee.header.energy_zero) / thermal,
        np.array([one.energy_sigma for one in found]) / thermal,
        np.array([one.novelty for one in found]),
    )


def _parity(
    level: str, committee: Committee, dataset: Dataset, labels: Sequence[LabelledSnapshot]
) -> list[Parity]:
    predictions = committee.predict_all(dataset)
    zero = committee.header.energy_zero
    made = [
        Parity(
            level,
            "energy",
            dataset.energy - zero,
            np.array([p.energy for p in predictions]) - zero,
            tuple(one.leg for one in labels),
            np.array([p.energy_sigma for p in predictions]),
        ),
    ]
    known = np.flatnonzero(dataset.has_forces_qm).tolist()
    if known:
        made.append(
            Parity(
                level,
                "force_qm",
                dataset.forces_qm[known],
                np.array([predictions[i].forces_qm for i in known]),
                tuple(labels[i].leg for i in known for _ in range(dataset.forces_qm[0].size)),
            )
        )
    reference, predicted, legs = [], [], list[str]()
    for index in np.flatnonzero(dataset.has_forces_mm).tolist():
        prediction = predictions[index]
        count = int(dataset.mm_counts[index])
        forces = dataset.forces_mm[index, :count]
        strongest = np.argsort(np.linalg.norm(forces, axis=1))[-_SHOWN_MM_ATOMS:]
        reference.append(forces[strongest].ravel())
        predicted.append(prediction.forces_mm[strongest].ravel())
        legs += [labels[index].leg] * forces[strongest].size
    if legs:
        made.append(
            Parity(level, "force_mm", np.concatenate(reference), np.concatenate(predicted), tuple(legs))
        )
    return made
