"""The course of an active learning run: what came back in, the next decision out; it computes nothing.

Every decision is a plain record that the driver writes down before it acts on it. The course is a function
of its decisions and of what came back, so that a run that was killed goes on from where it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from drupe.errors import ConvergenceError, InputError
from drupe.mlp.acquisition import QUANTITIES, Quantity, Scores, choose
from drupe.mlp.specs import FitSpec, TransferSpec
from drupe.records import register

__all__ = ["ActivePlan", "Ask", "Course", "Decision", "Learn", "from_json", "to_json"]


@register(version=1)
@dataclass(frozen=True)
class ActivePlan:
    """Everything that fixes a run except its frames and its level.

    Parameters
    ----------
    labels
        Labels to end with; those that failed do not count.
    first
        Frames drawn at random before there is a model.
    every
        New labels that start a new model; frames are asked for at most one such round ahead of it.
    fit
        How models are fitted from scratch, or were at the low level.
    transfer
        How they are carried from a low-level committee; None fits from scratch.
    quantity
        What the members are compared in, ``"force"`` or ``"energy"``.
    choice
        ``"spread"`` asks the committee; ``"random"`` does not: it is what to compare with.
    tolerance
        Stop when 95 % of the frames have a smaller spread, hartree/bohr or hartree; None goes on to
        ``labels``.
    failures
        Largest fraction of the frames asked for that may fail.
    seed
        Seed of the random draws.
    """

    labels: int
    first: int = 20
    every: int = 10
    fit: FitSpec = field(default_factory=FitSpec)
    transfer: TransferSpec | None = None
    quantity: Quantity = "force"
    choice: Literal["spread", "random"] = "spread"
    tolerance: float | None = None
    failures: float = 0.25
    seed: int = 1

    def __post_init__(self) -> None:
        if not 2 <= self.first <= self.labels or self.every < 1:
            raise InputError(
                f"first = {self.first}, every = {self.every} and labels = {self.labels} make no course",
                remedy="give 2 <= first <= labels and every >= 1",
            )
        if self.quantity not in QUANTITIES or self.choice not in ("spread", "random"):
            raise InputError(
                f"quantity = {self.quantity!r}, choice = {self.choice!r}",
                remedy='quantity is "force" or "energy", choice is "spread" or "random"',
            )
        if self.fit.members < 2 and self.choice == "spread":
            raise InputError(
                "one member has no spread to choose by",
                remedy="give fit.members = 2 or more, or choice random",
            )
        if not 0 <= self.failures < 1 or (self.tolerance is not None and not self.tolerance > 0):
            raise InputError(
                f"failures = {self.failures}, tolerance = {self.tolerance}",
                remedy="failures is a fraction below 1, tolerance a positive number or None",
            )


@dataclass(frozen=True)
class Ask:
    """Label this frame; ``model`` is the number of the model that chose it, -1 for a random draw."""

    frame: int
    model: int


@dataclass(frozen=True)
class Learn:
    """Make a model of these frames."""

    frames: tuple[int, ...]


Decision = Ask | Learn


class Course:
    """State of a run.

    Parameters
    ----------
    plan
        What is wanted.
    n_frames
        Frames to choose from.
    decisions
        What was decided before the run was stopped, in order.

    Raises
    ------
    InputError
        If there are fewer frames than labels wanted.
    """

    def __init__(self, plan: ActivePlan, n_frames: int, decisions: Sequence[Decision] = ()) -> None:
        if n_frames < plan.labels:
            raise InputError(
                f"{n_frames} frames to choose from, {plan.labels} labels are wanted",
                remedy="sample more frames, or ask for fewer labels",
            )
        self.plan, self.n_frames = plan, n_frames
        self.decisions = list(decisions)
        self.labelled: set[int] = set()
        self.failed: set[int] = set()
        self.scores: dict[int, Scores] = {}  # of the models that are ready, by number
        self.refused: set[int] = set()
        self._drawn = np.random.default_rng(plan.seed).permutation(n_frames).tolist()

    @property
    def asked(self) -> list[Ask]:
        """Frames asked for so far."""
        return [one for one in self.decisions if isinstance(one, Ask)]

    @property
    def models(self) -> list[Learn]:
        """Models started so far; the number of a model is its place here."""
        return [one for one in self.decisions if isinstance(one, Learn)]

    def back(self, frame: int, *, failed: bool = False) -> None:
        """Take note of a label that came back, or of one that cannot be had; the last word counts.

        Raises
        ------
        ConvergenceError
            If more frames fail than the plan allows.
        """
        for frames, it_is in ((self.failed, failed), (self.labelled, not failed)):
            (frames.add if it_is else frames.discard)(frame)
        allowed = max(2.0, self.plan.failures * len(self.asked))
        if failed and len(self.failed) > allowed:
            raise ConvergenceError(
                f"{len(self.failed)} of {len(self.asked)} frames asked for could not be labelled",
                remedy="change the frames or the level where they do not fit; where the cause is mended, ask "
                "these frames again: learn_actively(..., retry_failed=True)",
            )

    def ready(self, model: int, scores: Scores) -> None:
        """Take note of a model and of its scores of all frames."""
        self.scores[model] = scores

    def spoilt(self, model: int) -> None:
        """Take note of a model that could not be made; the one before it stays."""
        self.refused.add(model)

    def decide(self) -> Decision | None:
        """Next thing to do, which is written into `decisions`; None: wait, or all is done."""
        found = self._learn() or self._ask()
        if found is not None:
            self.decisions.append(found)
        return found

    @property
    def done(self) -> bool:
        """Whether the last model has every label there will be."""
        return self._settled() and bool(self.models) and set(self.models[-1].frames) == self.labelled

    def _known(self) -> set[int]:
        """Frames of the last model; some may have turned out to be unusable since."""
        return set(self.models[-1].frames) if self.models else set()

    def _under_way(self) -> int:
        return len(self.asked) - len(self.labelled) - len(self.failed)

    def _building(self) -> bool:
        return len(self.models) > len(self.scores) + len(self.refused)

    def _enough(self) -> bool:
        """Whether no further frame will be asked for."""
        if len(self.labelled) + self._under_way() >= self.plan.labels:
            return True
        if len(self.asked) == self.n_frames:
            return True
        tolerance = self.plan.tolerance
        if tolerance is None or not self.scores:
            return False
        return bool(np.quantile(self.scores[max(self.scores)].spread, 0.95) < tolerance)

    def _settled(self) -> bool:
        return self._enough() and self._under_way() == 0 and not self._building()

    def _learn(self) -> Learn | None:
        if self._building():
            return None
        wanted = self.plan.every if self.models else min(self.plan.first, self.plan.labels)
        fresh = len(self.labelled - self._known())
        last = self._settled() and self.labelled != self._known()
        if (fresh >= wanted or last) and len(self.labelled) >= 2:
            return Learn(tuple(sorted(self.labelled)))
        return None

    def _ask(self) -> Ask | None:
        if self._enough():
            return None
        # No further ahead of the models than one round of labels.
        taken = {one.frame for one in self.asked}
        unlearned = len(taken - self.failed - self._known())
        if unlearned >= self.plan.every + (self.plan.every if self.models else self.plan.first):
            return None
        newest = max(self.scores, default=None)
        if newest is None or self.plan.choice == "random":
            frame = next(i for i in self._drawn if i not in taken)
        else:
            frame = choose(self.scores[newest], taken)[0]
        return Ask(int(frame), -1 if newest is None else newest)


def to_json(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """Decisions as plain values."""
    return [
        {"frame": one.frame, "model": one.model} if isinstance(one, Ask) else {"learn": list(one.frames)}
        for one in decisions
    ]


def from_json(values: Sequence[dict[str, Any]]) -> list[Decision]:
    """Decisions from what `to_json` made."""
    return [
        Learn(tuple(one["learn"])) if "learn" in one else Ask(one["frame"], one["model"]) for one in values
    ]
