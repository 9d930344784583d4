"""Energy and forces of phenol in water against the radius of the cluster: prints one JSON object.

The largest radius is the reference: it is near what the box allows, and its own error is not in the
numbers. ``energy`` is the spread over the frames of the energy left out, since a constant shift
changes nothing that is learned from labels.

    python benchmarks/cluster_radius.py [--frames 4] [--box-nm 4.4] [--basis def2-SVP]
"""

import argparse
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "pocket-labels"))

from pocket_sampling import ChunkStage, StartStage, make_start, sample_chunk

from drupe.embedding import Level, Partition, label
from drupe.embedding.regions.periodic import heights
from drupe.units import angstrom, kcal_per_mol


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--frames", type=int, default=4)
    asked.add_argument("--box-nm", type=float, default=4.4)
    asked.add_argument("--radii-nm", type=float, nargs="+", default=[0.4, 0.6, 0.8, 0.9, 1.0, 1.2, 1.4, 1.75])
    asked.add_argument("--basis", default="def2-SVP")
    asked.add_argument("--seed", type=int, default=2026)
    given = asked.parse_args()

    name = "phenol-water"
    start = make_start(StartStage(name, given.box_nm, 5.0, given.seed))
    frames = sample_chunk(ChunkStage(name, 0, 0, given.frames, 1.0, 5.0, given.seed), start).positions
    system = start.structure.system
    regions = Partition.select(system, qm="resname IPH", charge=0)
    made = {
        radius: [
            label(
                system.with_positions(positions),
                regions,
                Level("PBE", given.basis, environment="cluster", cluster_radius=10 * angstrom * radius),
            )
            for positions in frames
        ]
        for radius in sorted(given.radii_nm)
    }
    largest = made[max(made)]
    rows = [_row(radius, labels, largest) for radius, labels in made.items()]
    print(
        json.dumps(
            {
                "benchmark": "cluster_radius",
                "level": f"PBE/{given.basis}",
                "frames": given.frames,
                "box_nm": (heights(system.box) / angstrom / 10).round(3).tolist(),
                "units": {"radius": "nm", "energy": "kcal/mol", "force": "kcal/mol/A"},
                "rows": rows,
                "machine": platform.processor() or platform.machine(),
                "versions": {package: version(package) for package in ("drupe", "pyscf", "openmm")},
            },
            indent=1,
        )
    )


def _row(radius: float, labels: list, largest: list) -> dict[str, float]:
    shifts = np.array([a.energy - b.energy for a, b in zip(labels, largest, strict=True)]) / kcal_per_mol
    apart = np.array([a.forces_qm - b.forces_qm for a, b in zip(labels, largest, strict=True)])
    apart *= angstrom / kcal_per_mol
    return {
        "radius": radius,
        "atoms": round(float(np.mean([a.diagnostics["cluster_atoms"] for a in labels]))),
        "energy": round(float(shifts.std(ddof=1)), 3),
        "energy_largest": round(float(np.abs(shifts).max()), 3),
        "force_rms": round(float(np.sqrt((apart**2).mean())), 3),
        "force_largest": round(float(np.linalg.norm(apart, axis=2).max()), 3),
    }


if __name__ == "__main__":
    main()
