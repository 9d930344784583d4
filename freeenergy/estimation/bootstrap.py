"""Scatter of an estimate over resamples of independent runs: works (kT) and their runs in, an error out.

Works that start from frames of one run are not independent. Whole runs are drawn with replacement, each with
all its works (Davison and Hinkley, Bootstrap Methods and Their Application (1997), section 3.8); the scatter
over G runs is short of the truth by (G - 1) / G, which is put right. Drawing works inside the drawn runs as
well counts their scatter twice: for works that are independent after all it gave 1.4 times the error.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.errors import InputError

__all__ = ["scatter"]

Works = NDArray[np.float64]


def scatter(
    estimate: Callable[..., float],
    sides: Sequence[Works],
    runs: Sequence[ArrayLike | None],
    *,
    seed: int,
    n_resamples: int,
) -> float:
    """Standard deviation of an estimate over resamples of each side by itself.

    Parameters
    ----------
    estimate
        Takes one array per side.
    sides
        Works of each side, shapes ``(n,)``, kT.
    runs
        The run of each work, ``(n,)``, per side; None, or one run only, resamples the works themselves.
    seed, n_resamples
        Of the random numbers, and how often.

    Returns
    -------
    float
        kT; 0.0 where resampling says nothing: fewer than two resamples, or two works in a side.

    Raises
    ------
    InputError
        If a side has another number of runs than of works.
    """
    groups = [_groups(side, one) for side, one in zip(sides, runs, strict=True)]
    if n_resamples < 2 or min(len(side) for side in sides) < 2:
        return 0.0
    rng = np.random.default_rng(seed)
    values = [estimate(*(_drawn(one, rng) for one in groups)) for _ in range(n_resamples)]
    fewest = min((len(one) for one in groups if len(one) > 1), default=0)
    short = math.sqrt(fewest / (fewest - 1)) if fewest > 1 else 1.0
    return short * float(np.std(values, ddof=1))


def _groups(side: Works, runs: ArrayLike | None) -> list[Works]:
    """Works by run; a single group is resampled work by work."""
    if runs is None:
        return [side]
    numbers = np.asarray(runs)
    if numbers.shape != side.shape:
        raise InputError(
            f"{len(side)} works come with runs of shape {numbers.shape}",
            remedy="pass the number of the run of each work, or None",
        )
    order = np.argsort(numbers, kind="stable")
    return np.split(side[order], np.flatnonzero(np.diff(numbers[order])) + 1)


def _drawn(groups: list[Works], rng: np.random.Generator) -> Works:
    if len(groups) == 1:
        (only,) = groups
        return only[rng.integers(len(only), size=len(only))]
    return np.concatenate([groups[k] for k in rng.integers(len(groups), size=len(groups))])
