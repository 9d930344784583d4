"""Does a free energy still drift with time? Frames of each window in order of time in (kT), a verdict out.

Forward and reverse convergence: the estimate from the first part of every window and from the last
part, for growing parts. Klimovich, Shirts and Mobley, J. Comput. Aided Mol. Des. 29, 397 (2015).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.estimation.chain import differences
from drupe.freeenergy.estimation.diagnostics import Verdict, worst
from drupe.records import frozen, register

__all__ = ["Convergence", "convergence"]

FRACTIONS: Final = tuple(round(0.1 * k, 1) for k in range(1, 11))
#: Distance of two halves in standard errors that one stationary run in 100 has in one of the comparisons.
drift_sigmas: Final = 2.81
#: A drift beyond the error is a FAIL from here on, kT: the bound that the hysteresis of switches has.
largest_drift: Final = 2.0


def _without_bend(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 did not look at the middle."""
    return {**fields, "bend": math.nan, "bend_error": math.nan}


@register(version=2, upgrades={1: _without_bend})
@dataclass(frozen=True, eq=False)
class Convergence:
    """G_last - G_first from parts of every window, in kT; nan where a part gives no number.

    ================  ==============  ===============================================
    field             shape           meaning
    ================  ==============  ===============================================
    fractions         ``(parts,)``    of the frames of every window, ends with 1
    forward           ``(parts,)``    from the first part
    forward_errors    ``(parts,)``    its standard errors
    backward          ``(parts,)``    from the last part
    backward_errors   ``(parts,)``    its standard errors
    drift             scalar          second half minus first half
    drift_error       scalar          its standard error: the halves share no frame
    bend              scalar          second and third quarter minus first and last
    bend_error        scalar          its standard error
    verdict           --
    ================  ==============  ===============================================
    """

    fractions: NDArray[np.float64]
    forward: NDArray[np.float64]
    forward_errors: NDArray[np.float64]
    backward: NDArray[np.float64]
    backward_errors: NDArray[np.float64]
    drift: float
    drift_error: float
    bend: float
    bend_error: float
    verdict: Verdict

    def __post_init__(self) -> None:
        for name in ("fractions", "forward", "forward_errors", "backward", "backward_errors"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))


def convergence(
    windows: Sequence[NDArray[np.float64]], *, fractions: Sequence[float] = FRACTIONS
) -> Convergence:
    """MBAR of the first and of the last fraction of every window, and whether its halves agree.

    WARN: the second half differs from the first, or the two quarters in the middle from the two outside, by
    more than 2.81 of their standard errors. FAIL: they also differ by more than 2 kT, or a half gives no
    number.

    Parameters
    ----------
    windows
        Reduced potentials of the frames of each state in all states, each of shape
        ``(states, frames)``, kT, in order of time and decorrelated (errors presume it).
    fractions
        Parts to take, within (0, 1].

    Raises
    ------
    InputError
        If a fraction is none, or there are no windows.
    """
    bad = [f for f in fractions if not 0.0 < f <= 1.0]
    if bad or not fractions:
        raise InputError(f"fractions are {list(fractions)}", remedy="give fractions within (0, 1]")
    if not windows:
        raise InputError("there are no windows", remedy="give the reduced potentials of every state")
    parts = sorted({*fractions, 1.0})
    forward = [_estimate(windows, f, last=False) for f in parts]
    backward = [*(_estimate(windows, f, last=True) for f in parts[:-1]), forward[-1]]
    drift, drift_error = _apart(windows, (2, 3))
    bend, bend_error = _apart(windows, (1, 2))
    return Convergence(
        fractions=np.array(parts),
        forward=np.array([value for value, _ in forward]),
        forward_errors=np.array([error for _, error in forward]),
        backward=np.array([value for value, _ in backward]),
        backward_errors=np.array([error for _, error in backward]),
        drift=drift,
        drift_error=drift_error,
        bend=bend,
        bend_error=bend_error,
        verdict=worst(
            [
                ("", _judge(drift, drift_error, "the second half of the frames", "the first")),
                (
                    "",
                    _judge(bend, bend_error, "the half in the middle of the time", "the quarters around it"),
                ),
            ]
        ),
    )


def _estimate(windows: Sequence[NDArray[np.float64]], fraction: float, *, last: bool) -> tuple[float, float]:
    """Free energy and error of a part; nan where it holds too little."""
    kept = []
    for u in windows:
        frames = u.shape[1]
        count = frames // 2 if fraction == 0.5 else round(fraction * frames)
        kept.append(u[:, frames - count :] if last else u[:, :count])
    return _number(kept)


def _apart(windows: Sequence[NDArray[np.float64]], quarters: tuple[int, int]) -> tuple[float, float]:
    """What the frames of two quarters of the time give more than the others, and its error."""
    parts: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    for u in windows:
        inside = np.isin(4 * np.arange(u.shape[1]) // max(u.shape[1], 1), quarters)
        for part, rows in zip(parts, (inside, ~inside), strict=True):
            part.append(u[:, rows])
    (value, error), (other, its) = (_number(part) for part in parts)
    return value - other, math.hypot(error, its)


def _number(windows: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Free energy and error; nan where a window is empty or MBAR finds none."""
    counts = [u.shape[1] for u in windows]
    if min(counts) < 1:
        return math.nan, math.nan
    try:
        values, errors = differences(np.hstack(windows), counts)
    except ConvergenceError:
        return math.nan, math.nan
    return float(values[-1]), float(errors[-1])


def _judge(apart: float, error: float, one: str, other: str) -> Verdict:
    if not (math.isfinite(apart) and math.isfinite(error)):
        return Verdict("FAIL", ("half of the frames gives no free energy: convergence cannot be judged",))
    if abs(apart) <= drift_sigmas * error + 1e-6:  # MBAR is solved to about 1e-7
        return Verdict("PASS")
    reason = (
        f"the free energy drifts: {one} gives {apart:+.2f} +- {error:.2f} kT more than {other}, beyond "
        f"{drift_sigmas:g} standard errors"
    )
    if abs(apart) > largest_drift:
        return Verdict("FAIL", (f"{reason}, and more than {largest_drift:g} kT",))
    return Verdict("WARN", (reason,))
