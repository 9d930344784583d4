"""A serine's side chain cut off its backbone: methanol with a link atom, in the charges of the peptide."""

import dataclasses
from collections.abc import Callable

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.mlp import Committee
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.potential import Potential, PotentialHeader
from drupe.units import nanometer

SCHEMES = ["z1", "rc", "rcd"]
HF = Level("HF", "sto-3g", auxbasis=None, scf_tolerance=1e-11, gradient_tolerance=1e-7)
SMILES = "CC(=O)N[C@@H](CO)C(=O)NC"
RESIDUES = {"ACE": [0, 1, 2], "SER": [3, 4, 5, 6, 7, 8], "NME": [9, 10]}
CA, CB, OG = 4, 5, 6


@dataclasses.dataclass(frozen=True, eq=False)
class Peptide:
    """ACE-SER-NME and two waters; ``frames`` in bohr."""

    topology: app.Topology
    system: openmm.System
    frames: list[np.ndarray]
    qm: list[int]
    regions: Partition

    def in_solvent(self, name):
        """The system with an implicit solvent."""
        return force_field(self.topology, f"implicit/{name}.xml")

    def at(self, i):
        return MolecularSystem.from_openmm(self.topology, self.system, self.frames[i] / nanometer)


def force_field(topology, *files, **settings):
    made = app.ForceField("amber14-all.xml", "amber14/tip3p.xml", *files)
    return made.createSystem(topology, rigidWater=False, removeCMMotion=False, **settings)


def build():
    """Topology and positions (nm), and the place of each heavy atom of the SMILES."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles(SMILES))
    AllChem.EmbedMolecule(molecule, randomSeed=4)
    AllChem.MMFFOptimizeMolecule(molecule)
    place = molecule.GetConformer().GetPositions() / 10
    topology, made, positions = app.Topology(), {}, []
    chain = topology.addChain()
    for name, heavy in RESIDUES.items():
        residue = topology.addResidue(name, chain)
        for atom in heavy:
            mates = [
                n.GetIdx() for n in molecule.GetAtomWithIdx(atom).GetNeighbors() if n.GetAtomicNum() == 1
            ]
            for k in (atom, *mates):
                element = app.Element.getByAtomicNumber(molecule.GetAtomWithIdx(k).GetAtomicNum())
                made[k] = topology.addAtom(f"{element.symbol}{k}", element, residue)
                positions.append(place[k])
    for bond in molecule.GetBonds():
        topology.addBond(made[bond.GetBeginAtomIdx()], made[bond.GetEndAtomIdx()])
    for shift in (place[OG] - place[CA], place[CA] - place[OG]):
        start = place[OG if shift @ (place[OG] - place[CA]) > 0 else CA] + 0.45 * shift / np.linalg.norm(
            shift
        )
        residue = topology.addResidue("HOH", topology.addChain())
        oxygen, *hydrogens = (
            topology.addAtom(n, app.Element.getBySymbol(n[0]), residue) for n in ("O", "H1", "H2")
        )
        for hydrogen in hydrogens:
            topology.addBond(oxygen, hydrogen)
        positions += list(start + np.array([[0, 0, 0], [0.09572, 0, 0], [-0.024, 0.09266, 0]]))
    return topology, np.array(positions), {k: atom.index for k, atom in made.items()}


@pytest.fixture(scope="session")
def peptide():
    topology, start, place = build()
    system = force_field(topology)
    integrator = openmm.LangevinMiddleIntegrator(300, 5 / unit.picosecond, 0.0005)
    integrator.setRandomNumberSeed(3)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(start)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=100)
    context.setVelocitiesToTemperature(300, 3)
    frames = []
    for _ in range(12):
        integrator.step(600)
        now = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        frames.append(np.array(now) * nanometer)
    bonded = {CB, OG}
    qm = sorted(
        {place[k] for k in bonded}
        | {
            b.index if a.index in {place[k] for k in bonded} else a.index
            for a, b in topology.bonds()
            if {a.index, b.index} & {place[k] for k in bonded}
            and 1 in (a.element.atomic_number, b.element.atomic_number)
        }
    )
    whole = MolecularSystem.from_openmm(topology, system, frames[0] / nanometer)
    regions = Partition.select(whole, qm=qm, charge=0)
    assert regions.links.tolist() == [[place[CB], place[CA]]]
    assert whole.numbers[qm].tolist() == [6, 1, 1, 8, 1]
    return Peptide(topology, system, frames, qm, regions)


@pytest.fixture(scope="session")
def labels(peptide):
    """Two labels of each scheme, and ten more of the default."""
    made = {
        scheme: [
            label(peptide.at(i), peptide.regions, dataclasses.replace(HF, boundary=scheme)) for i in range(2)
        ]
        for scheme in SCHEMES
    }
    made["rcd"] += [label(peptide.at(i), peptide.regions, HF) for i in range(2, 12)]
    return made


@pytest.fixture(scope="session")
def terms(peptide):
    return LigandForceField.from_system(peptide.system, peptide.qm, peptide.regions.links)


def random_committee(dataset, baseline, **changes):
    """Two potentials with large random weights, so that no term is small."""
    header = PotentialHeader(
        numbers=dataset.numbers,
        fixed_charges=dataset.fixed_charges,
        total_charge=dataset.total_charge,
        backbone="painn",
        features=8,
        layers=2,
        radial=6,
        cutoff=9.0,
        damping=2.0,
        field_scale=0.02,
        energy_scale=0.005,
        energy_bound=0.1,
        charge_scale=0.1,
        polarizability_scale=5.0,
        energy_zero=-113.0,
        level=dataset.level,
        training_set="none",
        baseline=baseline,
        border=dataset.border,
    )
    members = []
    for seed in range(2):
        one = Potential(dataclasses.replace(header, **changes), seed=seed)
        draw = torch.Generator().manual_seed(seed)
        torch.nn.init.normal_(one.readout.last.weight, std=0.3, generator=draw)
        members.append(one.stored())
    return Committee(tuple(members))


@pytest.fixture(scope="session")
def random_model() -> Callable[..., Committee]:
    """Committees with large random weights, for a data set, a baseline and changes of the header."""
    return random_committee
