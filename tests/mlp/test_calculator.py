"""The ASE calculator against the committee, finite differences, a relaxation and ASE's own QM/MM."""

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.qmmm import EIQMMM, Embedding, LJInteractions
from ase.calculators.tip3p import TIP3P, epsilon0, sigma0
from ase.optimize import BFGS

from drupe.errors import InputError
from drupe.mlp import Committee
from drupe.mlp.calculator import DrupeCalculator
from drupe.units import angstrom, ev


@pytest.fixture(scope="module")
def molecule(ligand, frames):
    return Atoms(numbers=ligand.numbers, positions=frames[2] / angstrom)


def test_numbers_are_those_of_predict_in_other_units(random_committee, scene, molecule):
    qm, mm, charges = scene
    atoms = molecule.copy()
    atoms.positions = qm / angstrom
    atoms.calc = DrupeCalculator(random_committee)
    alone = random_committee.predict(qm, np.zeros((0, 3)), np.zeros(0))
    assert atoms.get_potential_energy() == pytest.approx(alone.energy / ev, rel=1e-12)
    atoms.calc.set_surroundings(mm / angstrom, charges)
    want = random_committee.predict(qm, mm, charges)
    assert atoms.get_potential_energy() == pytest.approx(want.energy / ev, rel=1e-12)
    assert atoms.get_forces() == pytest.approx(want.forces_qm * angstrom / ev, abs=1e-10)
    assert atoms.calc.results["forces_mm"] == pytest.approx(want.forces_mm * angstrom / ev, abs=1e-10)
    assert atoms.calc.results["energy_sigma"] == pytest.approx(want.energy_sigma / ev, rel=1e-9)


def test_forces_are_finite_differences(random_committee, scene, molecule):
    from ase.calculators.fd import calculate_numerical_forces

    qm, mm, charges = scene
    atoms = molecule.copy()
    atoms.positions = qm / angstrom
    atoms.calc = DrupeCalculator(random_committee)
    atoms.calc.set_surroundings(mm / angstrom, charges)
    forces = atoms.get_forces()
    # 1e-4 eV/A: (1e-3 A)^2/6 of third derivatives near 200 eV/A^3 of the stretched bonds.
    numerical = calculate_numerical_forces(atoms, eps=1e-3, iatoms=[0, 9])
    assert forces[[0, 9]] == pytest.approx(numerical, abs=1e-4)


def test_a_relaxation_ends_where_forces_vanish(low_fits, low_data, molecule, tmp_path):
    committee = Committee.from_fits(low_fits, low_data)
    committee.save(tmp_path / "ligand.drupe")
    atoms = molecule.copy()
    atoms.calc = DrupeCalculator(tmp_path / "ligand.drupe")
    start = atoms.get_potential_energy()
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.01
    assert atoms.get_potential_energy() < start - 0.1
    for axis, sign in ((0, 1), (1, -1)):
        moved = atoms.copy()
        moved.positions[4, axis] += 0.05 * sign
        moved.calc = atoms.calc
        assert (
            moved.get_potential_energy()
            > atoms.calc.committee.predict(atoms.positions * angstrom, np.zeros((0, 3)), np.zeros(0)).energy
            / ev
        )


def test_serves_the_qm_mm_of_ase(random_committee, frames, waters, molecule):
    """Energy and forces of all atoms of ``EIQMMM``; with a reach the waters are groups of three sites."""
    header = dataclasses.replace(random_committee.header, reach=14.0)
    near = Committee(tuple(dataclasses.replace(one, header=header) for one in random_committee.members))
    mm, charges, groups = waters(np.random.default_rng(2), frames[2], 6, 6.0)
    water = Atoms("OHH" * 6, positions=mm / angstrom)
    atoms = molecule + water
    lennard = LJInteractions({("C", "O"): (epsilon0, 1.1 * sigma0), ("H", "O"): (epsilon0, 0.8 * sigma0)})
    qm = DrupeCalculator(near)
    atoms.calc = EIQMMM(range(18), qm, TIP3P(rc=30.0), lennard, embedding=Embedding(sites=3))
    forces = atoms.get_forces()
    want = near.predict(frames[2], mm, charges, groups)
    assert qm.results["energy"] == pytest.approx(want.energy / ev, abs=1e-9)
    step = 1e-3
    for atom, axis in ((1, 0), (19, 2), (21, 1)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.positions[atom, axis] += sign * step
            ends.append(moved.get_potential_energy())
        assert forces[atom, axis] == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=2e-4)


def test_refuses_other_atoms_and_periodic_ones(random_committee, molecule):
    calculator = DrupeCalculator(random_committee)
    wrong = molecule.copy()
    wrong.numbers = wrong.numbers[::-1]
    wrong.calc = calculator
    with pytest.raises(InputError, match="atomic numbers"):
        wrong.get_potential_energy()
    boxed = molecule.copy()
    boxed.cell, boxed.pbc, boxed.calc = 20 * np.eye(3), True, calculator
    with pytest.raises(InputError, match="periodic"):
        boxed.get_potential_energy()
