"""Monte Carlo with energies that carry Gaussian noise: reduced energies and variances in, a chain out (kT).

A trial is accepted with min(1, exp(-d - s/2)). Ceperley and Dewing (J. Chem. Phys. 110, 9812, 1999): with
both energies measured afresh at each trial, d is their difference and s its variance, and the exact
distribution is sampled for noise of known variance. With the old energy kept, as in pseudo-marginal
sampling (Andrieu and Roberts, Ann. Stat. 37, 697, 2009), s is the new variance minus the old one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError

__all__ = ["Chain", "Measured", "MetropolisSpec", "sample_noisy"]

Array = NDArray[np.float64]
_RULES = ("penalty", "stored", "plain")


class Measured(NamedTuple):
    """Noisy energies of some walkers, kT, and the variances they are known to have, kT^2; ``(walkers,)``."""

    energy: Array
    variance: Array


@dataclass(frozen=True)
class MetropolisSpec:
    """What fixes a chain except where it starts.

    Parameters
    ----------
    steps
        Trials of each walker.
    move
        Largest shift of a coordinate in a trial, in the unit of the positions.
    rule
        ``"penalty"`` measures both energies at each trial; ``"stored"`` measures the new one and keeps the
        old, which costs half and gets stuck where variances of some kT^2 are; both are exact.
        ``"plain"`` measures both and leaves the penalty out: it is biased and there for comparison.
    seed
        Seed of all random numbers.
    """

    steps: int
    move: float
    rule: Literal["penalty", "stored", "plain"] = "penalty"
    seed: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int | np.integer) or self.steps < 1 or not 0 < self.move < math.inf:
            raise InputError(
                f"{self.steps} steps with moves up to {self.move}",
                remedy="give a whole number of steps and a finite move, both positive",
            )
        if self.rule not in _RULES:
            raise InputError(
                f"no acceptance rule is called {self.rule!r}", remedy=f"use one of: {', '.join(_RULES)}"
            )


@dataclass(frozen=True, eq=False)
class Chain:
    """What was sampled.

    ``positions`` ``(steps, walkers, ...)``, unit of the start; ``acceptance`` the share of trials accepted;
    ``noise`` mean variance of an energy difference, kT^2.
    """

    positions: Array
    acceptance: float
    noise: float


def sample_noisy(
    measure: Callable[[Array, np.random.Generator], Measured], start: Array, spec: MetropolisSpec
) -> Chain:
    """Move walkers by the Metropolis rule of ``spec``.

    Parameters
    ----------
    measure
        Noisy energies of walkers at positions ``(walkers, ...)``; every call is a fresh measurement.
    start
        First positions, ``(walkers, ...)``.
    spec
        Steps, moves, rule, seed.

    Raises
    ------
    InputError
        If the start is no finite array of walkers, if a measurement has not one energy and one variance for
        each walker, if one is not finite, or a variance is negative.
    """
    rng = np.random.default_rng(spec.seed)
    here = np.array(start, np.float64)
    if here.ndim < 1 or not len(here) or not np.isfinite(here).all():
        broken = int((~np.isfinite(here)).sum())
        raise InputError(
            f"a start of shape {here.shape} with {broken} values that are no numbers",
            remedy="give finite positions, shape (walkers, ...)",
        )
    shape = (len(here), *[1] * (here.ndim - 1))
    kept = _checked(measure(here, rng), len(here))
    chain, accepted, noise = np.empty((spec.steps, *here.shape)), 0, 0.0
    for step in range(spec.steps):
        there = here + rng.uniform(-spec.move, spec.move, here.shape)
        old = kept if spec.rule == "stored" else _checked(measure(here, rng), len(here))
        new = _checked(measure(there, rng), len(here))
        difference = new.energy - old.energy
        spread = new.variance + old.variance
        penalty = spread if spec.rule == "penalty" else np.zeros(len(here))
        if spec.rule == "stored":
            penalty = new.variance - old.variance
        taken = np.log(rng.random(len(here))) < -difference - penalty / 2
        here = np.where(taken.reshape(shape), there, here)
        kept = Measured(*(np.where(taken, one, other) for one, other in zip(new, old, strict=True)))
        chain[step] = here
        accepted += int(taken.sum())
        noise += float(spread.mean())
    chain.flags.writeable = False
    return Chain(chain, accepted / (spec.steps * len(here)), noise / spec.steps)


def _checked(made: Measured, walkers: int) -> Measured:
    for name, values in zip(("energy", "variance"), made, strict=True):
        if np.shape(values) != (walkers,):
            raise InputError(
                f"a measured {name} of shape {np.shape(values)} for {walkers} walkers",
                remedy="return arrays with one value for each walker",
            )
    if not (np.isfinite(made.energy).all() and np.isfinite(made.variance).all()) or (made.variance < 0).any():
        raise InputError(
            "a measured energy or its variance is no number",
            remedy="look at the frame the walker went to; smaller moves may help",
        )
    return made
