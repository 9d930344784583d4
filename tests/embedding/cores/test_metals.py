"""Metals and radicals end to end: the smallest honest models, in MM charges."""

import numpy as np
import pytest

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.embedding.regions.partition import CoreSpec
from drupe.errors import InputError
from drupe.units import angstrom

TIP3P = (-0.834, 0.417, 0.417)


def water(direction, distance):
    """Oxygen and two hydrogens, angstrom, the oxygen pointing to the origin."""
    axis = np.array(direction, float) / np.linalg.norm(direction)
    side = np.cross(axis, [0.3, 0.5, 0.81])
    side *= 0.77 / np.linalg.norm(side)
    return [distance * axis, (distance + 0.59) * axis + side, (distance + 0.59) * axis - side]


def site(atoms, waters, outer):
    """QM atoms as (Z, x, y, z) in angstrom and QM waters; then waters of MM charges."""
    numbers = [z for z, *_ in atoms] + [8, 1, 1] * len(waters)
    places = [place for _, *place in atoms] + [p for each in waters for p in water(*each)]
    points = [p for each in outer for p in water(*each)]
    return MolecularSystem.from_atoms(
        numbers + [0] * len(points),
        angstrom * np.array([*places, *points], float),
        [0.0] * len(numbers) + list(TIP3P) * len(outer),
    )


def partition(system, charge, multiplicity, *cores):
    qm = np.flatnonzero(system.numbers > 0)
    return Partition.select(system, qm=qm, charge=charge, multiplicity=multiplicity, cores=list(cores))


ZINC = ([(30, 0, 0, 0), (16, 2.25, 0, 0), (1, 2.6, 1.28, 0)], [((-0.4, 0.8, 0.4), 2.05)])
ZINC_OUTER = [((-0.4, -0.8, 0.5), 2.15), ((-0.4, 0, -1), 2.15)]


@pytest.mark.slow
def test_a_zinc_site_is_labelled():
    """Zn2+ with thiolate and water, two more waters as charges: the metal and its ligand as two cores."""
    system = site(*ZINC, ZINC_OUTER)
    regions = partition(system, 1, 1, CoreSpec([0], charge=2, label="zinc"), CoreSpec([1, 2], charge=-1))
    level = Level("PBE", {"default": "6-31G", "Zn": "def2-SVP"}, core="CCSD(T)", virtual_shells=0, grid=1)
    result = label(system, regions, level, check=True)
    zinc, thiolate = result.cores
    assert (zinc.n_occupied, thiolate.n_occupied) == (14, 9)
    assert min(zinc.spade_gap, thiolate.spade_gap) > 0.3
    assert max(zinc.t1, thiolate.t1) < 0.05
    assert abs(zinc.dft_in_dft_error) < 1e-8
    net = result.forces_qm.sum(axis=0) + result.forces_mm.sum(axis=0)
    assert net == pytest.approx(np.zeros(3), abs=2e-3)  # grid 1
    with pytest.raises(InputError, match=r"'zinc' of charge \+1 gets 14 .* charge \+2"):
        label(system, partition(system, 1, 1, CoreSpec([0], charge=1, label="zinc")), level)


@pytest.mark.slow
def test_a_high_spin_iron_core_is_labelled():
    """Quintet Fe2+ with one water, five more as charges."""
    outer = [((0, 1, 0), 2.2), ((-1, 0, 0), 2.2), ((0, -1, 0), 2.2), ((0, 0, 1), 2.2), ((0, 0, -1), 2.2)]
    system = site([(26, 0, 0, 0)], [((1, 0, 0), 2.1)], outer)
    level = Level(
        "B3LYP",
        {"default": "6-31G", "Fe": "def2-SVP"},
        core="CCSD(T)",
        virtual_shells=0,
        grid=1,
        forces="none",
    )
    result = label(
        system, partition(system, 2, 5, CoreSpec([0], charge=2, multiplicity=5)), level, check=True
    )
    iron = result.cores[0]
    assert iron.n_occupied == (14, 10)  # d6, four of them unpaired
    assert min(iron.spade_gaps) > 0.5
    assert iron.spin_square == pytest.approx(6.0, abs=0.02)
    assert iron.spin_square_low == pytest.approx(6.0, abs=0.02)
    assert result.diagnostics["spin_square"] == pytest.approx(6.0, abs=0.02)
    assert abs(iron.dft_in_dft_error) < 1e-8
    assert 0 < iron.t1 < 0.05
    assert iron.warnings == ()
    assert iron.e_corr < -0.1


def test_an_iron_core_of_another_spin_is_refused_before_anything_is_computed():
    system = site([(26, 0, 0, 0)], [((1, 0, 0), 2.1)], [])
    regions = partition(system, 2, 5, CoreSpec([0], charge=2, multiplicity=7))
    with pytest.raises(InputError, match="6 unpaired electrons .* has 4"):
        label(system, regions, Level("B3LYP", "def2-SVP", core="CCSD(T)"))


@pytest.mark.slow
def test_an_organic_radical_is_labelled(build):
    """Ethoxyl in charges: the radical oxygen as core, cut from its carbon."""
    system = build(
        "6 0 0 0; 6 1.52 0 0; 8 2.0 1.28 0; 1 -.39 1.02 0; 1 -.39 -.51 .88; 1 -.39 -.51 -.88;"
        "1 1.9 -.5 .9; 1 1.9 -.5 -.9",
        [(-0.834, 4.6, 2.2, 0.3), (0.417, 3.7, 1.9, 0.2), (0.417, 5.2, 1.5, 0.2)],
    )
    regions = partition(system, 0, 2, CoreSpec([2], multiplicity=2))
    result = label(system, regions, Level("PBE", "def2-SVP", core="CCSD(T)", grid=1, forces="none"))
    oxygen = result.cores[0]
    assert oxygen.n_occupied == (5, 4)
    assert min(oxygen.spade_gaps) > 0.3
    assert oxygen.spin_square == pytest.approx(0.75, abs=0.02)
    assert oxygen.n_virtual < oxygen.n_virtual_full
    assert abs(oxygen.mp2_truncation) > 1e-6
    assert oxygen.t1 < 0.044
