"""MM side of a mixed system: an OpenMM System and Topology in, charges, residues, bonds out (nm, kJ/mol, e).

OpenMM-ML takes the bonds inside the ML atoms away. Two things go with them that are still needed: OpenMM
finds molecules by bonds and constraints, and a barostat or a trajectory would then tear the ML atoms apart;
and where bonds were constraints, the MM end of an interpolation has nothing that holds them.
"""

import copy
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.mlp.ani2x import Ani2x
from drupe.mlp.baseline import LigandForceField
from drupe.records import frozen
from drupe.units import kj_per_mol, nanometer

if TYPE_CHECKING:
    import openmm
    from openmm import app

__all__ = [
    "bonds_inside",
    "bonds_of",
    "charges_of",
    "constraints_inside",
    "excluded_pairs",
    "residues_of",
    "tie_together",
    "with_elements",
    "with_soft_bonds",
]

_SAME_LENGTH = 2e-4  # nm; a constraint has the length of the bond it stands for


def charges_of(system: "openmm.System") -> NDArray[np.float64]:
    """Fixed charges of all particles, ``(particles,)``, e.

    Raises
    ------
    InputError
        If the system has not exactly one NonbondedForce.
    """
    import openmm
    from openmm import unit

    forces = [f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)]
    if len(forces) != 1:
        raise InputError(
            f"the MM system has {len(forces)} NonbondedForce objects, electrostatic embedding needs one",
            remedy="build the system from a force field with point charges",
        )
    count = system.getNumParticles()
    values = [
        forces[0].getParticleParameters(i)[0].value_in_unit(unit.elementary_charge) for i in range(count)
    ]
    return frozen(values, np.float64)


def residues_of(topology: "app.Topology", system: "openmm.System") -> NDArray[np.int64]:
    """Number of the residue of each particle, ``(particles,)``.

    Raises
    ------
    InputError
        If topology and system have different numbers of atoms.
    """
    found = [atom.residue.index for atom in topology.atoms()]
    if len(found) != system.getNumParticles():
        raise InputError(
            f"the topology has {len(found)} atoms, the system {system.getNumParticles()} particles",
            remedy="pass the topology the system was built from, extra particles included",
        )
    return frozen(found, np.int64)


def bonds_inside(topology: "app.Topology", atoms: Sequence[int]) -> list[tuple[int, int]]:
    """Bonds between the ML atoms, as places in ``atoms``."""
    place = {atom: i for i, atom in enumerate(atoms)}
    pairs = [(bond.atom1.index, bond.atom2.index) for bond in topology.bonds()]
    return [(place[i], place[j]) for i, j in pairs if i in place and j in place]


def bonds_of(system: "openmm.System", atoms: Collection[int]) -> set[tuple[int, int]]:
    """Harmonic and constrained bonds of the System with an end in ``atoms``."""
    import openmm

    found = [system.getConstraintParameters(k)[:2] for k in range(system.getNumConstraints())]
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            found += [force.getBondParameters(k)[:2] for k in range(force.getNumBonds())]
    return {(min(i, j), max(i, j)) for i, j in found if i in atoms or j in atoms}


def excluded_pairs(system: "openmm.System") -> set[tuple[int, int]]:
    """Pairs without a nonbonded interaction in any NonbondedForce."""
    import openmm

    found = set()
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            for k in range(force.getNumExceptions()):
                i, j, product, _, epsilon = force.getExceptionParameters(k)
                if product._value == 0 == epsilon._value:
                    found.add((min(i, j), max(i, j)))
    return found


def with_elements(topology: "app.Topology") -> "app.Topology":
    """The Topology, or a copy of it in which particles without an element (extra points) pass as hydrogen."""
    from openmm import app

    if all(atom.element is not None for atom in topology.atoms()):
        return topology
    made = copy.deepcopy(topology)
    for atom in made.atoms():
        if atom.element is None:
            atom.element = app.element.hydrogen
    return made


def constraints_inside(system: "openmm.System", atoms: Sequence[int]) -> list[tuple[int, int, float]]:
    """Constraints between the ML atoms, as places in ``atoms`` and lengths in nm."""
    from openmm import unit

    place = {atom: i for i, atom in enumerate(atoms)}
    found = []
    for index in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(index)
        if i in place and j in place:
            found.append((place[i], place[j], float(length.value_in_unit(unit.nanometer))))
    return found


def tie_together(system: "openmm.System", atoms: Sequence[int], bonds: Sequence[tuple[int, int]]) -> None:
    """Add bonds of no strength between the ML atoms, so that OpenMM knows them as molecules."""
    import openmm

    force = openmm.HarmonicBondForce()
    force.setName("molecule of the ML atoms (no energy)")
    for i, j in bonds:
        force.addBond(atoms[i], atoms[j], 0.1, 0.0)
    force.setUsesPeriodicBoundaryConditions(True)
    system.addForce(force)


def with_soft_bonds(
    system: "openmm.System", atoms: Sequence[int], force_field: LigandForceField | Ani2x | None
) -> "openmm.System":
    """Give constrained bonds of the ML atoms their harmonic terms back, for the MM end of an interpolation.

    Parameters
    ----------
    system
        The MM system; it is not changed.
    atoms
        ML atoms in the order of the model.
    force_field
        Where the terms come from: the baseline of the model, if that is MM terms.

    Returns
    -------
    openmm.System
        A copy in which each constraint inside the ML atoms has a harmonic bond beside it; the energy at
        constrained lengths is the same. The system itself where nothing is missing.

    Raises
    ------
    InputError
        If a term is not known, or of another length than the constraint.
    """
    import openmm

    present = {
        frozenset(force.getBondParameters(k)[:2])
        for force in system.getForces()
        if isinstance(force, openmm.HarmonicBondForce)
        for k in range(force.getNumBonds())
    }
    missing = [
        (i, j, length)
        for i, j, length in constraints_inside(system, atoms)
        if frozenset((atoms[i], atoms[j])) not in present
    ]
    if not missing:
        return system
    known: dict[frozenset[int], tuple[float, float]] = {}
    if isinstance(force_field, LigandForceField):
        for pair, (length, stiffness) in zip(force_field.bond_atoms, force_field.bonds, strict=True):
            known[frozenset(pair.tolist())] = length / nanometer, stiffness / kj_per_mol * nanometer**2
    force = openmm.HarmonicBondForce()
    force.setName("constrained bonds of the ML atoms")
    force.setUsesPeriodicBoundaryConditions(system.usesPeriodicBoundaryConditions())
    for i, j, length in missing:
        term = known.get(frozenset((i, j)))
        if term is None or abs(term[0] - length) > _SAME_LENGTH:
            told = "no such bond" if term is None else f"a bond of {term[0]:.4f} nm"
            raise InputError(
                f"ML atoms {atoms[i]} and {atoms[j]} are constrained to {length:.4f} nm, the system has no "
                f"harmonic term for them and the model's MM terms have {told}: without it the MM end of "
                "the interpolation falls apart",
                remedy="build the MM system with flexibleConstraints=True or constraints=None",
            )
        force.addBond(atoms[i], atoms[j], *term)
    made = copy.deepcopy(system)
    made.addForce(force)
    return made
