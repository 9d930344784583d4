"""Task bodies of active learning: frames and their labels in; members, and scores of all frames, out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drupe.freeenergy.learning.course import ActivePlan
from drupe.freeenergy.learning.pool import Pool
from drupe.records import register

if TYPE_CHECKING:
    from drupe.mlp.acquisition import Scores
    from drupe.mlp.baseline import LigandForceField
    from drupe.mlp.committee import Committee
    from drupe.mlp.dataset import Dataset
    from drupe.mlp.fitted import Fitted

__all__ = ["Ground", "JudgeStage", "Judged", "LearnStage"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class Ground:
    """What models start from: the molecule's MM terms, or a low-level committee with its labels."""

    baseline: "LigandForceField | None" = None
    committee: "Committee | None" = None
    low: "Dataset | None" = None


@register(version=1)
@dataclass(frozen=True)
class LearnStage:
    """Settings of `learn`: how, which member, and which frames its labels are of."""

    plan: ActivePlan
    member: int
    frames: tuple[int, ...]


@register(version=1)
@dataclass(frozen=True)
class JudgeStage:
    """Settings of `judge`: as `LearnStage`, for all members."""

    plan: ActivePlan
    frames: tuple[int, ...]


@register(version=1)
@dataclass(frozen=True, eq=False)
class Judged:
    """A model of ``frames``, and its scores of all frames of the pool."""

    committee: "Committee"
    scores: "Scores"
    frames: tuple[int, ...]


def learn(settings: LearnStage, pool: Pool, ground: Ground, *labels: Any, folder: Path) -> "Fitted":
    """Fit or transfer one member; a killed fit goes on from its state in ``folder``."""
    from drupe.mlp.fit_folder import FitFolder
    from drupe.mlp.potential import Potential
    from drupe.mlp.training import train_member
    from drupe.mlp.transfer import transfer_member

    plan, data = settings.plan, _dataset(pool, settings.frames, labels)
    if plan.transfer is None:
        return train_member(data, plan.fit, settings.member, ground.baseline, folder=FitFolder(folder))
    assert ground.committee is not None
    assert ground.low is not None
    start = Potential.from_stored(ground.committee.members[settings.member])
    return transfer_member(start, data, ground.low, plan.transfer, settings.member, folder=FitFolder(folder))


def judge(settings: JudgeStage, pool: Pool, ground: Ground, *inputs: Any) -> Judged:
    """Gather members (first the fits, then their labels) and score all frames of the pool."""
    from drupe.mlp.acquisition import score
    from drupe.mlp.committee import Committee

    plan = settings.plan
    members = plan.fit.members if ground.committee is None else len(ground.committee.members)
    data = _dataset(pool, settings.frames, inputs[members:])
    committee = Committee.from_fits(inputs[:members], data)
    if plan.transfer is not None and ground.low is not None:
        committee = committee.referred_to(ground.low)  # what its forces were learned from
    base = None if plan.transfer is None else ground.committee
    frames = [pool.surroundings(i) for i in range(len(pool.positions))]
    made = score(committee, frames, quantity=plan.quantity, base=base)
    return Judged(committee, made, settings.frames)


def _dataset(pool: Pool, frames: Sequence[int], labels: Sequence[Any]) -> "Dataset":
    from drupe.mlp.dataset import Dataset

    return Dataset.from_labels(labels, which=pool.which, blocks=[int(pool.blocks[i]) for i in frames])
