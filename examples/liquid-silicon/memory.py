"""What a split rewards: ``python memory.py DATA fits/random-classical-1.json fits/block-classical-1.json``.

The energy errors that a model makes on the frames it was fitted to are carried to the others by nothing but
their distance from each other, a Gaussian process that knows no chemistry. What this takes off the error of
frames held out is not understanding of silicon: it is memory of a frame 5 or 10 fs before or after.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from plain_errors import run_plainly
from scipy.optimize import minimize
from silicon_data import Frames, distances, read_frames, split_frames
from silicon_model import CellModel, load_model

from drupe.errors import InputError
from drupe.units import angstrom, ev

Array = NDArray[np.float64]

_AT_ONCE = 32  # frames


def energy_errors(model: CellModel, frames: Frames) -> Array:
    """Error of each frame's energy, meV/atom, ``(frames,)``."""
    made = []
    with torch.no_grad():
        for some in torch.tensor(frames.positions).split(_AT_ONCE):
            made.append(model(some).numpy())
    off = np.concatenate(made) + model.header.energy_zero - frames.energy
    return np.asarray(off / len(frames.numbers) / (1e-3 * ev))


def carried(apart: Array, values: Array, known: NDArray[np.int64], asked: NDArray[np.int64]) -> Array:
    """Values of frames from those of other frames by their distances alone.

    A Gaussian process with a squared-exponential kernel (Rasmussen and Williams, Gaussian Processes for
    Machine Learning, 2006, eq. 2.25); its length and its noise are the most likely ones of the known
    values (eq. 2.30), so that what is asked for steers nothing.

    Parameters
    ----------
    apart
        Distances of all frames, ``(frames, frames)``.
    values
        ``(frames,)``; of those not ``known`` nothing is used.
    known, asked
        Indices of frames.

    Returns
    -------
    ndarray
        ``(asked,)``.
    """
    mean = values[known].mean()
    target = values[known] - mean
    inner = apart[np.ix_(known, known)]

    def unlikely(logs: Array) -> float:
        length, noise = np.exp(logs)
        kernel = _kernel(inner, length) + noise * np.eye(len(known))
        sign, size = np.linalg.slogdet(kernel)
        if sign <= 0:
            return float("inf")
        # The height of the kernel is the most likely one for this length and noise.
        height = target @ np.linalg.solve(kernel, target) / len(known)
        return float(0.5 * size + 0.5 * len(known) * np.log(height))

    first = np.log([np.median(np.where(np.eye(len(inner)) > 0, np.inf, inner).min(1)), 0.01])
    best = minimize(unlikely, first, method="Nelder-Mead", options={"xatol": 0.02, "fatol": 0.1})
    length, noise = np.exp(best.x)
    kernel = _kernel(inner, length) + noise * np.eye(len(known))
    outer = _kernel(apart[np.ix_(asked, known)], length)
    return np.asarray(mean + outer @ np.linalg.solve(kernel, target))


def _kernel(apart: Array, length: float) -> Array:
    return np.asarray(np.exp(-0.5 * (apart / length) ** 2))


def without_memory(frames: Frames, apart: Array, result: Path) -> dict[str, Any]:
    """Root mean squares on the frames a fit did not see, meV/atom: its own, and after carrying.

    Parameters
    ----------
    frames, apart
        All of them, and their distances.
    result
        JSON file of a fit, with the model beside it.
    """
    made = json.loads(result.read_text())
    beside = result.with_suffix(".model")
    if not beside.exists():
        raise InputError(f"{beside} is not there", remedy="keep each fit's .model beside its .json")
    model, held_out = load_model(beside)
    train = split_frames(frames, made["split"], made["seed"]).train
    error = energy_errors(model, frames)
    left = error[held_out] - carried(apart, error, train, held_out)
    return {
        "fit": result.stem,
        "energy_raw": float(np.sqrt((error[held_out] ** 2).mean())),
        "energy_after_carrying": float(np.sqrt((left**2).mean())),
    }


@click.command(help=__doc__)
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument(
    "results", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True
)
def main(data: Path, results: Sequence[Path]) -> None:
    """Print what is left of each fit's errors on the frames held out."""
    torch.set_num_threads(1)
    frames = read_frames(data)
    apart = distances(frames.positions, frames.box) / angstrom
    for result in results:
        found = without_memory(frames, apart, result)
        print(
            f"{found['fit']}: {found['energy_raw']:.2f} meV/atom held out, "
            f"{found['energy_after_carrying']:.2f} after carrying those of fitted frames over",
            flush=True,
        )


if __name__ == "__main__":
    run_plainly(main)
