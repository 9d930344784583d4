"""Errors on liquid silicon, classical and with circuits: beside the published ones, on both splits.

Makes the fits of ``examples/liquid-silicon`` that are missing, each for ``classical`` and ``vqc-cz``, and
compares their errors on frames held out with what is asked for: ``medium``, for processors, 5 meV/atom and
0.30 eV/A; ``published``, for a GPU, 1.15 times the published 2.6 meV/atom (without the mean error) and 0.22
eV/A. Both are of a random split, which these frames let a model pass by memory (docs/liquid-silicon.md); the
block split stands beside it. A fit that was stopped goes on.

Prints one JSON object. Run: OMP_NUM_THREADS=1 python benchmarks/liquid_silicon.py DATA --folder FITS
[--settings medium] [--seeds 1] [--device auto]
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "liquid-silicon" / "fit.py"
LIMITS = {"medium": (5.0, 0.30), "published": (1.15 * 2.6, 1.15 * 0.22)}  # meV/atom, eV/A


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--settings", choices=LIMITS, default="medium")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--splits", choices=("random", "block"), nargs="+", default=["random", "block"])
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    energy, force = LIMITS[options.settings]
    made = {"settings": options.settings, "asked for, random split": {"meV/atom": energy, "eV/A": force}}
    for seed in options.seeds:
        for split in options.splits:
            for readout in ("classical", "vqc-cz"):
                command = [sys.executable, str(SCRIPT), str(options.data), "--folder", str(options.folder)]
                command += ["--settings", options.settings, "--device", options.device]
                command += ["--split", split, "--readout", readout, "--seed", str(seed)]
                subprocess.run(command, check=True, stdout=sys.stderr)
                name = f"{split}-{readout}-{seed}"
                found = json.loads((options.folder / f"{name}.json").read_text())
                errors = found["final"]["held_out"]
                made[name] = {
                    "meV/atom, raw": errors["energy_raw"],
                    "meV/atom, without the mean": errors["energy_shifted"],
                    "eV/A": errors["force"],
                    "CPU seconds": found["cpu_s"],
                }
                if split == "random":
                    made[name]["reached"] = errors["energy_shifted"] <= energy and errors["force"] <= force
    print(json.dumps(made, indent=1))


if __name__ == "__main__":
    main()
