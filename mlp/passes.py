"""A stack's way there and back: tensors of frames in, energies with gradients out (hartree, bohr).

A molecule's network is some eight hundred operations on small arrays, and the bookkeeping of Python and of
autograd costs twice what the arithmetic does. The operations do not depend on the positions: they can be
written down once, forward and backward, and run without either. That gives the same bits. Writing them
down takes two seconds, which long dynamics earns back and a prediction of fifty frames does not.
"""

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from drupe.mlp.potential import Potential

__all__ = ["Batches", "Frame", "Pass", "Precision", "Slopes", "slopes_of_members", "there_and_back"]

#: Of a network that does not change any more; its inputs, the terms under it and its answers are in double.
Precision = Literal["double", "single"]

#: Writing operations down changes how modules are called everywhere: no other thread may call one meanwhile.
_as_written = threading.Lock()
_WORTH_IT = 300  # passes; writing the operations down costs as much as about so many


class Frame(NamedTuple):
    """What the network sees of one frame.

    ``positions`` (qm, 3) bohr; the damped ``potential`` (qm,) hartree/e and ``field`` (qm, 3)
    hartree/(e bohr); charge ``sums`` (qm, k) e.
    """

    positions: Tensor
    potential: Tensor
    field: Tensor
    sums: Tensor


class Slopes(NamedTuple):
    """Derivatives of an energy with respect to ``positions``, ``field`` and ``sums`` of a `Frame`."""

    positions: Tensor
    field: Tensor
    sums: Tensor


class Pass(NamedTuple):
    """What one frame gives.

    ``energies`` (members,) hartree, of network and baseline; ``shift`` (members, qm) learned minus fixed
    charges, e; ``features`` (members, qm, features); ``slopes`` of the mean energy.
    """

    energies: Tensor
    shift: Tensor
    features: Tensor
    slopes: Slopes


def there_and_back(stack: Potential, frame: Frame) -> Pass:
    """Energies of one frame, and the slopes of their mean by autograd."""
    return _with_moving_terms(stack, frame, _nth(_network(stack, _together([frame])), 0))


def slopes_of_members(stack: Potential, frame: Frame) -> tuple[Tensor, list[Slopes]]:
    """``shift`` as in `Pass`, and for each member the slopes of its energy."""
    inputs, energies, shift, _ = _there(stack, _together([frame]))
    each = [
        torch.autograd.grad(energy[0], inputs, retain_graph=True, materialize_grads=True)
        for energy in energies
    ]
    _, more = _moving_terms(stack, frame)
    found = [Slopes(*(slope[0] for slope in slopes)) for slopes in each]
    return shift[:, 0].detach(), [slopes._replace(positions=slopes.positions + more) for slopes in found]


class Batches:
    """Runs a stack that does not change any more over one frame, or several at once.

    As written, and when that is worth it from a frozen graph, which is for one number of frames: fewer are
    filled up with copies of the last.

    Parameters
    ----------
    stack
        Potentials stacked in one module.
    size
        Frames at once.
    """

    def __init__(self, stack: Potential, size: int) -> None:
        self.stack, self.size = stack, size
        self._count = 0
        self._graph: Callable[..., tuple[Tensor, ...]] | None = None

    @property
    def frozen(self) -> bool:
        """Whether it runs from the frozen graph by now."""
        return self._graph is not None

    def __call__(self, frames: Sequence[Frame]) -> list[Pass]:
        """`there_and_back` of at most ``size`` frames: the same bits for one, to rounding for more."""
        filled = _together([*frames, *[frames[-1]] * (self.size - len(frames))])
        if self._graph is None:
            with _as_written:
                made = _network(self.stack, filled)
                self._count += len(frames)
                if self._graph is None and self._count > _WORTH_IT and self.stack.backbone.static:
                    self._graph = _freeze(self.stack, filled)
        else:
            with torch.inference_mode():
                energies, shift, features, *slopes = self._graph(*filled)
            made = Pass(energies, shift, features, Slopes(*slopes))
        return [_with_moving_terms(self.stack, frame, _nth(made, k)) for k, frame in enumerate(frames)]


def _freeze(stack: Potential, like: Frame) -> Callable[..., tuple[Tensor, ...]]:
    from torch.fx.experimental.proxy_tensor import make_fx

    def flat(*parts: Tensor) -> tuple[Tensor, ...]:
        made = _network(stack, Frame(*parts))
        return made.energies, made.shift, made.features, *made.slopes

    operations = make_fx(flat)(*like)
    with warnings.catch_warnings(), torch.inference_mode():
        # TorchScript is no longer developed, but it alone runs a graph where there is no C++ compiler.
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        traced = torch.jit.trace(operations, tuple(like), check_trace=False)  # type: ignore[no-untyped-call]
        frozen: Callable[..., tuple[Tensor, ...]] = torch.jit.freeze(traced.eval())
        return frozen


def _together(frames: Sequence[Frame]) -> Frame:
    """Frames as one, with an axis of frames in front of every field."""
    return Frame(*(torch.stack(parts) for parts in zip(*frames, strict=True)))


def _nth(made: Pass, k: int) -> Pass:
    """One frame of a pass over several, whose arrays have the axis of frames where `Pass` has none."""
    slopes = Slopes(*(slope[k] for slope in made.slopes))
    return Pass(made.energies[:, k], made.shift[:, k], made.features[:, k], slopes)


def _network(stack: Potential, frames: Frame) -> Pass:
    """The network with the terms under it whose operations are the same at all positions."""
    inputs, energies, shift, features = _there(stack, frames)
    slopes = torch.autograd.grad(energies.mean(0).sum(), inputs, materialize_grads=True)
    return Pass(energies.detach(), shift.detach(), features.detach(), Slopes(*slopes))


def _moving_terms(stack: Potential, frame: Frame) -> tuple[Tensor, Tensor]:
    """Energy and slope of the terms that no graph holds: with lists of neighbours, or from a library."""
    if stack.baseline is None or stack.baseline.static:
        return frame.positions.new_zeros(()), torch.zeros_like(frame.positions)
    place = frame.positions[None].detach().requires_grad_()
    (energy,) = stack.baseline(place)
    (slope,) = torch.autograd.grad(energy, place)
    return energy.detach(), slope[0]


def _with_moving_terms(stack: Potential, frame: Frame, made: Pass) -> Pass:
    energy, slope = _moving_terms(stack, frame)
    slopes = made.slopes._replace(positions=made.slopes.positions + slope)
    return made._replace(energies=made.energies + energy, slopes=slopes)


def _there(stack: Potential, frames: Frame) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    inputs = [part.detach().requires_grad_() for part in (frames.positions, frames.field, frames.sums)]
    place, field, sums = inputs
    energies, terms = stack.learned(place, frames.potential, field, sums)
    energies = energies.to(place.dtype)
    if stack.baseline is not None and stack.baseline.static:
        energies = energies + stack.baseline(place)
    # A network in single precision leaves it here; the baseline never was in it.
    return inputs, energies, terms.shift.to(place.dtype), terms.features.to(place.dtype)
