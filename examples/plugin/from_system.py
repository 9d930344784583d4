"""Phenol in water from a serialised System: an ordinary OpenMM script; lines marked "learned" were added."""

import sys
from pathlib import Path

from openmm import LangevinMiddleIntegrator, MonteCarloBarostat, XmlSerializer, app, unit
from openmmml import MLPotential  # learned

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000

pdb = app.PDBFile("phenol-water.pdb")
system = XmlSerializer.deserialize(Path("phenol-water.xml").read_text())
ligand = [atom.index for atom in pdb.topology.atoms() if atom.residue.name == "IPH"]  # learned
system = MLPotential("drupe", model="phenol.drupe").createMixedSystem(pdb.topology, system, ligand, embedding="electrostatic", removeConstraints=False)  # learned
system.addForce(MonteCarloBarostat(1 * unit.bar, 300 * unit.kelvin))

integrator = LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 2 * unit.femtosecond)
simulation = app.Simulation(pdb.topology, system, integrator)
simulation.context.setPositions(pdb.positions)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin)
simulation.reporters.append(app.DCDReporter("phenol.dcd", 100))
simulation.reporters.append(
    app.StateDataReporter(sys.stdout, 100, step=True, potentialEnergy=True, temperature=True, density=True)
)
simulation.step(steps)
