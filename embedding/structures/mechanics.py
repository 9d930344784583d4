"""Atoms with their molecular mechanics: the record `Structure` (bohr, e), and its ways to OpenMM and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.structures.openmm_xml import load_system
from drupe.embedding.system import MolecularSystem
from drupe.records import register

if TYPE_CHECKING:
    import openmm
    import openmm.app

__all__ = ["Structure", "cut_out", "openmm_system", "openmm_topology"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class Structure:
    """Atoms with their MM force field.

    Fields: ``system`` the atoms (bohr, e) and their box; ``openmm_xml`` the serialised OpenMM System
    (flexible bonds where the files allow it; no cutoff, or PME in a box); ``implicit_solvent`` the
    name of the solvent model in it, or None.
    """

    system: MolecularSystem
    openmm_xml: str
    implicit_solvent: str | None


def cut_out(structure: Structure, atoms: Sequence[int] | NDArray[np.int64]) -> Structure:
    """Take ``atoms`` out with the force-field terms that live wholly among them.

    Bonds, angles, torsions, nonbonded parameters, exceptions and OBC radii are copied; terms that
    reach outside are left behind.

    Raises
    ------
    InputError
        If the force field holds a kind of force that cannot be cut, named in the message.
    """
    import openmm

    from drupe.embedding.structures.forcefield import cut_forces

    system = structure.system.subset(atoms)
    forces = cut_forces(openmm_system(structure), np.asarray(atoms, dtype=np.int64))
    return Structure(system, openmm.XmlSerializer.serialize(forces), structure.implicit_solvent)


def openmm_system(structure: Structure) -> "openmm.System":
    """Build the OpenMM System of ``structure``.

    Raises
    ------
    InputError
        If the stored XML holds a force that is not on the list of harmless kinds.
    """
    return load_system(structure.openmm_xml)


def openmm_topology(system: MolecularSystem) -> "openmm.app.Topology":
    """Build an OpenMM Topology with the chains, residues, atoms, bonds and box of ``system``."""
    from openmm import app, unit

    topology = app.Topology()
    atoms = []
    chain = residue = None
    last_chain: int | None = None
    last_residue: tuple[int, int, str] | None = None
    for i in range(system.n_atoms):
        this_chain = int(system.chain_ids[i])
        this_residue = (this_chain, int(system.residue_ids[i]), system.residue_names[i])
        if this_chain != last_chain:
            chain = topology.addChain(str(this_chain))
        if this_residue != last_residue:
            residue = topology.addResidue(system.residue_names[i], chain, str(system.residue_ids[i]))
        last_chain, last_residue = this_chain, this_residue
        number = int(system.numbers[i])
        element = app.Element.getByAtomicNumber(number) if number else None
        atoms.append(topology.addAtom(system.atom_names[i], element, residue))
    for i, j in system.bonds:
        topology.addBond(atoms[i], atoms[j])
    if system.box is not None:
        topology.setPeriodicBoxVectors(unit.Quantity(system.box, unit.bohr))
    return topology
