"""Does a free energy still drift with time? Frames of each window in order of time in (kT), a verdict out.

Forward and reverse convergence: the estimate from the first part of every window and from the last
part, for growing parts. Klimovich, Shirts and Mobley, J. Comput. Aided Mol. Des. 29, 397 (2015).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.estimation.chain import differences
from drupe.freeenergy.estimation.diagnostics import Verdict
from drupe.records import frozen, register

__all__ = ["Convergence", "convergence"]

FRACTIONS: Final = tuple(round(0.1 * k, 1) for k in range(1, 11))
#: Distance of the two halves in standard errors that one stationary run in 100 exceeds.
drift_sigmas: Final = 2.58
#: A drift beyond the error is a FAIL from here on, kT: the bound that the hysteresis of switches has.
largest_drift: Final = 2.0


@register(version=1)
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
    verdict: Verdict

    def __post_init__(self) -> None:
        for name in ("fractions", "forward", "forward_errors", "backward", "backward_errors"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))


def convergence(
    windows: Sequence[NDArray[np.float64]], *, fractions: Sequence[float] = FRACTIONS
) -> Convergence:
    """MBAR of the first and of the last fraction of every window, and whether its halves agree.

    WARN: the halves differ by more than 2.58 of their standard errors. FAIL: they also differ by more
    than 2 kT, or a half gives no number.

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
        If a fraction is none.
    """
    bad = [f for f in fractions if not 0.0 < f <= 1.0]
    if bad or not fractions:
        raise InputError(f"fractions are {list(fractions)}", remedy="give fractions within (0, 1]")
    parts = sorted({*fractions, 1.0})
    forward = [_estimate(windows, f, last=False) for f in parts]
    backward = [*(_estimate(windows, f, last=True) for f in parts[:-1]), forward[-1]]
    first, second = (_estimate(windows, 0.5, last=last) for last in (False, True))
    drift, drift_error = second[0] - first[0], math.hypot(first[1], second[1])
    return Convergence(
        fractions=np.array(parts),
        forward=np.array([value for value, _ in forward]),
        forward_errors=np.array([error for _, error in forward]),
        backward=np.array([value for value, _ in backward]),
        backward_errors=np.array([error for _, error in backward]),
        drift=drift,
        drift_error=drift_error,
        verdict=_judge(drift, drift_error),
    )


def _estimate(windows: Sequence[NDArray[np.float64]], fraction: float, *, last: bool) -> tuple[float, float]:
    """Free energy and error of a part; nan where it holds too little."""
    kept = []
    for u in windows:
        frames = u.shape[1]
        # At 0.5 the halves share no frame: the middle one of an odd number belongs to neither.
        count = frames // 2 if fraction == 0.5 else round(fraction * frames)
        if count < 1:
            return math.nan, math.nan
        kept.append(u[:, frames - count :] if last else u[:, :count])
    try:
        values, errors = differences(np.hstack(kept), [u.shape[1] for u in kept])
    except ConvergenceError:
        return math.nan, math.nan
    return float(values[-1]), float(errors[-1])


def _judge(drift: float, error: float) -> Verdict:
    if not (math.isfinite(drift) and math.isfinite(error)):
        return Verdict("FAIL", ("half of the frames gives no free energy: convergence cannot be judged",))
    if abs(drift) <= drift_sigmas * error + 1e-6:  # MBAR is solved to about 1e-7
        return Verdict("PASS")
    reason = (
        f"the free energy drifts: the second half of the frames gives {drift:+.2f} +- {error:.2f} kT "
        f"more than the first, beyond {drift_sigmas:g} standard errors"
    )
    if abs(drift) > largest_drift:
        return Verdict("FAIL", (f"{reason}, and more than {largest_drift:g} kT",))
    return Verdict("WARN", (reason,))
