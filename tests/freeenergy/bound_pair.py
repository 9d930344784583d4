"""Two Lennard-Jones atoms that a harmonic bond keeps together: a complex whose free energy is exact."""

import numpy as np
import openmm

from drupe.embedding.structures.structure import Structure
from drupe.embedding.system import MolecularSystem
from drupe.units import nanometer


def bound_pair(sigma, epsilon, rest, k):
    """Lengths in nm, energies in kJ/mol."""
    system = openmm.System()
    nonbonded, bond = openmm.NonbondedForce(), openmm.HarmonicBondForce()
    for _ in range(2):
        system.addParticle(40.0)
        nonbonded.addParticle(0.0, sigma, epsilon)
    bond.addBond(0, 1, rest, k)
    system.addForce(nonbonded)
    system.addForce(bond)
    atoms = MolecularSystem.from_atoms([18, 18], np.array([[0.0, 0, 0], [rest, 0, 0]]) * nanometer)
    return Structure(atoms, openmm.XmlSerializer.serialize(system), None)
