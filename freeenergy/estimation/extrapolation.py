"""Was the potential asked what it knows? Novelty and sigma of the frames that made a result in, verdict out.

Novelty is the distance from the training set, 1 its edge (`drupe.mlp.novelty`): of frames like those of the
training set one in twenty lies beyond. Sigma is the standard error that the committee gives its energy, kT.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from drupe.freeenergy.estimation.diagnostics import Level, Verdict, worst
from drupe.records import frozen, register

__all__ = ["Doubts", "model_doubt", "outside"]

#: Share of frames beyond the edge: warned of above the first, FAIL above the second.
share_warn, share_fail = 0.2, 0.5
#: A single frame this far out is warned of.
far: Final = 2.0
#: Largest root-mean-square standard error of energies, kT.
largest_sigma: Final = 2.0
#: Of so many frames outside, by a binomial, where the true share is the bound.
chance: Final = 0.02


@register(version=1)
@dataclass(frozen=True, eq=False)
class Doubts:
    """What a potential thinks of the frames of one ``place``, such as "complex, switches".

    ``novelty`` distance from the training set (1 is its edge), ``sigma`` standard error of its energy, kT;
    ``level`` of the potential, "low" or "core".
    """

    place: str
    level: str
    novelty: NDArray[np.float64]
    sigma: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("novelty", "sigma"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))


def outside(novelty: NDArray[np.float64]) -> Verdict:
    """Judge how far frames lie from the training set.

    FAIL: more than half of them lie beyond its edge. WARN: more than a fifth do; both by more than chance, so
    that a handful of frames does not fail. WARN besides: one is
    twice as far out as the edge; the edge is not known, or not for all frames. A frame that is infinitely far
    out lies outside.

    Parameters
    ----------
    novelty
        Shape ``(frames,)``; nan where the training set was too small to have an edge.
    """
    if not len(novelty):
        return Verdict("WARN", ("no frame was compared with the training set",))
    known = novelty[~np.isnan(novelty)]
    if not len(known):
        reason = "a training set of fewer than 19 labels has no edge: extrapolation is not seen"
        return Verdict("WARN", (reason,))
    count, share = int((known > 1.0).sum()), float((known > 1.0).mean())
    told: list[tuple[str, Verdict]] = []
    if len(known) < len(novelty):
        missing = f"{len(novelty) - len(known)} of {len(novelty)} frames"
        unseen = f"{missing} could not be compared with the training set"
        told.append(("", Verdict("WARN", (unseen,))))
    reason = f"{count} of {len(known)} frames lie outside the training set (farthest {known.max():.1f})"
    bounds: tuple[tuple[Level, float], ...] = (("FAIL", share_fail), ("WARN", share_warn))
    for level, bound in bounds:
        # More than the bound, and a share of exactly the bound would give so many too rarely.
        if share > bound and bdtrc(count - 1, len(known), bound) < chance:
            told.append(("", Verdict(level, (f"{reason}: label more of them",))))
            break
    else:
        if known.max() <= far:
            return worst(told)
        told.append(("", Verdict("WARN", (f"{reason}: look at the farthest",))))
    return worst(told)


def model_doubt(sigma: NDArray[np.float64]) -> Verdict:
    """Judge the standard error that a committee gives its energies, kT.

    WARN when its root mean square is above 2 kT: the works then carry more of the model than of the levels;
    or when the model gives none, or not for all frames.
    """
    known = sigma[~np.isnan(sigma)]
    if not len(known):
        return Verdict("WARN", ("the potential gives no standard error of its energies",))
    if len(known) < len(sigma):
        missing = f"{len(sigma) - len(known)} of {len(sigma)} energies have no standard error"
        return Verdict("WARN", (missing,))
    size = float(np.sqrt((known**2).mean()))
    if size > largest_sigma:
        reason = f"the potential gives its energies a standard error of {size:.1f} kT (rms), more than"
        return Verdict("WARN", (f"{reason} {largest_sigma:g}",))
    return Verdict("PASS")
