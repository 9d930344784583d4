"""Seconds and memory of DFT/MM energy and forces against the number of MM charges, beside plain PySCF.

Acetamide, PBE/def2-SVP, charges of +-0.4 e in a shell around it. Each size runs in a fresh process, so that
its peak memory is its own. Prints one JSON object. Run: OMP_NUM_THREADS=1 python benchmarks/many_charges.py
"""

import json
import os
import resource
import subprocess
import sys
import time
from importlib.metadata import version

import numpy as np

SIZES = (1_000, 10_000, 30_000, 100_000)
ATOMS = (
    "O 0.4247 1.3049 0; C 0 0.1541 0; N -1.3028 -0.1627 0; C 0.8851 -1.0660 0; H -1.9600 0.6041 0;"
    "H -1.6000 -1.1278 0; H 1.9249 -0.7375 0; H 0.6916 -1.6770 0.8823; H 0.6916 -1.6770 -0.8823"
)


def measure(size: int, who: str) -> dict[str, float]:
    from pyscf import dft, gto, qmmm

    from drupe.embedding import Level
    from drupe.embedding.meanfield.qmmm import run_dft

    level = Level("PBE", "def2-SVP")
    mol = gto.M(atom=ATOMS, basis="def2-SVP", verbose=0)
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(size, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    points = directions * (12.0**3 + rng.random(size) * 30.0 * size)[:, None] ** (1 / 3)
    charges = 0.4 * (-1.0) ** np.arange(size)
    start, wall = time.process_time(), time.perf_counter()
    if who == "drupe":
        field = run_dft(mol.atom_charges(), mol.atom_coords(), 0, 1, points, charges, level)
        energy = field.energy
        scf = time.process_time()
        field.forces()
    else:
        engine = dft.RKS(mol, xc="PBE").density_fit(auxbasis=level.auxbasis)
        engine = qmmm.mm_charge(engine, points, charges, unit="Bohr")
        engine.conv_tol, engine.conv_tol_grad = level.scf_tolerance, level.gradient_tolerance
        energy = engine.kernel()
        scf = time.process_time()
        gradient = engine.nuc_grad_method()
        gradient.kernel()
        gradient.grad_hcore_mm(engine.make_rdm1())
        gradient.grad_nuc_mm()
    return {
        "energy_hartree": float(energy),
        "scf_cpu_s": scf - start,
        "forces_cpu_s": time.process_time() - scf,
        "total_wall_s": time.perf_counter() - wall,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def main() -> None:
    rows = []
    for size in SIZES:
        row = {"charges": size}
        for who in ("drupe", "pyscf"):
            done = subprocess.run(
                [sys.executable, __file__, str(size), who], check=True, capture_output=True, text=True
            )
            row[who] = json.loads(done.stdout)
        rows.append(row)
    spent = [row["drupe"]["scf_cpu_s"] + row["drupe"]["forces_cpu_s"] for row in rows]
    per_charge = [(b - a) / (n - m) for a, b, m, n in zip(spent, spent[1:], SIZES, SIZES[1:], strict=False)]
    print(
        json.dumps(
            {
                "rows": rows,
                "cpu_seconds_per_added_charge": per_charge,
                "threads": os.environ.get("OMP_NUM_THREADS", "default"),
                "versions": {name: version(name) for name in ("drupe", "pyscf", "numpy")},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(int(sys.argv[1]), sys.argv[2])))
    else:
        main()
