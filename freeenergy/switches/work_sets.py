"""Do these works belong together? Works of two directions go in, arrays in kT for the estimators come out.

The estimators see numbers only. What makes them comparable (same ends, same protocol up and down, each start
used once) stands in the records, and is checked here, at their door.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.freeenergy.switches.switching import Work

__all__ = ["WorkSet", "paired_works"]


class WorkSet(NamedTuple):
    """Works that belong together: ``w_f`` ``(forward,)`` and ``w_r`` ``(reverse,)``, kT, as measured."""

    w_f: NDArray[np.float64]
    w_r: NDArray[np.float64]


def paired_works(forward: Sequence[Work], reverse: Sequence[Work]) -> WorkSet:
    """Values of works, after checking that one free energy difference is behind them.

    What numbers alone can show, such as a broken second law, is the estimators' to judge
    (`drupe.freeenergy.estimation.diagnostics.verdict`). One direction may be empty: they say so.

    Parameters
    ----------
    forward, reverse
        Works of the switches 0 -> 1 and 1 -> 0, in any order.

    Raises
    ------
    InputError
        If a work is of the other direction, works of a direction are of different protocols (ends, length,
        step, bath) or legs, the protocols up and down are not mirror images, or a start is used twice.
    """
    for name, works in (("forward", forward), ("reverse", reverse)):
        _check_direction(name, works)
        _check_one(f"{name} works", works)
    _check_one("forward and reverse works", (*forward, *reverse))
    shared = {work.start for work in forward} & {work.start for work in reverse}
    if shared:
        raise InputError(
            f"{len(shared)} starts are those of forward and of reverse switches ({min(shared)})",
            remedy="start the reverse switches from frames sampled with the second potential",
        )
    return WorkSet(*(np.array([work.value for work in works], np.float64) for works in (forward, reverse)))


def _check_direction(name: str, works: Sequence[Work]) -> None:
    wrong = [k for k, work in enumerate(works) if work.spec.direction != name]
    if wrong:
        raise InputError(
            f"{len(wrong)} of {len(works)} {name} works are of the other direction (number {wrong[0]} first)",
            remedy="sort the works by spec.direction",
        )
    for start, count in Counter(work.start for work in works).most_common(1):
        if count < 2:
            continue
        raise InputError(
            f"{count} {name} works have one start ({start})",
            remedy="start each switch from a frame of its own; the same work twice counts once",
        )


def _check_one(name: str, works: Sequence[Work]) -> None:
    """All works are of one leg, one protocol and one pair of ends."""
    legs = sorted({work.leg for work in works} - {""})
    if len(legs) > 1:
        raise InputError(
            f"the {name} are of the legs {', '.join(map(repr, legs))}", remedy="pair the works of one leg"
        )
    specs = [work.spec.protocol for work in works]
    for key in specs[0] if specs else ():
        found = sorted({spec[key] for spec in specs})
        if len(found) > 1:
            raise InputError(
                f"the {name} do not have one protocol: {key} is {' and '.join(map(str, found))}",
                remedy="use switches of one length and bath; forward and reverse mirror each other",
            )
    # Works of before this was kept say nothing.
    count = len({work.protocol for work in works} - {""})
    if count > 1:
        raise InputError(
            f"the {name} are between {count} different pairs of end states",
            remedy="use switches between the same two potentials of the same system",
        )
