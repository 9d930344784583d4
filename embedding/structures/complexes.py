"""A protein's PDB file with its ligand's SDF file in, a parametrised `Structure` (bohr, e) out.

The protein gets ff14SB, the ligand GAFF2 with AM1-BCC charges; in vacuum, OBC2, or a box of TIP3P water.
PDBFixer completes side chains, Modeller adds hydrogens and water.
"""

import io
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.spatial import cKDTree

from drupe.embedding.structures.gaff import parametrise
from drupe.embedding.structures.input_files import existing_file
from drupe.embedding.structures.ligand import read_ligand
from drupe.embedding.structures.mechanics import Structure, openmm_system, openmm_topology
from drupe.embedding.structures.openmm_objects import box_of, nonbonded, read_openmm
from drupe.embedding.structures.pdb import check_pdb
from drupe.errors import InputError
from drupe.units import nanometer

if TYPE_CHECKING:
    import openmm
    import openmm.app

__all__ = ["read_complex"]

log = logging.getLogger(__name__)

_FIELDS = ("amber14/protein.ff14SB.xml", "amber14/tip3p.xml")
_OVERLAP_NM = 0.08


def read_complex(
    pdb: str | Path,
    ligand_sdf: str | Path,
    *,
    solvent: Literal["OBC2", "box"] | None = None,
    ph: float = 7.0,
    padding_nm: float = 1.0,
    time_limit_s: float = 3600.0,
) -> Structure:
    """Build a protein-ligand complex with ff14SB and GAFF2.

    Parameters
    ----------
    pdb
        The protein, with water and ions if any, without the ligand. Missing side-chain atoms and
        hydrogens are added (and logged); nothing else is.
    ligand_sdf
        The ligand in its pose: see `drupe.embedding.structures.ligand.read_ligand`.
    solvent
        None for vacuum, ``"OBC2"``, or ``"box"``: a neutralised box of TIP3P water under PME.
    ph
        For the protonation of the protein.
    padding_nm
        Least distance of the complex to the edge of the box, nm.
    time_limit_s
        For each program that parametrises the ligand.

    Returns
    -------
    Structure
        Protein atoms first, then the ligand (residue ``LIG``), then added ions and water.

    Raises
    ------
    InputError
        If a file is damaged, the chain has gaps, a residue has no template, or ligand and protein overlap.
    MachineError
        If AmberTools is not installed.
    """
    from openmm import unit

    if solvent not in (None, "OBC2", "box"):
        raise InputError(f"the solvent {solvent!r} is not known", remedy='use None, "OBC2" or "box"')
    molecule = read_ligand(ligand_sdf)
    with _fixed_seed():
        modeller, field = _protein(existing_file(pdb), ph)
    _refuse_overlap(modeller, molecule)
    ligand = parametrise(molecule, time_limit_s=time_limit_s)
    field.loadFile(io.StringIO(_template(ligand)))
    first = modeller.topology.getNumAtoms()
    positions = ligand.system.positions / nanometer * unit.nanometer
    modeller.add(openmm_topology(ligand.system), positions)
    if solvent == "box":
        with _fixed_seed():
            modeller.addSolvent(field, model="tip3p", padding=padding_nm * unit.nanometer)
    box = box_of(modeller.topology) if solvent == "box" else None
    if box is None:
        modeller.topology.setPeriodicBoxVectors(None)
    forces = field.createSystem(modeller.topology, **nonbonded(box))
    _add_bonded(forces, openmm_system(ligand), first)
    if solvent == "OBC2":
        forces.addForce(_born(modeller.topology, forces))
    table = np.array(modeller.positions.value_in_unit(unit.nanometer), dtype=np.float64)
    name = "OBC2" if solvent == "OBC2" else None
    return read_openmm(modeller.topology, forces, table, implicit_solvent=name, box=box)


@contextmanager
def _fixed_seed() -> Iterator[None]:
    """Modeller starts hydrogens, and picks waters for ions, by Python's random numbers: a fixed seed."""
    before = random.getstate()
    random.seed(1)
    try:
        yield
    finally:
        random.setstate(before)


def _protein(path: Path, ph: float) -> tuple[Any, Any]:
    """The protein with all its atoms, and the force field that knows it."""
    from openmm import app
    from pdbfixer import PDBFixer

    check_pdb(path)
    with path.open() as file:
        fixer = PDBFixer(pdbfile=file)
    fixer.findMissingResidues()
    lengths = [len(list(chain.residues())) for chain in fixer.topology.chains()]
    gaps = {
        place: names for place, names in fixer.missingResidues.items() if 0 < place[1] < lengths[place[0]]
    }
    if gaps:
        (chain, index), names = next(iter(gaps.items()))
        raise InputError(
            f"{path}: chain {chain} lacks {', '.join(names)} before residue {index + 1} ({len(gaps)} gaps)",
            remedy="build the missing residues first, or cap the ends",
        )
    fixer.missingResidues = {}  # what the ends lack is left away
    fixer.findNonstandardResidues()
    if fixer.nonstandardResidues:
        (residue, standard) = fixer.nonstandardResidues[0]
        raise InputError(
            f"{path} has the non-standard residue {residue.name} {residue.id}",
            remedy=f"replace it ({standard} is the standard one), or give a prmtop with its parameters",
        )
    fixer.findMissingAtoms()
    added = {f"{r.name} {r.id}": [a.name for a in atoms] for r, atoms in fixer.missingAtoms.items()}
    if added:
        log.warning("%s: missing heavy atoms were built: %s", path, added)
    fixer.addMissingAtoms(seed=1)
    field = app.ForceField(*_FIELDS)
    modeller = app.Modeller(fixer.topology, fixer.positions)
    before = modeller.topology.getNumAtoms()
    try:
        modeller.addHydrogens(field, pH=ph)
        field.createSystem(modeller.topology)
    except ValueError as error:
        raise InputError(
            f"{path}: {error}",
            remedy="a ligand or cofactor belongs into its own SDF file, and away from the PDB file; "
            "other residues need a prmtop",
        ) from error
    if modeller.topology.getNumAtoms() != before:
        log.info("%s: %d hydrogens were added at pH %g", path, modeller.topology.getNumAtoms() - before, ph)
    return modeller, field


def _refuse_overlap(modeller: Any, molecule: Any) -> None:
    from openmm import unit

    protein = np.array(modeller.positions.value_in_unit(unit.nanometer), dtype=np.float64)
    ligand = molecule.GetConformer().GetPositions() / 10
    distances, nearest = cKDTree(protein).query(ligand)
    if distances.min() < _OVERLAP_NM:
        worst = int(distances.argmin())
        atom = list(modeller.topology.atoms())[int(nearest[worst])]
        raise InputError(
            f"atom {worst} of the ligand is {10 * distances.min():.2f} A from {atom.name} of "
            f"{atom.residue.name} {atom.residue.id}",
            remedy="take the ligand out of the PDB file, or give its pose in the frame of this protein",
        )


def _template(ligand: Structure) -> str:
    """Charges and Lennard-Jones parameters of the ligand as a ForceField file, one type per atom."""
    import openmm

    system, forces = ligand.system, openmm_system(ligand)
    (pairs,) = (f for f in forces.getForces() if isinstance(f, openmm.NonbondedForce))
    types, atoms, sizes = [], [], []
    for i in range(system.n_atoms):
        charge, sigma, epsilon = (v._value for v in pairs.getParticleParameters(i))
        element = openmm.app.Element.getByAtomicNumber(int(system.numbers[i])).symbol
        mass = forces.getParticleMass(i)._value
        types.append(f'<Type name="LIG-{i}" class="LIG-{i}" element="{element}" mass="{mass!r}"/>')
        atoms.append(f'<Atom name="{system.atom_names[i]}" type="LIG-{i}" charge="{charge!r}"/>')
        sizes.append(f'<Atom type="LIG-{i}" sigma="{sigma!r}" epsilon="{epsilon!r}"/>')
    names = system.atom_names
    bonds = [f'<Bond atomName1="{names[i]}" atomName2="{names[j]}"/>' for i, j in system.bonds]
    return (
        f"<ForceField><AtomTypes>{''.join(types)}</AtomTypes>"
        f'<Residues><Residue name="LIG">{"".join(atoms + bonds)}</Residue></Residues>'
        '<NonbondedForce coulomb14scale="0.8333333333333334" lj14scale="0.5">'
        f'<UseAttributeFromResidue name="charge"/>{"".join(sizes)}</NonbondedForce></ForceField>'
    )


def _add_bonded(whole: "openmm.System", ligand: "openmm.System", first: int) -> None:
    """Copy the ligand's bonds, angles and torsions; its atoms start at ``first``."""
    import openmm

    into = {type(force): force for force in whole.getForces()}
    for force in ligand.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                i, j, *values = force.getBondParameters(k)
                into[type(force)].addBond(first + i, first + j, *values)
        elif isinstance(force, openmm.HarmonicAngleForce):
            for k in range(force.getNumAngles()):
                *three, angle, constant = force.getAngleParameters(k)
                into[type(force)].addAngle(*(first + a for a in three), angle, constant)
        elif isinstance(force, openmm.PeriodicTorsionForce):
            for k in range(force.getNumTorsions()):
                *four, periodicity, phase, constant = force.getTorsionParameters(k)
                into[type(force)].addTorsion(*(first + a for a in four), periodicity, phase, constant)


def _born(topology: "openmm.app.Topology", forces: "openmm.System") -> "openmm.Force":
    """OBC2 with the radii (mbondi2) and screening factors that Amber gives it."""
    import openmm
    from openmm.app.internal.customgbforces import GBSAOBC2Force

    (pairs,) = (f for f in forces.getForces() if isinstance(f, openmm.NonbondedForce))
    born = openmm.GBSAOBCForce()
    born.setNonbondedMethod(openmm.GBSAOBCForce.NoCutoff)
    for i, (radius, screen) in enumerate(GBSAOBC2Force.getStandardParameters(topology)):
        born.addParticle(pairs.getParticleParameters(i)[0], float(radius), float(screen))
    return born
