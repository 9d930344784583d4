"""The solvent leg in explicit solvent: a ligand, alone or in its complex, in; it in a box of water out.

The water and the ions of the complex are copied where it has some, so that both legs have the same
solvent; otherwise they are TIP3P and Joung and Cheatham's. Lengths are in nm here.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from drupe.embedding.structures.openmm_objects import CUTOFF_NM, nonbonded, read_openmm
from drupe.embedding.structures.structure import Structure, cut_out, openmm_system
from drupe.embedding.structures.water import water_molecules
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.freeenergy.alchemical.cavity import lennard_jones_radii
from drupe.freeenergy.alchemical.net_charge import ligand_charge
from drupe.freeenergy.simulation.periodic import whole_start
from drupe.freeenergy.simulation.system_parts import joined
from drupe.units import nanometer

if TYPE_CHECKING:
    import openmm

__all__ = ["in_water", "tip3p_molecule"]

_FIELD: Final = "amber14/tip3p.xml"
#: Radius of a water, as in OpenMM's Modeller.
_water_nm: Final = 0.1768


def in_water(
    structure: Structure,
    ligand: ArrayLike,
    *,
    padding_nm: float = 1.2,
    edge_nm: float | None = None,
    neutralise: bool = True,
) -> Structure:
    """Put a ligand into a cubic box of water.

    Parameters
    ----------
    structure
        Complex or ligand, in a box or not.
    ligand
        Indices of the ligand's atoms, shape ``(ligand,)``; they come first in the result.
    padding_nm
        Least distance of the ligand to the edge of the box, however it turns.
    edge_nm
        Edge of the box in place of the padding.
    neutralise
        Whether ions make the box neutral, in place of the waters farthest from the ligand.

    Returns
    -------
    Structure
        Ligand, then ions, then water, in a box under PME with flexible bonds; not equilibrated.

    Raises
    ------
    InputError
        If the complex has water that is not of three sites, an ion to copy is missing, the ligand's charge
        is not a whole number, or the box is too small for the cutoff.
    """
    vacuum = _without_box(structure)
    members = np.asarray(ligand, np.int64)
    solute = cut_out(vacuum, members)
    charge = ligand_charge(solute.system, np.arange(len(members)))
    place = solute.system.positions / nanometer
    place = place - 0.5 * (place.max(axis=0) + place.min(axis=0))
    reach = float(np.linalg.norm(place, axis=1).max())
    edge = 2 * (reach + padding_nm) if edge_nm is None else edge_nm
    settings = nonbonded(np.eye(3) * edge * nanometer, _cutoff_nm(structure))
    place = place + edge / 2
    water = _water_of(vacuum, members)
    radii = lennard_jones_radii(solute, np.arange(len(members))) / nanometer
    spots = _waters_around(place, radii, edge)
    ions: list[Structure] = []
    if neutralise and charge:
        away = cKDTree(place).query(spots[:, 0])[0]
        spots = spots[np.argsort(-away, kind="stable")]
        ions = [_ion_of(vacuum, members, charge, water)] * abs(charge)
    parts = [solute, *ions, *([water] * (len(spots) - len(ions)))]
    positions = np.concatenate([place, spots[: len(ions), 0], spots[len(ions) :].reshape(-1, 3)])
    return _boxed(parts, positions, edge, settings)


def _boxed(parts: list[Structure], positions: NDArray[np.float64], edge: float, settings: Any) -> Structure:
    """One structure of many in a cubic box under PME."""
    import openmm

    forces = joined([openmm_system(part) for part in parts])
    for force in forces.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setNonbondedMethod(openmm.NonbondedForce.PME)
            force.setCutoffDistance(settings["nonbondedCutoff"])
            force.setEwaldErrorTolerance(settings["ewaldErrorTolerance"])
            force.setUseDispersionCorrection(True)
    forces.setDefaultPeriodicBoxVectors(*(np.eye(3) * edge))
    return read_openmm(_topology([part.system for part in parts]), forces, positions)


def _topology(molecules: list[MolecularSystem]) -> "openmm.app.Topology":
    """Chain A holds the first molecule, chain B all others, one residue each."""
    from openmm import app

    topology = app.Topology()
    chains = [topology.addChain("A"), topology.addChain("B")]
    for number, molecule in enumerate(molecules):
        chain = chains[min(number, 1)]
        atoms: list[Any] = []
        for i, run in enumerate(molecule.residue_runs.tolist()):
            if i == 0 or run != molecule.residue_runs[i - 1]:
                name = str(molecule.residue_ids[i]) if number == 0 else str(number)
                residue = topology.addResidue(molecule.residue_names[i], chain, name)
            element = app.Element.getByAtomicNumber(int(molecule.numbers[i]))
            atoms.append(topology.addAtom(molecule.atom_names[i], element, residue))
        for i, j in molecule.bonds.tolist():
            topology.addBond(atoms[i], atoms[j])
    return topology


def _waters_around(
    solute: NDArray[np.float64], radii: NDArray[np.float64], edge: float
) -> NDArray[np.float64]:
    """Oxygen and hydrogens of OpenMM's equilibrated TIP3P in a cube, without those that touch the solute.

    Shape ``(waters, 3, 3)``.
    """
    from openmm import Vec3, app, unit

    modeller = app.Modeller(app.Topology(), [] * unit.nanometer)
    size = Vec3(edge, edge, edge) * unit.nanometer
    modeller.addSolvent(app.ForceField(_FIELD), model="tip3p", boxSize=size)
    table = np.array(modeller.positions.value_in_unit(unit.nanometer), np.float64).reshape(-1, 3, 3)
    free = np.ones(len(table), bool)
    tree = cKDTree(table[:, 0] % edge, boxsize=edge)
    for atom, radius in zip(solute % edge, radii, strict=True):
        free[tree.query_ball_point(atom, radius + _water_nm)] = False
    return table[free]


def _water_of(vacuum: Structure, members: NDArray[np.int64]) -> Structure:
    """One water of the complex, or TIP3P where it has none."""
    waters = water_molecules(vacuum.system)
    waters = waters[~np.isin(waters, members).any(axis=1)]
    if not len(waters):
        return tip3p_molecule("HOH")
    first = waters[0]
    runs, sites = vacuum.system.residue_runs, vacuum.system.numbers == 0
    more = int(np.count_nonzero(sites & (runs == runs[first[0]])))
    if more:
        raise InputError(
            f"the water of {vacuum.system.describe(int(first[0]))} has {3 + more} sites",
            remedy="use a water model of three sites, such as TIP3P, for alchemy in explicit solvent",
        )
    return cut_out(vacuum, first)


def _ion_of(vacuum: Structure, members: NDArray[np.int64], charge: int, water: Structure) -> Structure:
    """One ion of the complex that takes one e of ``charge`` away, or that of the TIP3P force field."""
    system = vacuum.system
    alone = np.ones(system.n_atoms, bool)
    alone[system.bonds.ravel()] = False
    alone[members] = False
    fits = np.flatnonzero(alone & (np.abs(system.charges + np.sign(charge)) < 1e-4))
    if len(fits):
        return cut_out(vacuum, fits[:1])
    tip3p = tip3p_molecule("HOH").system.charges
    if not np.allclose(np.sort(water.system.charges), np.sort(tip3p), atol=1e-3):
        raise InputError(
            f"the ligand has charge {charge:+d}, the structure holds no ion of charge "
            f"{-np.sign(charge):+d} to copy, and its water is not TIP3P",
            remedy="add such an ion to the complex, so that its parameters fit its water",
        )
    return tip3p_molecule("CL" if charge > 0 else "NA")


def tip3p_molecule(name: str) -> Structure:
    """One water (``HOH``) or ion (``NA``, ``CL`` and others) of the TIP3P force field, in vacuum."""
    from openmm import app

    field = app.ForceField(_FIELD)
    topology = app.Topology()
    residue = topology.addResidue(name, topology.addChain())
    template = field._templates[name]
    atoms = [topology.addAtom(atom.name, atom.element, residue) for atom in template.atoms]
    for i, j in template.bonds:
        topology.addBond(atoms[i], atoms[j])
    settings = {"constraints": None, "rigidWater": False, "removeCMMotion": False}
    forces = field.createSystem(topology, nonbondedMethod=app.NoCutoff, **settings)
    return read_openmm(topology, forces, np.zeros((len(atoms), 3)))


def _without_box(structure: Structure) -> Structure:
    """The same atoms, in one piece each, with all pairs and no box."""
    import openmm

    forces = openmm_system(structure)
    kinds = (openmm.CMMotionRemover, openmm.MonteCarloBarostat, openmm.GBSAOBCForce)
    for n in reversed(range(forces.getNumForces())):
        if isinstance(forces.getForce(n), kinds):
            forces.removeForce(n)
    for force in forces.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setNonbondedMethod(openmm.NonbondedForce.NoCutoff)
        force.setForceGroup(0)
    system = structure.system
    if system.box is not None:
        system = system.with_positions(whole_start(structure, system.positions, None)).with_box(None)
    return Structure(system, openmm.XmlSerializer.serialize(forces), None)


def _cutoff_nm(structure: Structure) -> float:
    """Cutoff of a periodic structure, so that both legs have the same; the usual one otherwise."""
    import openmm

    system = openmm_system(structure)
    if not system.usesPeriodicBoundaryConditions():
        return CUTOFF_NM
    (pairs,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    return float(pairs.getCutoffDistance()._value)
