"""One repeat of a leg, however it was run: windows or stretches in, one table with its states out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.freeenergy.alchemical.leg_tables import Tables, joined, of_windows

if TYPE_CHECKING:
    from drupe.freeenergy.alchemical.alchemy import Schedule, WindowSamples
    from drupe.freeenergy.alchemical.stretch import ExchangeStretch
    from drupe.freeenergy.simulation.sampling import SampleSpec

__all__ = ["LegRun", "leg_run"]


@dataclass(frozen=True, eq=False)
class LegRun:
    """Tables of one repeat of a leg, its states, and the dynamics of its first window or stretch.

    ``coupled_boxes`` are boxes of the first state, in which the ligand is fully there: of every frame of its
    window, or at the end of every stretch. Shape ``(frames, 3, 3)``, bohr; None without a box.
    """

    leg: str
    tables: Tables
    schedule: "Schedule"
    spec: "SampleSpec"
    coupled_boxes: NDArray[np.float64] | None = None

    @property
    def spacing_ps(self) -> float:
        """Time between two frames, ps."""
        return self.spec.stride * self.spec.step_fs / 1e3

    @property
    def names(self) -> list[str]:
        """What the states are called; the solvent leg has no restraint to speak of."""
        schedule = self.schedule
        rows = [("q", schedule.electrostatics), ("s", schedule.sterics)]
        rows = [("r", schedule.restraint), *rows] if self.leg == "complex" else rows
        return [" ".join(f"{letter}{row[k]:g}" for letter, row in rows) for k in range(len(schedule))]


def leg_run(
    leg: str, windows: "Sequence[WindowSamples]" = (), stretches: "Sequence[ExchangeStretch]" = ()
) -> LegRun:
    """Put the results of one repeat together.

    Parameters
    ----------
    leg
        ``"complex"`` or ``"solvent"``.
    windows
        All windows, where they ran by themselves, in any order.
    stretches
        All stretches in order, where they exchanged states.

    Raises
    ------
    InputError
        If neither or both are given, their states differ, or a stretch is missing.
    """
    found: list[WindowSamples | ExchangeStretch] = [*windows, *stretches]
    if not found or (windows and stretches):
        raise InputError(
            f"a repeat of the {leg} leg has {len(windows)} windows and {len(stretches)} stretches",
            remedy="give the windows of a leg, or its stretches",
        )
    if any(one.schedule != found[0].schedule for one in found):
        raise InputError(
            f"the windows of the {leg} leg were run with different schedules", remedy="run the leg again"
        )
    if not stretches:
        return LegRun(leg, of_windows(windows), found[0].schedule, found[0].spec, _boxes_of_window(windows))
    ages = np.cumsum([one.tables.u.shape[2] for one in stretches])
    if [one.replicas.age for one in stretches] != ages.tolist():
        raise InputError(
            f"the stretches of the {leg} leg end at the ages {[one.replicas.age for one in stretches]}, "
            f"their frames add up to {ages.tolist()}",
            remedy="give all stretches of one run in order",
        )
    return LegRun(
        leg,
        joined([one.tables for one in stretches]),
        found[0].schedule,
        found[0].spec,
        _boxes_of_stretches(stretches),
    )


def _boxes_of_window(windows: "Sequence[WindowSamples]") -> NDArray[np.float64] | None:
    """Boxes of the first window: the barostat scales all edges alike, so the volumes give them."""
    first = next(one for one in windows if one.index == 0)
    if first.volumes is None or first.last_box is None:
        return None
    scale = np.cbrt(first.volumes / abs(np.linalg.det(first.last_box)))
    return np.asarray(scale[:, None, None] * first.last_box)


def _boxes_of_stretches(stretches: "Sequence[ExchangeStretch]") -> NDArray[np.float64] | None:
    """Box of the replica that is in the first state at the end of each stretch."""
    ends = [one.replicas for one in stretches]
    boxes = [one.box[one.state_of == 0][0] for one in ends if one.box is not None]
    return np.array(boxes) if boxes else None
