"""Two ethanols side by side in water as files of a complex: small enough for a whole campaign in a test."""

from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from drupe.embedding.structures.openmm_objects import read_openmm
from drupe.embedding.structures.structure import openmm_topology
from drupe.freeenergy.alchemical.solvent_box import in_water
from drupe.units import nanometer

# element, charge (e), sigma (nm), epsilon (kJ/mol), start (nm); OPLS-AA (1996), trans
_ATOMS = (
    ("C", -0.180, 0.350, 0.276144, (0.1200, -0.0250, 0.0)),
    ("C", 0.145, 0.350, 0.276144, (0.0, 0.0650, 0.0)),
    ("O", -0.683, 0.312, 0.711280, (-0.1180, -0.0130, 0.0)),
    ("H", 0.060, 0.250, 0.125520, (0.2110, 0.0350, 0.0)),
    ("H", 0.060, 0.250, 0.125520, (0.1190, -0.0890, 0.0890)),
    ("H", 0.060, 0.250, 0.125520, (0.1190, -0.0890, -0.0890)),
    ("H", 0.060, 0.250, 0.125520, (0.0010, 0.1290, 0.0890)),
    ("H", 0.060, 0.250, 0.125520, (0.0010, 0.1290, -0.0890)),
    ("H", 0.418, 0.1, 0.0, (-0.1930, 0.0470, 0.0)),
)
_BONDS = ((0, 1), (1, 2), (0, 3), (0, 4), (0, 5), (1, 6), (1, 7), (2, 8))
#: Length (nm) and stiffness (kJ/mol/nm^2) by the elements of a bond.
_STRETCH = {"CC": (0.1529, 224262.4), "CO": (0.1410, 267776.0), "CH": (0.1090, 284512.0)}
_STRETCH["OH"] = (0.0945, 462750.4)
#: Angle (rad) and stiffness (kJ/mol/rad^2) by its elements.
_BEND = {"HCH": (1.88146, 276.144), "CCH": (1.93208, 313.8), "CCO": (1.91114, 418.4)}
_BEND |= {"HCO": (1.91114, 292.88), "COH": (1.89368, 460.24)}
#: Periodicity and height (kJ/mol) by the elements of a torsion, all of phase 0.
_TURN = {"HCCH": ((3, 0.6276),), "HCCO": ((3, 0.979),), "HCOH": ((3, 0.9414),)}
_TURN["CCOH"] = ((1, -0.745), (2, 0.364), (3, 1.029))


def write_pair(folder: Path, *, edge_nm: float = 1.6, cutoff_nm: float = 0.6) -> None:
    """Write ``complex.pdb`` and ``complex.xml``: a host (HST) and a ligand (EOH) in a small box of water."""
    topology, system = app.Topology(), openmm.System()
    forces = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    pairs, bonded = openmm.NonbondedForce(), []
    for number, name in enumerate(("HST", "EOH")):
        residue = topology.addResidue(name, topology.addChain())
        atoms = []
        for k, (element, charge, sigma, epsilon, _) in enumerate(_ATOMS):
            kind = app.Element.getBySymbol(element)
            atoms.append(topology.addAtom(f"{element}{k}", kind, residue))
            system.addParticle(kind.mass)
            pairs.addParticle(charge, sigma, epsilon)
        for i, j in _BONDS:
            topology.addBond(atoms[i], atoms[j])
        _bonded_terms(forces, number * len(_ATOMS))
        bonded += [(i + number * len(_ATOMS), j + number * len(_ATOMS)) for i, j in _BONDS]
    pairs.createExceptionsFromBonds(bonded, 0.5, 0.5)
    pairs.setNonbondedMethod(openmm.NonbondedForce.PME)
    pairs.setCutoffDistance(cutoff_nm)
    for force in (*forces, pairs):
        system.addForce(force)
    system.setDefaultPeriodicBoxVectors(*(np.eye(3) * edge_nm))
    one = np.array([row[-1] for row in _ATOMS])
    turned = one[:, [1, 0, 2]] * (1, -1, 1) + (0.03, 0.05, 0.42)
    pair = read_openmm(topology, system, np.concatenate([one, turned]))
    boxed = in_water(pair, range(2 * len(_ATOMS)), edge_nm=edge_nm)
    (folder / "complex.xml").write_text(boxed.openmm_xml)
    named = openmm_topology(boxed.system)
    named.setPeriodicBoxVectors(np.eye(3) * edge_nm * unit.nanometer)
    with (folder / "complex.pdb").open("w") as out:
        app.PDBFile.writeFile(named, boxed.system.positions / nanometer * unit.nanometer, out)


def _bonded_terms(forces, first: int) -> None:
    bonds, angles, torsions = forces
    near = {k: [] for k in range(len(_ATOMS))}
    for i, j in _BONDS:
        near[i].append(j)
        near[j].append(i)
        bonds.addBond(first + i, first + j, *_found(_STRETCH, i, j))
    for middle, ends in near.items():
        for n, i in enumerate(ends):
            for j in ends[n + 1 :]:
                angles.addAngle(first + i, first + middle, first + j, *_found(_BEND, i, middle, j))
    for j, k in _BONDS:
        for i in near[j]:
            for m in near[k]:
                if i != k and m != j:
                    for n, height in _found(_TURN, i, j, k, m):
                        torsions.addTorsion(*(first + a for a in (i, j, k, m)), n, 0.0, height)


def _found(table, *atoms: int):
    name = "".join(_ATOMS[a][0] for a in atoms)
    return table[name] if name in table else table[name[::-1]]
