"""From spreads and noise to standard errors and 95 % intervals: misses of unseen labels in, scales out.

sigma^2 = b s^2 + a noise^2 with s the spread of the members, a and b by maximum likelihood; half-widths of
intervals are sigma times the quantile of |miss| / sigma with the correction for few frames of split conformal
prediction (Papadopoulos et al. 2002; Lei et al., J. Am. Stat. Assoc. 113, 1094, 2018). Hartree, hartree/bohr.
"""

import math
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from drupe.embedding.settings import plain_value
from drupe.errors import InputError
from drupe.mlp.noise import Misses, Noise, fit_noise
from drupe.records import register

__all__ = ["Calibration", "Scale", "Uncertainty", "calibrate", "half_width_factor"]

Array = NDArray[np.float64]

LEVEL = 0.95
_SMALLEST = 1e-16


class Uncertainty(NamedTuple):
    """Standard errors of predictions; scalars of an energy, ``(atoms,)`` for a component of each force.

    ``epistemic`` what more labels would take away, ``aleatoric`` noise of the labels, ``half_width`` of the
    95 % interval for a label (inf where too few labels were held out to say).
    """

    epistemic: Array
    aleatoric: Array
    half_width: Array

    @property
    def sigma(self) -> Array:
        """Both together."""
        return np.asarray(np.hypot(self.epistemic, self.aleatoric))


@register(version=1)
@dataclass(frozen=True)
class Scale:
    """Calibration of one quantity.

    ``epistemic`` multiplies the spread of the members, ``aleatoric`` the noise, ``quantile`` the sum of both
    to give the half-width of a 95 % interval; ``rmse`` of the calibration labels (hartree or hartree/bohr;
    nan without labels), ``frames`` how many frames these were.
    """

    epistemic: float = 1.0
    aleatoric: float = 1.0
    quantile: float = math.inf
    rmse: float = math.nan
    frames: int = 0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = plain_value(one.name, one.type, getattr(self, one.name), "the calibration")
            object.__setattr__(self, one.name, value)

    def of(self, spread: Array, noise: Array) -> Uncertainty:
        """Standard errors from variances."""
        parts = self.epistemic * np.sqrt(spread), self.aleatoric * np.sqrt(noise)
        both = np.hypot(*parts)
        # Without calibration nothing is known, also where the members happen to agree to the last bit.
        half = self.quantile * both if math.isfinite(self.quantile) else np.full_like(both, math.inf)
        return Uncertainty(*parts, half)


@register(version=1)
@dataclass(frozen=True, eq=False)
class Calibration:
    """Scales of energies and of components of forces on QM and on MM atoms, and the noise of labels.

    ``unseen`` is False where each calibration label was held out by one member and seen by the others: then
    errors are those of single members, a little larger than those of their mean.
    """

    energy: Scale = field(default_factory=Scale)
    forces_qm: Scale = field(default_factory=Scale)
    forces_mm: Scale = field(default_factory=Scale)
    noise: Noise | None = None
    unseen: bool = False

    def __post_init__(self) -> None:
        scales = (self.energy, self.forces_qm, self.forces_mm)
        if not all(isinstance(one, Scale) for one in scales) or not isinstance(self.noise, Noise | None):
            kinds = ", ".join(type(one).__name__ for one in (*scales, self.noise))
            raise InputError(
                f"a calibration is made of {kinds}",
                remedy="give three scales and the noise of the labels, or calibrate the committee again",
            )


def calibrate(misses: Misses, noise: Noise | None = None) -> Calibration:
    """Fit scales, and the noise first if it is not given.

    Parameters
    ----------
    misses
        Of single members on labels they held out, or, with ``noise``, of the committee's mean on labels that
        no member saw.
    noise
        From an earlier calibration.
    """
    found = fit_noise(misses) if noise is None else noise
    return Calibration(
        energy=_scale(
            misses.energy[:, None],
            misses.energy_spread,
            found.of_energy(misses.energy_features),
            misses.energy_frames,
        ),
        forces_qm=_scale(
            misses.force, misses.force_spread, found.of_forces(misses.force_features), misses.force_frames
        ),
        forces_mm=_scale(
            misses.mm_force, misses.mm_spread, found.of_mm_forces(misses.mm_charge), misses.mm_frames
        ),
        noise=found,
        unseen=noise is not None,
    )


def half_width_factor(ratios: Array, frames: int, level: float = LEVEL) -> float:
    """Quantile of |miss| / sigma that covers a new label with probability ``level`` at least.

    Parameters
    ----------
    ratios
        |miss| / sigma of the calibration labels, all components.
    frames
        How many of them are independent: components of one frame are not.

    Returns
    -------
    float
        Infinite when there are fewer than level / (1 - level) frames: 19 for 95 %.
    """
    rank = math.ceil((frames + 1) * level)
    if rank > frames:
        return math.inf
    return float(np.quantile(ratios, rank / frames, method="inverted_cdf"))


def _scale(missed: Array, spread: Array, noise: Array, frames: int) -> Scale:
    """Scales of variances; ``missed`` has one more axis, its components."""
    if not missed.size:
        return Scale()
    square, components = (missed**2).sum(-1).ravel(), missed.shape[-1]
    s, n = spread.ravel(), noise.ravel()
    each = frames / len(square)  # rows of one frame are not independent: a frame counts as one

    def loss(logs: Array) -> tuple[float, Array]:
        a, b = np.exp(logs)
        variance = a * n + b * s + _SMALLEST
        slope = each * (components / variance - square / variance**2) / 2
        value = each * (components * np.log(variance) + square / variance).sum() / 2 + (logs**2).sum() / 2
        return float(value), np.array([a * (slope * n).sum(), b * (slope * s).sum()]) + logs

    found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-12.0, 12.0)] * 2)
    a, b = np.sqrt(np.exp(found.x))
    sigma = np.sqrt(a**2 * n + b**2 * s + _SMALLEST)
    ratios = np.abs(missed).reshape(len(sigma), components) / sigma[:, None]
    return Scale(
        float(b),
        float(a),
        half_width_factor(ratios.ravel(), frames),
        float(np.sqrt((missed**2).mean())),
        frames,
    )
