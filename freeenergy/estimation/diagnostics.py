"""Is a free energy to be believed? Works or overlaps go in (kT), a verdict with reasons comes out.

Levels: PASS, WARN (look before you use it), FAIL (do not use it). Every reason has the number that
made it and the bound that it broke.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.errors import InputError
from drupe.freeenergy.estimation.bennett import (
    acceptance_root,
    consistency,
    fluctuation_misfit,
    one_sided,
    overlap,
)
from drupe.records import register
from drupe.units import kcal_per_mol, kt

__all__ = [
    "Level",
    "Verdict",
    "chain_verdict",
    "checked_works",
    "collect",
    "repeats_verdict",
    "standard_state_verdict",
    "verdict",
    "worst",
]

Level = Literal["PASS", "WARN", "FAIL"]
_order: Final[tuple[Level, ...]] = ("PASS", "WARN", "FAIL")

#: Below this overlap of two ensembles there is no free energy difference.
least_overlap: Final = 0.1
#: Works in the shared part, min(n) x overlap, that a number must rest on; also the one-sided bound.
least_shared: Final = 10.0
#: Largest tolerated distance of the two one-sided estimates, kT.
largest_hysteresis: Final = 2.0
#: Second law: how many standard errors the mean dissipated work may be below zero.
second_law_sigmas: Final = 3.0
#: Two estimates of the overlap may differ by this part of it, or by this many standard errors. Gaussian
#: works of one system that no other rule fails (20 to 400 a side, sd 0.5 to 3 kT, 600 cases of each)
#: exceed both in at most 1 of 100 cases.
largest_inconsistency: Final = 0.3
inconsistency_sigmas: Final = 4.0
#: Works given again count as measured again in every error: warned of above the first share of all works of a
#: direction, FAIL above the second. Energies of single precision may repeat a few by rounding.
copies_warn, copies_fail = 0.1, 0.5
#: Works deviate from Crooks' theorem when chance alone makes so large a deviation in 1 of 10 000 cases, and
#: the deviation is worth this much log-likelihood per work: many works see differences that do not matter.
least_chance: Final = 1e-4
largest_misfit: Final = 0.01


@register(version=1)
@dataclass(frozen=True)
class Verdict:
    """PASS, WARN or FAIL, with the reasons that made it so.

    ``also`` holds what was seen below that level: the warnings beside a FAIL.
    """

    level: Level
    reasons: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.level not in _order:
            raise InputError(f"the verdict {self.level!r} is none", remedy=f"use one of {', '.join(_order)}")
        object.__setattr__(self, "reasons", tuple(self.reasons))
        object.__setattr__(self, "also", tuple(self.also))
        if self.level != "PASS" and not self.reasons:
            raise InputError(f"a verdict {self.level} has no reason", remedy="say what was found")

    def __str__(self) -> str:
        return f"{self.level}: {'; '.join(self.reasons)}" if self.reasons else self.level


def verdict(w_f: ArrayLike, w_r: ArrayLike) -> Verdict:
    """Judge the works of a switching experiment, or of two ensembles with instantaneous works.

    FAIL: a direction is missing; the second law is broken (the works do not belong together);
    the two directions do not obey one fluctuation theorem, nor Crooks'; overlap below 0.1; min(n) x
    overlap below 10; more than half of a direction are copies. WARN: more than a tenth are; fewer than 10
    effective works carry a one-sided estimate, or the two one-sided estimates are more than 2 kT apart.

    Parameters
    ----------
    w_f, w_r
        Works done on the system going 0 -> 1 and 1 -> 0, as measured, kT; any lengths, also zero.

    Raises
    ------
    InputError
        If a work is not finite or the works are not one-dimensional.
    """
    found = _judge(checked_works(w_f, "forward"), checked_works(w_r, "reverse"))
    return collect([(level, text) for level, _, text in found])


def chain_verdict(u_kn: NDArray[np.float64], n_k: NDArray[np.int64], names: Sequence[str] = ()) -> Verdict:
    """Judge a chain of states by its neighbours: each pair must hold on its own.

    Parameters
    ----------
    u_kn
        Reduced potentials, shape ``(states, samples)``, kT, samples ordered by the state they
        were drawn in.
    n_k
        Samples per state, shape ``(states,)``.
    names
        What to call the states; their numbers by default.
    """
    ends = np.concatenate([[0], np.cumsum(n_k)])
    called = [str(name) for name in names] or [str(k) for k in range(len(n_k))]
    groups: dict[tuple[Level, str], list[tuple[str, str]]] = {}
    for k in range(len(n_k) - 1):
        here, there = slice(ends[k], ends[k + 1]), slice(ends[k + 1], ends[k + 2])
        w_f = u_kn[k + 1, here] - u_kn[k, here]
        w_r = u_kn[k, there] - u_kn[k + 1, there]
        for level, rule, text in _judge(w_f, w_r):
            groups.setdefault((level, rule), []).append((f"{called[k]}-{called[k + 1]}", text))
    pairs = len(n_k) - 1
    found: list[tuple[Level, str]] = []
    for (level, _), cases in groups.items():
        where = f"all {pairs} neighbouring pairs, first {cases[0][0]}"
        if len(cases) < pairs:
            where = f"{len(cases)} of {pairs} neighbouring pairs ({_shortlist([name for name, _ in cases])})"
        found.append((level, f"{where}: {cases[0][1]}"))
    return collect(found)


def repeats_verdict(values: Sequence[float], errors: Sequence[float]) -> Verdict:
    """Judge independent repeats of one free energy, all in kT.

    One repeat has no replicate error, and that is said. FAIL: a repeat has no value; two that claim an error
    agree to the last digit, so that one is a copy; their standard deviation is more than ten times the error
    that the estimator claims (or it claims none), and more than 2 kT. WARN: it is more than three times that
    error.
    """
    if not values:
        raise InputError("there is no repeat to judge", remedy="pass the free energy of at least one repeat")
    if len(values) == 1:
        return Verdict("WARN", ("one repeat only: there is no replicate error",))
    if not np.isfinite(values).all():
        return Verdict(
            "FAIL", (f"{int((~np.isfinite(values)).sum())} of {len(values)} repeats have no value",)
        )
    spread = float(np.std(values, ddof=1))
    claims = np.nan_to_num(np.asarray(errors, np.float64))  # exact numbers claim no error
    claimed = float(np.sqrt(np.mean(np.square(claims))))
    if claimed > 0.0 and len(set(values)) < len(values):
        told = f"{len(values) - len(set(values))} of {len(values)} repeats are copies of others"
        return Verdict("FAIL", (f"{told}, to the last digit: repeats need seeds of their own",))
    if spread > max(3.0 * claimed, 1e-9):
        astray = spread > max(10.0 * claimed, 2.0)
        many = "ten" if astray else "three"
        told = f"more than {many} times the {claimed:.2f} kT their estimators claim"
        if not claimed:
            told = "their estimators claim no error"
        return Verdict(
            "FAIL" if astray else "WARN",
            (
                f"{len(values)} repeats scatter by {spread:.2f} kT, {told}: "
                + ("they are of different states" if astray else "each is too short"),
            ),
        )
    return Verdict("PASS")


def standard_state_verdict(analytic: float, numerical: float, temperature_k: float) -> Verdict:
    """Judge a restraint by its two release free energies in kT: formula against integral.

    WARN when they differ by more than 0.05 kcal/mol, FAIL by more than 0.3.
    """
    gap = abs(analytic - numerical) * kt(temperature_k) / kcal_per_mol
    if not gap <= 0.05:
        level: Level = "WARN" if gap <= 0.3 else "FAIL"
        bound = 0.05 if level == "WARN" else 0.3
        return Verdict(
            level, (f"restraint: formula and integral differ by {gap:.2f} kcal/mol, more than {bound}",)
        )
    return Verdict("PASS")


def worst(verdicts: Iterable[tuple[str, Verdict]]) -> Verdict:
    """Combine named verdicts: the worst level, and every reason with the name of what it concerns.

    An empty name adds nothing to the reasons.
    """
    found: list[tuple[Level, str]] = []
    for name, one in verdicts:
        lead = f"{name}: " if name else ""
        found += [(one.level, f"{lead}{reason}") for reason in one.reasons]
        found += [("WARN", f"{lead}{reason}") for reason in one.also]
    return collect(found)


def collect(found: Sequence[tuple[Level, str]]) -> Verdict:
    """Make one verdict of all that was found: the worst level with its reasons, the rest beside it."""
    level = max((level for level, _ in found), key=_order.index, default=_order[0])
    decisive = tuple(dict.fromkeys(text for one, text in found if one == level))
    return Verdict(level, decisive, tuple(dict.fromkeys(text for one, text in found if one != level)))


def checked_works(works: ArrayLike, direction: str) -> NDArray[np.float64]:
    """Works as a float array, or an `InputError` that says which one cannot be used."""
    given = np.asarray(works)
    if (given.dtype.kind not in "fiu" and given.size) or np.ma.is_masked(works):
        kind = "masked values" if np.ma.is_masked(works) else f"the type {given.dtype}"
        raise InputError(
            f"the {direction} works have {kind}", remedy="pass plain real numbers in kT, finished works only"
        )
    array = given.astype(np.float64)
    if array.ndim != 1:
        raise InputError(
            f"the {direction} works have shape {array.shape}",
            remedy="pass a one-dimensional array of works in kT",
        )
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise InputError(
            f"{len(bad)} of {len(array)} {direction} works are not finite (the first is number {bad[0]})",
            remedy="record switches that blew up as failures and pass only finished works; "
            "if many blow up, shorten the step",
        )
    return array


def _judge(w_f: NDArray[np.float64], w_r: NDArray[np.float64]) -> list[tuple[Level, str, str]]:
    """(level, rule, reason) of everything that is wrong, worst first."""
    for works, direction in ((w_f, "forward"), (w_r, "reverse")):
        if len(works) < 2:
            count = "there are no" if not len(works) else "there is only one of the"
            return [("FAIL", "missing", f"{count} {direction} works: both directions are needed")]
    offset = 0.5 * float(w_f.mean() - w_r.mean())
    f, r = w_f - offset, w_r + offset
    found: list[tuple[Level, str, str]] = []
    dissipated = float(f.mean() + r.mean())
    sigma = math.sqrt(float(f.var(ddof=1)) / len(f) + float(r.var(ddof=1)) / len(r))
    # Rounding of works that carry a large common offset is no violation.
    noise = 1e-9 + 16.0 * float(np.finfo(float).eps) * abs(offset)
    if dissipated < -second_law_sigmas * sigma - noise:
        found.append(
            (
                "FAIL",
                "second law",
                f"the second law is broken: mean(W_F) + mean(W_R) = {dissipated:.2f} +- {sigma:.2f} kT is "
                "negative; these works do not belong together, or one direction has the wrong sign",
            )
        )
    root = acceptance_root(f, r)
    shared = overlap(f, r, root)
    relative, sigmas = consistency(f, r, root)
    if abs(relative) > largest_inconsistency and abs(sigmas) > inconsistency_sigmas:
        found.append(
            (
                "FAIL",
                "consistency",
                "the two directions do not obey one fluctuation theorem: two estimates of their overlap "
                f"differ by {abs(relative):.0%} ({min(abs(sigmas), 99.0):.0f} sigma); these works do not "
                "belong together, or their tails were never reached",
            )
        )
    misfit = fluctuation_misfit(f, r, root)
    if misfit.chance < least_chance and misfit.per_work > largest_misfit:
        found.append(
            (
                "FAIL",
                "Crooks",
                "the works do not obey Crooks' theorem: log P_F(W)/P_R(-W) has slope "
                f"{misfit.slope:.2f} in W instead of 1 (chance below {least_chance:g}); a wrong unit, a "
                "wrong sign, or works of other states",
            )
        )
    smallest = min(_distinct(f), _distinct(r))
    found += [
        _copies(w, name) for w, name in ((f, "forward"), (r, "reverse")) if _share_of_copies(w) > copies_warn
    ]
    if shared < least_overlap:
        found.append(("FAIL", "overlap", f"overlap {shared:.2g} of the two sides is below {least_overlap:g}"))
    if smallest * shared < least_shared:
        found.append(
            (
                "FAIL",
                "shared",
                f"min(n) x overlap = {smallest} x {shared:.3g} = {_below(smallest * shared, least_shared)} "
                f"is below {least_shared:g}: too few samples for so little overlap",
            )
        )
    return found + _judge_sides(f, r)


def _below(value: float, bound: float) -> str:
    """A number in as many digits as it takes to be seen to lie below the bound."""
    return next(text for digits in range(3, 18) if float(text := f"{value:.{digits}g}") < bound)


def _distinct(works: NDArray[np.float64]) -> int:
    """How many different works there are: one given twice is one. Works that are all equal are exact."""
    ordered = np.sort(works)
    same = np.diff(ordered) <= 1e-12 * (1.0 + float(np.abs(ordered).max()))
    different = len(works) - int(same.sum())
    return len(works) if different == 1 else different


def _share_of_copies(works: NDArray[np.float64]) -> float:
    return 1.0 - _distinct(works) / len(works)


def _copies(works: NDArray[np.float64], direction: str) -> tuple[Level, str, str]:
    level: Level = "FAIL" if _share_of_copies(works) > copies_fail else "WARN"
    told = f"{len(works) - _distinct(works)} of {len(works)} {direction} works are copies of others"
    return (
        level,
        "copies",
        f"{told}: every error counts them as measurements of their own; pass each work once",
    )


def _judge_sides(f: NDArray[np.float64], r: NDArray[np.float64]) -> list[tuple[Level, str, str]]:
    (forward, size_f), (backward, size_r) = one_sided(f), one_sided(r)
    found: list[tuple[Level, str, str]] = []
    if min(size_f, size_r) < least_shared:
        found.append(
            (
                "WARN",
                "effective size",
                f"one-sided averages rest on {size_f:.1f} (forward) and {size_r:.1f} (reverse) effective "
                f"samples, fewer than {least_shared:g}",
            )
        )
    gap = abs(forward + backward)
    if gap > largest_hysteresis:
        found.append(
            (
                "WARN",
                "hysteresis",
                f"one-sided estimates differ by {gap:.1f} kT, more than {largest_hysteresis:g}",
            )
        )
    return found


def _shortlist(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")
