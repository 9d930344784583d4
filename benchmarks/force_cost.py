"""Cost of one exact CCSD(T) force beside the energy at the same level, and beside central differences.

p-xylene (18 atoms) in T4 lysozyme, 2,603 charges, its methyl group the core, PBE, all virtual orbitals.
Central differences are estimated from one displaced energy, started from the undisplaced density, times
2 * 3 * 18. CPU seconds of this process stand beside wall times: on a shared machine they are the ones to
compare. Prints one JSON object. Run: OMP_NUM_THREADS=1 python benchmarks/force_cost.py [basis]
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from drupe.embedding import Level, Partition, label
from drupe.embedding.structures.structure import locate, read_amber

FILES = "package:openmmtools/data/T4-lysozyme-L99A-implicit/"
METHYL = "resname TMP and name C8 H8 H9 H10"
N_OCCUPIED = (5,)


def timed(call: Callable[[], object]) -> tuple[object, dict[str, float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    return found, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def main() -> None:
    basis = sys.argv[1] if len(sys.argv) > 1 else "6-31g"
    system = read_amber(
        locate(FILES + "complex.prmtop", Path()), locate(FILES + "complex-minimized.crd", Path())
    ).system
    regions = Partition.select(system, qm="resname TMP", charge=0, cores=[METHYL])
    level = Level(
        "PBE",
        basis,
        core="CCSD(T)",
        virtual_shells=None,
        n_occupied=N_OCCUPIED,
        forces="none",
        max_memory_mb=6000,
    )
    starts = []
    energy, energy_time = timed(lambda: label(system, regions, level, on_restart=starts.append))
    force, force_time = timed(lambda: label(system, regions, replace(level, forces="exact")))
    _, low_time = timed(lambda: label(system, regions, replace(level, forces="low", core=None)))
    positions = np.array(system.positions)
    positions[regions.qm[0], 0] += 0.01
    moved = system.with_positions(positions)
    near, displaced_time = timed(lambda: label(moved, regions, level, density=starts[0]))
    n = 2 * 3 * len(regions.qm)
    report = {
        "basis": basis,
        "n_basis": energy.diagnostics["n_basis"],
        "core": [energy.cores[0].n_occupied, energy.cores[0].n_virtual],
        "seconds": {
            "energy": energy_time,
            "energy and exact force": force_time,
            "DFT/MM energy and force": low_time,
            "displaced energy": displaced_time,
        },
        "seconds_by_part": {k: v for k, v in force.diagnostics.items() if k.startswith("seconds")},
        "force_over_energy": {k: force_time[k] / energy_time[k] for k in force_time},
        "differences_over_force": {k: n * displaced_time[k] / force_time[k] for k in force_time},
        "energy_difference": force.energy - energy.energy,
        "one_difference": (near.energy - energy.energy) / 0.01,
        "minus_force": -float(force.forces_qm[0, 0]),
        "versions": {name: version(name) for name in ("drupe", "pyscf", "numpy")},
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
