"""Reduced potentials of all windows of a leg: finished windows or stretches in, one table in kT out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drupe.errors import ConvergenceError, InputError
from drupe.records import frozen, register

if TYPE_CHECKING:
    from drupe.freeenergy.alchemical.alchemy import WindowSamples

__all__ = ["Tables", "joined", "of_windows"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class Tables:
    """What a run of replicas (or of windows by themselves) says about its states.

    ==========  ================================  =====  ====================================================
    field       shape                             unit   note
    ==========  ================================  =====  ====================================================
    u           ``(states, states, frames)``      kT     ``u[k, l, n]``: in state l, frame n sampled in k
    state_of    ``(frames, replicas)`` or None    --     in which state each replica was for that frame; None
                                                         where nothing was exchanged
    ==========  ================================  =====  ====================================================
    """

    u: NDArray[np.float64]
    state_of: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "u", frozen(self.u, np.float64))
        if self.u.ndim != 3 or self.u.shape[0] != self.u.shape[1] or not self.u.size:
            raise InputError(
                f"reduced potentials of a leg have shape {self.u.shape}",
                remedy="pass u of shape (states, states, frames)",
            )
        if not np.isfinite(self.u).all():
            state = int(np.argwhere(~np.isfinite(self.u))[0][0])
            raise ConvergenceError(
                f"the frames of state {state} have energies that are not finite",
                remedy="soften the schedule near this state or take a shorter step",
            )
        if self.state_of is not None:
            object.__setattr__(self, "state_of", frozen(self.state_of, np.int64))
            if self.state_of.shape != (self.u.shape[2], len(self.u)):
                raise InputError(
                    f"{self.u.shape[2]} frames of {len(self.u)} states have walks {self.state_of.shape}",
                    remedy="pass state_of of shape (frames, replicas)",
                )


def of_windows(windows: Sequence["WindowSamples"]) -> Tables:
    """Put the windows of a leg that ran by themselves beside each other.

    Raises
    ------
    InputError
        If a window is missing or has another number of frames.
    """
    ordered = sorted(windows, key=lambda one: one.index)
    found = [one.index for one in ordered]
    wanted = len(ordered[0].schedule) if ordered else 0
    counts = {one.u.shape[1] for one in ordered}
    if found != list(range(wanted)) or len(counts) != 1:
        raise InputError(
            f"a leg of {wanted} states has windows {found} with {sorted(counts)} frames",
            remedy="run every window of the leg for the same length",
        )
    return Tables(np.array([one.u for one in ordered]))


def joined(stretches: Sequence[Tables]) -> Tables:
    """Put the tables of consecutive stretches one after the other."""
    walks = [one.state_of for one in stretches if one.state_of is not None]
    return replace(
        stretches[0],
        u=np.concatenate([one.u for one in stretches], axis=2),
        state_of=np.concatenate(walks) if walks else None,
    )
