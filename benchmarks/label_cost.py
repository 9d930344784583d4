"""Seconds of a whole label (DFT/MM, forces, CCSD(T) core) beside plain PySCF's DFT/MM energy and gradients.

p-xylene in T4 lysozyme, 2,603 charges, PBE/def2-SVP, a core of two heavy atoms. Prints one JSON object.
Run: OMP_NUM_THREADS=1 python benchmarks/label_cost.py [rounds]
"""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

from peers import pyscf_dft

from drupe.embedding import Level, Partition, label
from drupe.embedding.structures.structure import locate, read_amber

FILES = "package:openmmtools/data/T4-lysozyme-L99A-implicit/"
LEVEL = Level(functional="PBE", basis="def2-SVP", core="CCSD(T)", virtual_shells=1)
CORE = "resname TMP and name C8 H8 H9 H10 C7"


def complex_with_ligand():
    """System, and the partition with the methyl group and its ring carbon as the core."""
    system = read_amber(
        locate(FILES + "complex.prmtop", Path()), locate(FILES + "complex-minimized.crd", Path())
    ).system
    return system, Partition.select(system, qm="resname TMP", charge=0, cores=[CORE])


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    system, regions = complex_with_ligand()
    ours, theirs, cpu = [], [], []
    for _ in range(rounds):
        before = time.process_time()
        result = label(system, regions, LEVEL)
        between = time.process_time()
        ours.append(
            {
                "scf": result.diagnostics["seconds_scf"],
                "forces": result.diagnostics["seconds_forces"],
                "core": result.diagnostics["seconds_cores"],
                "total": result.seconds,
                "cycles": result.diagnostics["scf_iterations"],
            }
        )
        energy, forces_qm, forces_mm, seconds = pyscf_dft(system, regions, LEVEL)
        theirs.append(seconds)
        cpu.append((between - before, time.process_time() - between))
    core = result.cores[0]
    print(
        json.dumps(
            {
                "ratio": [mine["total"] / other["total"] for mine, other in zip(ours, theirs, strict=True)],
                "ratio_cpu": [mine / other for mine, other in cpu],
                "cpu_s": cpu,
                "ours_s": ours,
                "pyscf_s": theirs,
                "energy_difference_hartree": result.energy_low - energy,
                "largest_force_difference": {
                    "qm": float(abs(result.forces_qm - forces_qm).max()),
                    "mm": float(abs(result.forces_mm - forces_mm).max()),
                },
                "core": {
                    "atoms": CORE,
                    "n_occupied": core.n_occupied,
                    "n_virtual": core.n_virtual,
                    "correction_hartree": core.correction,
                },
                "n_charges": len(regions.mm_atoms),
                "n_basis": result.diagnostics["n_basis"],
                "threads": os.environ.get("OMP_NUM_THREADS", "default"),
                "versions": {name: version(name) for name in ("drupe", "pyscf", "numpy")},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
