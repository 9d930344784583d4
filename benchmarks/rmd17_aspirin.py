"""Accuracy on rMD17 aspirin (Christensen, von Lilienfeld 2020) within a budget of processor seconds.

Reads aspirin_800.npz (numbers, positions_angstrom, energy_kcal_per_mol, forces_kcal_per_mol_angstrom): the
first 650 frames are there for training, the next 50 stop the fit, the last 100 are the test. Gas phase, no MM
baseline. `fast` is one member of the preset on 400 points; `accurate` is a committee of two on 650, one
member to a core. Prints one JSON object with mean absolute errors on the test and the processor time.
Run: OMP_NUM_THREADS=1 python benchmarks/rmd17_aspirin.py aspirin_800.npz fast
     OMP_NUM_THREADS=1 python benchmarks/rmd17_aspirin.py aspirin_800.npz accurate --folder fits
--set steps=15000 runs a tenth of the second; --folder goes on after a kill.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from drupe.hardware.platforms import torch_device
from drupe.mlp import Committee, Dataset, FitSpec, train
from drupe.mlp.fit_folder import FitFolder
from drupe.mlp.fit_progress import FitProgress
from drupe.mlp.sources import frames_of_arrays
from drupe.units import angstrom, ev, kcal_per_mol

CASES = {"fast": (400, 1), "accurate": (650, 2)}  # training points, members
VALIDATION, TEST = slice(650, 700), slice(700, 800)


def read(path: Path, points: int) -> tuple[Dataset, Dataset]:
    """Training set with the validation frames as a block of their own, and the test."""
    data = np.load(path, allow_pickle=False)
    force = kcal_per_mol / angstrom

    def frames(chosen):
        return frames_of_arrays(
            data["numbers"],
            data["positions_angstrom"][chosen] * angstrom,
            level="PBE/def2-SVP (rMD17)",
            energies=data["energy_kcal_per_mol"][chosen] * kcal_per_mol,
            forces=data["forces_kcal_per_mol_angstrom"][chosen] * force,
            total_charge=0,
        )

    stop = frames(VALIDATION)
    blocks = [0] * points + [1] * len(stop)
    # The file's energies are counted from a zero of its own.
    training = Dataset.from_labels(frames(slice(0, points)) + stop, blocks=blocks, energies="relative")
    return training, Dataset.from_labels(frames(TEST), energies="relative")


def errors(committee: Committee, test: Dataset) -> dict[str, float]:
    """Mean absolute errors in the units the literature prints."""
    made = committee.predict_all(test)
    energy = np.array([one.energy for one in made]) - test.energy
    force = np.array([one.forces_qm for one in made]) - test.forces_qm
    return {
        "energy_mae_kcal_per_mol": float(np.abs(energy).mean() / kcal_per_mol),
        "energy_mae_without_mean_kcal_per_mol": float(np.abs(energy - energy.mean()).mean() / kcal_per_mol),
        "force_mae_mev_per_angstrom": float(np.abs(force).mean() / (1e-3 * ev / angstrom)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("preset", choices=sorted(CASES))
    parser.add_argument("--points", type=int)
    parser.add_argument("--members", type=int, help="each in a process of its own")
    parser.add_argument("--folder", type=Path, help="go on from here after a kill; times are of the last run")
    parser.add_argument("--device", default="auto", help="of torch; auto takes a GPU where there is one")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="changes to the preset")
    given = parser.parse_args()
    torch.set_num_threads(1)
    changes = dict(item.split("=", 1) for item in given.set)
    points, members = (
        a or b for a, b in zip((given.points, given.members), CASES[given.preset], strict=True)
    )
    values = {name: _number(text) for name, text in changes.items()}
    spec = FitSpec.preset(given.preset, members=members, **values)
    data, test = read(given.data, points)
    processor, wall = _processor(), time.perf_counter()
    folder = None if given.folder is None else FitFolder(given.folder)
    how = {"workers": members, "folder": folder, "device": given.device}
    committee = train(data, spec, on_progress=_show, **how)
    processor, wall = _processor() - processor, time.perf_counter() - wall
    report = {
        "preset": given.preset,
        "changes": changes,
        "training_points": points,
        "members": members,
        "device": str(torch_device(given.device)),
        "parameters_per_member": sum(value.size for value in committee.members[0].weights.values()),
        "cpu_seconds": round(processor, 1),
        "wall_seconds": round(wall, 1),
        **errors(committee, test),
        "one_member": errors(Committee(committee.members[:1]), test),
    }
    print(json.dumps(report, indent=2))


def _processor() -> float:
    """Processor seconds of this process and of those it waited for."""
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def _show(progress: FitProgress) -> None:
    """Print a line to standard error; the result alone goes to standard output."""
    print(progress, file=sys.stderr, flush=True)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


if __name__ == "__main__":
    main()
