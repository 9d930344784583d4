"""Exact forces against 4-point differences of the energy on the label, at grid 4: prints one JSON object.

CCSD(T) cores in PBE and in LDA (STO-3G): a water dimer (one water the core), methanol (OH, across a covalent
bond), methanol with two cores (OH, CH3), each in point charges, and ethanol cut between its carbons (a link
atom, RCD charges, OH the core). The energy is displaced along random unit vectors of all QM and MM atoms,
hosts of the link atom included, and along one of the MM atoms alone; steps of 2e-3 bohr. Numbers are
hartree/bohr.
Run: OMP_NUM_THREADS=1 python benchmarks/force_differences.py [--grid 4] [--only ethanol]
"""

import argparse
import json
import sys
from dataclasses import replace

import numpy as np

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.units import angstrom

STEP = 2e-3
TIGHT = {"scf_tolerance": 1e-12, "gradient_tolerance": 1e-8, "cc_tolerance": 1e-10}
DIMER = """8 -1.551 -0.115 0; 1 -1.934 0.763 0; 1 -0.600 0.041 0; 8 1.351 0.111 0; 1 1.680 -0.374 -0.759;
1 1.680 -0.374 0.759"""
METHANOL = """6 -0.046 0.663 0; 8 -0.046 -0.755 0; 1 -1.086 0.976 0; 1 0.437 1.071 0.890;
1 0.437 1.071 -0.890; 1 0.869 -1.057 0"""
ETHANOL = """8 -1.1867 -0.2472 0; 1 -1.9237 0.3850 0; 1 -0.0227 1.1812 0.8852; 6 0 0.5526 0;
1 -0.0227 1.1812 -0.8852; 6 1.1879 -0.3829 0; 1 2.0985 0.2306 0; 1 1.1184 -1.0093 0.8869;
1 1.1184 -1.0093 -0.8869"""
BONDS = [(0, 1), (0, 3), (2, 3), (3, 4), (3, 5), (5, 6), (5, 7), (5, 8)]
CHARGES_OF_ETHANOL = [-0.6, 0.42, 0.06, 0.12, 0.06, -0.25, 0.06, 0.06, 0.07]


def built(text, sites=(), own=None, bonds=None):
    """Atoms and point charges (e, x, y, z in A) as a system."""
    atoms = np.array([[float(x) for x in line.split()] for line in text.replace("\n", " ").split(";")])
    numbers = [*atoms[:, 0].astype(int), *(0 for _ in sites)]
    charges = [*(own or [0.0] * len(atoms)), *(site[0] for site in sites)]
    places = [*atoms[:, 1:], *(site[1:] for site in sites)]
    return MolecularSystem.from_atoms(numbers, angstrom * np.array(places), charges, bonds)


def cases():
    near = [(0.7, 2.6, -1.6, 0.3), (-0.8, -2.5, -1.9, 0.6), (0.4, 0.3, 3.6, 1.4)]
    dimer = built(DIMER, [(0.9, -3.8, -1.6, 0.4), (-0.5, 3.9, 0.9, 0.1)])
    methanol = built(METHANOL, near)
    ethanol = built(ETHANOL, [(0.5, -3.5, -1.5, 0.4), (-0.5, 1.0, 4.0, 0.5)], CHARGES_OF_ETHANOL, BONDS)
    oh, ch3 = [1, 5], [0, 2, 3, 4]
    yield "water dimer", dimer, Partition.select(dimer, qm=range(6), charge=0, cores=[[0, 1, 2]]), None
    yield "methanol", methanol, Partition.select(methanol, qm=range(6), charge=0, cores=[oh]), None
    both = Partition.select(methanol, qm=range(6), charge=0, cores=[oh, ch3])
    yield "methanol, two cores", methanol, both, (5, 4)
    cut = Partition.select(ethanol, qm=range(5), charge=0, cores=[[0, 1]])
    yield "ethanol cut at C-C", ethanol, cut, None


def deviation(system, partition, level, direction):
    """Slope of the energy by differences, plus the force along the direction."""
    made = label(system, partition, level)
    fixed = replace(level, forces="none", n_occupied=tuple(core.n_occupied for core in made.cores))
    slope = 0.0
    for k, weight in ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)):
        moved = system.with_positions(system.positions + k * STEP * direction)
        slope += weight * label(moved, partition, fixed).energy / (12 * STEP)
    along = (made.forces_qm * direction[partition.qm]).sum()
    along += (made.forces_mm * direction[partition.mm_atoms]).sum()
    return abs(float(slope + along)), abs(float(along))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grid", type=int, default=4)
    parser.add_argument("--basis", default="sto-3g")
    parser.add_argument("--only", default="", help="systems whose name begins so")
    given = parser.parse_args()
    rows = []
    for name, system, partition, occupied in cases():
        if not name.startswith(given.only):
            continue
        for functional in ("PBE", "LDA"):
            level = Level(
                functional,
                given.basis,
                core="CCSD(T)",
                virtual_shells=None,
                forces="exact",
                grid=given.grid,
                n_occupied=occupied,
                **TIGHT,
            )
            rng = np.random.default_rng(7)
            everywhere = rng.normal(size=(2, system.n_atoms, 3))
            outside = np.zeros_like(everywhere[:1])
            outside[:, partition.mm_atoms] = rng.normal(size=(1, len(partition.mm_atoms), 3))
            found = [
                deviation(system, partition, level, one / np.linalg.norm(one))
                for one in np.concatenate([everywhere, outside])
            ]
            rows.append(
                {
                    "system": name,
                    "functional": functional,
                    "deviation": max(one for one, _ in found),
                    "largest_slope": max(slope for _, slope in found),
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    print(json.dumps({"grid": given.grid, "basis": given.basis, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
