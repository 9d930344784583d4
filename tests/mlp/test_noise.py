"""Noise heads and scales on misses whose law is known."""

import math

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.mlp.calibration import calibrate, half_width_factor
from drupe.mlp.coverage import coverage, miscalibration_area
from drupe.mlp.noise import Misses, fit_noise

MEMBERS, ATOMS, FEATURES = 3, 4, 2


def misses(seed, frames=400, noise=1e-3, spread=0.0, mm_noise=1e-5):
    """Forces with noise exp(x) times ``noise``, x a feature; on top errors that the spread knows."""
    rng = np.random.default_rng(seed)
    x = 0.5 * rng.normal(size=(frames, ATOMS))
    features = np.zeros((frames, MEMBERS, ATOMS, FEATURES))
    features[..., 0] = x[:, None]  # every member sees it
    features[..., 1] = rng.normal(size=features.shape[:-1])  # nothing to learn from
    known = spread * rng.gamma(2.0, 1.0, size=(frames, ATOMS))
    force = rng.normal(size=(frames, ATOMS, 3)) * np.hypot(noise * np.exp(x), known)[..., None]
    energy_known = spread * rng.gamma(2.0, 1.0, size=frames)
    energy_noise = noise * np.sqrt(np.exp(2 * x).sum(1))
    charge = rng.gamma(1.0, 1.0, size=frames)
    return Misses(
        energy=rng.normal(size=frames) * np.hypot(energy_noise, energy_known),
        energy_spread=(energy_known / 2) ** 2,  # the spread says half of what is true
        energy_features=features,
        force=force,
        force_spread=(known / 2) ** 2,
        force_features=features,
        mm_force=rng.normal(size=(frames, 3)) * mm_noise * np.sqrt(1 + 25 * charge)[:, None],
        mm_spread=np.zeros(frames),
        mm_charge=charge,
        energy_frames=frames,
        force_frames=frames,
        mm_frames=frames,
    ), energy_noise


def test_heads_find_the_noise_and_what_it_depends_on():
    given, energy_noise = misses(1)
    noise = fit_noise(given)
    found = np.sqrt(noise.of_forces(given.force_features))
    want = 1e-3 * np.exp(given.force_features[:, 0, :, 0])
    # 4800 components fix log-variances to a few per cent; a constant noise would miss by 50 %.
    assert np.abs(np.log(found / want)).mean() < 0.08
    assert np.abs(np.log(np.sqrt(noise.of_energy(given.energy_features)) / energy_noise)).mean() < 0.15
    assert math.sqrt(noise.mm_charge) == pytest.approx(5e-5, rel=0.15)
    assert math.sqrt(noise.mm_floor) == pytest.approx(1e-5, rel=0.4)


def test_what_the_spread_explains_is_not_called_noise():
    given, _ = misses(2, noise=1e-4, spread=2e-3)
    found = calibrate(given)
    assert found.forces_qm.epistemic == pytest.approx(2, rel=0.1)
    assert found.energy.epistemic == pytest.approx(2, rel=0.2)
    assert found.noise is not None
    assert np.median(np.sqrt(found.noise.of_forces(given.force_features))) < 4e-4
    without, _ = misses(2, noise=1e-3, spread=0.0)
    plain = calibrate(without)
    assert plain.noise is not None
    assert np.median(np.sqrt(plain.noise.of_forces(without.force_features))) == pytest.approx(1e-3, rel=0.15)


def test_intervals_cover_new_labels_and_errors_are_gaussian():
    noise = calibrate(misses(3, noise=1e-3, spread=1e-3)[0]).noise
    held = calibrate(misses(4, noise=1e-3, spread=1e-3)[0], noise)
    assert held.unseen
    new, _ = misses(5, 1000, noise=1e-3, spread=1e-3)
    assert noise is not None
    made = held.energy.of(new.energy_spread, noise.of_energy(new.energy_features))
    # Binomial error of 1000 new and 400 calibration energies: 1.3 %.
    assert coverage(new.energy, made.half_width) == pytest.approx(0.95, abs=0.035)
    on = held.forces_qm.of(new.force_spread, noise.of_forces(new.force_features))
    errors = np.repeat(on.sigma[..., None], 3, axis=-1)
    assert miscalibration_area(new.force, errors) < 0.015
    assert miscalibration_area(new.force, 2 * errors) > 0.15
    assert coverage(new.force, errors) == pytest.approx(0.683, abs=0.02)


def test_few_frames_do_not_bound_anything():
    ratios = np.sort(np.abs(np.random.default_rng(1).normal(size=100)))
    assert half_width_factor(ratios[:18], 18) == math.inf
    assert half_width_factor(ratios[:19], 19) == ratios[18]  # the largest of nineteen
    assert half_width_factor(ratios, 100) == ratios[95]  # the 96th of a hundred: ceil(101 * 0.95)
    # Two components per frame: half as many independent ones, the same share.
    assert half_width_factor(np.repeat(ratios, 2), 100) == ratios[95]


def test_errors_without_shape_are_refused():
    with pytest.raises(InputError, match="shape"):
        coverage(np.zeros(3), np.zeros(2))
    with pytest.raises(InputError, match="shape"):
        miscalibration_area(np.zeros(0), np.zeros(0))
