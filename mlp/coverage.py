"""Do standard errors mean what they say? Misses with their errors in, shares and areas out (any one unit).

Coverage counts how often a miss lies inside its interval; the miscalibration area is the mean distance
between expected and seen shares over all levels (Kuleshov et al., ICML 2018; Tran et al., Mach. Learn.: Sci.
Technol. 1, 025006, 2020): 0 for a perfect Gaussian error, 0.5 at worst.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from drupe.errors import InputError
from drupe.mlp.committee import Committee
from drupe.mlp.dataset import Dataset
from drupe.mlp.prediction import Prediction
from drupe.records import register

__all__ = ["Reliability", "coverage", "miscalibration_area", "reliability"]

Array = NDArray[np.float64]


@register(version=1)
@dataclass(frozen=True)
class Reliability:
    """How well one quantity's standard errors hold on labels; nan where there are none (one member only).

    ``frames`` how many; ``rmse`` and ``half_width`` (median, 95 % interval) in hartree or hartree/bohr;
    ``inside`` the share of misses inside their 95 % intervals, ``allowed`` the standard error of that share
    if it is 95 % (binomial; the components of one frame count as one); ``within_68``, ``within_95`` shares
    within 1 and 1.96 standard errors; ``area`` the miscalibration area.
    """

    frames: int
    rmse: float
    half_width: float
    inside: float
    allowed: float
    within_68: float
    within_95: float
    area: float


def coverage(missed: Array, half_width: Array) -> float:
    """Share of misses not larger than their half-width; both of one shape; nan if a half-width is."""
    _check(missed, half_width)
    return float(np.where(np.isnan(half_width), np.nan, np.abs(missed) <= half_width).mean())


def miscalibration_area(missed: Array, sigma: Array) -> float:
    """Mean distance of the share seen from the share expected, over all levels of Gaussian errors."""
    _check(missed, sigma)
    # Share a Gaussian has inside the interval on whose edge the miss lies.
    levels = np.sort(erf(np.abs(missed) / np.maximum(sigma, 1e-300) / math.sqrt(2)).ravel())
    seen = (np.arange(len(levels)) + 0.5) / len(levels)
    return float(np.abs(levels - seen).mean())


def reliability(committee: Committee, dataset: Dataset) -> tuple[Reliability, Reliability, Reliability]:
    """Check a committee's errors of energies, QM forces and MM forces on labels.

    Parameters
    ----------
    committee
        With a calibration. One member has no errors: all that is said of them is nan.
    dataset
        Labels that were neither in a fit nor in the calibration.
    """
    made = committee.predict_all(dataset, force_errors=True)
    return (
        _energies(made, dataset, np.flatnonzero(dataset.has_energy)),
        _forces_qm(made, dataset, np.flatnonzero(dataset.has_forces_qm)),
        _forces_mm(made, dataset, np.flatnonzero(dataset.has_forces_mm & (dataset.mm_counts > 0))),
    )


def _energies(made: tuple[Prediction, ...], dataset: Dataset, frames: NDArray[np.int64]) -> Reliability:
    errors = [made[i].energy_error for i in frames]
    return _of(
        [np.array([made[i].energy - dataset.energy[i]]) for i in frames],
        [np.array([error.sigma]) for error in errors],
        [np.array([error.half_width]) for error in errors],
    )


def _forces_qm(made: tuple[Prediction, ...], dataset: Dataset, frames: NDArray[np.int64]) -> Reliability:
    errors = [error for i in frames if (error := made[i].forces_qm_error) is not None]
    return _of(
        [made[i].forces_qm - dataset.forces_qm[i] for i in frames],
        [error.sigma for error in errors],
        [error.half_width for error in errors],
    )


def _forces_mm(made: tuple[Prediction, ...], dataset: Dataset, frames: NDArray[np.int64]) -> Reliability:
    errors = [error for i in frames if (error := made[i].forces_mm_error) is not None]
    return _of(
        [made[i].forces_mm - dataset.forces_mm[i, : dataset.mm_counts[i]] for i in frames],
        [error.sigma for error in errors],
        [error.half_width for error in errors],
    )


def _of(missed: list[Array], sigma: list[Array], half_width: list[Array]) -> Reliability:
    """Lists over frames; errors hold for all components of an atom's force."""
    frames = len(missed)
    if not frames:
        return Reliability(0, *[math.nan] * 7)
    misses = np.concatenate([m.ravel() for m in missed])
    components = misses.size // sum(s.size for s in sigma)
    errors, halves = (np.repeat(np.concatenate(part), components) for part in (sigma, half_width))
    halves = np.where(np.isnan(errors), np.nan, halves)  # no interval where there is no error
    return Reliability(
        frames=frames,
        rmse=float(np.sqrt((misses**2).mean())),
        half_width=float(np.median(halves)),
        inside=coverage(misses, halves),
        allowed=math.sqrt(0.95 * 0.05 / frames),
        within_68=coverage(misses, errors),
        within_95=coverage(misses, 1.96 * errors),
        area=miscalibration_area(misses, errors),
    )


def _check(missed: Array, errors: Array) -> None:
    if np.shape(missed) != np.shape(errors) or not np.size(missed):
        raise InputError(
            f"misses of shape {np.shape(missed)} with errors of shape {np.shape(errors)}",
            remedy="give one standard error or half-width per miss, and at least one",
        )
