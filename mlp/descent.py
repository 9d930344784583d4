"""The optimiser loop of training and transfer: a loss in, averaged weights out, step by step."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from drupe.errors import ConvergenceError

__all__ = ["Progress", "descend"]


class Progress(NamedTuple):
    """State after ``step`` steps: the loss just seen and the moving average of the weights."""

    step: int
    loss: float
    weights: dict[str, Tensor]


def descend(
    module: nn.Module,
    loss_of_step: Callable[[], Tensor],
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    average: float,
    reports: int,
    more: Sequence[nn.Parameter] = (),
) -> Iterator[Progress]:
    """Minimise with AMSGrad, warm-up, cosine decay, clipped gradients and averaged weights.

    Parameters
    ----------
    module
        Its parameters are moved and averaged.
    loss_of_step
        Dimensionless loss, called once per step.
    steps, learning_rate, weight_decay, average
        Length, peak rate, decoupled decay, decay of the moving average.
    reports
        How often, about, a `Progress` is yielded; stop iterating to stop early.
    more
        Further parameters to move, not averaged.

    Raises
    ------
    ConvergenceError
        If the loss is not finite.
    """
    parameters = [*module.parameters(), *more]
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, amsgrad=True)
    slow = {name: value.detach().clone() for name, value in module.named_parameters()}
    every = max(1, steps // reports)
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * _schedule(step, steps)
        optimiser.zero_grad()
        loss = loss_of_step()
        if not math.isfinite(float(loss.detach())):
            raise ConvergenceError(
                f"the loss is not a number at step {step}",
                remedy="lower the learning rate, or look for a label that does not belong",
            )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        # Short memory at first, so that the average does not remember the start.
        decay = min(average, step / (step + 10))
        with torch.no_grad():
            for name, value in module.named_parameters():
                slow[name].lerp_(value, 1 - decay)
        if step % every == 0 or step == steps:
            yield Progress(step, float(loss.detach()), {name: value.clone() for name, value in slow.items()})


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over 3 % of the steps, then a cosine down to 2 %."""
    warm = max(1, round(0.03 * steps))
    if step <= warm:
        return step / warm
    return 0.02 + 0.98 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2
