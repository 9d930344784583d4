"""Which frames of a window count: its reduced potentials in kT in, frames and a verdict out.

The start of equilibrium is where the most effectively independent frames are left, Chodera, J. Chem.
Theory Comput. 12, 1799 (2016), as pymbar has it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.freeenergy.alchemical.leg_tables import Tables
from drupe.freeenergy.estimation.chain import uncorrelated
from drupe.freeenergy.estimation.diagnostics import Level, Verdict, collect
from drupe.records import frozen, register

__all__ = ["Equilibration", "equilibrated"]

#: alchemical-analysis (Klimovich, Shirts and Mobley, J. Comput. Aided Mol. Des. 29, 397 (2015)) does not
#: thin out windows with fewer independent frames than this: their statistical inefficiency is not known.
fewest_good: Final = 50
#: A mean over fewer than about 20 independent samples is not to be relied on: Grossfield and Zuckerman,
#: Annu. Rep. Comput. Chem. 5, 23 (2009).
fewest: Final = 20
#: A window that took longer to settle than it then ran has not shown that it stays settled.
most_discarded: Final = 0.5


@register(version=1)
@dataclass(frozen=True, eq=False)
class Equilibration:
    """What is left of each window of a leg.

    ===========  ==============  ============================================================
    field        shape           meaning
    ===========  ==============  ============================================================
    frames       scalar          frames of each window
    discarded    ``(states,)``   frames before equilibrium
    kept         ``(states,)``   frames used: after that, a statistical inefficiency apart
    verdict      --
    ===========  ==============  ============================================================
    """

    frames: int
    discarded: NDArray[np.int64]
    kept: NDArray[np.int64]
    verdict: Verdict

    def __post_init__(self) -> None:
        for name in ("discarded", "kept"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.int64))

    @property
    def kept_fraction(self) -> NDArray[np.float64]:
        """Frames used over frames there are, shape ``(states,)``."""
        return np.asarray(self.kept / self.frames, np.float64)


def equilibrated(tables: Tables, names: Sequence[str] = ()) -> tuple[list[NDArray[np.int64]], Equilibration]:
    """Find the frames of each window that MBAR takes.

    The start of equilibrium is that of the reduced potential of the sampled state; from there the
    frames are thinned by `uncorrelated`. FAIL: a window has fewer than 20 frames left. WARN: fewer
    than 50, or more than half of it was discarded.

    Parameters
    ----------
    tables
        Of one leg.
    names
        What to call the states; their numbers by default.

    Returns
    -------
    tuple
        Indices of the frames of each state, and what was found.
    """
    states, _, frames = tables.u.shape
    chosen, starts = [], []
    for k in range(states):
        start = start_of_equilibrium(tables.u[k, k])
        starts.append(start)
        chosen.append(start + uncorrelated(tables.u[k][:, start:], k))
    called = [str(name) for name in names] or [str(k) for k in range(states)]
    discarded, kept = np.array(starts), np.array([len(one) for one in chosen])
    return chosen, Equilibration(frames, discarded, kept, _judge(frames, discarded, kept, called))


def start_of_equilibrium(series: ArrayLike, *, most_starts: int = 50) -> int:
    """First frame of the part of a series that has the most independent frames.

    Parameters
    ----------
    series
        Shape ``(frames,)``.
    most_starts
        Starts that are tried, evenly spread.
    """
    values = np.asarray(series, np.float64)
    if len(values) < 4 or not np.ptp(values) > 1e-9 * (1.0 + np.abs(values).max()):
        return 0
    os.environ.setdefault("PYMBAR_DISABLE_JAX", "1")
    from pymbar import timeseries

    found = timeseries.detect_equilibration(
        values - values.mean(), fast=False, nskip=max(1, len(values) // most_starts)
    )
    return int(found[0])


def _judge(
    frames: int, discarded: NDArray[np.int64], kept: NDArray[np.int64], names: Sequence[str]
) -> Verdict:
    found: list[tuple[Level, str]] = []
    least = int(kept.argmin())
    bounds: tuple[tuple[Level, int], ...] = (("FAIL", fewest), ("WARN", fewest_good))
    for level, bound in bounds:
        if kept[least] < bound:
            few = int(np.count_nonzero(kept < bound))
            found.append(
                (
                    level,
                    f"{few} of {len(kept)} windows keep fewer than {bound} independent frames in equilibrium "
                    f"(fewest {kept[least]} of {frames}, {names[least]})",
                )
            )
            break
    late = int(discarded.argmax())
    if discarded[late] > most_discarded * frames:
        many = int(np.count_nonzero(discarded > most_discarded * frames))
        found.append(
            (
                "WARN",
                f"{many} of {len(kept)} windows reach equilibrium in their second half only (latest after "
                f"{discarded[late]} of {frames} frames, {names[late]})",
            )
        )
    return collect(found)
