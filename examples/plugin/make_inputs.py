"""Write a relaxed box of phenol in water as GROMACS files, and as a PDB file with a serialised OpenMM System.

It is relaxed by MM alone. Your own files take their place.
``phenol.itp`` has the parameters of ``../pocket-labels/phenol.xml``.
"""

from pathlib import Path

from openmm import LangevinMiddleIntegrator, MonteCarloBarostat, System, Vec3, XmlSerializer, app, unit


def main() -> None:
    field = app.ForceField("../pocket-labels/phenol.xml", "amber14/tip3p.xml")
    pdb = app.PDBFile("../pocket-labels/phenol.pdb")
    box = app.Modeller(pdb.topology, pdb.positions)
    box.addSolvent(field, boxSize=Vec3(2.8, 2.8, 2.8) * unit.nanometer)
    system = field.createSystem(
        box.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.9 * unit.nanometer, constraints=app.HBonds
    )
    relax(box, system)
    Path("phenol-water.xml").write_text(XmlSerializer.serialize(system))
    with open("phenol-water.pdb", "w") as file:
        app.PDBFile.writeFile(box.topology, box.positions, file)
    waters = box.topology.getNumResidues() - 1
    top = f'#include "phenol.itp"\n\n[ system ]\nPhenol in water\n\n[ molecules ]\nIPH 1\nSOL {waters}\n'
    Path("phenol-water.top").write_text(top)
    Path("phenol-water.gro").write_text(gro(box))


def relax(box: app.Modeller, system: System) -> None:
    """Minimise and run 1 ps at 300 K and 1 bar; positions and box vectors are then the last ones."""
    barostat = system.addForce(MonteCarloBarostat(1 * unit.bar, 300 * unit.kelvin))
    integrator = LangevinMiddleIntegrator(300 * unit.kelvin, 10 / unit.picosecond, 2 * unit.femtosecond)
    simulation = app.Simulation(box.topology, system, integrator)
    simulation.context.setPositions(box.positions)
    simulation.minimizeEnergy(maxIterations=200)
    simulation.context.setVelocitiesToTemperature(300 * unit.kelvin)
    simulation.step(500)
    state = simulation.context.getState(positions=True, enforcePeriodicBox=True)
    box.positions = state.getPositions()
    box.topology.setPeriodicBoxVectors(state.getPeriodicBoxVectors())
    system.setDefaultPeriodicBoxVectors(*state.getPeriodicBoxVectors())
    system.removeForce(barostat)


def gro(box: app.Modeller) -> str:
    """Positions in nm, five digits for numbers that start again after 99999."""
    lines = ["Phenol in water", f"{box.topology.getNumAtoms():5d}"]
    place = box.positions.value_in_unit(unit.nanometer)
    names = {"HOH": "SOL", "O": "OW", "H1": "HW1", "H2": "HW2"}
    for atom, (x, y, z) in zip(box.topology.atoms(), place, strict=True):
        water = atom.residue.name == "HOH"
        residue, name = names["HOH"] if water else "IPH", names[atom.name] if water else atom.name
        number, index = (atom.residue.index + 1) % 100000, (atom.index + 1) % 100000
        lines.append(f"{number:5d}{residue:<5s}{name:>5s}{index:5d}{x:8.3f}{y:8.3f}{z:8.3f}")
    vectors = box.topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer)
    lines.append(" ".join(f"{vectors[k][k]:.5f}" for k in range(3)))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
