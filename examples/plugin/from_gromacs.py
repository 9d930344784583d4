"""Phenol in water from GROMACS files: an ordinary OpenMM script; the lines marked "learned" were added."""

import sys

from openmm import LangevinMiddleIntegrator, MonteCarloBarostat, app, unit
from openmmml import MLPotential  # learned

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000

gro = app.GromacsGroFile("phenol-water.gro")
top = app.GromacsTopFile("phenol-water.top", periodicBoxVectors=gro.getPeriodicBoxVectors())

system = top.createSystem(
    nonbondedMethod=app.PME, nonbondedCutoff=0.9 * unit.nanometer, constraints=app.HBonds
)
ligand = [atom.index for atom in top.topology.atoms() if atom.residue.name == "IPH"]  # learned
system = MLPotential("drupe", model="phenol.drupe").createMixedSystem(top.topology, system, ligand, embedding="electrostatic", removeConstraints=False)  # learned
system.addForce(MonteCarloBarostat(1 * unit.bar, 300 * unit.kelvin))

integrator = LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 2 * unit.femtosecond)
simulation = app.Simulation(top.topology, system, integrator)
simulation.context.setPositions(gro.positions)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin)
simulation.reporters.append(app.DCDReporter("phenol.dcd", 100))
simulation.reporters.append(
    app.StateDataReporter(sys.stdout, 100, step=True, potentialEnergy=True, temperature=True, density=True)
)
simulation.step(steps)
