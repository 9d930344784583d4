"""Has a time series settled, and does it stay? A quantity along independent runs (kT) in, a verdict out.

Where equilibration ends is where the rest holds most independent samples (Chodera, J. Chem. Theory Comput.
12, 1799 (2016), as pymbar has it). Drift is the slope of a straight line against its standard error, with the
statistical inefficiency of what the line leaves.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from drupe.freeenergy.estimation.bennett import acceptance_root, overlap
from drupe.freeenergy.estimation.diagnostics import Verdict, checked_works, worst

__all__ = ["drift_of_works", "settled"]

#: Frames below which nothing can be said of a run.
least_frames: Final = 10
#: Frames below which the end of equilibration is guesswork: one in ten of white noise looks unsettled.
least_for_equilibration: Final = 50
#: Chance of a drift that large in a run that does not drift, over all runs that are judged together.
chance: Final = 0.01
#: Means of two runs that lie so many times their common standard deviation apart belong to different places.
far_apart: Final = 10.0
#: Halves of works that differ by more standard errors than this drift, if by more kT than the second number;
#: more than the third fails.
half_sigmas, half_kt, half_kt_fail = 3.0, 0.5, 2.0


@dataclass(frozen=True)
class _Line:
    """A straight line through a run: its whole rise, and the chance of one so large without drift."""

    rise: float
    chance: float


def settled(runs: Mapping[str, NDArray[np.float64]]) -> Verdict:
    """Judge one quantity, such as the potential energy, along runs of one kind.

    FAIL: a value is not finite; two runs lie so far apart that they share no value, by more than ten times
    the scatter within runs. WARN: fewer than 10 frames in a run; a run drifts or stands still; equilibration
    takes more than half of a run of 50 frames or more.

    Parameters
    ----------
    runs
        Name of each run and its series, ``(frames,)``, kT, equally spaced in time.
    """
    if not runs:
        return Verdict("WARN", ("there is no run to look at: nobody saw whether they settled",))
    broken = [name for name, series in runs.items() if not np.isfinite(series).all()]
    if broken:
        return Verdict("FAIL", (f"{', '.join(broken)}: holds values that are not finite",))
    short = [name for name, series in runs.items() if len(series) < least_frames]
    told: list[tuple[str, Verdict]] = []
    if short:
        fewest = min(len(runs[name]) for name in short)
        reason = (
            f"{len(short)} of {len(runs)} runs keep fewer than {least_frames} frames (shortest: {fewest}): "
            "nobody can see whether they settled"
        )
        told.append(("", Verdict("WARN", (reason,))))
    long = {name: series for name, series in runs.items() if len(series) >= least_frames}
    for name, series in long.items():
        if np.ptp(series) <= 1e-9 * (1.0 + float(np.abs(series).max())):
            told.append((name, Verdict("WARN", ("stands still: nothing moved",))))
            continue
        line = _line(series)
        if line.chance < chance / len(long):
            told.append((name, Verdict("WARN", (f"drifts by {line.rise:+.1f} kT over the run",))))
        if len(series) < least_for_equilibration:
            continue
        start = _equilibrated(series)
        if start > len(series) // 2:
            reason = f"settles only after {start} of its {len(series)} frames"
            told.append((name, Verdict("WARN", (reason,))))
    return worst([*told, ("", _apart(long))])


def _apart(runs: Mapping[str, NDArray[np.float64]]) -> Verdict:
    """Runs whose values do not meet: each samples a place of its own."""
    order = sorted(runs, key=lambda name: float(runs[name].mean()))
    for below, above in pairwise(order):
        low, high = runs[below], runs[above]
        gap, within = float(high.mean() - low.mean()), float(np.hypot(low.std(), high.std()))
        if float(low.max()) < float(high.min()) and gap > far_apart * within:
            reason = (
                f"{below} and {above} lie {gap:.1f} kT apart and share no value: they are of different places"
            )
            return Verdict("FAIL", (reason,))
    return Verdict("PASS")


def drift_of_works(
    w_f: NDArray[np.float64], w_r: NDArray[np.float64], time_f: Sequence[float], time_r: Sequence[float]
) -> Verdict:
    """Compare the free energy from starts of the first half of the runs with that of the second.

    WARN when they differ by more than three standard errors and 0.5 kT, or a half has fewer than 10 works;
    FAIL when they differ by more than 2 kT as well.

    Parameters
    ----------
    w_f, w_r
        Works done on the system going 0 -> 1 and 1 -> 0, kT.
    time_f, time_r
        Time of each start within its run, ps.

    Raises
    ------
    InputError
        If a work is not finite.
    """
    w_f, w_r = checked_works(w_f, "forward"), checked_works(w_r, "reverse")
    halves: list[tuple[float, float]] = []
    for late in (False, True):
        sides = []
        for works, times in ((w_f, np.asarray(time_f)), (w_r, np.asarray(time_r))):
            sides.append(works[(times > np.median(times)) == late] if len(works) else works)
        fewest = min(len(side) for side in sides)
        if fewest < least_frames:
            reason = (
                f"a half of the runs holds {fewest} starts, fewer than {least_frames}: no drift can be seen"
            )
            return Verdict("WARN", (reason,))
        offset = 0.5 * float(sides[0].mean() - sides[1].mean())
        f, r = sides[0] - offset, sides[1] + offset
        root = acceptance_root(f, r)
        shared = max(overlap(f, r, root), 1e-12)
        variance = (len(f) + len(r)) / (len(f) * len(r)) * (1.0 / shared - 1.0)
        halves.append((root + offset, max(variance, 0.0)))
    gap = abs(halves[1][0] - halves[0][0])
    error = float(np.sqrt(halves[0][1] + halves[1][1]))
    if gap <= half_kt or gap <= half_sigmas * error:
        return Verdict("PASS")
    reason = (
        f"works from late starts give {halves[1][0] - halves[0][0]:+.1f} kT more than those from early ones, "
        f"with a standard error of {error:.1f}: the runs have not settled"
    )
    return Verdict("FAIL" if gap > half_kt_fail else "WARN", (reason,))


def _line(series: NDArray[np.float64]) -> _Line:
    time = np.linspace(-0.5, 0.5, len(series))
    slope = float((time @ (series - series.mean())) / (time @ time))
    left = series - series.mean() - slope * time
    inefficiency = _inefficiency(left)
    independent = len(series) / inefficiency
    if independent <= 3.0:
        return _Line(slope, 1.0)  # a run of one correlation time shows no trend
    variance = inefficiency * float(left @ left) / (len(series) - 2) / float(time @ time)
    if variance <= 0.0:
        return _Line(slope, 0.0)
    return _Line(slope, 2.0 * float(stdtr(independent - 2.0, -abs(slope) / np.sqrt(variance))))


def _inefficiency(series: NDArray[np.float64]) -> float:
    if np.ptp(series) == 0.0:
        return 1.0
    os.environ.setdefault("PYMBAR_DISABLE_JAX", "1")
    from pymbar import timeseries

    return float(timeseries.statistical_inefficiency(series))


def _equilibrated(series: NDArray[np.float64]) -> int:
    os.environ.setdefault("PYMBAR_DISABLE_JAX", "1")
    from pymbar import timeseries

    start, _, _ = timeseries.detect_equilibration(series, nskip=max(1, len(series) // 50))
    return int(start)
