"""Exact alchemical cases over many seeds: unbiased, with errors that are the scatter, and which verdict?

pair       two Lennard-Jones atoms (epsilon 5 kcal/mol) that a bond holds together are decoupled, window by
           window; the exact number is a ratio of two integrals over their distance
release    a Boresch restraint between two chains of atoms that see nothing else of each other is taken away
           in steps, inside a soft sphere; exact is the integral of `release_free_energy` with its volume

The sphere is there since a periodic box would not be exact: where the nearest image changes, angles and
dihedrals jump, which no force tells the dynamics. Chains held so weakly that they reach the edge of their box
were 0.16 kT off.

Each seed is a leg of its own through all that a campaign concludes from one: equilibration, MBAR, overlap,
convergence, verdict; the pair's windows also run as those of a campaign do. Prints one JSON object: exact
number, mean and its standard error, scatter over seeds, mean claimed error, root-mean-square pull, and
verdicts, in kT.
Run: OMP_NUM_THREADS=1 python benchmarks/exact_seeds.py [--seeds 20] [--processes 2] [--only pair]
"""

import argparse
import json
import math
import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import openmm
from scipy.integrate import quad

from drupe.embedding.structures.structure import Structure
from drupe.embedding.system import MolecularSystem
from drupe.freeenergy.alchemical.alchemy import Schedule, run_window
from drupe.freeenergy.alchemical.leg_estimate import estimate, judged_total
from drupe.freeenergy.alchemical.leg_tables import Tables, of_windows
from drupe.freeenergy.alchemical.restraints import BoreschRestraint, release_free_energy, restraint_force
from drupe.freeenergy.simulation.dynamics import advance, langevin_context, potential_kt
from drupe.freeenergy.simulation.sampling import SampleSpec
from drupe.units import angstrom, kcal_per_mol, kj_per_mol, kt, nanometer, standard_volume_nm3

TEMPERATURE = 300.0
KT = kt(TEMPERATURE) / kj_per_mol
#: Of the pair: nm, kJ/mol.
SIGMA, EPSILON, BOND, REST = 0.335, 5.0 * 4.184, 400.0, 0.376
STERICS = (1.0, 0.8, 0.62, 0.47, 0.34, 0.23, 0.13, 0.06, 0.0)
#: Of the release: radius (nm) and stiffness (kJ/mol/nm^2) of the sphere, anchors and constants, strengths.
RADIUS, WALL = 1.2, 500.0
RESTRAINT = BoreschRestraint(
    np.array([2, 1, 0]),
    np.array([3, 4, 5]),
    5.0 * angstrom,
    np.array([1.4, 1.8]),
    np.array([0.3, 3.0, -2.0]),
    5.0 * kcal_per_mol / angstrom**2,
    np.full(2, 40.0) * kcal_per_mol,
    np.full(3, 30.0) * kcal_per_mol,
)
#: Close where the chains let go of each other: there one window's distribution has two humps.
_STRONG = (1.0, 0.62, 0.4, 0.25, 0.16, 0.1, 0.07, 0.053, 0.044, 0.037, 0.031)
_WEAK = (0.026, 0.022, 0.018, 0.0145, 0.0115, 0.009, 0.0065, 0.004, 0.002, 0.0008, 0.0)
STRENGTHS = np.array([*_STRONG, *_WEAK])


def exact_pair() -> float:
    def integral(strength: float) -> float:
        def weight(r: float) -> float:
            well = 4 * EPSILON * ((SIGMA / r) ** 12 - (SIGMA / r) ** 6)
            return r * r * math.exp(-(0.5 * BOND * (r - REST) ** 2 + strength * well) / KT)

        return float(quad(weight, 0.2 if strength else 0.0, 5.0, points=[REST], limit=400)[0])

    return -math.log(integral(0.0) / integral(1.0))


def pair(seed: int):
    system = openmm.System()
    nonbonded, bond = openmm.NonbondedForce(), openmm.HarmonicBondForce()
    for _ in range(2):
        system.addParticle(40.0)
        nonbonded.addParticle(0.0, SIGMA, EPSILON)
    bond.addBond(0, 1, REST, BOND)
    system.addForce(nonbonded)
    system.addForce(bond)
    atoms = MolecularSystem.from_atoms([18, 18], np.array([[0.0, 0, 0], [REST, 0, 0]]) * nanometer)
    structure = Structure(atoms, openmm.XmlSerializer.serialize(system), None)
    schedule = Schedule((0,) * len(STERICS), (0,) * len(STERICS), STERICS)
    windows = []
    for index in range(len(schedule)):
        spec = SampleSpec(
            TEMPERATURE,
            step_fs=8.0,
            friction_per_ps=9.0,
            n_equilibration=100,
            n_frames=150,
            stride=60,
            seed=1000 * seed + index + 1,
        )
        start = structure.system.positions
        windows.append(
            run_window(structure, [1], schedule, index, None, spec, start, platform="Reference", threads=1)
        )
    return judged_total(*estimate(of_windows(windows)))


def exact_release() -> float:
    def weight(r: float) -> float:
        return 4 * math.pi * r * r * math.exp(-0.5 * WALL * max(0.0, r - RADIUS) ** 2 / KT)

    volume = quad(weight, 0.0, 2 * RADIUS, points=[RADIUS])[0]
    return release_free_energy(RESTRAINT, TEMPERATURE).numerical - math.log(volume / standard_volume_nm3)


def release(seed: int):
    system, bonds, angles = openmm.System(), openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    # Long arms and heavy atoms: a dihedral pulls without bound where three atoms come to lie in a line, and
    # arms of 0.15 nm with atoms of 3 amu were 11 K too warm in the middle windows.
    for _ in range(6):
        system.addParticle(12.0)
    for first in (0, 3):
        for i, j in ((0, 1), (1, 2)):
            bonds.addBond(first + i, first + j, 0.3, 2e4)
        angles.addAngle(first, first + 1, first + 2, 1.9, 400.0)
    held = restraint_force(RESTRAINT)
    held.setForceGroup(1)
    sphere = openmm.CustomBondForce(f"{WALL / 2} * max(0, r - {RADIUS})^2")
    sphere.addBond(int(RESTRAINT.receptor[0]), int(RESTRAINT.ligand[0]), [])
    for force in (bonds, angles, held, sphere):
        system.addForce(force)
    chain = np.array([[0.0, 0, 0], [0.3, 0.04, 0], [0.4, 0.3, 0.06]])
    start = np.concatenate([chain, chain[::-1] * [1, -1, 1] + [0.35, 0.45, 0.3]]) * nanometer
    tables = []
    for index, strength in enumerate(STRENGTHS):
        context = langevin_context(
            system,
            start,
            temperature_k=TEMPERATURE,
            step_fs=2.0,
            friction_per_ps=2.0,
            seed=100 * seed + index + 1,
            platform="Reference",
        )
        # The chains as they are written are far from rest under the whole restraint.
        openmm.LocalEnergyMinimizer.minimize(context)
        context.setVelocitiesToTemperature(TEMPERATURE, 100 * seed + index + 1)
        context.setParameter("lambda_restraint", strength)
        advance(context, 5000, TEMPERATURE)
        rows = []
        for _ in range(1200):
            advance(context, 160, TEMPERATURE, watch_heat=False)
            context.setParameter("lambda_restraint", 1.0)
            rows.append(STRENGTHS * potential_kt(context, TEMPERATURE, frozenset({1})))
            context.setParameter("lambda_restraint", strength)
        tables.append(np.array(rows).T)
    return judged_total(*estimate(Tables(np.array(tables))))


CASES = {"pair": (exact_pair, pair), "release": (exact_release, release)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", choices=CASES)
    given = parser.parse_args()
    out = {}
    with ProcessPoolExecutor(given.processes, multiprocessing.get_context("spawn")) as pool:
        for name, (exact, run) in CASES.items():
            if given.only not in (None, name):
                continue
            found = list(pool.map(run, range(given.seeds)))
            values, errors = (np.array([getattr(one, part) for one in found]) for part in ("value", "error"))
            want = exact()
            out[name] = {
                "exact": round(want, 4),
                "mean": round(float(values.mean()), 4),
                "error of the mean": round(float(values.std(ddof=1)) / math.sqrt(len(values)), 4),
                "scatter": round(float(values.std(ddof=1)), 4),
                "claimed error": round(float(errors.mean()), 4),
                "pull": round(float(np.sqrt((((values - want) / errors) ** 2).mean())), 3),
                "verdicts": dict(Counter(one.verdict.level for one in found)),
                "reasons": dict(Counter(r[:90] for one in found for r in one.verdict.reasons).most_common(4)),
            }
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
