"""Time of two cores in one call against one core: prints one JSON object.

p-xylene in T4 lysozyme L99A with all charges, PBE/def2-SVP, CCSD(T) in the first virtual shell. The cores
are its two methyl groups, each in a call of its own and both in one; whole labels with forces, and the
core step alone, and the processor time of the label, which a busy machine does not stretch; beside plain
PySCF's DFT/MM energy and gradients. Each call is repeated and the fastest one counts.

    python benchmarks/two_cores.py [--threads 2] [--repeats 2]
"""

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

CORES = {"first": "resname TMP and name C8 H8 H9 H10", "second": "resname TMP and name C4 H3 H4 H5"}
DATA = "package:openmmtools/data/T4-lysozyme-L99A-implicit/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)

    from peers import pyscf_dft

    from drupe.embedding import Level, Partition, label
    from drupe.embedding.structures.structure import locate, read_amber

    here = Path()
    system = read_amber(
        locate(f"{DATA}complex.prmtop", here), locate(f"{DATA}complex-minimized.crd", here)
    ).system
    level = Level("PBE", "def2-SVP", core="CCSD(T)", virtual_shells=1)
    found = {}
    for name, cores in {**{k: [v] for k, v in CORES.items()}, "both": list(CORES.values())}.items():
        regions = Partition.select(system, qm="resname TMP", charge=0, cores=cores)
        labels, busy = [], []
        for _ in range(options.repeats):
            started = time.process_time()
            labels.append(label(system, regions, level))
            busy.append(time.process_time() - started)
        steps = {"label": min(one.seconds for one in labels), "label_cpu": min(busy)}
        for step in ("scf", "forces", "cores"):
            steps[step] = min(one.diagnostics[f"seconds_{step}"] for one in labels)
        found[name] = {
            "seconds": {step: round(value, 2) for step, value in steps.items()},
            "corrections_hartree": [core.correction for core in labels[0].cores],
            "orbitals": [[core.n_occupied, core.n_virtual] for core in labels[0].cores],
        }
    theirs = min(
        (pyscf_dft(system, regions, level)[-1] for _ in range(options.repeats)), key=lambda s: s["total"]
    )
    single = [found[name]["seconds"] for name in CORES]
    ratios = {
        step: round(found["both"]["seconds"][step] / (sum(one[step] for one in single) / 2), 3)
        for step in ("label", "label_cpu", "cores")
    }
    report = {
        "both_over_one": ratios,
        "label_with_both_over_pyscf_dft": round(found["both"]["seconds"]["label"] / theirs["total"], 3),
        "pyscf_dft_s": theirs,
        "runs": found,
        "threads": options.threads,
        "load": os.getloadavg()[0],
        "machine": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("drupe", "pyscf", "numpy")},
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
