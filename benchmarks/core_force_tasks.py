"""Tasks of `core_force_learning`: methanol in MM water sampled, labelled, learned (hartree, bohr).

The force field is OPLS-AA's for methanol (Jorgensen, Maxwell, Tirado-Rives, J. Am. Chem. Soc. 118, 11225
(1996)) with Lorentz-Berthelot mixing and Amber's 1-4 scaling, in rigid TIP3P water: it only draws geometries
and is the baseline that networks learn the difference to.
"""

import io
from dataclasses import dataclass, replace

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from drupe.embedding import Label, Level, MolecularSystem, Partition, label
from drupe.embedding.regions.periodic import cut_cluster
from drupe.freeenergy.dynamics import advance, read_positions, split_seed
from drupe.mlp import Committee, Dataset, FitSpec, TransferSpec, accuracy
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.fitted import Fitted
from drupe.mlp.training import train_member
from drupe.mlp.transfer import transfer_member
from drupe.mlp.validation import Accuracy
from drupe.records import frozen, register
from drupe.units import nanometer

TEMPERATURE_K = 300.0
ATOMS = range(6)  # methanol comes first
CORE = (1, 5)  # O and the H on it
N_OCCUPIED = (5,)  # where SPADE's singular values fall most, and fixed
MODES = ("energies", "slopes", "mp2", "exact")

# name, element, charge (e), sigma (nm), epsilon (kJ/mol), nanometres in the start geometry
_METHANOL = (
    ("C1", "C", 0.145, 0.350, 0.276144, (-0.0748, 0.0015, 0.0024)),
    ("O1", "O", -0.683, 0.312, 0.711280, (0.0558, 0.0420, -0.0278)),
    ("H1", "H", 0.040, 0.250, 0.125520, (-0.1293, -0.0202, -0.0901)),
    ("H2", "H", 0.040, 0.250, 0.125520, (-0.1263, 0.0754, 0.0600)),
    ("H3", "H", 0.040, 0.250, 0.125520, (-0.0699, -0.0934, 0.0609)),
    ("H4", "H", 0.418, 1.0, 0.0, (0.0716, -0.0304, -0.0896)),
)
_MASSES = {"C": 12.011, "O": 15.999, "H": 1.008}
_BONDS = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 5))
# kJ/mol and nm, k of k/2 x^2: twice OPLS-AA's
_BONDED = """
 <HarmonicBondForce>
  <Bond type1="C1" type2="O1" length="0.1410" k="267776.0"/>
  <Bond type1="C1" type2="H1" length="0.1090" k="284512.0"/>
  <Bond type1="O1" type2="H4" length="0.0945" k="462750.4"/>
 </HarmonicBondForce>
 <HarmonicAngleForce>
  <Angle type1="H1" type2="C1" type3="H1" angle="1.88146" k="276.144"/>
  <Angle type1="H1" type2="C1" type3="O1" angle="1.91114" k="292.880"/>
  <Angle type1="C1" type2="O1" type3="H4" angle="1.89368" k="460.240"/>
 </HarmonicAngleForce>
 <PeriodicTorsionForce>
  <Proper type1="H1" type2="C1" type3="O1" type4="H4" periodicity1="3" phase1="0.0" k1="0.94140"/>
 </PeriodicTorsionForce>
"""


@register(version=1)
@dataclass(frozen=True)
class RunStage:
    """One run: its number, frames, their distance and the equilibration in ps, box edge in nm, seed."""

    run: int
    frames: int
    spacing_ps: float
    equilibration_ps: float
    box_nm: float
    seed: int


@register(version=1)
@dataclass(frozen=True, eq=False)
class MethanolRun:
    """Frames ``(frames, atoms, 3)`` in bohr of the system, and its force field as OpenMM XML."""

    stage: RunStage
    system: MolecularSystem
    forces: str
    positions: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", frozen(self.positions, np.float64))


@register(version=1)
@dataclass(frozen=True)
class LabelStage:
    """A frame of a run, the basis, the XC grid, the cluster of waters (bohr), directions per label."""

    run: int
    frame: int
    basis: str
    grid: int
    cluster_bohr: float
    n_directions: int


@register(version=1)
@dataclass(frozen=True, eq=False)
class ThreeLabels:
    """One frame at CCSD(T)-in-PBE: exact forces, MP2 forces, and slopes beside the forces of DFT/MM."""

    stage: LabelStage
    exact: Label
    mp2: Label
    directional: Label


@register(version=1)
@dataclass(frozen=True)
class LearnStage:
    """A fit: how it learns (of `MODES`), from how many labels, as which member; its two specifications."""

    mode: str
    labels: int
    member: int
    fit: FitSpec
    transfer: TransferSpec


@register(version=1)
@dataclass(frozen=True)
class Learned:
    """Errors against exact labels of the held-out blocks: of the low-level potential, and of the transfer."""

    stage: LearnStage
    low: Accuracy
    high: Accuracy


def sample(settings: RunStage) -> MethanolRun:
    """Run dynamics from velocities of its own."""
    topology, positions = _methanol()
    field = app.ForceField(io.StringIO(_force_field()), "amber14/tip3p.xml")
    box = app.Modeller(topology, positions)
    box.addSolvent(field, model="tip3p", boxSize=openmm.Vec3(*[settings.box_nm] * 3) * unit.nanometer)
    forces = field.createSystem(
        box.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.9 * unit.nanometer,
        constraints=None,
        rigidWater=True,
        removeCMMotion=False,
    )
    velocity_seed, noise_seed = split_seed(1000 * settings.seed + settings.run)
    integrator = openmm.LangevinMiddleIntegrator(
        TEMPERATURE_K * unit.kelvin, 2 / unit.picosecond, 0.5 * unit.femtosecond
    )
    integrator.setRandomNumberSeed(noise_seed)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(forces, integrator, platform, {"DeterministicForces": "true"})
    context.setPositions(box.positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=200)
    context.setVelocitiesToTemperature(TEMPERATURE_K * unit.kelvin, velocity_seed)
    # What minimisation left is given to the bath before anybody looks at the temperature.
    advance(context, max(1, round(2e3 * settings.equilibration_ps)), TEMPERATURE_K, watch_heat=False)
    frames = []
    for _ in range(settings.frames):
        advance(context, round(2e3 * settings.spacing_ps), TEMPERATURE_K)
        frames.append(read_positions(context))
    return MethanolRun(
        settings, _system(box, forces), openmm.XmlSerializer.serialize(forces), np.array(frames)
    )


def label_frame(settings: LabelStage, run: MethanolRun) -> ThreeLabels:
    """Label one frame in the three force modes of one level."""
    whole = run.system.with_positions(run.positions[settings.frame])
    system = cut_cluster(whole, np.array(ATOMS), settings.cluster_bohr).system
    regions = Partition.select(system, qm=ATOMS, charge=0, cores=[list(CORE)])
    level = Level(
        "PBE",
        settings.basis,
        core="CCSD(T)",
        virtual_shells=None,
        n_occupied=N_OCCUPIED,
        grid=settings.grid,
        n_directions=settings.n_directions,
        direction_seed=1000 * settings.run + settings.frame,  # other directions at every frame
    )
    made = {
        mode: label(system, regions, replace(level, forces=mode)) for mode in ("exact", "mp2", "directional")
    }
    return ThreeLabels(settings, **made)


def learn(settings: LearnStage, run: MethanolRun, *labels: ThreeLabels) -> Learned:
    """Fit the low level, transfer it in the mode, and measure both on the labels that were held out.

    The first ``settings.labels`` are learned from. The low-level potential sees the same frames.
    """
    seen, unseen = labels[: settings.labels], labels[settings.labels :]
    blocks = [one.stage.run for one in seen]
    baseline = LigandForceField.from_system(openmm.XmlSerializer.deserialize(run.forces), ATOMS)
    low = Dataset.from_labels([one.directional for one in seen], which="low", blocks=blocks)
    first = train_member(low, settings.fit, settings.member, baseline)
    high = {
        "energies": lambda: Dataset.from_labels([one.exact for one in seen], accept_forces=()),
        "slopes": lambda: Dataset.from_labels([one.directional for one in seen]),
        "mp2": lambda: Dataset.from_labels([one.mp2 for one in seen], accept_forces=("energy", "MP2")),
        "exact": lambda: Dataset.from_labels([one.exact for one in seen]),
    }[settings.mode]()
    moved = transfer_member(first.potential, high, low, settings.transfer, settings.member)
    test = Dataset.from_labels([one.exact for one in unseen])
    return Learned(settings, _errors(first, test), _errors(moved, test))


def _errors(fit: Fitted, test: Dataset) -> Accuracy:
    return accuracy(Committee((fit.stored,)), test)


def _force_field() -> str:
    types = "".join(
        f'<Type name="{name}" class="{name}" element="{element}" mass="{_MASSES[element]}"/>'
        for name, element, *_ in _METHANOL
        if name not in ("H2", "H3")
    )
    atoms = "".join(
        f'<Atom name="{name}" type="{_type(name)}" charge="{charge}"/>' for name, _, charge, *_ in _METHANOL
    )
    bonds = "".join(f'<Bond atomName1="{_METHANOL[a][0]}" atomName2="{_METHANOL[b][0]}"/>' for a, b in _BONDS)
    pairs = "".join(
        f'<Atom type="{name}" sigma="{sigma}" epsilon="{epsilon}"/>'
        for name, _, _, sigma, epsilon, _ in _METHANOL
        if name not in ("H2", "H3")
    )
    return (
        f'<ForceField><AtomTypes>{types}</AtomTypes><Residues><Residue name="MOH">{atoms}{bonds}</Residue>'
        f'</Residues>{_BONDED}<NonbondedForce coulomb14scale="0.8333333333333334" lj14scale="0.5">'
        f'<UseAttributeFromResidue name="charge"/>{pairs}</NonbondedForce></ForceField>'
    )


def _type(name: str) -> str:
    return "H1" if name in ("H2", "H3") else name


def _methanol() -> tuple[app.Topology, unit.Quantity]:
    topology = app.Topology()
    residue = topology.addResidue("MOH", topology.addChain())
    atoms = [
        topology.addAtom(name, app.Element.getBySymbol(element), residue) for name, element, *_ in _METHANOL
    ]
    for a, b in _BONDS:
        topology.addBond(atoms[a], atoms[b])
    return topology, [openmm.Vec3(*row[-1]) for row in _METHANOL] * unit.nanometer


def _system(box: app.Modeller, forces: openmm.System) -> MolecularSystem:
    (nonbonded,) = (f for f in forces.getForces() if isinstance(f, openmm.NonbondedForce))
    atoms = list(box.topology.atoms())
    return MolecularSystem(
        numbers=np.array([atom.element.atomic_number for atom in atoms]),
        positions=np.asarray(box.positions.value_in_unit(unit.nanometer)) * nanometer,
        charges=np.array([nonbonded.getParticleParameters(i)[0]._value for i in range(len(atoms))]),
        bonds=np.array([(a.index, b.index) for a, b in box.topology.bonds()]),
        box=np.asarray(box.topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer)) * nanometer,
        atom_names=tuple(atom.name for atom in atoms),
        residue_names=tuple(atom.residue.name for atom in atoms),
        residue_ids=np.array([atom.residue.index + 1 for atom in atoms]),
        chain_ids=np.array([atom.residue.chain.index for atom in atoms]),
    )
