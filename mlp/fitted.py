"""What a fit leaves behind: the potential as plain arrays and its learning curve (hartree, bohr)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drupe.records import frozen, register

if TYPE_CHECKING:
    from drupe.mlp.descent import Row
    from drupe.mlp.potential import Potential, StoredPotential

__all__ = ["FitCurve", "Fitted"]


def _without_slopes(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had no slopes and no forces of the high level."""
    nothing = np.full(len(fields["step"]), np.nan)
    names = ("slope", "slope_held_out", "force_high", "mm_force_high")
    return {**fields, **dict.fromkeys(names, nothing)}


def _without_rates(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 2 did not keep the learning rate."""
    return {**fields, "rate": np.full(len(fields["step"]), np.nan)}


@register(version=3, upgrades={1: _without_slopes, 2: _without_rates})
@dataclass(frozen=True, eq=False)
class FitCurve:
    """Root-mean-square errors along a fit, one value per recorded step, each of shape ``(records,)``.

    ``step`` optimiser steps; ``loss`` dimensionless; ``energy``, ``energy_held_out`` hartree; ``force``,
    ``force_held_out`` hartree/bohr; ``mm_force``, ``mm_force_held_out`` as a fraction of what the fixed
    charges leave over; ``slope``, ``slope_held_out`` hartree/bohr; nan where there is nothing to compare
    with. In a transfer, energies and slopes are those of the high level, forces those of the low level
    (second readout), and ``force_high``, ``mm_force_high`` those of the high level. ``best_step`` is the
    step that was kept; ``rate`` the learning rate.
    """

    step: NDArray[np.int64]
    loss: NDArray[np.float64]
    energy: NDArray[np.float64]
    force: NDArray[np.float64]
    mm_force: NDArray[np.float64]
    energy_held_out: NDArray[np.float64]
    force_held_out: NDArray[np.float64]
    mm_force_held_out: NDArray[np.float64]
    best_step: int
    slope: NDArray[np.float64]
    slope_held_out: NDArray[np.float64]
    force_high: NDArray[np.float64]
    mm_force_high: NDArray[np.float64]
    rate: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if name != "best_step":
                kind = np.int64 if name == "step" else np.float64
                object.__setattr__(self, name, frozen(getattr(self, name), kind))

    @classmethod
    def from_rows(cls, rows: "Sequence[Row]", best_step: int) -> "FitCurve":
        """Collect what a descent recorded."""
        kept, held, above = (
            np.array([list(errors) for errors in column]).reshape(-1, 4)
            for column in ([r.kept for r in rows], [r.held for r in rows], [r.high for r in rows])
        )
        return cls(
            step=np.array([row.step for row in rows]),
            loss=np.array([row.loss for row in rows]),
            energy=kept[:, 0],
            force=kept[:, 1],
            mm_force=kept[:, 2],
            energy_held_out=held[:, 0],
            force_held_out=held[:, 1],
            mm_force_held_out=held[:, 2],
            best_step=best_step,
            slope=kept[:, 3],
            slope_held_out=held[:, 3],
            force_high=above[:, 1],
            mm_force_high=above[:, 2],
            rate=np.array([row.rate for row in rows]),
        )


@register(version=1)
@dataclass(frozen=True, eq=False)
class Fitted:
    """One fitted member.

    ``stored`` the potential as plain arrays; ``member`` its number; ``curve`` how the fit went;
    ``held_out`` indices of the frames it did not see, with ``held_out_error`` the energy error there
    (predicted minus label, hartree; nan where the label has no energy); ``force_drift`` in a transfer
    the rms change of forces against the low-level potential that the labels do not ask for (hartree/bohr,
    see `drupe.mlp.transfer`), else nan.
    """

    stored: "StoredPotential"
    member: int
    curve: FitCurve
    held_out: NDArray[np.int64]
    held_out_error: NDArray[np.float64]
    force_drift: float = float("nan")

    def __post_init__(self) -> None:
        object.__setattr__(self, "held_out", frozen(self.held_out, np.int64))
        object.__setattr__(self, "held_out_error", frozen(self.held_out_error, np.float64))

    @property
    def potential(self) -> "Potential":
        """The potential, ready to evaluate."""
        from drupe.mlp.potential import Potential

        return Potential.from_stored(self.stored)
