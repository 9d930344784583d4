"""Dynamics on a learned potential of p-xylene: drift of the energy, and stability at 300 K.

The model is what `pocket_learning.py --system xylene-t4l --save MODEL` fitted to labels in the pocket of T4
lysozyme L99A. `nve`: the solvent leg (18 atoms, OBC2) in double precision or with the network in single,
leapfrog at 0.5 fs; the slope of the total energy by least squares over means of blocks, with its standard
error. `nvt`: Langevin dynamics at 300 K of the solvent leg, and of the whole complex without implicit solvent
(as a pocket in vacuum, all charges acting): mean kinetic temperature of the ligand, longest stretch of a
bond, and how far the committee disagrees. Prints one JSON object.
Run: OMP_NUM_THREADS=1 OPENMM_CPU_THREADS=1 python benchmarks/potential_dynamics.py MODEL nve
     OMP_NUM_THREADS=1 OPENMM_CPU_THREADS=1 python benchmarks/potential_dynamics.py MODEL nvt --leg complex
"""

import json
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import openmm
from openmm import app, unit
from openmmml import MLPotential

from drupe.embedding.structures.structure import (
    Structure,
    cut_out,
    locate,
    openmm_system,
    openmm_topology,
    read_amber,
)
from drupe.mlp.monitor import uncertainty
from drupe.units import angstrom, kcal_per_mol, nanometer

T4L = "package:openmmtools/data/T4-lysozyme-L99A-implicit/"
TEMPERATURE_K = 300.0
BLOCK_PS = 5.0
EQUILIBRATION_PS = 5.0  # the minimised structure warms up; only NVT needs it whole


def leg_of(leg: str) -> tuple[Structure, list[int]]:
    """Structure of a leg and the ligand's atoms in it; the complex is taken without implicit solvent."""
    files = locate(f"{T4L}complex.prmtop", Path()), locate(f"{T4L}complex-minimized.crd", Path())
    if leg == "complex":
        whole = read_amber(*files, implicit_solvent=None)
        return whole, _ligand(whole)
    whole = read_amber(*files, implicit_solvent="OBC2")
    part = cut_out(whole, _ligand(whole))
    return part, _ligand(part)


def _ligand(structure: Structure) -> list[int]:
    return np.flatnonzero(np.array(structure.system.residue_names) == "TMP").tolist()


def simulation_of(
    leg: str, model: Path, integrator: openmm.Integrator, platform: str, precision: str = "double"
) -> tuple[app.Simulation, list[int]]:
    """The mixed system at the minimised structure, with velocities; and the ligand's atoms."""
    structure, ligand = leg_of(leg)
    topology, plain = openmm_topology(structure.system), openmm_system(structure)
    mixed = MLPotential("drupe", model=str(model), precision=precision).createMixedSystem(
        topology, plain, ligand, embedding="electrostatic"
    )
    options = {"Threads": "1"} if platform == "CPU" else {}
    made = app.Simulation(topology, mixed, integrator, openmm.Platform.getPlatformByName(platform), options)
    made.context.setPositions(structure.system.positions / nanometer)
    made.context.setVelocitiesToTemperature(TEMPERATURE_K, 7)
    return made, ligand


def energy_of(context: openmm.Context) -> float:
    state = context.getState(getEnergy=True)
    total = state.getPotentialEnergy() + state.getKineticEnergy()
    return float(total.value_in_unit(unit.kilojoule_per_mole))


def slope_with_error(times: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Least-squares slope and its standard error from the residuals."""
    x = times - times.mean()
    slope = float(x @ values / (x @ x))
    left = values - values.mean() - slope * x
    return slope, float(np.sqrt(left @ left / (len(x) - 2) / (x @ x)))


@click.group()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.pass_context
def main(ctx: click.Context, model: Path) -> None:
    """Dynamics on MODEL."""
    ctx.obj = model


@main.command()
@click.option("--ps", default=100.0, show_default=True)
@click.option("--step-fs", default=0.5, show_default=True)
@click.option("--precision", type=click.Choice(["double", "single"]), default="double")
@click.pass_obj
def nve(model: Path, ps: float, step_fs: float, precision: str) -> None:
    """Drift of the total energy in the solvent leg; OpenMM in double precision, the network as asked."""
    warm = openmm.LangevinMiddleIntegrator(TEMPERATURE_K, 5.0, step_fs * 1e-3)
    warm.setRandomNumberSeed(11)
    simulation, _ = simulation_of("solvent", model, warm, "Reference", precision)
    simulation.step(round(2000 / step_fs))
    state = simulation.context.getState(positions=True, velocities=True)
    integrator = openmm.VerletIntegrator(step_fs * 1e-3)
    context = openmm.Context(simulation.system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setState(state)
    every = 20
    begun = time.perf_counter()
    found = []
    for _ in range(round(ps * 1000 / step_fs / every)):
        integrator.step(every)
        found.append(energy_of(context))
    energies = np.array(found)
    times = every * step_fs * 1e-3 * np.arange(1, len(energies) + 1)
    count = max(4, round(ps / BLOCK_PS))
    blocks = np.array([part.mean() for part in np.array_split(energies, count)])
    centres = np.array([part.mean() for part in np.array_split(times, count)])
    slope, error = slope_with_error(centres, blocks)
    atoms = simulation.system.getNumParticles()
    tell(
        {
            "ensemble": "NVE",
            "precision": precision,
            "ps": ps,
            "step_fs": step_fs,
            "atoms": atoms,
            "drift_kj_mol_atom_ps": slope / atoms,
            "standard_error": error / atoms,
            "fluctuation_kj_mol": float(energies.std()),
            "ms_per_step": 1e3 * (time.perf_counter() - begun) / (len(energies) * every),
        }
    )


@main.command()
@click.option("--leg", type=click.Choice(["solvent", "complex"]), required=True)
@click.option("--ps", default=50.0, show_default=True)
@click.option("--step-fs", default=0.5, show_default=True)
@click.pass_obj
def nvt(model: Path, leg: str, ps: float, step_fs: float) -> None:
    """Langevin dynamics of a leg at 300 K."""
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE_K, 1.0, step_fs * 1e-3)
    integrator.setRandomNumberSeed(5)
    platform = "Reference" if leg == "solvent" else "CPU"
    simulation, ligand = simulation_of(leg, model, integrator, platform)
    inside = set(ligand)
    bonds = np.array(
        [(a.index, b.index) for a, b in simulation.topology.bonds() if {a.index, b.index} <= inside]
    )
    masses = np.array([simulation.system.getParticleMass(i).value_in_unit(unit.dalton) for i in ligand])
    simulation.step(round(1000 * EQUILIBRATION_PS / step_fs))
    begun = time.perf_counter()
    temperatures, stretches, spreads, sure = [], [], [], []
    start = None
    every = round(100 / step_fs)
    for _ in range(round(ps * 10)):
        simulation.step(every)
        state = simulation.context.getState(positions=True, velocities=True)
        place = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        speed = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)[ligand]
        lengths = np.linalg.norm(place[bonds[:, 0]] - place[bonds[:, 1]], axis=1)
        start = lengths if start is None else start
        stretches.append(float(np.abs(lengths - start).max()))
        kinetic = 0.5 * (masses[:, None] * speed**2).sum()
        temperatures.append(2 * kinetic / (3 * len(ligand) * 0.00831446261815324))
        doubt = uncertainty(simulation)
        spreads.append(float(doubt.forces.max()) / (kcal_per_mol / angstrom))
        sure.append(float(doubt.energy) / kcal_per_mol)
    tell(
        {
            "ensemble": "NVT",
            "leg": leg,
            "ps": ps,
            "step_fs": step_fs,
            "atoms": simulation.system.getNumParticles(),
            "ligand_temperature_k": float(np.mean(temperatures)),
            "standard_error_k": float(np.std(temperatures) / np.sqrt(len(temperatures))),
            "longest_stretch_a": max(stretches),
            "largest_force_spread_kcal_mol_a": max(spreads),
            "median_force_spread_kcal_mol_a": float(np.median(spreads)),
            "median_energy_error_kcal_mol": float(np.median(sure)),
            "ms_per_step": 1e3 * (time.perf_counter() - begun) / (round(ps * 10) * every),
        }
    )


def tell(report: dict[str, Any]) -> None:
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
