"""Phenol in water at constant pressure: an ordinary OpenMM script; the lines marked "learned" were added."""

import sys

from openmm import LangevinMiddleIntegrator, MonteCarloBarostat, Vec3, app, unit
from openmmml import MLPotential  # learned

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000

pdb = app.PDBFile("../pocket-labels/phenol.pdb")
forcefield = app.ForceField("../pocket-labels/phenol.xml", "amber14/tip3p.xml")
modeller = app.Modeller(pdb.topology, pdb.positions)
modeller.addSolvent(forcefield, boxSize=Vec3(2.8, 2.8, 2.8) * unit.nanometer)

system = forcefield.createSystem(
    modeller.topology,
    nonbondedMethod=app.PME,
    nonbondedCutoff=0.9 * unit.nanometer,
    constraints=app.HBonds,
)
ligand = [atom.index for atom in modeller.topology.atoms() if atom.residue.name == "IPH"]  # learned
system = MLPotential("drupe", model="phenol.drupe").createMixedSystem(modeller.topology, system, ligand, embedding="electrostatic", removeConstraints=False)  # learned
system.addForce(MonteCarloBarostat(1 * unit.bar, 300 * unit.kelvin))

integrator = LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 2 * unit.femtosecond)
simulation = app.Simulation(modeller.topology, system, integrator)
simulation.context.setPositions(modeller.positions)
simulation.minimizeEnergy(maxIterations=250)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin)
simulation.reporters.append(app.DCDReporter("phenol.dcd", 100))
simulation.reporters.append(
    app.StateDataReporter(sys.stdout, 100, step=True, potentialEnergy=True, temperature=True, density=True)
)
simulation.step(steps)
