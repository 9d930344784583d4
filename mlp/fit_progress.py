"""How far a fit is, in words: a record of the learning curve in, kcal/mol and kcal/mol/A out."""

import math
from dataclasses import dataclass

from drupe.mlp.descent import Row
from drupe.mlp.fitted import Fitted
from drupe.mlp.loss import Errors
from drupe.units import angstrom, kcal_per_mol

__all__ = ["FitProgress"]


@dataclass(frozen=True)
class FitProgress:
    """One record of the learning curve of member ``member``; ``str()`` of it is a line for people.

    ``row`` has hartree and hartree/bohr; ``steps`` is the largest number of steps.
    """

    member: int
    steps: int
    row: Row

    @classmethod
    def at_the_end(cls, fit: Fitted, steps: int) -> "FitProgress":
        """Last record of a finished fit."""
        curve = fit.curve
        return cls(
            fit.member,
            steps,
            Row(
                step=int(curve.step[-1]),
                loss=float(curve.loss[-1]),
                rate=float(curve.rate[-1]),
                kept=Errors(
                    *(float(c[-1]) for c in (curve.energy, curve.force, curve.mm_force, curve.slope))
                ),
                held=Errors(
                    float(curve.energy_held_out[-1]),
                    float(curve.force_held_out[-1]),
                    float(curve.mm_force_held_out[-1]),
                    float(curve.slope_held_out[-1]),
                ),
                high=Errors(math.nan, float(curve.force_high[-1]), float(curve.mm_force_high[-1])),
            ),
        )

    def __str__(self) -> str:
        row = self.row
        parts = [
            f"member {self.member}, step {row.step} of at most {self.steps}",
            f"loss {row.loss:.3g}",
            f"rate {row.rate:.1e}",
        ]
        for name, errors in (("fitted", row.kept), ("held out", row.held), ("high level", row.high)):
            told = _told(errors)
            if told:
                parts.append(f"{name} {told}")
        return ", ".join(parts)


def _told(errors: Errors) -> str:
    force = kcal_per_mol / angstrom
    shown = (
        ("energy", errors.energy / kcal_per_mol, "kcal/mol"),
        ("force", errors.force / force, "kcal/mol/A"),
        ("slope", errors.slope / force, "kcal/mol/A"),
        ("MM force", 100 * errors.mm_force, "% of what fixed charges leave"),
    )
    return ", ".join(f"{name} {value:.3g} {unit}" for name, value, unit in shown if math.isfinite(value))
