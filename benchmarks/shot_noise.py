"""Does shot noise fall as it must? Sampled energies against the known deviation, over three decades of shots.

A frame of 64 atoms, 8 qubits, 3 layers, random features and weights, each of the five circuits. For 100 to
100,000 shots of a circuit ``--repeats`` energies are drawn, bit string by bit string; their standard
deviation over the known one should be 1 within 5 %, and the exponent -1/2. A deviation of n energies is
itself uncertain by 1 / sqrt(2 (n - 1)). Beside it: how far the means are off, in standard errors, and what an
energy takes.

Prints one JSON object. Run: OMP_NUM_THREADS=1 python benchmarks/shot_noise.py [--repeats 2000]
"""

import argparse
import json
import time

import numpy as np
import torch
from torch import nn

from drupe.hardware.circuits import ENTANGLERS
from drupe.mlp.readouts.registry import ReadoutSize, build_readout
from drupe.mlp.readouts.settings import VqcSettings
from drupe.mlp.readouts.shots import measurement

SHOTS = (100, 316, 1000, 3162, 10_000, 31_623, 100_000)
ATOMS, FEATURES, LIMIT = 64, 32, 0.05


def law(entangler, repeats, seed):
    """Ratios, exponent and pulls of one kind of circuit."""
    torch.manual_seed(seed)
    readout = build_readout("vqc", ReadoutSize(FEATURES, 1, 0.02, 1.0), VqcSettings(8, 3, entangler))
    for weight in readout.parameters():
        nn.init.normal_(weight, std=0.5)
    made = measurement([readout], [torch.randn(1, ATOMS, FEATURES, dtype=torch.float64)], 0.0)
    rng = np.random.default_rng(seed)
    start = time.perf_counter()
    drawn = {shots: np.array([made.sample(shots, rng) for _ in range(repeats)]) for shots in SHOTS}
    seconds = time.perf_counter() - start
    measured = np.array([drawn[shots].std(ddof=1) for shots in SHOTS])
    known = np.array([np.sqrt(made.variance(shots)) for shots in SHOTS])
    means = np.array([drawn[shots].mean() for shots in SHOTS])
    return {
        "measured / known": (measured / known).round(4).tolist(),
        "exponent": float(np.polyfit(np.log(SHOTS), np.log(measured), 1)[0]),
        "pulls of the mean": ((means - made.energy) / (known / np.sqrt(repeats))).round(2).tolist(),
        "within 5 %": bool((np.abs(measured / known - 1) < LIMIT).all()),
        "ms for an energy": 1e3 * seconds / (repeats * len(SHOTS)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = {name: law(name, options.repeats, options.seed) for name in ENTANGLERS}
    uncertain = float(1 / np.sqrt(2 * (options.repeats - 1)))
    print(json.dumps({"shots": SHOTS, "a ratio is uncertain by": uncertain, **found}, indent=1))


if __name__ == "__main__":
    main()
