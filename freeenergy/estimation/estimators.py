"""Free energies from works and from reduced potentials. All energies here are in units of kT.

Sign rule: ``w_f`` is work done on the system going 0 -> 1 and ``w_r`` going 1 -> 0; every value is
G_1 - G_0. A common offset (absolute energies of 1e6 kT) is taken out before anything is summed.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.estimation.bennett import acceptance_root, one_sided, overlap
from drupe.freeenergy.estimation.bootstrap import scatter
from drupe.freeenergy.estimation.chain import MbarResult, exact_kt, mbar
from drupe.freeenergy.estimation.diagnostics import Verdict, checked_works, verdict, worst
from drupe.freeenergy.estimation.results import FreeEnergy

__all__ = [
    "FreeEnergy",
    "MbarResult",
    "Runs",
    "bar",
    "crooks_gaussian",
    "cumulant",
    "jarzynski",
    "mbar",
    "mbar_of_works",
    "side_by_side",
]

Works = NDArray[np.float64]
Runs = tuple[ArrayLike | None, ArrayLike | None]
Direction = Literal["forward", "reverse"]


def side_by_side(
    w_f: ArrayLike, w_r: ArrayLike, *, seed: int, n_resamples: int = 200, runs: Runs = (None, None)
) -> tuple[FreeEnergy, ...]:
    """BAR, then what it is compared with: MBAR, Jarzynski forward and reverse, Crooks-Gaussian.

    Parameters are those of `bar`.
    """
    return (
        bar(w_f, w_r, seed=seed, n_resamples=n_resamples, runs=runs),
        mbar_of_works(w_f, w_r),
        jarzynski(w_f, seed=seed, n_resamples=n_resamples, runs=runs[0]),
        jarzynski(w_r, seed=seed, n_resamples=n_resamples, direction="reverse", runs=runs[1]),
        crooks_gaussian(w_f, w_r, seed=seed, n_resamples=n_resamples, runs=runs),
    )


def bar(
    w_f: ArrayLike, w_r: ArrayLike, *, seed: int, n_resamples: int = 200, runs: Runs = (None, None)
) -> FreeEnergy:
    """Bennett's acceptance ratio: the estimate for works of both directions.

    Parameters
    ----------
    w_f, w_r
        Works done on the system going 0 -> 1 and 1 -> 0, as measured, kT.
    seed
        Of the bootstrap.
    n_resamples
        Bootstrap resamples; with fewer than two the error is the formula alone.
    runs
        The independent run that each work's start came from, for each direction, whole numbers:
        then whole runs are resampled (`drupe.freeenergy.estimation.bootstrap`). None where nobody knows: then
        every work counts as independent.

    Returns
    -------
    FreeEnergy
        Its error is the larger of the asymptotic formula (Shirts et al., Phys. Rev. Lett. 91,
        140601 (2003)) and the bootstrap, None where neither says anything. With fewer than two works in
        a direction, or with works that do not meet at all, the value is nan and the verdict FAIL. Works
        of one run only are warned of.

    Raises
    ------
    InputError
        If a work is not finite or the works are not one-dimensional.
    """
    f, r = checked_works(w_f, "forward"), checked_works(w_r, "reverse")
    judged = verdict(f, r)
    offset = 0.5 * float(f.mean() - r.mean()) if len(f) and len(r) else 0.0
    value, error = math.nan, None
    if min(len(f), len(r)) >= 2:
        f, r = f - offset, r + offset
        root = acceptance_root(f, r)
        shared = overlap(f, r, root)
        if shared > 1e-12:
            value = root + offset
            formula = math.sqrt(max(0.0, (len(f) + len(r)) / (len(f) * len(r)) * (1.0 / shared - 1.0)))
            again = scatter(acceptance_root, (f, r), runs, seed=seed, n_resamples=n_resamples)
            error = _known(max(formula, again))
            judged = worst([("", judged), ("", _runs_verdict((f, r), runs))])
    made = _made(seed, n_resamples, runs)
    return FreeEnergy(
        value, judged, "BAR", sampling=error, n_forward=len(f), n_reverse=len(r), provenance=made
    )


def mbar_of_works(w_f: ArrayLike, w_r: ArrayLike) -> FreeEnergy:
    """The same two ensembles through pymbar's MBAR, with its own error: a check of `bar` by another program.

    Of two states MBAR is BAR. Parameters are those of `bar`; the value is nan where pymbar finds none.
    """
    f, r = checked_works(w_f, "forward"), checked_works(w_r, "reverse")
    value, error, judged = math.nan, None, verdict(f, r)
    if min(len(f), len(r)) >= 2:
        offset = 0.5 * float(f.mean() - r.mean())
        u = np.zeros((2, len(f) + len(r)))
        u[1, : len(f)], u[0, len(f) :] = f - offset, r + offset
        try:
            found = mbar(u, [len(f), len(r)])
            value, error = float(found.values[1]) + offset, _known(float(found.errors[1]))
        except ConvergenceError as failed:
            judged = worst([("", judged), ("", Verdict("FAIL", (failed.found,)))])
    return FreeEnergy(value, judged, "MBAR", sampling=error, n_forward=len(f), n_reverse=len(r))


def jarzynski(
    works: ArrayLike,
    *,
    seed: int,
    direction: Direction = "forward",
    n_resamples: int = 200,
    runs: ArrayLike | None = None,
) -> FreeEnergy:
    """Exponential average of one direction: a cross-check, never a headline.

    Parameters
    ----------
    works
        Works of one direction, as measured, kT.
    seed, n_resamples
        Of the bootstrap that gives the error.
    direction
        ``"reverse"`` flips the sign, so that the value is G_1 - G_0 either way.
    runs
        The independent run of each work, as for `bar`.
    """

    def average(w: Works) -> float:
        return one_sided(w)[0]

    return _from_one_side(average, works, f"Jarzynski {direction}", direction, seed, n_resamples, runs)


def cumulant(
    works: ArrayLike,
    *,
    seed: int,
    direction: Direction = "forward",
    n_resamples: int = 200,
    runs: ArrayLike | None = None,
) -> FreeEnergy:
    """Second-order cumulant, mean - variance / 2: exact for Gaussian works, a cross-check otherwise.

    Parameters are those of `jarzynski`.
    """

    def average(w: Works) -> float:
        return float(w.mean() - 0.5 * w.var(ddof=1)) if len(w) > 1 else math.nan

    return _from_one_side(average, works, f"Gaussian {direction}", direction, seed, n_resamples, runs)


def crooks_gaussian(
    w_f: ArrayLike, w_r: ArrayLike, *, seed: int, n_resamples: int = 200, runs: Runs = (None, None)
) -> FreeEnergy:
    """Where Gaussians through W_F and -W_R cross: a cross-check, never a headline.

    Goette and Grubmueller, J. Comput. Chem. 30, 447 (2009). Parameters are those of `bar`.
    """
    f, r = checked_works(w_f, "forward"), checked_works(w_r, "reverse")
    judged = worst([("", verdict(f, r)), ("", Verdict("WARN", ("assumes Gaussian works",)))])
    value, error = math.nan, None
    if min(len(f), len(r)) >= 2:
        offset = 0.5 * float(f.mean() - r.mean())
        value = _crossing(f - offset, r + offset) + offset
        sides = (f - offset, r + offset)
        error = _known(scatter(_crossing, sides, runs, seed=seed, n_resamples=n_resamples))
    made = _made(seed, n_resamples, runs)
    return FreeEnergy(
        value, judged, "Crooks-Gaussian", sampling=error, n_forward=len(f), n_reverse=len(r), provenance=made
    )


def _crossing(f: Works, r: Works) -> float:
    mean_f, mean_r = float(f.mean()), -float(r.mean())
    var_f, var_r = float(f.var()), float(r.var())  # maximum likelihood: divided by n
    middle = 0.5 * (mean_f + mean_r)
    if min(var_f, var_r) <= 0.0 or abs(var_f - var_r) < 1e-9 * max(var_f, var_r):
        return middle
    # Equal densities: a x^2 - 2 b x + c = 0, with x measured from the middle of the two means.
    half = 0.5 * (mean_f - mean_r)
    a = 1.0 / var_f - 1.0 / var_r
    b = half / var_f + half / var_r
    c = half**2 * a - math.log(var_r / var_f)
    root = math.sqrt(max(0.0, b * b - a * c))
    return middle + min((b + root) / a, (b - root) / a, key=abs)


def _from_one_side(
    average: Callable[[Works], float],
    works: ArrayLike,
    method: str,
    direction: Direction,
    seed: int,
    n_resamples: int,
    runs: ArrayLike | None,
) -> FreeEnergy:
    w = checked_works(works, direction)
    if direction not in ("forward", "reverse"):
        raise InputError(f"there is no direction {direction!r}", remedy='use "forward" or "reverse"')
    value, error = math.nan, None
    if len(w):
        offset = float(w.mean())
        value = (1.0 if direction == "forward" else -1.0) * (average(w - offset) + offset)
        error = _known(scatter(average, (w - offset,), (runs,), seed=seed, n_resamples=n_resamples))
    one = Verdict("FAIL", ("one direction is missing: a one-sided estimate is a cross-check only",))
    there = direction == "forward"
    return FreeEnergy(
        value,
        one,
        method,
        sampling=error,
        n_forward=len(w) if there else 0,
        n_reverse=0 if there else len(w),
        provenance=_made(seed, n_resamples, (runs,)),
    )


def _runs_verdict(sides: Sequence[Works], runs: Runs) -> Verdict:
    """Warn of a direction whose works all start from one run: nobody knows how runs differ."""
    alone = [
        name
        for name, side, one in zip(("forward", "reverse"), sides, runs, strict=True)
        if one is not None and len(side) and len(np.unique(np.asarray(one))) == 1
    ]
    if not alone:
        return Verdict("PASS")
    told = f"all {' and '.join(alone)} works start from one run: how runs differ is not in the error"
    return Verdict("WARN", (told,))


def _known(error: float) -> float | None:
    return error if error > exact_kt else None


def _made(seed: int, n_resamples: int, runs: Sequence[ArrayLike | None]) -> str:
    told = "" if any(one is None for one in runs) else " of whole runs"
    return f"seed {seed}, {n_resamples} bootstrap resamples{told}"
