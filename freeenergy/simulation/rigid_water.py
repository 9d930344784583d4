"""Rigid water: an OpenMM System with flexible water in, one with constrained water out (nm, kJ/mol).

Three-site models such as TIP3P and SPC/E are rigid by definition: with flexible bonds they are other liquids.
"""

from collections.abc import Iterable

import numpy as np
import openmm
from openmm import unit

from drupe.embedding.structures.water import water_molecules
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError

__all__ = ["refuse_other_constraints", "with_rigid_water"]


def with_rigid_water(system: openmm.System, atoms: MolecularSystem) -> openmm.System:
    """Copy ``system`` with its three-site waters held by constraints instead of bonds and angles.

    The lengths are those of the force field at rest. Waters that are constrained already stay as they are.

    Parameters
    ----------
    system
        OpenMM system of ``atoms``.
    atoms
        Their elements and bonds.

    Raises
    ------
    InputError
        If a water has no bonds, or its shape is not fixed by bonds and an angle.
    """
    made = openmm.XmlSerializer.clone(system)
    tied = {atom for n in range(made.getNumConstraints()) for atom in made.getConstraintParameters(n)[:2]}
    waters = [three for three in water_molecules(atoms).tolist() if not tied.intersection(three)]
    if not waters:
        return made
    owner = {atom: index for index, three in enumerate(waters) for atom in three}
    lengths = _take_bonds(made, owner)
    angles = _take_angles(made, owner)
    for index, (oxygen, *hydrogens) in enumerate(waters):
        arms = [lengths.get((oxygen, h)) for h in hydrogens]
        base = lengths.get((hydrogens[0], hydrogens[1]))
        if base is None and index in angles and None not in arms:
            # The law of cosines.
            a, b = (float(arm) for arm in arms if arm is not None)
            base = float(np.sqrt(a * a + b * b - 2 * a * b * np.cos(angles[index])))
        if base is None or None in arms:
            raise InputError(
                f"the water of {atoms.describe(oxygen)} has no bonds or no angle in its force field",
                remedy="read the structure with flexible water (rigidWater=False), or with constrained water",
            )
        for (i, j), length in zip(
            ((oxygen, hydrogens[0]), (oxygen, hydrogens[1]), (hydrogens[0], hydrogens[1])),
            (*arms, base),
            strict=True,
        ):
            made.addConstraint(i, j, length)
    return made


def refuse_other_constraints(system: openmm.System) -> None:
    """Refuse constraints that are not those of whole rigid waters.

    Raises
    ------
    InputError
        If some atom is constrained outside a rigid triangle with a heavy corner and two light ones.
    """
    near: dict[int, set[int]] = {}
    for n in range(system.getNumConstraints()):
        i, j, _ = system.getConstraintParameters(n)
        near.setdefault(i, set()).add(j)
        near.setdefault(j, set()).add(i)
    loose = [i for i, others in near.items() if not _corner_of_triangle(i, others, near)]
    if loose:
        raise InputError(
            f"the system has {system.getNumConstraints()} constraints, and particle {loose[0]} is in one "
            "that is not of a rigid water",
            remedy="build it with flexible bonds (constraints=None); only water may be rigid",
        )


def _corner_of_triangle(corner: int, others: Iterable[int], near: dict[int, set[int]]) -> bool:
    two = sorted(others)
    return len(two) == 2 and near[two[0]] == {corner, two[1]} and near[two[1]] == {corner, two[0]}


def _take_bonds(system: openmm.System, owner: dict[int, int]) -> dict[tuple[int, int], float]:
    """Remove the bonds inside waters; their lengths by both orders of the pair, nm."""
    taken: dict[tuple[int, int], float] = {}
    for index, force in _of_kind(system, openmm.HarmonicBondForce):
        kept = openmm.HarmonicBondForce()
        for n in range(force.getNumBonds()):
            i, j, length, k = force.getBondParameters(n)
            if owner.get(i, -1) == owner.get(j, -2):
                taken[i, j] = taken[j, i] = float(length.value_in_unit(unit.nanometer))
            else:
                kept.addBond(i, j, length, k)
        _replace(system, index, force, kept)
    return taken


def _take_angles(system: openmm.System, owner: dict[int, int]) -> dict[int, float]:
    """Remove the angles inside waters; each by the number of its water, rad."""
    taken: dict[int, float] = {}
    for index, force in _of_kind(system, openmm.HarmonicAngleForce):
        kept = openmm.HarmonicAngleForce()
        for n in range(force.getNumAngles()):
            i, j, k, angle, strength = force.getAngleParameters(n)
            if owner.get(i, -1) == owner.get(j, -2) == owner.get(k, -3):
                taken[owner[j]] = float(angle.value_in_unit(unit.radian))
            else:
                kept.addAngle(i, j, k, angle, strength)
        _replace(system, index, force, kept)
    return taken


def _of_kind(system: openmm.System, kind: type) -> list[tuple[int, openmm.Force]]:
    found = [(n, force) for n, force in enumerate(system.getForces()) if isinstance(force, kind)]
    return found[::-1]  # the last first, so that replacing one leaves the numbers of the others


def _replace(system: openmm.System, index: int, old: openmm.Force, new: openmm.Force) -> None:
    new.setName(old.getName())
    new.setForceGroup(old.getForceGroup())
    new.setUsesPeriodicBoundaryConditions(old.usesPeriodicBoundaryConditions())
    system.removeForce(index)
    system.addForce(new)
