"""Milliseconds of a learned potential: energy and all forces in 2,603 charges, and of a step inside OpenMM.

Random weights: the time does not depend on them. p-xylene (18 atoms) in T4 lysozyme with its MM baseline, and
nonadecanol (60 atoms) in the same charges; one potential and a committee of four, evaluated one by one on one
thread, after the 300 calls it takes until a potential runs from its frozen graph. What OpenMM adds is
measured on a system of the same particles with the learned force alone: its step less the network. Steps of
the whole mixed system and of the MM system are beside it, on the CPU platform with one thread. Every number
is the median of many calls, those of the whole systems the smallest of twenty. Prints one JSON object.
Run: OMP_NUM_THREADS=1 OPENMM_CPU_THREADS=1 python benchmarks/inference.py [--calls 200]
"""

import argparse
import copy
import json
import os
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import openmm
from openmm import unit
from openmmml import MLPotential

from drupe.embedding.structures.structure import locate, openmm_system, openmm_topology, read_amber
from drupe.mlp import Committee, FitSpec
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.potential import Potential, PotentialHeader
from drupe.units import angstrom, nanometer

WARM_UP = 310
FILES = "package:openmmtools/data/T4-lysozyme-L99A-implicit/"


def committee(numbers, charges, spec, members, baseline=None):
    """Potentials of the specification's size, not trained."""
    header = PotentialHeader(
        numbers=numbers,
        fixed_charges=charges,
        total_charge=round(float(charges.sum())),
        backbone=spec.backbone,
        features=spec.features,
        layers=spec.layers,
        radial=spec.radial,
        cutoff=spec.cutoff,
        damping=spec.damping,
        field_scale=0.02,
        energy_scale=0.01,
        energy_bound=spec.energy_bound,
        charge_scale=0.1,
        polarizability_scale=5.0,
        energy_zero=0.0,
        level="none",
        training_set="none",
        baseline=baseline,
    )
    return Committee(tuple(Potential(header, seed=seed).stored() for seed in range(members)))


def median_ms(call, calls):
    """Median of wall times; the first calls warm up, and a potential freezes its graph."""
    spent = []
    for _ in range(calls + WARM_UP):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return 1e3 * statistics.median(spent[WARM_UP:])


def alone(mixed):
    """A system of the same particles with the learned force only."""
    bare = openmm.System()
    for i in range(mixed.getNumParticles()):
        bare.addParticle(mixed.getParticleMass(i))
    for force in mixed.getForces():
        if isinstance(force, openmm.PythonForce):
            bare.addForce(copy.copy(force))
    return bare


def step_ms(system, positions, steps, warm_up=WARM_UP):
    integrator = openmm.LangevinMiddleIntegrator(300, 1 / unit.picosecond, 1e-6)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"), {"Threads": "1"})
    context.setPositions(positions / nanometer)
    if not warm_up:
        return min(timed(lambda: integrator.step(1)) for _ in range(steps))
    return median_ms(lambda: integrator.step(1), steps)


def timed(call):
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def nonadecanol():
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mol = Chem.AddHs(Chem.MolFromSmiles("C" * 19 + "O"))
    AllChem.EmbedMolecule(mol, randomSeed=7)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return numbers, mol.GetConformer().GetPositions() * angstrom


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=200)
    calls = parser.parse_args().calls
    here = Path()
    structure = read_amber(
        locate(f"{FILES}complex.prmtop", here), locate(f"{FILES}complex-minimized.crd", here)
    )
    system = structure.system
    ligand = np.flatnonzero(np.array(system.residue_names) == "TMP")
    around = np.setdiff1d(np.arange(system.n_atoms), ligand)
    qm, mm, charges = system.positions[ligand], system.positions[around], system.charges[around]
    own = LigandForceField.from_structure(structure, ligand)
    long_numbers, long_positions = nonadecanol()
    # In the pocket's place, with charges that would lie on it moved out of the way.
    long_positions = long_positions - long_positions.mean(0) + qm.mean(0)
    nearest = np.linalg.norm(mm[:, None] - long_positions, axis=2).min(1)
    moved = mm + np.where(nearest < 4.0, 200.0, 0.0)[:, None]
    specs = {"default": FitSpec(), "fast": FitSpec.preset("fast"), "accurate": FitSpec.preset("accurate")}
    rows = []
    for name, spec in specs.items():
        for members in (1, 4):
            small = committee(system.numbers[ligand], system.charges[ligand], spec, members, own)
            large = committee(long_numbers, np.zeros(60), spec, members)
            row = {"network": name, "members": members}
            row["18 atoms, ms"] = median_ms(
                lambda model=small: model.evaluate(qm, mm, charges, fixed_coulomb=False), calls
            )
            row["60 atoms, ms"] = median_ms(
                lambda model=large: model.evaluate(long_positions, moved, charges, fixed_coulomb=False), calls
            )
            rows.append(row)
    model = committee(system.numbers[ligand], system.charges[ligand], specs["default"], 4, own)
    plain = openmm_system(structure)
    mixed = MLPotential("drupe", model=model).createMixedSystem(
        openmm_topology(system), openmm_system(structure), ligand.tolist(), embedding="electrostatic"
    )
    network = median_ms(lambda: model.evaluate(qm, mm, charges, fixed_coulomb=False), calls)
    inside = step_ms(alone(mixed), system.positions, calls)
    of_mm = step_ms(plain, system.positions, 20, warm_up=0)
    of_mixed = step_ms(mixed, system.positions, 20, warm_up=0)
    print(
        json.dumps(
            {
                "charges": len(charges),
                "rows": rows,
                "step_ms": {
                    "network": network,
                    "learned force alone": inside,
                    "what OpenMM adds": inside - network,
                    "MM": of_mm,
                    "mixed": of_mixed,
                },
                "load": os.getloadavg()[0],
                "versions": {name: version(name) for name in ("drupe", "torch", "openmm", "openmmml")},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
