"""How far a fit is, in words: a record of the learning curve in, kcal/mol and kcal/mol/A out."""

import json
import math
from dataclasses import dataclass

from drupe.mlp.descent import Row
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

    def to_line(self) -> str:
        """One line of JSON, for a process that follows the fit."""
        return json.dumps([self.member, self.steps, self.row])

    @classmethod
    def from_line(cls, line: str) -> "FitProgress":
        """Read what `to_line` wrote."""
        member, steps, (step, loss, rate, *errors) = json.loads(line)
        return cls(member, steps, Row(step, loss, rate, *(Errors(*one) for one in errors)))

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
