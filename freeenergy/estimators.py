"""Free energies from works and from reduced potentials. All energies here are in units of kT.

Sign rule: ``w_f`` is work done on the system going 0 -> 1 and ``w_r`` going 1 -> 0; every value is
G_1 - G_0. A common offset (absolute energies of 1e6 kT) is taken out before anything is summed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.errors import InputError
from drupe.freeenergy.bennett import acceptance_root, one_sided, overlap
from drupe.freeenergy.diagnostics import Verdict, checked_works, verdict, worst
from drupe.records import register

__all__ = ["FreeEnergy", "bar", "crooks_gaussian", "cumulant", "jarzynski"]

Works = NDArray[np.float64]
Direction = Literal["forward", "reverse"]


@register(version=1)
@dataclass(frozen=True)
class FreeEnergy:
    """A free energy difference in kT with the named parts of its error and a verdict.

    A part that nobody estimated is None, never 0. A value that cannot be had from the data is nan,
    and the verdict says what is missing.

    ==========  ====================================================================
    field       meaning
    ==========  ====================================================================
    value       G_1 - G_0, kT
    verdict     PASS, WARN or FAIL with reasons
    method      estimator, in words
    sampling    error of the estimator (the larger of formula and bootstrap), kT
    replicate   standard deviation over independent repeats, kT
    model       spread over the members of a committee of potentials, kT
    label       error of the reference energies themselves, kT
    n_forward   works, or samples, that went in
    n_reverse   the same of the other direction
    provenance  what made the number: settings and seed
    ==========  ====================================================================
    """

    value: float
    verdict: Verdict
    method: str
    sampling: float | None = None
    replicate: float | None = None
    model: float | None = None
    label: float | None = None
    n_forward: int = 0
    n_reverse: int = 0
    provenance: str = ""

    def __post_init__(self) -> None:
        for name in ("sampling", "replicate", "model", "label"):
            part = getattr(self, name)
            if part is not None and part < 0.0:
                raise InputError(f"the {name} error is {part} kT", remedy="pass a standard error, which is >= 0")

    @property
    def error(self) -> float:
        """Whole error in kT: max(sampling, replicate), model and label in quadrature; nan if none is known."""
        statistical = [part for part in (self.sampling, self.replicate) if part is not None]
        parts = [max(statistical)] if statistical else []
        parts += [part for part in (self.model, self.label) if part is not None]
        return math.hypot(*parts) if parts else math.nan


def bar(w_f: ArrayLike, w_r: ArrayLike, *, seed: int, n_resamples: int = 200) -> FreeEnergy:
    """Bennett's acceptance ratio: the estimate for works of both directions.

    Parameters
    ----------
    w_f, w_r
        Works done on the system going 0 -> 1 and 1 -> 0, as measured, kT.
    seed
        Of the bootstrap.
    n_resamples
        Bootstrap resamples; with fewer than two the error is the formula alone.

    Returns
    -------
    FreeEnergy
        Its error is the larger of the asymptotic formula (Shirts et al., Phys. Rev. Lett. 91,
        140601 (2003)) and the bootstrap. With fewer than two works in a direction, or with works
        that do not meet at all, the value is nan and the verdict FAIL.

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
            error = max(formula, _bootstrap(acceptance_root, (f, r), seed, n_resamples))
    return FreeEnergy(
        value, judged, "BAR", sampling=error, n_forward=len(f), n_reverse=len(r), provenance=_made(seed, n_resamples)
    )


def jarzynski(
    works: ArrayLike, *, seed: int, direction: Direction = "forward", n_resamples: int = 200
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
    """

    def average(w: Works) -> float:
        return one_sided(w)[0]

    return _from_one_side(average, works, f"Jarzynski {direction}", direction, seed, n_resamples)


def cumulant(
    works: ArrayLike, *, seed: int, direction: Direction = "forward", n_resamples: int = 200
) -> FreeEnergy:
    """Second-order cumulant, mean - variance / 2: exact for Gaussian works, a cross-check otherwise.

    Parameters are those of `jarzynski`.
    """

    def average(w: Works) -> float:
        return float(w.mean() - 0.5 * w.var(ddof=1)) if len(w) > 1 else math.nan

    return _from_one_side(average, works, f"Gaussian {direction}", direction, seed, n_resamples)


def crooks_gaussian(w_f: ArrayLike, w_r: ArrayLike, *, seed: int, n_resamples: int = 200) -> FreeEnergy:
    """Where Gaussians through W_F and -W_R cross: a cross-check, never a headline.

    Goette and Grubmueller, J. Comput. Chem. 30, 447 (2009). Parameters are those of `bar`.
    """
    f, r = checked_works(w_f, "forward"), checked_works(w_r, "reverse")
    judged = worst([("", verdict(f, r)), ("", Verdict("WARN", ("assumes Gaussian works",)))])
    value, error = math.nan, None
    if min(len(f), len(r)) >= 2:
        offset = 0.5 * float(f.mean() - r.mean())
        value = _crossing(f - offset, r + offset) + offset
        error = _known(_bootstrap(_crossing, (f - offset, r + offset), seed, n_resamples))
    made = _made(seed, n_resamples)
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
) -> FreeEnergy:
    w = checked_works(works, direction)
    if direction not in ("forward", "reverse"):
        raise InputError(f"there is no direction {direction!r}", remedy='use "forward" or "reverse"')
    value, error = math.nan, None
    if len(w):
        offset = float(w.mean())
        value = (1.0 if direction == "forward" else -1.0) * (average(w - offset) + offset)
        error = _known(_bootstrap(average, (w - offset,), seed, n_resamples))
    one = Verdict("FAIL", ("one direction is missing: a one-sided estimate is a cross-check only",))
    counts = (len(w), 0) if direction == "forward" else (0, len(w))
    return FreeEnergy(value, one, method, sampling=error, n_forward=counts[0], n_reverse=counts[1],
                      provenance=_made(seed, n_resamples))  # fmt: skip


def _bootstrap(estimate: Callable[..., float], sides: Sequence[Works], seed: int, n_resamples: int) -> float:
    """Standard deviation over resamples of each side by itself; 0.0 where resampling says nothing."""
    if n_resamples < 2 or min(len(side) for side in sides) < 2:
        return 0.0
    rng = np.random.default_rng(seed)
    values = [
        estimate(*(side[rng.integers(len(side), size=len(side))] for side in sides)) for _ in range(n_resamples)
    ]
    return float(np.std(values, ddof=1))


def _known(error: float) -> float | None:
    return error if error > 0.0 else None


def _made(seed: int, n_resamples: int) -> str:
    return f"seed {seed}, {n_resamples} bootstrap resamples"
