"""Predict a core correction that the transfer never saw: labels in, one prediction out (hartree)."""

from dataclasses import dataclass

import numpy as np

from drupe.errors import InputError
from drupe.mlp.committee import Committee
from drupe.mlp.dataset import Dataset
from drupe.mlp.potential import Potential
from drupe.mlp.specs import TransferSpec
from drupe.mlp.transfer import transfer_member
from drupe.records import register

__all__ = ["LeftOut", "transfer_without"]


@register(version=1)
@dataclass(frozen=True)
class LeftOut:
    """Correction E_high - E_low of one frame, all in hartree.

    Fields: ``reference`` of the label; ``predicted`` by a transfer that did not see the frame;
    ``shift`` the mean correction of the other frames, what a transfer without any shape would say.
    """

    reference: float
    predicted: float
    shift: float


def transfer_without(
    potential: Potential, high: Dataset, low: Dataset, frame: int, spec: TransferSpec
) -> LeftOut:
    """Repeat a transfer without one frame of ``high`` and predict that frame's correction.

    Parameters
    ----------
    potential
        Trained at the low level. It may have seen the frame there: the correction is what is tested.
    high
        Core-corrected labels, at least three.
    low
        Low-level labels for replay and for the guard.
    frame
        Index in ``high`` of the frame to leave out.
    spec
        How to transfer.

    Raises
    ------
    InputError
        If ``frame`` is not one of ``high``, or fewer than two frames would be left.
    ConvergenceError
        As `transfer_member`.
    """
    if not 0 <= frame < high.n_frames or high.n_frames < 3:
        raise InputError(
            f"frame {frame} cannot be left out of {high.n_frames} labels",
            remedy="give an index below the number of labels, and at least three labels",
        )
    others = np.delete(np.arange(high.n_frames), frame)
    fitted = transfer_member(potential, high.take(others), low, spec)
    inputs = high.frame(frame)
    after = Committee((fitted.stored,)).predict(*inputs).energy
    before = Committee((potential.stored(),)).predict(*inputs).energy
    correction = high.energy - high.energy_low
    return LeftOut(
        reference=float(correction[frame]),
        predicted=after - before,
        shift=float(correction[others].mean()),
    )
