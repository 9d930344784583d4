"""QM/MM-Ewald: the published row, slopes, images, cores, and what is refused."""

import dataclasses

import numpy as np
import pytest

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.embedding.cores.core import correct_core, localize_core
from drupe.embedding.meanfield.ewald import run_ewald
from drupe.embedding.meanfield.qmmm import run_dft
from drupe.errors import InputError
from drupe.units import angstrom

NUMBERS = np.array([8, 1, 1])
WATER = angstrom * np.array([[0, 0, 0.1174], [-0.757, 0, -0.4696], [0.757, 0, -0.4696]])
POINTS, CHARGES = angstrom * np.array([[1.0, 2, -1], [3, 4, 5]]), np.array([-5.0, 5.0])
RADII, BOX = angstrom * np.array([0.8, 1.2]), 15 * angstrom * np.eye(3)
HF = Level("HF", "sto-3g", scf_tolerance=1e-11, gradient_tolerance=1e-7)


@pytest.mark.reference
def test_water_in_a_box():
    # PySCF's qmmm.pbc tests; 1e-7 there.
    found = run_ewald(
        NUMBERS,
        WATER,
        0,
        1,
        POINTS,
        CHARGES,
        BOX,
        Level("PBE0", "3-21G", auxbasis="cc-pvdz-jkfit"),
        radii=RADII,
        near=6 * angstrom,
        direct=8 * angstrom,
    )
    assert found.energy == pytest.approx(-76.00178807, abs=1e-7)
    assert sum(found.terms.values()) == pytest.approx(found.energy, abs=1e-9)
    on_qm, _ = found.forces()
    assert -on_qm[0] == pytest.approx([0.03002572, 0.13947702, -0.09234864], abs=2e-6)


def test_forces_are_slopes_and_images_do_not_matter():
    def energy(positions=WATER, points=POINTS):
        return run_ewald(NUMBERS, positions, 0, 1, points, CHARGES, BOX, HF, radii=RADII).energy

    on_qm, on_mm = run_ewald(NUMBERS, WATER, 0, 1, POINTS, CHARGES, BOX, HF, radii=RADII).forces()
    step = 2e-3
    move = np.zeros((3, 3))
    move[0, 1] = step
    slope = (energy(WATER - move) - energy(WATER + move)) / (2 * step)
    assert on_qm[0, 1] == pytest.approx(slope, abs=2e-5)  # the sphere moves with the region's centre
    slope = (energy(points=POINTS - move[:2]) - energy(points=POINTS + move[:2])) / (2 * step)
    assert on_mm[0, 1] == pytest.approx(slope, abs=2e-5)
    assert energy(points=POINTS + BOX[0] - 2 * BOX[2]) == pytest.approx(energy(), abs=1e-10)


def test_a_core_feels_the_whole_far_field():
    level = Level("PBE", "sto-3g", core="MP2", grid=1)
    found = run_ewald(NUMBERS, WATER, 0, 1, POINTS, CHARGES, BOX, level, radii=RADII)
    core = correct_core(found, np.array([0]), localize_core(found, np.array([0]), None), level, check=True)
    assert abs(core.dft_in_dft_error) < 1e-9
    cluster = run_dft(NUMBERS, WATER, 0, 1, POINTS, CHARGES, level, radii=RADII)
    assert abs(found.energy - cluster.energy) > 1e-3  # images of these charges are not small
    # In a huge box the sum is the cluster.
    far = run_ewald(NUMBERS, WATER, 0, 1, POINTS, CHARGES, 8 * BOX, level, radii=RADII)
    assert far.energy == pytest.approx(cluster.energy, abs=1e-4)


@pytest.mark.parametrize(
    ("charge", "multiplicity", "charges", "box", "found"),
    [
        (0, 1, CHARGES, BOX + np.eye(3, k=1), "not rectangular"),
        (0, 1, CHARGES, BOX / 10, "the QM region reaches"),
        (0, 1, CHARGES + 0.1, BOX, r"\+0.200 e"),
        (1, 2, CHARGES - 0.5, BOX, "multiplicity 2"),
    ],
)
def test_what_it_cannot_do_is_refused(charge, multiplicity, charges, box, found):
    with pytest.raises(InputError, match=found):
        run_ewald(NUMBERS, WATER, charge, multiplicity, POINTS, charges, box, HF)


def test_a_label_in_a_box_makes_its_region_whole():
    numbers = np.concatenate([NUMBERS, NUMBERS])
    other = WATER + angstrom * np.array([0, 3.0, 0.5])
    single = np.array([[0, 1], [0, 2]])
    system = MolecularSystem.from_atoms(
        numbers,
        np.vstack([WATER, other]),
        np.tile([-0.834, 0.417, 0.417], 2),
        np.vstack([single, single + 3]),
    )
    system = dataclasses.replace(system, box=BOX)
    level = Level("HF", "sto-3g", environment="ewald", core="MP2", virtual_shells=None)
    regions = Partition.select(system, qm=[0, 1, 2], charge=0, cores=[[0]])
    whole = label(system, regions, level, check=True)
    assert sum(whole.terms.values()) == pytest.approx(whole.energy, abs=1e-9)
    assert any("Ewald" in line for line in whole.approximations)
    torn = system.positions.copy()
    torn[1] += BOX[0]
    torn[4] -= BOX[1]
    split = label(system.with_positions(torn), regions, level)
    assert split.energy == pytest.approx(whole.energy, abs=1e-8)
    assert split.forces_qm == pytest.approx(whole.forces_qm, abs=1e-6)
    assert split.forces_mm == pytest.approx(whole.forces_mm, abs=1e-6)
    assert split.system != whole.system
    with pytest.raises(InputError, match="do not end"):
        label(system, regions, dataclasses.replace(level, environment="all"))
    with pytest.raises(InputError, match="response of the images"):
        label(system, regions, dataclasses.replace(level, forces="exact", core="MP2"))
