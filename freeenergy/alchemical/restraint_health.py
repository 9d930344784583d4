"""Does a Boresch restraint hold what it was made for? Traces of its six coordinates in, a verdict out.

In bohr and rad, as `boresch_coordinates` gives them; sigma of a coordinate is sqrt(kT / k), its width under
the restraint alone.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.freeenergy.alchemical.restraints import BoreschRestraint
from drupe.freeenergy.estimation.diagnostics import Verdict, worst
from drupe.records import frozen, register
from drupe.units import kt

__all__ = ["NAMES", "RestraintTrace", "deviations", "free_health", "restrained_health"]

#: The six coordinates by name.
NAMES: Final = ("distance", "angle A", "angle B", "dihedral A", "dihedral B", "dihedral C")

#: Mean distance from the rest value beyond which the restraint pulls at the pose, in sigma.
largest_shift: Final = 2.0
#: A frame this many sigma away was not held; at most this share of frames may be.
held_sigmas, largest_share = 6.0, 0.05
#: Two frames in a row that differ by this much in a dihedral lie in different wells, rad.
well: Final = np.radians(90.0)
#: An angle nearer to 0 or pi than this leaves its dihedrals undefined: the anchors broke, rad.
edge: Final = np.radians(10.0)


@register(version=1)
@dataclass(frozen=True, eq=False)
class RestraintTrace:
    """The six coordinates of the restraint along one run: ``(frames, 6)``, bohr and rad.

    ``held`` says whether the restraint was fully on.
    """

    name: str
    time_ps: NDArray[np.float64]
    values: NDArray[np.float64]
    held: bool

    def __post_init__(self) -> None:
        for name in ("time_ps", "values"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
        if self.values.shape != (len(self.time_ps), 6):
            raise InputError(
                f"a restraint trace of {len(self.time_ps)} frames has values {self.values.shape}",
                remedy="give six values per frame",
            )


def deviations(
    restraint: BoreschRestraint, values: NDArray[np.float64], temperature_k: float
) -> NDArray[np.float64]:
    """Distance of each coordinate from its rest value in units of sigma, dihedrals the short way round.

    Parameters
    ----------
    restraint
        Rest values and force constants.
    values
        Shape ``(frames, 6)``.
    temperature_k
        Kelvin.

    Returns
    -------
    NDArray
        Shape ``(frames, 6)``.
    """
    rest = np.array([restraint.distance, *restraint.angles, *restraint.dihedrals])
    constants = np.array([restraint.k_distance, *restraint.k_angles, *restraint.k_dihedrals])
    off = np.asarray(values, np.float64) - rest
    off[:, 3:] = _wrapped(off[:, 3:])
    return np.asarray(off / np.sqrt(kt(temperature_k) / constants))


def restrained_health(
    restraint: BoreschRestraint, values: NDArray[np.float64], temperature_k: float
) -> Verdict:
    """Judge a window in which the restraint is fully on.

    FAIL: anchors broke (an angle within 10 degrees of 0 or 180); more than 5 % of the frames lie more than
    6 sigma from a rest value; a value is not finite. WARN: no frame was kept; a mean lies more than 2 sigma
    from its rest value; a dihedral jumps by
    more than 90 degrees between two frames.

    Parameters are those of `deviations`.
    """
    if unknown := _unknown(values):
        return unknown
    off = deviations(restraint, values, temperature_k)
    told = [("", _anchors(values))]
    shift, share = off.mean(axis=0), (np.abs(off) > held_sigmas).mean(axis=0)
    for k, name in enumerate(NAMES):
        if share[k] > largest_share:
            reason = f"{name}: {share[k]:.0%} of the frames lie more than {held_sigmas:g} sigma from rest"
            told.append(("", Verdict("FAIL", (f"{reason}: the restraint does not hold",))))
        elif abs(shift[k]) > largest_shift:
            reason = f"{name}: its mean lies {shift[k]:+.1f} sigma from rest: the restraint pulls at the pose"
            told.append(("", Verdict("WARN", (reason,))))
    return worst([*told, ("", _jumps(values))])


def free_health(restraint: BoreschRestraint, values: NDArray[np.float64], temperature_k: float) -> Verdict:
    """Judge a run of the complex without restraint: does the ligand stay where the restraint will hold it.

    FAIL: anchors broke; a rest value has not one frame within 3 sigma; a value is not finite. WARN: no frame
    was kept; a dihedral jumps by more than 90 degrees between two frames; a mean lies more than 2 sigma from
    rest.

    Parameters are those of `deviations`; frames of one run in order.
    """
    if unknown := _unknown(values):
        return unknown
    off = deviations(restraint, values, temperature_k)
    told = [("", _anchors(values))]
    for k, name in enumerate(NAMES):
        if np.abs(off[:, k]).min() > 3.0:
            reason = f"{name}: no frame comes within 3 sigma of rest: the ligand is in another place"
            told.append(("", Verdict("FAIL", (reason,))))
        elif abs(off[:, k].mean()) > largest_shift:
            reason = f"{name}: its mean lies {off[:, k].mean():+.1f} sigma from rest"
            told.append(("", Verdict("WARN", (reason,))))
    return worst([*told, ("", _jumps(values))])


def _unknown(values: NDArray[np.float64]) -> Verdict | None:
    """What is to be said where coordinates cannot be judged."""
    if not len(values):
        return Verdict("WARN", ("no frame was kept: nobody saw whether the restraint held",))
    bad = int((~np.isfinite(values)).any(axis=1).sum())
    return (
        Verdict("FAIL", (f"{bad} of {len(values)} frames have coordinates that are not finite",))
        if bad
        else None
    )


def _anchors(values: NDArray[np.float64]) -> Verdict:
    near = np.minimum(values[:, 1:3], np.pi - values[:, 1:3]).min(axis=0)
    for name, gap in zip(NAMES[1:3], near, strict=True):
        if gap < edge:
            reason = f"{name} comes within {np.degrees(gap):.0f} degrees of a straight line: anchors broke"
            return Verdict("FAIL", (reason,))
    return Verdict("PASS")


def _jumps(values: NDArray[np.float64]) -> Verdict:
    steps = np.abs(_wrapped(np.diff(values[:, 3:], axis=0)))
    told = [
        f"{name} jumps {count} time{'s' if count > 1 else ''} between wells"
        for name, count in zip(NAMES[3:], (steps > well).sum(axis=0).tolist(), strict=True)
        if count
    ]
    return Verdict("WARN", tuple(told)) if told else Verdict("PASS")


def _wrapped(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(angles - 2.0 * np.pi * np.round(angles / (2.0 * np.pi)))
