"""The optimiser loop of training and transfer: a loss and a judge in, the best averaged weights out.

Step k draws nothing from a random state: its frames follow from the seed and from k (`frames_of_step`), so a
loop that goes on from a stored state takes the very steps it would have taken.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drupe.errors import ConvergenceError
from drupe.mlp.loss import NO_ERRORS, Errors
from drupe.records import frozen, register

__all__ = ["DescentState", "Found", "Judged", "Plan", "Row", "descend", "frames_of_step", "one_thread"]

Arrays = Mapping[str, NDArray[np.float64]]

_WARM_UP = 0.03  # of the steps
_REPORTS = 60
_DROP = 0.5  # of the learning rate on a plateau


@dataclass(frozen=True)
class Plan:
    """How to descend.

    ``steps`` at most; ``learning_rate`` its peak; ``weight_decay`` decoupled; ``average`` decay of the moving
    average of the weights. With ``plateau`` the learning rate is halved after so many steps without a better
    score, without it the rate falls along a cosine to 2 %. With ``patience`` the loop ends after so many
    steps without a better score and the best weights are kept, without it all steps are taken and the last
    weights are kept.
    """

    steps: int
    learning_rate: float
    weight_decay: float
    average: float
    plateau: int | None
    patience: int | None


class Judged(NamedTuple):
    """What averaged weights are worth: ``score`` is to become small; errors for the learning curve."""

    score: float
    kept: Errors
    held: Errors
    high: Errors = NO_ERRORS


class Row(NamedTuple):
    """One record of the learning curve; ``rate`` is the learning rate."""

    step: int
    loss: float
    rate: float
    kept: Errors
    held: Errors
    high: Errors


class Found(NamedTuple):
    """Where the loop ended: the weights to keep, of which step, and the learning curve."""

    weights: dict[str, Tensor]
    best_step: int
    rows: list[Row]


@register(version=1)
@dataclass(frozen=True, eq=False)
class DescentState:
    """All that a loop needs to go on after ``step`` steps.

    ``fit`` content key of everything else that fixes the fit; ``factor`` of the learning rate;
    ``plateau_score``, ``plateau_step`` the score to beat and since when; ``parameters``, ``average``,
    ``best`` weights by name; ``moments`` of the optimiser; ``rows`` ``(records, 15)`` the learning curve.
    """

    fit: str
    step: int
    factor: float
    plateau_score: float
    plateau_step: int
    best_score: float
    best_step: int
    parameters: Arrays
    average: Arrays
    best: Arrays
    moments: Arrays
    rows: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", frozen(self.rows, np.float64))


def frames_of_step(step: int, batch: int, frames: int, seed: Sequence[int]) -> Tensor:
    """Frames of step ``step`` (from 1): each round through the data in an order of its own.

    Parameters
    ----------
    step, batch, frames
        Number of the step, frames per step, frames there are; ``batch`` of them at most.
    seed
        Numbers that name the fit and the data set.

    Returns
    -------
    Tensor
        Indices, sorted.
    """
    size = min(batch, frames)
    turn, place = divmod(step - 1, frames // size)
    order = np.random.default_rng([*seed, turn]).permutation(frames)
    return torch.from_numpy(np.sort(order[place * size : (place + 1) * size]))


def descend(
    parameters: Mapping[str, Tensor],
    weights: Callable[[], Mapping[str, Tensor]],
    loss_of_step: Callable[[int], Tensor | Iterable[Tensor]],
    judge: Callable[[Mapping[str, Tensor]], Judged],
    plan: Plan,
    *,
    start: DescentState | None = None,
    save: Callable[[Callable[[], DescentState]], None] = lambda state: None,
    fit: str = "",
    on_row: Callable[[Row], None] = lambda row: None,
) -> Found:
    """Minimise with AMSGrad, warm-up, lower rates on plateaus, clipped gradients and averaged weights.

    Parameters
    ----------
    parameters
        What is moved, by name.
    weights
        Gives the weights that are averaged and kept, made of the parameters.
    loss_of_step
        Dimensionless loss of a step, or parts that add up to it: of parts, one at a time is in memory. Steps
        count from 1.
    judge
        Scores averaged weights, about sixty times.
    plan
        How to descend.
    start
        State to go on from.
    save
        Called after each step with a function that gives the state, to store it or not.
    fit
        Content key for the state.
    on_row
        Called with each record of the learning curve.

    Raises
    ------
    ConvergenceError
        If the loss is not finite.
    """
    loop = _Loop(parameters, weights, plan, fit)
    if start is not None:
        loop.restore(start)
    every = max(1, plan.steps // _REPORTS)
    with one_thread():
        for step in range(loop.step + 1, plan.steps + 1):
            found = loss_of_step(step)
            loss = loop.move(step, [found] if isinstance(found, Tensor) else found)
            if step % every == 0 or step == plan.steps:
                on_row(loop.judge(loss, judge))
                if plan.patience is not None and step - loop.best_step >= plan.patience:
                    break
            save(loop.state)
    return Found(loop.best, loop.best_step, loop.rows)


class _Loop:
    """State of a descent."""

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        weights: Callable[[], Mapping[str, Tensor]],
        plan: Plan,
        fit: str,
    ) -> None:
        self.parameters, self.weights, self.plan, self.fit = dict(parameters), weights, plan, fit
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=plan.learning_rate, weight_decay=plan.weight_decay, amsgrad=True
        )
        self.average = {name: value.detach().clone() for name, value in weights().items()}
        self.best: dict[str, Tensor] = {}
        self.best_score, self.best_step = math.inf, 0
        self.plateau_score, self.plateau_step, self.factor = math.inf, 0, 1.0
        self.rows: list[Row] = []
        self.step = 0

    @property
    def rate(self) -> float:
        """Learning rate of the step under way."""
        warm = max(1, round(_WARM_UP * self.plan.steps))
        peak = self.plan.learning_rate
        if self.step <= warm:
            return peak * self.step / warm
        if self.plan.plateau is not None:
            return peak * self.factor
        turn = math.pi * (self.step - warm) / max(1, self.plan.steps - warm)
        return peak * (0.02 + 0.98 * (1 + math.cos(turn)) / 2)

    def move(self, step: int, parts: Iterable[Tensor]) -> float:
        """Take one step down the gradient of the sum of ``parts``."""
        self.optimiser.zero_grad()
        value = 0.0
        for part in parts:
            part.backward()  # type: ignore[no-untyped-call]
            value += float(part.detach())
        if not math.isfinite(value):
            raise ConvergenceError(
                f"the loss is not a number at step {step}",
                remedy="lower the learning rate, or look for a label that does not belong",
            )
        self.step = step
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), 1.0)
        self.optimiser.step()
        # Short memory at first, so that the average does not remember the start.
        decay = min(self.plan.average, step / (step + 10))
        with torch.no_grad():
            for name, weight in self.weights().items():
                self.average[name].lerp_(weight, 1 - decay)
        return value

    def judge(self, loss: float, judge: Callable[[Mapping[str, Tensor]], Judged]) -> Row:
        """Score the averaged weights: keep them if they are better, lower the rate if nothing is."""
        found = judge(self.average)
        if self.plan.patience is None or not self.best or found.score < self.best_score:
            self.best = {name: value.clone() for name, value in self.average.items()}
            self.best_score, self.best_step = found.score, self.step
        row = Row(self.step, loss, self.rate, found.kept, found.held, found.high)
        self.rows.append(row)
        if found.score < self.plateau_score:
            self.plateau_score, self.plateau_step = found.score, self.step
        elif self.plan.plateau is not None and self.step - self.plateau_step >= self.plan.plateau:
            self.factor, self.plateau_step = self.factor * _DROP, self.step
        return row

    def state(self) -> DescentState:
        """All that `restore` needs."""
        moments: dict[str, NDArray[np.float64]] = {}
        for name, value in self.parameters.items():
            for kind, moment in self.optimiser.state[value].items():
                moments[f"{kind} {name}"] = moment.detach().cpu().numpy().astype(np.float64)
        return DescentState(
            fit=self.fit,
            step=self.step,
            factor=self.factor,
            plateau_score=self.plateau_score,
            plateau_step=self.plateau_step,
            best_score=self.best_score,
            best_step=self.best_step,
            parameters=_arrays(self.parameters),
            average=_arrays(self.average),
            best=_arrays(self.best),
            moments=moments,
            rows=np.array([[*row[:3], *row.kept, *row.held, *row.high] for row in self.rows]).reshape(-1, 15),
        )

    def restore(self, state: DescentState) -> None:
        """Go back to a stored state, to the last bit."""
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(torch.tensor(state.parameters[name]))
        for key, moment in state.moments.items():
            kind, name = key.split(" ", 1)
            value = self.parameters[name]
            # The optimiser counts its steps in single precision, on the processor.
            like = torch.zeros((), dtype=torch.float32) if kind == "step" else value
            self.optimiser.state[value][kind] = torch.tensor(moment).to(like)
        like_these = dict(self.average)
        self.average, self.best = (
            {name: torch.tensor(value).to(like_these[name]) for name, value in kept.items()}
            for kept in (state.average, state.best)
        )
        self.step, self.factor = state.step, state.factor
        self.best_score, self.best_step = state.best_score, state.best_step
        self.plateau_score, self.plateau_step = state.plateau_score, state.plateau_step
        self.rows = [
            Row(int(row[0]), row[1], row[2], Errors(*row[3:7]), Errors(*row[7:11]), Errors(*row[11:]))
            for row in state.rows.tolist()
        ]


def _arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    return {name: frozen(value.detach().cpu().numpy(), np.float64) for name, value in tensors.items()}


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread: faster for molecules of this size, and sums in an order that does not change."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
