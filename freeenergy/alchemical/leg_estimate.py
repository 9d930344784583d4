"""One repeat of an alchemical leg judged: its tables in, MBAR and the checks beside it out (kT)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from drupe.freeenergy.alchemical.equilibration import Equilibration, equilibrated
from drupe.freeenergy.alchemical.leg_tables import Tables
from drupe.freeenergy.alchemical.mixing import Mixing, mixing
from drupe.freeenergy.estimation.chain import MbarResult, mbar
from drupe.freeenergy.estimation.convergence import Convergence, convergence
from drupe.freeenergy.estimation.diagnostics import Verdict, worst
from drupe.freeenergy.estimation.results import FreeEnergy
from drupe.records import register

__all__ = ["LegChecks", "estimate", "judged_total"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class LegChecks:
    """What was checked of one repeat of a leg; ``mixing`` is None where the windows ran by themselves."""

    equilibration: Equilibration
    convergence: Convergence
    mixing: Mixing | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst of all checks."""
        named = [("equilibration", self.equilibration.verdict), ("convergence", self.convergence.verdict)]
        named += [("exchange", self.mixing.verdict)] if self.mixing is not None else []
        return worst(named)


def estimate(tables: Tables, names: Sequence[str] = ()) -> tuple[MbarResult, LegChecks]:
    """MBAR of the independent frames in equilibrium, and all checks of one repeat.

    Parameters
    ----------
    tables
        Of all windows.
    names
        What to call the states; their numbers by default.

    Raises
    ------
    ConvergenceError
        If MBAR has no solution.
    """
    chosen, equilibration = equilibrated(tables, names)
    windows = [tables.u[k][:, frames] for k, frames in enumerate(chosen)]
    found = mbar(np.hstack(windows), [u.shape[1] for u in windows], names=names)
    mixed = mixing(tables) if tables.state_of is not None else None
    return found, LegChecks(equilibration, convergence(windows), mixed)


def judged_total(result: MbarResult, checks: LegChecks | None) -> FreeEnergy:
    """G_last - G_first of one repeat with the verdict of MBAR and of the checks together."""
    if checks is None:
        return result.total
    return replace(result.total, verdict=worst([("", result.verdict), ("", checks.verdict)]))
