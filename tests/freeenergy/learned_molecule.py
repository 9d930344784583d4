"""Methanol in vacuum with two force fields and a committee on it: small enough for switches in tests."""

from dataclasses import dataclass

import numpy as np
import openmm
import torch
from openmm import app
from openmmml import MLPotential

from drupe.mlp import Committee, FitSpec
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.potential import Potential, PotentialHeader
from drupe.units import nanometer

# element, charge (e), sigma (nm), epsilon (kJ/mol), start (nm); OPLS-AA (1996)
_ATOMS = (
    ("C", 0.145, 0.350, 0.276144, (-0.0748, 0.0015, 0.0024)),
    ("O", -0.683, 0.312, 0.711280, (0.0558, 0.0420, -0.0278)),
    ("H", 0.040, 0.250, 0.125520, (-0.1293, -0.0202, -0.0901)),
    ("H", 0.040, 0.250, 0.125520, (-0.1263, 0.0754, 0.0600)),
    ("H", 0.040, 0.250, 0.125520, (-0.0699, -0.0934, 0.0609)),
    ("H", 0.418, 0.1, 0.0, (0.0716, -0.0304, -0.0896)),
)
_BONDS = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 5))
_STIFF = {(0, 1): (0.1410, 267776.0), (1, 5): (0.0945, 462750.4)}


@dataclass(frozen=True, eq=False)
class Molecule:
    """Topology, start (bohr) and a system per force field."""

    topology: app.Topology
    positions: np.ndarray
    numbers: np.ndarray


def molecule() -> Molecule:
    topology = app.Topology()
    residue = topology.addResidue("MOH", topology.addChain())
    atoms = [
        topology.addAtom(f"{row[0]}{k}", app.Element.getBySymbol(row[0]), residue)
        for k, row in enumerate(_ATOMS)
    ]
    for a, b in _BONDS:
        topology.addBond(atoms[a], atoms[b])
    place = np.array([row[-1] for row in _ATOMS]) * nanometer
    return Molecule(topology, place, np.array([atom.element.atomic_number for atom in atoms]))


def force_field(
    barrier: float = 0.94140, angle: float = 1.0, charge: float = 1.0, hydrogen_mass: float = 1.008
) -> openmm.System:
    """Methanol; the barrier (kJ/mol), and what angle stiffness and charges are multiplied with."""
    system = openmm.System()
    for element, *_ in _ATOMS:
        system.addParticle({"C": 12.011, "O": 15.999, "H": hydrogen_mass}[element])
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for pair in _BONDS:
        bonds.addBond(*pair, *_STIFF.get(pair, (0.1090, 284512.0)))
    for a, b in ((2, 3), (2, 4), (3, 4)):
        angles.addAngle(a, 0, b, 1.88146, 276.144 * angle)
    for a in (2, 3, 4):
        angles.addAngle(a, 0, 1, 1.91114, 292.880 * angle)
    angles.addAngle(0, 1, 5, 1.89368, 460.240 * angle)
    torsions = openmm.PeriodicTorsionForce()
    for a in (2, 3, 4):
        torsions.addTorsion(a, 0, 1, 5, 3, 0.0, barrier)
    nonbonded = openmm.NonbondedForce()
    for _, q, sigma, epsilon, _ in _ATOMS:
        nonbonded.addParticle(q * charge, sigma, epsilon)
    nonbonded.createExceptionsFromBonds(_BONDS, 0.8333333333333334, 0.5)
    for force in (bonds, angles, torsions, nonbonded):
        system.addForce(force)
    return system


def committee(
    seeds=(0, 1), charge: float = 1.0, strength: float = 0.3, reach: float | None = None
) -> Committee:
    """Random weights, so that no term is small, on the first force field; ``reach`` in bohr."""
    found = molecule()
    own = LigandForceField.from_system(force_field(charge=charge), range(6))
    spec = FitSpec(features=8, radial=4)
    header = PotentialHeader(
        numbers=found.numbers,
        fixed_charges=own.charges,
        total_charge=0,
        backbone="painn",
        features=spec.features,
        layers=spec.layers,
        radial=spec.radial,
        cutoff=spec.cutoff,
        damping=spec.damping,
        field_scale=0.02,
        energy_scale=0.002,
        energy_bound=0.1,
        charge_scale=0.1,
        polarizability_scale=5.0,
        energy_zero=0.0,
        level="made up",
        training_set="none",
        baseline=own,
        reach=reach,
    )
    made = []
    for seed in seeds:
        one = Potential(header, seed=seed)
        draw = torch.Generator().manual_seed(seed)
        torch.nn.init.normal_(one.readout.last.weight, std=strength, generator=draw)
        made.append(one.stored())
    return Committee(tuple(made))


def mixed(
    model: Committee, system: openmm.System | None = None, *, interpolate: bool, precision: str = "double"
) -> openmm.System:
    return MLPotential("drupe", model=model, precision=precision).createMixedSystem(
        molecule().topology,
        force_field() if system is None else system,
        list(range(6)),
        embedding="electrostatic",
        interpolate=interpolate,
        forceGroup=7,
    )
