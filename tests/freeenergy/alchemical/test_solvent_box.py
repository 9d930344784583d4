from pathlib import Path

import numpy as np
import openmm
import pytest
from scipy.spatial import cKDTree

from drupe.embedding.structures.structure import Structure, locate, openmm_system, read_amber
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.freeenergy.alchemical.solvent_box import in_water, tip3p_molecule
from drupe.freeenergy.simulation.rigid_water import (
    refuse_other_constraints,
    water_molecules,
    with_rigid_water,
)
from drupe.freeenergy.simulation.system_parts import joined
from drupe.units import nanometer

FOLDER = "package:openmmtools/data/cb7-b2/"


@pytest.fixture(scope="module")
def complex_in_water():
    files = (locate(FOLDER + "complex-explicit" + end, Path()) for end in (".prmtop", ".inpcrd"))
    structure = read_amber(*files, implicit_solvent=None)
    return structure, [i for i, name in enumerate(structure.system.residue_names) if name == "B2"]


@pytest.fixture(scope="module")
def guest_in_water(complex_in_water):
    return in_water(*complex_in_water, padding_nm=0.7)


def pairs_of(system):
    (found,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    return found


def test_the_ligand_of_a_complex_keeps_its_own_parameters_in_its_own_box(complex_in_water, guest_in_water):
    (structure, guest), made = complex_in_water, guest_in_water
    system, new = openmm_system(structure), openmm_system(made)
    old_pairs, new_pairs = pairs_of(system), pairs_of(new)
    for place, atom in enumerate(guest):
        assert new_pairs.getParticleParameters(place) == old_pairs.getParticleParameters(atom)
        assert new.getParticleMass(place) == system.getParticleMass(atom)
    assert made.system.residue_names[: len(guest)] == ("B2",) * len(guest)
    inside = {tuple(sorted(guest.index(i) for i in row[:2])): row[2:] for row in exceptions(old_pairs, guest)}
    again = {tuple(sorted(row[:2])): row[2:] for row in exceptions(new_pairs, range(len(guest)))}
    assert inside == again
    assert len(inside) > 50
    vectors = made.system.positions[: len(guest)] - made.system.positions[0]
    first = structure.system.positions[guest] - structure.system.positions[guest[0]]
    assert vectors == pytest.approx(first, abs=1e-9)


def test_both_legs_have_the_same_water_and_cutoff(complex_in_water, guest_in_water):
    (structure, _), made = complex_in_water, guest_in_water
    seen = []
    for one in (structure, made):
        system = openmm_system(one)
        pairs = pairs_of(system)
        water = water_molecules(one.system)[-1].tolist()
        rigid = with_rigid_water(system, one.system)
        ties = [rigid.getConstraintParameters(n) for n in range(rigid.getNumConstraints())]
        lengths = sorted(tie[2]._value for tie in ties if set(tie[:2]) <= set(water))
        seen.append(
            (
                [pairs.getParticleParameters(i) for i in water],
                [system.getParticleMass(i) for i in water],
                lengths,
                pairs.getCutoffDistance(),
                pairs.getEwaldErrorTolerance(),
                pairs.getUseDispersionCorrection(),
                pairs.getNonbondedMethod(),
            )
        )
    assert seen[0] == seen[1]
    # TIP3P as Amber has it: two arms of 0.9572 A, 1.5136 A between the hydrogens.
    assert seen[0][2] == pytest.approx([0.09572, 0.09572, 0.15136], abs=1e-5)


def test_the_box_has_the_density_of_water_and_the_padding_asked_for(guest_in_water):
    made = guest_in_water
    ligand = np.array(made.system.residue_names) == "B2"
    place, edge = made.system.positions / nanometer, made.system.box[0, 0] / nanometer
    center = 0.5 * (place[ligand].max(axis=0) + place[ligand].min(axis=0))
    reach = np.linalg.norm(place[ligand] - center, axis=1).max()
    assert edge == pytest.approx(2 * (reach + 0.7))
    oxygens = place[water_molecules(made.system)[:, 0]]
    apart = cKDTree(oxygens % edge, boxsize=edge).query(place[ligand] % edge)[0]
    assert apart.min() > 0.25
    assert apart.min() < 0.45  # and no hole around it
    # Water has 33 per nm^3; less what the ligand takes and what the seams of a box of 2.3 nm cost.
    assert 29.5 < len(oxygens) / (edge**3 - 0.15) < 33.0
    np.testing.assert_allclose(made.system.box, edge * nanometer * np.eye(3))


@pytest.mark.parametrize(("name", "ion", "charge"), [("NA", "CL", -1.0), ("CL", "NA", 1.0)])
def test_a_charged_ligand_gets_the_ion_that_makes_the_box_neutral_far_away(name, ion, charge):
    made = in_water(tip3p_molecule(name), [0], edge_nm=1.9)
    assert made.system.residue_names[1] == ion
    assert made.system.charges[1] == charge
    assert made.system.charges.sum() == pytest.approx(0.0, abs=1e-9)
    assert np.linalg.norm(made.system.positions[1] - made.system.positions[0]) > 1.0 * nanometer
    bare = in_water(tip3p_molecule(name), [0], edge_nm=1.9, neutralise=False)
    assert bare.system.n_atoms == made.system.n_atoms + 2  # an ion stands where a water was


def test_ions_of_the_complex_are_copied_before_those_of_the_library():
    forces = joined([openmm_system(tip3p_molecule(name)) for name in ("NA", "CL")])
    pairs_of(forces).setParticleParameters(1, -1.0, 0.47, 0.2)
    structure = Structure(system_of([11, 17], [1.0, -1.0], []), openmm.XmlSerializer.serialize(forces), None)
    made = openmm_system(in_water(structure, [0], edge_nm=1.9))
    assert [value._value for value in pairs_of(made).getParticleParameters(1)] == [-1.0, 0.47, 0.2]


def test_water_of_another_kind_needs_an_ion_of_its_own():
    water = tip3p_molecule("HOH")
    forces = joined([openmm_system(tip3p_molecule("NA")), openmm_system(water)])
    pairs = pairs_of(forces)
    for i, charge in ((1, -0.8476), (2, 0.4238), (3, 0.4238)):  # SPC/E
        pairs.setParticleParameters(i, charge, *pairs.getParticleParameters(i)[1:])
    atoms = system_of([11, 8, 1, 1], [1.0, -0.8476, 0.4238, 0.4238], [(1, 2), (1, 3)])
    structure = Structure(atoms, openmm.XmlSerializer.serialize(forces), None)
    with pytest.raises(InputError, match="not TIP3P"):
        in_water(structure, [0], edge_nm=1.9)
    made = in_water(structure, [0], edge_nm=1.9, neutralise=False)
    assert made.system.charges[1] == pytest.approx(-0.8476)


def test_boxes_and_waters_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="less than two cutoffs"):
        in_water(tip3p_molecule("NA"), [0], padding_nm=0.5)
    forces = joined([openmm_system(tip3p_molecule("NA")), openmm_system(tip3p_molecule("HOH"))])
    forces.addParticle(0.0)
    pairs_of(forces).addParticle(0.0, 0.1, 0.0)
    atoms = system_of([11, 8, 1, 1, 0], [1.0, -0.834, 0.417, 0.417, 0.0], [(1, 2), (1, 3)])
    with pytest.raises(InputError, match="has 4 sites"):
        in_water(Structure(atoms, openmm.XmlSerializer.serialize(forces), None), [0], edge_nm=1.9)
    odd = openmm_system(tip3p_molecule("NA"))
    odd.addForce(openmm.CustomBondForce("r"))
    structure = Structure(system_of([11], [1.0], []), openmm.XmlSerializer.serialize(odd), None)
    with pytest.raises(InputError, match="CustomBondForce"):
        in_water(structure, [0], edge_nm=1.9)


def test_rigid_water_has_the_energy_of_flexible_water_at_rest():
    water = tip3p_molecule("HOH")
    flexible = openmm_system(water)
    rigid = with_rigid_water(flexible, water.system)
    assert rigid.getNumConstraints() == 3
    assert flexible.getNumConstraints() == 0
    x = np.array([[0, 0, 0], [0.1, 0.01, 0], [-0.03, 0.09, 0.02]])
    platform = openmm.Platform.getPlatformByName("Reference")
    at_rest = openmm.Context(rigid, openmm.VerletIntegrator(0.001), platform)
    at_rest.setPositions(x)
    at_rest.applyConstraints(1e-8)
    moved = at_rest.getState(positions=True).getPositions()
    free = openmm.Context(flexible, openmm.VerletIntegrator(0.001), platform)
    free.setPositions(x)
    assert free.getState(energy=True).getPotentialEnergy()._value > 1.0
    free.setPositions(moved)
    assert free.getState(energy=True).getPotentialEnergy()._value == pytest.approx(0.0, abs=1e-6)
    assert with_rigid_water(rigid, water.system).getNumConstraints() == 3  # once is enough


def test_constraints_are_those_of_water_or_none():
    system = openmm.System()
    for _ in range(6):
        system.addParticle(1.0)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        system.addConstraint(i, j, 0.1)
    refuse_other_constraints(system)
    system.addConstraint(2, 3, 0.1)
    with pytest.raises(InputError, match="4 constraints"):
        refuse_other_constraints(system)


def test_water_without_an_angle_cannot_be_made_rigid():
    water = tip3p_molecule("HOH")
    forces = openmm_system(water)
    for n in reversed(range(forces.getNumForces())):
        if isinstance(forces.getForce(n), openmm.HarmonicAngleForce):
            forces.removeForce(n)
    with pytest.raises(InputError, match="no angle"):
        with_rigid_water(forces, water.system)


def exceptions(pairs, atoms):
    inside = set(atoms)
    rows = (pairs.getExceptionParameters(n) for n in range(pairs.getNumExceptions()))
    return [row for row in rows if {row[0], row[1]} <= inside]


def system_of(numbers, charges, bonds):
    x = np.array([[0.3 * n, 0.1 * (n % 2), 0.0] for n in range(len(numbers))]) * nanometer
    return MolecularSystem.from_atoms(numbers, x, charges, np.array(bonds, np.int64).reshape(-1, 2))
