"""Corrections along paths: no jump above 0.1 mEh with a fixed number of orbitals, and a closing gap warns.

A jump shows in what five neighbouring points say of the one in the middle: the cubic through the outer
four misses it by the jump, and otherwise by the fourth difference of a smooth curve over 6.
"""

import numpy as np
import pytest

from drupe.embedding import Level
from drupe.embedding.cores.core import correct_core, localize_core
from drupe.embedding.meanfield.qmmm import run_dft
from drupe.units import angstrom

JUMP = 1e-4  # hartree
LOCALIZATIONS = ("spade", "ibo", "pipek-mezey")
# Hartree-Fock as the low level has no grid, whose noise along a path is not the embedding's.
LEVEL = Level("HF", "6-31G*", core="MP2", virtual_shells=0, forces="none")
NOTHING = np.zeros((0, 3))


def miss(values):
    outer = (4 * (values[1:-3] + values[3:-1]) - (values[:-4] + values[4:])) / 6
    return np.abs(outer - values[2:-2]).max()


def turned(point, start, end, angle):
    axis, arm = (end - start) / np.linalg.norm(end - start), point - start
    return (
        start
        + arm * np.cos(angle)
        + np.cross(axis, arm) * np.sin(angle)
        + axis * (axis @ arm) * (1 - np.cos(angle))
    )


def ethanol(angle):
    """The hydroxyl hydrogen turned about the C-O bond, degrees from the antiperiplanar mirror plane."""
    numbers = np.array([8, 1, 1, 6, 1, 6, 1, 1, 1])
    atoms = (
        "-1.1867 -0.2472 0; -1.9237 0.3850 0; -0.0227 1.1812 0.8852; 0 0.5526 0; -0.0227 1.1812 -0.8852;"
        "1.1879 -0.3829 0; 2.0985 0.2306 0; 1.1184 -1.0093 0.8869; 1.1184 -1.0093 -0.8869"
    )
    positions = np.array([row.split() for row in atoms.split(";")], float)
    positions[1] = turned(positions[1], positions[3], positions[0], np.deg2rad(angle))
    return numbers, angstrom * positions


def substitution(progress):
    """F- + C2H5Cl, linearly from the reactants (0) to the products (1)."""
    to_fluorine, to_chlorine = 2.6 - 1.18 * progress, 1.80 + 0.95 * progress
    lean = np.deg2rad(72 + 36 * progress)

    def arm(turn, length):
        return length * np.array([-np.cos(lean), np.sin(lean) * np.cos(turn), np.sin(lean) * np.sin(turn)])

    carbon, along = arm(0.0, 1.52), arm(0.0, 1.0)
    first = np.array([0, 0, 1.0])
    second = np.cross(along, first)
    methyl = [
        carbon + 1.09 * (0.334 * along + 0.943 * (np.cos(turn) * first + np.sin(turn) * second))
        for turn in 0.3 + 2 * np.pi * np.arange(3) / 3
    ]
    hydrogens = [arm(2 * np.pi / 3, 1.08), arm(-2 * np.pi / 3, 1.08)]
    positions = [[-to_fluorine, 0, 0], [0, 0, 0], [to_chlorine, 0, 0], *hydrogens, carbon, *methyl]
    return np.array([9, 6, 17, 1, 1, 6, 1, 1, 1]), angstrom * np.array(positions)


@pytest.fixture(scope="module")
def torsion():
    return [field_of(*ethanol(angle)) for angle in np.linspace(0, 180, 9)]


@pytest.fixture(scope="module")
def reaction():
    return [field_of(*substitution(progress), charge=-1) for progress in np.linspace(0, 1, 13)]


def field_of(numbers, positions, charge=0):
    return run_dft(numbers, positions, charge, 1, NOTHING, NOTHING[:, 0], LEVEL)


def corrections(fields, atoms, n_occupied, localization, shells=0):
    level = Level("HF", "6-31G*", core="MP2", virtual_shells=shells, localization=localization)
    atoms = np.array(atoms)
    return [correct_core(f, atoms, localize_core(f, atoms, n_occupied, level), level) for f in fields]


@pytest.mark.parametrize("localization", LOCALIZATIONS)
def test_a_torsion_has_no_jump(torsion, localization):
    for shells in (0, 1):
        found = corrections(torsion, [0, 1], 5, localization, shells)
        values = np.array([core.correction for core in found])
        assert miss(values) < JUMP / 2  # seen: 0.2e-5
        assert np.ptp(values) > JUMP  # and something does happen along it
        assert len({core.n_virtual for core in found}) == 1
        assert not any(core.warnings for core in found)
    values[4] = corrections(torsion[4:5], [0, 1], 4, localization)[0].correction
    assert miss(values) > JUMP  # another number of orbitals would be seen


@pytest.mark.slow
@pytest.mark.parametrize("localization", ["spade", "ibo"])
def test_a_substitution_has_no_jump(reaction, localization):
    found = corrections(reaction, [0, 1, 2, 3, 4], 18, localization)
    values = np.array([core.correction for core in found])
    assert miss(values) < JUMP / 2  # seen: 2.8e-5, of a curve that moves by 8e-3
    assert not any(core.warnings for core in found)
    # The widest gap itself stays where it is, from reactants to products.
    atoms = np.array([0, 1, 2, 3, 4])
    level = Level("HF", "6-31G*", localization=localization)
    assert {localize_core(field, atoms, None, level).core.shape[1] for field in reaction} == {18}


def test_whole_shells_may_change_their_size_and_fixed_numbers_do_not():
    """Mirror symmetry leaves fewer orbitals to couple: shell 2 of the planar molecule is smaller."""
    fields = [field_of(*ethanol(angle)) for angle in (0.0, 0.5)]
    atoms = np.array([0, 1])
    level = Level("HF", "6-31G*", core="MP2", virtual_shells=2)
    sizes = [correct_core(f, atoms, localize_core(f, atoms, 5), level).n_virtual for f in fields]
    assert sizes[0] < sizes[1]
    fixed = [correct_core(f, atoms, localize_core(f, atoms, 5), level, n_virtual=32) for f in fields]
    assert [core.n_virtual for core in fixed] == [32, 32]
    assert fixed[0].e_corr == pytest.approx(fixed[1].e_corr, abs=1e-6)


def test_a_bond_that_leaves_the_core_closes_its_gap_and_warns():
    """Protonated methanol pulled apart into a methyl cation and water, which keeps the bond's electrons."""
    methyl = np.array([[0, 0, 0], [1.03, 0, -0.35], [-0.51, 0.89, -0.35], [-0.51, -0.89, -0.35]])
    water = np.array([[0, 0, 0], [0.76, 0, 0.6], [-0.76, 0, 0.6]])
    said = []
    for distance in (1.5, 3.5):
        positions = angstrom * np.vstack([methyl, np.add(water, [0, 0, distance])])
        field = field_of(np.array([6, 1, 1, 1, 8, 1, 1]), positions, charge=1)
        core = corrections([field], [0, 1, 2, 3], 5, "spade")[0]
        said.append(core.warnings)
    assert said[0] == ()
    assert "gap after the core's 5 orbitals" in said[1][0]
    assert "after 4)" in said[1][0]
