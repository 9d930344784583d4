"""Heavier hydrogens: a `Structure` in, the same with mass moved onto them from their heavy atoms (amu) out.

Free energies do not depend on masses; the fastest bond does, and with it the step of the dynamics.
"""

import numpy as np

from drupe.embedding.structures.mechanics import Structure, openmm_system
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
    numbers, masses = (
        atoms.numbers,
        np.array([system.getParticleMass(i)._value for i in range(atoms.n_atoms)], np.float64),
    )
    near: dict[int, list[int]] = {}
    for i, j in atoms.bonds.tolist():
        near.setdefault(i, []).append(j)
        near.setdefault(j, []).append(i)
    for hydrogen in np.flatnonzero(numbers == 1).tolist():
        heavy = [atom for atom in near.get(hydrogen, ()) if numbers[atom] > 1]
        if not heavy or (all(numbers[atom] == 1 for atom in near[heavy[0]]) and numbers[heavy[0]] == 8):
            continue
        moved = mass_amu - masses[hydrogen]
        masses[hydrogen] += moved
        masses[heavy[0]] -= moved
        if not masses[heavy[0]] > 0:
            raise InputError(
                f"hydrogens of {mass_amu:g} amu leave {atoms.describe(heavy[0])} a mass of "
                f"{masses[heavy[0]]:.2f} amu",
                remedy="give a smaller hydrogen mass: 3 amu fits CH3 and NH3",
            )
    for i, mass in enumerate(masses.tolist()):
        system.setParticleMass(i, mass)
    return Structure(atoms, openmm.XmlSerializer.serialize(system), structure.implicit_solvent)
