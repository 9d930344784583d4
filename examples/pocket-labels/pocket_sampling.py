"""MM sampling of a ligand in its surroundings: a named system in, chunks of frames (bohr) out.

Each chunk is a task that starts from the OpenMM State of the chunk before it, so that a kill loses at
most the chunk in flight. What the tasks do, in which order and with which seeds, stands in `Run`.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit
from openmm.mtsintegrator import MTSLangevinIntegrator

from drupe.embedding.structures.masses import with_hydrogen_mass
from drupe.embedding.structures.structure import Structure, locate, openmm_system, read_amber
from drupe.embedding.system import MolecularSystem
from drupe.freeenergy.simulation.dynamics import (
    advance,
    engine_versions,
    potential_kt,
    read_positions,
    split_seed,
)
from drupe.records import frozen, register
from drupe.units import nanometer

HERE = Path(__file__).resolve().parent
SYSTEMS = ("xylene-t4l", "phenol-water")

TEMPERATURE_K = 300.0
FRICTION_PER_PS = 2.0
HYDROGEN_MASS_AMU = 3.0  # flexible bonds then take a step of 2 fs
CUTOFF_NM = 0.9  # of the sampling alone; a label leaves out no charge of its surroundings
_INNER_FS = 2.0
_OUTER_STEPS = 2  # of the protein: nonbonded forces and solvent every second bonded step
_BONDED, _SLOW = 1, 0
_MINIMISE = 200


@register(version=1)
@dataclass(frozen=True, eq=False)
class StartStage:
    """Settings of `make_start`: name of the system; edge of the water box in nm and its NPT time in ps."""

    system: str
    box_nm: float = 2.7
    pressure_ps: float = 20.0
    seed: int = 2026


@register(version=1)
@dataclass(frozen=True, eq=False)
class PocketStart:
    """Where every run of a system starts: minimised atoms with their force field, and who made it."""

    structure: Structure
    versions: Mapping[str, str]


@register(version=1)
@dataclass(frozen=True, eq=False)
class ChunkStage:
    """Settings of `sample_chunk`. The first chunk of a run draws velocities and equilibrates first.

    Fields: name of the system; number of the run and of the chunk in it; frames, their distance in ps,
    the equilibration of a run in ps, seed of the data set.
    """

    system: str
    run: int
    chunk: int
    frames: int
    spacing_ps: float
    equilibration_ps: float
    seed: int


@register(version=1)
@dataclass(frozen=True, eq=False)
class PocketChunk:
    """Successive frames of one run and the State the next chunk starts from.

    =========  ======================  ======  ==========================================
    field      shape                   unit    note
    =========  ======================  ======  ==========================================
    positions  ``(frames, atoms, 3)``  bohr    not wrapped into the box
    box        ``(3, 3)``              bohr    rows are box vectors; None without a box
    potential  ``(frames,)``           kT      of the sampling's force field
    state      text                            OpenMM State: positions and velocities
    =========  ======================  ======  ==========================================
    """

    stage: ChunkStage
    positions: NDArray[np.float64]
    box: NDArray[np.float64] | None
    potential: NDArray[np.float64]
    state: str
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", frozen(self.positions, np.float64))
        object.__setattr__(self, "potential", frozen(self.potential, np.float64))
        if self.box is not None:
            object.__setattr__(self, "box", frozen(self.box, np.float64))


def make_start(settings: StartStage) -> PocketStart:
    """Build a system, minimise it, and let a water box find its density."""
    build: dict[str, Callable[[StartStage], PocketStart]] = {
        "xylene-t4l": _xylene_in_t4l,
        "phenol-water": _phenol_in_water,
    }
    return build[settings.system](settings)


def sample_chunk(settings: ChunkStage, start: PocketStart, *before: PocketChunk) -> PocketChunk:
    """Go on with a run from its last State for ``settings.frames`` frames."""
    velocity_seed, _ = split_seed(_seed(settings, chunk=-1))
    _, noise_seed = split_seed(_seed(settings, chunk=settings.chunk))
    context, stride = _context(start.structure, settings.spacing_ps, noise_seed)
    if before:
        context.setState(openmm.XmlSerializer.deserialize(before[-1].state))
    else:
        context.setVelocitiesToTemperature(TEMPERATURE_K * unit.kelvin, velocity_seed)
        for _ in range(round(settings.equilibration_ps / settings.spacing_ps)):
            advance(context, stride, TEMPERATURE_K)
    frames, energies = [], []
    for _ in range(settings.frames):
        advance(context, stride, TEMPERATURE_K)
        frames.append(read_positions(context))
        energies.append(potential_kt(context, TEMPERATURE_K))
    state = context.getState(positions=True, velocities=True)
    return PocketChunk(
        stage=settings,
        positions=np.array(frames),
        box=start.structure.system.box,
        potential=np.array(energies),
        state=openmm.XmlSerializer.serialize(state),
        versions=engine_versions(context),
    )


def _seed(settings: ChunkStage, chunk: int) -> int:
    """One number for each chunk; the velocities of a run have the number of a chunk before the first."""
    entropy = [settings.seed, SYSTEMS.index(settings.system), settings.run, chunk + 1]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def _context(structure: Structure, spacing_ps: float, seed: int) -> tuple[openmm.Context, int]:
    """Context at the structure's positions, and the steps between two frames."""
    forces = openmm_system(structure)
    integrator: openmm.Integrator
    if structure.system.box is None:
        _cut_off(forces)
        integrator = MTSLangevinIntegrator(
            TEMPERATURE_K * unit.kelvin,
            FRICTION_PER_PS / unit.picosecond,
            _OUTER_STEPS * _INNER_FS * unit.femtosecond,
            [(_SLOW, 1), (_BONDED, _OUTER_STEPS)],
        )
        step_fs = _OUTER_STEPS * _INNER_FS
    else:
        integrator = openmm.LangevinMiddleIntegrator(
            TEMPERATURE_K * unit.kelvin, FRICTION_PER_PS / unit.picosecond, _INNER_FS * unit.femtosecond
        )
        step_fs = _INNER_FS
    integrator.setRandomNumberSeed(seed)
    platform = openmm.Platform.getPlatformByName("CPU")  # its threads come from OPENMM_CPU_THREADS
    context = openmm.Context(forces, integrator, platform, {"DeterministicForces": "true"})
    context.setPositions(structure.system.positions / nanometer)
    return context, round(1e3 * spacing_ps / step_fs)


def _cut_off(forces: openmm.System) -> None:
    """Give implicit solvent and Coulomb forces the sampling's cutoff, and the bonded ones a group."""
    for force in forces.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
            force.setCutoffDistance(CUTOFF_NM)
            force.setReactionFieldDielectric(1.0)  # the Born forces are the solvent already
            force.setForceGroup(_SLOW)
        elif isinstance(force, openmm.GBSAOBCForce):
            force.setNonbondedMethod(openmm.GBSAOBCForce.CutoffNonPeriodic)
            force.setCutoffDistance(CUTOFF_NM)
            force.setForceGroup(_SLOW)
        else:
            force.setForceGroup(_BONDED)


def _xylene_in_t4l(settings: StartStage) -> PocketStart:
    folder = "package:openmmtools/data/T4-lysozyme-L99A-implicit/"
    structure = read_amber(
        locate(folder + "complex.prmtop", HERE), locate(folder + "complex-minimized.crd", HERE)
    )
    return _minimised(with_hydrogen_mass(structure, HYDROGEN_MASS_AMU), 0.0, settings.seed)


def _phenol_in_water(settings: StartStage) -> PocketStart:
    """Phenol by GAFF2 with AM1-BCC charges (phenol.xml) in rigid TIP3P water with PME."""
    field = app.ForceField(str(HERE / "phenol.xml"), "amber14/tip3p.xml")
    ligand = app.PDBFile(io.StringIO((HERE / "phenol.pdb").read_text()))
    box = app.Modeller(ligand.topology, ligand.positions)
    box.addSolvent(field, model="tip3p", boxSize=openmm.Vec3(*[settings.box_nm] * 3) * unit.nanometer)
    forces = field.createSystem(
        box.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=CUTOFF_NM * unit.nanometer,
        constraints=None,  # the ligand is flexible
        rigidWater=True,
        removeCMMotion=False,
        hydrogenMass=HYDROGEN_MASS_AMU * unit.dalton,
    )
    (nonbonded,) = (f for f in forces.getForces() if isinstance(f, openmm.NonbondedForce))
    atoms = list(box.topology.atoms())
    system = MolecularSystem(
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
    structure = Structure(system, openmm.XmlSerializer.serialize(forces), None)
    return _minimised(structure, settings.pressure_ps, settings.seed)


def _minimised(structure: Structure, pressure_ps: float, seed: int) -> PocketStart:
    """Minimise; with ``pressure_ps`` then run at 1 bar and keep the last box for all runs."""
    context, _ = _context(structure, 1.0, split_seed(seed)[0])
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=_MINIMISE)
    system = structure.system.with_positions(read_positions(context))
    if pressure_ps > 0:
        forces = openmm_system(structure)
        barostat = openmm.MonteCarloBarostat(1.0 * unit.bar, TEMPERATURE_K * unit.kelvin)
        velocity_seed, noise_seed = split_seed(seed + 1)
        barostat.setRandomNumberSeed(noise_seed)
        forces.addForce(barostat)
        integrator = openmm.LangevinMiddleIntegrator(
            TEMPERATURE_K * unit.kelvin, FRICTION_PER_PS / unit.picosecond, _INNER_FS * unit.femtosecond
        )
        integrator.setRandomNumberSeed(noise_seed)
        platform = openmm.Platform.getPlatformByName("CPU")
        free = openmm.Context(forces, integrator, platform, {"DeterministicForces": "true"})
        free.setPositions(system.positions / nanometer)
        free.setVelocitiesToTemperature(TEMPERATURE_K * unit.kelvin, velocity_seed)
        advance(free, round(1e3 * pressure_ps / _INNER_FS), TEMPERATURE_K)
        state = free.getState(positions=True)
        vectors = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
        system = replace(system, positions=read_positions(free), box=np.asarray(vectors) * nanometer)
        structure = Structure(system, _with_box(structure, np.asarray(vectors)), None)
    final = Structure(system, structure.openmm_xml, structure.implicit_solvent)
    return PocketStart(final, engine_versions(context))


def _with_box(structure: Structure, vectors_nm: NDArray[np.float64]) -> str:
    forces = openmm_system(structure)
    forces.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in vectors_nm))
    text: str = openmm.XmlSerializer.serialize(forces)
    return text
