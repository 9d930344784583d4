"""Gaussian charges: limits, finite differences, and the published rows."""

import numpy as np
import pytest

from drupe.embedding.level import Level
from drupe.embedding.meanfield.qmmm import run_dft
from drupe.embedding.regions.boundary import site_radii
from drupe.errors import InputError
from drupe.units import angstrom

WATER = angstrom * np.array([[0, 0, 0.117], [0, 0.757, -0.470], [0, -0.757, -0.470]])
NUMBERS = np.array([8, 1, 1])
POINTS = angstrom * np.array([[0.4, 2.6, 0.3], [0.2, -1.1, 2.4]])
CHARGES = np.array([0.6, -0.9])
HF = Level("HF", "sto-3g", auxbasis=None, scf_tolerance=1e-12, gradient_tolerance=1e-7)


def field(points=POINTS, radii=None, positions=WATER, level=HF):
    return run_dft(NUMBERS, positions, 0, 1, points, CHARGES, level, radii=radii)


def test_forces_in_smeared_charges_are_the_slope_of_the_energy():
    radii = np.array([0.7, 1.9])
    on_qm, on_mm = field(radii=radii).forces()
    step = 2e-3
    for atom, axis in ((0, 2), (1, 1)):
        move = np.zeros((3, 3))
        move[atom, axis] = step
        ends = [field(positions=WATER + sign * move, radii=radii).energy for sign in (-1, 1)]
        assert on_qm[atom, axis] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=2e-6)  # step^2
    for site, axis in ((0, 1), (1, 2)):
        move = np.zeros((2, 3))
        move[site, axis] = step
        ends = [field(POINTS + sign * move, radii).energy for sign in (-1, 1)]
        assert on_mm[site, axis] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=2e-6)
    assert on_qm.sum(axis=0) + on_mm.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-7)


def test_narrow_charges_are_points_and_wide_ones_are_not():
    point = field().energy
    assert field(radii=np.full(2, 0.05)).energy == pytest.approx(point, abs=1e-6)
    assert abs(field(radii=np.full(2, 3.0)).energy - point) > 1e-3


def test_radii_follow_the_elements():
    level = Level("HF", "sto-3g", charge_radii={"default": 1.0, "O": 0.6})
    assert site_radii(np.array([8, 1, 0]), level).tolist() == [0.6, 1.0, 1.0]
    assert site_radii(np.array([8]), Level("HF", "sto-3g")) is None
    with pytest.raises(InputError, match="no width for H"):
        site_radii(np.array([8, 1]), Level("HF", "sto-3g", charge_radii={"O": 0.6}))


@pytest.mark.reference
@pytest.mark.parametrize(
    ("radii", "energy"),
    [((6.3, 0.32, 0.32), -76.02861628942), ((0.63, 0.32, 0.32), -76.00028338469)],
)
def test_water_in_three_gaussian_charges(radii, energy):
    # PySCF's qmmm tests, RHF/6-31G; radii in angstrom.
    atoms = angstrom * np.array([[-1.464, 0.099, 0.300], [-1.956, 0.624, -0.340], [-1.797, -0.799, 0.206]])
    points = angstrom * np.array([[1.369, 0.146, -0.395], [1.894, 0.486, 0.335], [0.451, 0.165, -0.083]])
    level = Level("HF", "6-31G", auxbasis=None)
    found = run_dft(
        NUMBERS,
        atoms,
        0,
        1,
        points,
        np.array([-1.040, 0.520, 0.520]),
        level,
        radii=angstrom * np.array(radii),
    )
    assert found.energy == pytest.approx(energy, abs=1e-8)
