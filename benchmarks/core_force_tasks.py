"""Tasks of `core_force_learning`: methanol in MM water sampled, labelled, learned (hartree, bohr).

Methanol's force field in rigid TIP3P water only draws geometries, and is the baseline that networks learn the
difference to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import openmm
from methanol import force_field, methanol
from numpy.typing import NDArray
from openmm import app, unit

from drupe.embedding import Label, Level, MolecularSystem, Partition, label
from drupe.embedding.gradients.directional import random_directions
from drupe.embedding.meanfield.restart import Restart
from drupe.embedding.regions.periodic import cut_cluster
from drupe.freeenergy.simulation.dynamics import advance, read_positions, split_seed
from drupe.mlp import Committee, Dataset, FitSpec, TransferSpec, accuracy
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.fitted import Fitted
from drupe.mlp.potential import Potential
from drupe.mlp.training import train_member
from drupe.mlp.transfer import transfer_member
from drupe.mlp.validation import Accuracy
from drupe.records import frozen, register
from drupe.units import nanometer

TEMPERATURE_K = 300.0
STEPS_PER_PS = 500  # with methanol's hydrogens made heavier, which moves no average
HYDROGEN_MASS = 4.0
ATOMS = range(6)  # methanol comes first
CORE = (1, 5)  # O and the H on it
N_OCCUPIED = (5,)  # where SPADE's singular values fall most, and fixed
MODES = ("energies", "slopes", "mp2", "exact")


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
    """Frames ``first`` to ``last`` (exclusive) of a run, basis, XC grid, radius of the waters (bohr)."""

    first: int
    last: int
    basis: str
    grid: int
    cluster_bohr: float


@register(version=1)
@dataclass(frozen=True, eq=False)
class Labelled:
    """Frames of a run: at DFT/MM with its forces, at CCSD(T)-in-PBE with exact and with MP2 forces.

    ``slope_miss`` is the largest difference (hartree/bohr) between the slopes that
    ``Level(forces="directional")`` gives on the first frame and the projections of its exact forces.
    """

    stage: LabelStage
    run: int
    low: tuple[Label, ...]
    exact: tuple[Label, ...]
    mp2: tuple[Label, ...]
    slope_miss: float


@register(version=1)
@dataclass(frozen=True)
class FitStage:
    """A low-level fit: its specification, and which member."""

    fit: FitSpec
    member: int


@register(version=1)
@dataclass(frozen=True)
class LearnStage:
    """A transfer: how it learns (of `MODES`), from how many labels, with how many slopes of each where it
    learns slopes, how many of the last parts are held out, which member, and its specification.
    """

    mode: str
    labels: int
    n_directions: int
    held_out: int
    member: int
    transfer: TransferSpec


@register(version=1)
@dataclass(frozen=True)
class Learned:
    """Errors against exact labels of the held-out blocks: before the transfer, and after it."""

    stage: LearnStage
    low: Accuracy
    high: Accuracy


def sample(settings: RunStage) -> MethanolRun:
    """Run dynamics from velocities of its own."""
    topology, positions = methanol()
    field = app.ForceField(force_field(), "amber14/tip3p.xml")
    box = app.Modeller(topology, positions)
    box.addSolvent(field, model="tip3p", boxSize=openmm.Vec3(*[settings.box_nm] * 3) * unit.nanometer)
    forces = field.createSystem(
        box.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.9 * unit.nanometer,
        constraints=None,
        rigidWater=True,
        hydrogenMass=HYDROGEN_MASS * unit.amu,
        removeCMMotion=False,
    )
    velocity_seed, noise_seed = split_seed(1000 * settings.seed + settings.run)
    integrator = openmm.LangevinMiddleIntegrator(
        TEMPERATURE_K * unit.kelvin, 2 / unit.picosecond, 1 / STEPS_PER_PS * unit.picosecond
    )
    integrator.setRandomNumberSeed(noise_seed)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(forces, integrator, platform, {"DeterministicForces": "true"})
    context.setPositions(box.positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=200)
    context.setVelocitiesToTemperature(TEMPERATURE_K * unit.kelvin, velocity_seed)
    # What minimisation left is given to the bath before anybody looks at the temperature.
    advance(context, max(1, round(STEPS_PER_PS * settings.equilibration_ps)), TEMPERATURE_K, watch_heat=False)
    frames = []
    for _ in range(settings.frames):
        advance(context, round(STEPS_PER_PS * settings.spacing_ps), TEMPERATURE_K)
        frames.append(read_positions(context))
    return MethanolRun(
        settings, _system(box, forces), openmm.XmlSerializer.serialize(forces), np.array(frames)
    )


def label_frames(settings: LabelStage, run: MethanolRun) -> Labelled:
    """Label frames at two levels, the higher one in two force modes; all three start from one SCF."""
    level = Level(
        "PBE",
        settings.basis,
        core="CCSD(T)",
        virtual_shells=None,
        n_occupied=N_OCCUPIED,
        grid=settings.grid,
        forces="exact",
    )
    low: list[Label] = []
    exact: list[Label] = []
    mp2: list[Label] = []
    miss = 0.0
    for frame in range(settings.first, settings.last):
        whole = run.system.with_positions(run.positions[frame])
        system = cut_cluster(whole, np.array(ATOMS), settings.cluster_bohr).system
        regions = Partition.select(system, qm=ATOMS, charge=0, cores=[list(CORE)])
        starts: list[Restart] = []
        exact.append(label(system, regions, level, on_restart=starts.append))
        modes = {"low": replace(level, core=None, n_occupied=None, forces="low")}
        modes["mp2"] = replace(level, forces="mp2")
        made = {name: label(system, regions, mode, density=starts[0]) for name, mode in modes.items()}
        low.append(made["low"])
        mp2.append(made["mp2"])
        if frame == settings.first:
            slow = label(system, regions, replace(level, forces="directional"), density=starts[0])
            assert slow.directions is not None
            assert slow.slopes is not None
            miss = float(np.abs(slow.slopes - _projections(exact[-1], slow.directions)).max())
    return Labelled(settings, run.stage.run, tuple(low), tuple(exact), tuple(mp2), miss)


def fit(settings: FitStage, run: MethanolRun, *labels: Labelled) -> Fitted:
    """Fit a low-level potential to all labels that may be learned from."""
    baseline = LigandForceField.from_system(openmm.XmlSerializer.deserialize(run.forces), ATOMS)
    return train_member(_low(_in_turn(labels)), settings.fit, settings.member, baseline)


def learn(settings: LearnStage, first: Fitted, *labels: Labelled) -> Learned:
    """Transfer a low-level fit in the mode, and measure it on the last parts, which nothing has seen.

    It learns from the first ``settings.labels`` of the others, drawn from all runs in turn, and rehearses
    what the fit has learned from.
    """
    known, unseen = _in_turn(labels[: -settings.held_out]), _in_turn(labels[-settings.held_out :])
    seen = known[: settings.labels]
    exact, mp2 = [frame.exact for frame in seen], [frame.mp2 for frame in seen]
    sloped = [_sloped(one, settings.n_directions, seed=i) for i, one in enumerate(exact)]
    made = {"energies": exact, "slopes": sloped, "mp2": mp2, "exact": exact}[settings.mode]
    accepted = {"energies": (), "mp2": ("energy", "MP2")}.get(settings.mode, ("energy",))
    high = Dataset.from_labels(made, blocks=[frame.run for frame in seen], accept_forces=accepted)
    before = Potential.from_stored(first.stored)
    after = transfer_member(before, high, _low(known), settings.transfer, settings.member)
    test = Dataset.from_labels([frame.exact for frame in unseen])
    return Learned(settings, *(accuracy(Committee((one.stored,)), test) for one in (first, after)))


@dataclass(frozen=True, eq=False)
class _Frame:
    """Three labels of one geometry, and the run it is of."""

    run: int
    low: Label
    exact: Label
    mp2: Label


def _in_turn(parts: Sequence[Labelled]) -> list[_Frame]:
    """Frames of all runs: the first of each run, the second of each, and so on."""
    placed = [
        (part.stage.first + i, part.run, _Frame(part.run, *three))
        for part in parts
        for i, three in enumerate(zip(part.low, part.exact, part.mp2, strict=True))
    ]
    return [frame for _, _, frame in sorted(placed, key=lambda one: one[:2])]


def _low(frames: Sequence[_Frame]) -> Dataset:
    return Dataset.from_labels([f.low for f in frames], which="low", blocks=[f.run for f in frames])


def _sloped(exact: Label, count: int, seed: int) -> Label:
    """The label as `Level(forces="directional")` makes it, its slopes projections of the exact forces.

    That is the same number within the error of differences (see `Labelled`), for a sixteenth of the time.
    """
    directions = random_directions(count, len(exact.qm_numbers), seed)
    return replace(
        exact,
        level=replace(exact.level, forces="directional", n_directions=count, direction_seed=seed),
        forces_qm=None,
        forces_mm=None,
        force_level="none",
        directions=directions,
        slopes=_projections(exact, directions),
        slope_errors=np.zeros(count),
    )


def _projections(exact: Label, directions: NDArray[np.float64]) -> NDArray[np.float64]:
    assert exact.forces_qm is not None
    return -np.einsum("kix,ix->k", directions, exact.forces_qm)


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
