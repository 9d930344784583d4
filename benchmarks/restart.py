"""Seconds of the SCF of a next snapshot beside a cold one, ours and plain PySCF's.

p-xylene in T4 lysozyme, 2,603 charges, PBE/def2-SVP; all atoms moved at random by 0.005 and 0.05 A (root
mean square). Prints one JSON object. Run: OMP_NUM_THREADS=1 python benchmarks/restart.py [rounds]
"""

import json
import os
import sys
import time
from importlib.metadata import version

import numpy as np
from label_cost import LEVEL, complex_with_ligand
from pyscf import dft, gto, qmmm

from drupe.embedding.meanfield.qmmm import run_dft
from drupe.units import angstrom


def timed(call):
    """Result, wall seconds, processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def peer(system, regions, positions, density=None):
    qm, mm = regions.qm, regions.mm_atoms
    mol = gto.M(
        atom=[(int(z), tuple(r)) for z, r in zip(system.numbers[qm], positions[qm], strict=True)],
        unit="Bohr",
        basis=LEVEL.basis,
        verbose=0,
        max_memory=LEVEL.max_memory_mb,
    )
    engine = dft.RKS(mol, xc=LEVEL.functional).density_fit(auxbasis=LEVEL.auxbasis)
    engine.grids.level = LEVEL.grid
    engine = qmmm.mm_charge(engine, np.array(positions[mm]), system.charges[mm], unit="Bohr")
    engine.conv_tol, engine.conv_tol_grad = LEVEL.scf_tolerance, LEVEL.gradient_tolerance
    engine.kernel(dm0=density)
    return engine


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    system, regions = complex_with_ligand()
    qm, mm = regions.qm, regions.mm_atoms

    def ours(positions, start=None):
        return run_dft(
            system.numbers[qm], positions[qm], 0, 1, positions[mm], system.charges[mm], LEVEL, start
        )

    first, plain = ours(system.positions), peer(system, regions, system.positions)
    rows = []
    for round_ in range(rounds):
        for moved in (0.005, 0.05):
            step = np.random.default_rng(round_).normal(size=system.positions.shape)
            step *= moved * angstrom / np.sqrt((step**2).sum(axis=1).mean())
            positions = system.positions + step
            cold, cold_wall, cold_cpu = timed(lambda where=positions: ours(where))
            warm, warm_wall, warm_cpu = timed(lambda where=positions: ours(where, first.restart))
            theirs, _, their_cpu = timed(lambda where=positions: peer(system, regions, where))
            again, _, again_cpu = timed(
                lambda where=positions: peer(system, regions, where, plain.make_rdm1())
            )
            rows.append(
                {
                    "moved_angstrom": moved,
                    "ratio_cpu": warm_cpu / cold_cpu,
                    "ratio_wall": warm_wall / cold_wall,
                    "cold_cpu_s": cold_cpu,
                    "restarted_cpu_s": warm_cpu,
                    "pyscf_ratio_cpu": again_cpu / their_cpu,
                    "pyscf_cold_cpu_s": their_cpu,
                    "pyscf_restarted_cpu_s": again_cpu,
                    "pyscf_cycles": [theirs.cycles, again.cycles],
                    "iterations": [cold.iterations, warm.iterations],
                    "energy_difference_hartree": warm.energy - cold.energy,
                    "difference_to_pyscf_hartree": cold.energy - theirs.e_tot,
                }
            )
    print(
        json.dumps(
            {
                "rows": rows,
                "n_charges": len(mm),
                "threads": os.environ.get("OMP_NUM_THREADS", "default"),
                "versions": {name: version(name) for name in ("drupe", "pyscf", "numpy")},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
