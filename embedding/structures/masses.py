"""Heavier hydrogens: a `Structure` in, the same with mass moved onto them from their heavy atoms (amu) out.

Free energies do not depend on masses; the fastest bond does, and with it the step of the dynamics.
"""

import numpy as np

from drupe.embedding.structures.mechanics import Structure, openmm_system
from drupe.embedding.structures.water import water_molecules
from drupe.errors import InputError

__all__ = ["with_hydrogen_mass"]


def with_hydrogen_mass(structure: Structure, mass_amu: float) -> Structure:
    """Give every hydrogen ``mass_amu``, taken from the heavy atom it is bonded to; water keeps its masses.

    Rigid water has no fast bond, and heavier hydrogens would slow its rotation.

    Raises
    ------
    InputError
        If a heavy atom would be left without mass.
    """
    import openmm

    system, atoms = openmm_system(structure), structure.system
    masses = np.array([system.getParticleMass(i)._value for i in range(atoms.n_atoms)], np.float64)
    hydrogen = atoms.numbers == 1
    hydrogen[water_molecules(atoms).ravel()] = False
    for i, j in atoms.bonds.tolist():
        light, heavy = (i, j) if atoms.numbers[i] == 1 else (j, i)
        if not hydrogen[light] or atoms.numbers[heavy] <= 1:
            continue
        moved = mass_amu - masses[light]
        masses[light] += moved
        masses[heavy] -= moved
        if not masses[heavy] > 0:
            raise InputError(
                f"hydrogens of {mass_amu:g} amu leave {atoms.describe(heavy)} a mass of "
                f"{masses[heavy]:.2f} amu",
                remedy="give a smaller hydrogen mass: 3 amu fits CH3 and NH3",
            )
    for i, mass in enumerate(masses.tolist()):
        system.setParticleMass(i, mass)
    return Structure(atoms, openmm.XmlSerializer.serialize(system), structure.implicit_solvent)
