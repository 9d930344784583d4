import math

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.alchemical.cavity import equal_sphere, lennard_jones_radii
from drupe.freeenergy.alchemical.solvent_box import tip3p_molecule
from drupe.units import angstrom


def test_one_sphere_is_its_own_and_two_apart_add_their_volumes():
    assert equal_sphere([[3.0, -2.0, 7.0]], [1.3]) == pytest.approx(1.3, rel=1e-12)
    assert equal_sphere([[0, 0, 0], [9, 0, 0]], [1.0, 2.0]) == pytest.approx(9 ** (1 / 3), rel=1e-5)


@pytest.mark.parametrize("apart", [0.4, 1.5, 2.0])
def test_what_two_spheres_share_counts_once(apart):
    big, small = 1.2, 1.0
    # The lens of two spheres: pi (R + r - d)^2 (d^2 + 2dr - 3r^2 + 2dR + 6rR - 3R^2) / (12 d).
    shape = apart**2 + 2 * apart * (small + big) - 3 * (small - big) ** 2
    lens = math.pi * (big + small - apart) ** 2 * shape / (12 * apart)
    volume = 4 * math.pi / 3 * (big**3 + small**3) - lens
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    found = equal_sphere(np.array([[0, 0, 0], [apart, 0, 0]]) @ turn + 5.0, [big, small])
    # 0.1 %: the points on each sphere.
    assert found == pytest.approx((3 * volume / (4 * math.pi)) ** (1 / 3), rel=1e-3)


def test_an_atom_without_a_sphere_and_one_inside_another_add_nothing():
    alone = equal_sphere([[0, 0, 0]], [1.5])
    assert equal_sphere([[0, 0, 0], [1, 0, 0], [0, 0.2, 0]], [1.5, 0.0, 1.0]) == pytest.approx(alone)


@pytest.mark.reference
def test_radii_are_those_of_the_force_field():
    # Rmin/2 of Na+ for TIP3P, 1.369 A: Joung and Cheatham, J. Phys. Chem. B 112, 9020 (2008).
    assert lennard_jones_radii(tip3p_molecule("NA"), [0]) / angstrom == pytest.approx([1.369], abs=5e-4)
    # TIP3P: sigma 3.1507 A on the oxygen, no spheres on the hydrogens.
    found = lennard_jones_radii(tip3p_molecule("HOH"), [0, 1, 2]) / angstrom
    assert found == pytest.approx([2 ** (1 / 6) / 2 * 3.1507, 0, 0], abs=5e-4)


def test_radii_that_do_not_fit_the_atoms_are_refused():
    with pytest.raises(InputError, match="one radius"):
        equal_sphere(np.zeros((2, 3)), [1.0])
    with pytest.raises(InputError, match="smallest -1"):
        equal_sphere(np.zeros((1, 3)), [-1.0])
