"""How long have switches to be? Works of a few short ones at several lengths go in (kT), a length comes out.

The works of a pilot are not used again in the estimate: the length was chosen by looking at them, and an
estimate from works that passed a test on their own spread is biased towards those that happened to pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from drupe.errors import InputError
from drupe.freeenergy.estimation.bennett import acceptance_root, overlap
from drupe.freeenergy.estimation.diagnostics import Verdict, checked_works, verdict
from drupe.records import register

__all__ = ["PilotChoice", "PilotRow", "choose_length"]

#: Largest standard deviation of the works of either direction, kT.
largest_spread: Final = 2.0
#: Least overlap of the two directions.
least_overlap: Final = 0.3
#: Works of each direction that a choice should rest on.
least_works: Final = 10


@register(version=1)
@dataclass(frozen=True)
class PilotRow:
    """One length tried: increments, works per direction, the larger standard deviation (kT), overlap.

    Both are nan where fewer than two works of a direction were finished.
    """

    n_steps: int
    n_forward: int
    n_reverse: int
    spread: float
    overlap: float

    @property
    def suffices(self) -> bool:
        """Whether switches of this length meet both bounds."""
        return self.spread <= largest_spread and self.overlap >= least_overlap


@register(version=1)
@dataclass(frozen=True)
class PilotChoice:
    """Number of increments to switch with, what was tried, and a WARN where nothing tried sufficed."""

    n_steps: int
    rows: tuple[PilotRow, ...]
    verdict: Verdict

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))


def choose_length(pilots: Mapping[int, tuple[ArrayLike, ArrayLike]]) -> PilotChoice:
    """Pick the shortest length with sd(W) <= 2 kT and overlap >= 0.3, else the longest with a WARN.

    Fewer than 10 works in a direction, or works that break the second law by more than three standard errors,
    are warned of.

    Parameters
    ----------
    pilots
        Forward and reverse works, as measured, kT, by number of increments.
    """
    if not pilots:
        raise InputError("there is no pilot to choose from", remedy="pass works of at least one length")
    rows = tuple(_row(n_steps, *pilots[n_steps]) for n_steps in sorted(pilots))
    for row in rows:
        if row.suffices:
            return PilotChoice(row.n_steps, rows, _judge(row, *pilots[row.n_steps]))
    last = rows[-1]
    tried = ", ".join(str(row.n_steps) for row in rows)
    reason = (
        f"no pilot of {tried} increments has sd(W) <= {largest_spread:g} kT and overlap >= "
        f"{least_overlap:g}; the longest has {last.spread:.1f} kT and {last.overlap:.2g}"
    )
    return PilotChoice(last.n_steps, rows, Verdict("WARN", (reason,)))


def _judge(row: PilotRow, forward: ArrayLike, reverse: ArrayLike) -> Verdict:
    """Whether works that are short of spread are to be believed."""
    told = []
    if min(row.n_forward, row.n_reverse) < least_works:
        told.append(f"the pilot rests on {row.n_forward} and {row.n_reverse} works, fewer than {least_works}")
    broken = [reason for reason in verdict(forward, reverse).reasons if "second law" in reason]
    return Verdict("WARN", (*told, *broken)) if told or broken else Verdict("PASS")


def _row(n_steps: int, forward: ArrayLike, reverse: ArrayLike) -> PilotRow:
    f, r = checked_works(forward, "forward"), checked_works(reverse, "reverse")
    if min(len(f), len(r)) < 2:
        return PilotRow(n_steps, len(f), len(r), float("nan"), float("nan"))
    offset = 0.5 * float(f.mean() - r.mean())
    f, r = f - offset, r + offset
    spread = max(float(np.std(f, ddof=1)), float(np.std(r, ddof=1)))
    return PilotRow(n_steps, len(f), len(r), spread, overlap(f, r, acceptance_root(f, r)))
