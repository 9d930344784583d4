"""What is kept of a mixed system: the files it is made from, read by another process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from openmmml import MLPotential

from drupe.units import nanometer

OPTIONS = {"embedding": "electrostatic", "interpolate": True, "removeConstraints": False, "forceGroup": 7}
LAMBDAS = (0.3, 1.0)

REBUILD = """
import json, sys
from pathlib import Path

import numpy as np
import openmm
from openmm import XmlSerializer, app, unit
from openmmml import MLPotential

folder = Path(sys.argv[1])
recipe = json.loads((folder / "recipe.json").read_text())
mixed = MLPotential("drupe", model=folder / recipe["model"]).createMixedSystem(
    app.PDBFile(str(folder / recipe["topology"])).topology,
    XmlSerializer.deserialize((folder / recipe["system"]).read_text()),
    recipe["atoms"],
    **recipe["options"],
)
platform = openmm.Platform.getPlatformByName("Reference")
context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), platform)
context.setPositions(np.load(folder / "positions.npy"))
for value in recipe["lambdas"]:
    context.setParameter("lambda_interpolate", value)
    state = context.getState(energy=True, forces=True)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    np.savez(folder / f"{value}.npz", energy=energy, forces=forces)
"""


def test_another_process_makes_the_same_system_from_files_alone(four_sites, phenol_committee, tmp_path):
    committee, atoms = phenol_committee(12.0), list(range(13))
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(four_sites.system))
    place = four_sites.positions / nanometer
    with open(tmp_path / "topology.pdb", "w") as file:
        app.PDBFile.writeFile(four_sites.topology, place * unit.nanometer, file)
    committee.save(tmp_path / "ligand.drupe")
    np.save(tmp_path / "positions.npy", place)
    names = {"system": "system.xml", "topology": "topology.pdb", "model": "ligand.drupe"}
    recipe = {**names, "atoms": atoms, "options": OPTIONS, "lambdas": LAMBDAS}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", REBUILD, str(tmp_path)],
        cwd=tmp_path,
        env=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    mixed = MLPotential("drupe", model=committee).createMixedSystem(
        four_sites.topology, four_sites.system, atoms, **OPTIONS
    )
    context = openmm.Context(
        mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(place)
    energies = []
    for value in LAMBDAS:
        context.setParameter("lambda_interpolate", value)
        state = context.getState(energy=True, forces=True)
        got = np.load(tmp_path / f"{value}.npz")
        energies.append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
        forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        np.testing.assert_allclose(got["energy"], energies[-1], rtol=1e-9)
        np.testing.assert_allclose(got["forces"], forces, rtol=1e-9, atol=1e-9 * np.abs(forces).max())
    assert abs(energies[1] - energies[0]) > 1.0
