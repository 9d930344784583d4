"""One fit of the study: ``python fit.py DATA --folder FOLDER --readout vqc-cz --split block --seed 1``.

Writes FOLDER/SPLIT-READOUT-SEED.json, the learning curve with all errors, and the model beside it. A fit
that is done is not made again, and one that was killed goes on from its last minute.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray
from plain_errors import run_plainly
from silicon_data import SPLITS, Frames, Split, read_frames, split_frames
from silicon_model import READOUTS, CellHeader, CellModel, readout_of, save_model
from torch import Tensor

from drupe.errors import InputError
from drupe.files import write_whole
from drupe.hardware.platforms import torch_device
from drupe.mlp.backbones.settings import BackboneSettings, EquivariantSettings
from drupe.mlp.descent import Judged, Plan, Row, descend, frames_of_step
from drupe.mlp.fit_folder import FitFolder
from drupe.mlp.loss import NO_ERRORS, Errors
from drupe.records import content_key
from drupe.units import angstrom, ev

__all__ = ["SETTINGS", "FitSettings", "fit", "fit_options", "paths_of", "settings_of"]

_AT_ONCE = 32  # frames in memory
_SHOWN = 64  # frames of each side that a point of the learning curve is measured on


# Field of FitSettings that each version added, with what earlier ones had.
_ADDED: dict[str, float | bool] = {"force_weight": 100.0, "each_layer": False}


@dataclass(frozen=True)
class FitSettings:
    """What all fits of a study have in common.

    ``cutoff`` angstrom; ``plateau`` steps without a better training error after which the learning rate is
    halved, None for a cosine down to 2 %; ``force_weight`` of the force term, (eV/A)^-2, beside 1 eV^-2 of
    the cell's energy; ``each_layer`` whether every layer has a readout of its own; the rest as in
    `drupe.mlp.FitSpec`.
    """

    backbone: str
    features: int
    layers: int
    radial: int
    settings: BackboneSettings | None
    steps: int
    batch: int
    learning_rate: float
    average: float
    plateau: int | None
    cutoff: float = 4.5
    precision: str = "float32"
    force_weight: float = 100.0
    each_layer: bool = False


SETTINGS = {
    "small": FitSettings("tensornet", 32, 1, 8, None, 2_000, 4, 4e-3, 0.995, None, cutoff=5.4),
    "medium": FitSettings(
        "tensornet", 64, 2, 8, None, 9_000, 4, 4e-3, 0.995, None, cutoff=5.4, force_weight=10.0
    ),
    # arXiv 2508.04098, where the rate falls by a tenth after 250 steps: half after 1,645 of them.
    "published": FitSettings(
        "equivariant", 64, 5, 8, EquivariantSettings(2, 8, 64), 50_000, 20, 0.01, 0.99, 1645, each_layer=True
    ),
}


class Paths(NamedTuple):
    """Files of one fit."""

    result: Path
    model: Path
    curve: Path


def paths_of(folder: Path, split: str, readout: str, seed: int) -> Paths:
    """Name the files of a fit."""
    stem = folder / f"{split}-{readout}-{seed}"
    return Paths(*(stem.with_suffix(end) for end in (".json", ".model", ".curve")))


def fit(
    frames: Frames,
    folder: Path,
    readout: str,
    split: str,
    seed: int,
    settings: FitSettings,
    device: str = "auto",
    at_once: int = _AT_ONCE,
    save_every_s: float = 60.0,
) -> dict[str, Any]:
    """Make a fit, or read it where it is done.

    Parameters
    ----------
    frames
        All of them.
    folder
        Where fits are kept.
    readout, split, seed
        Which fit: one of `READOUTS`, of `SPLITS`, and the seed of the split, of the weights and of batches.
    settings
        What it has in common with the others.
    device
        Torch device, ``"auto"`` for a GPU where there is one.
    at_once
        Frames in memory, at most: gradients of the parts of a step add up to the same.
    save_every_s
        Seconds between stored states.

    Returns
    -------
    dict
        What the JSON file holds.

    Raises
    ------
    InputError
        If the file is there and of other settings or data.
    """
    paths = paths_of(folder, split, readout, seed)
    key = content_key(
        "CellFit",
        {"data": frames.key, "settings": _settings_key(settings), "which": (readout, split, seed)},
    )
    if paths.result.exists():
        known: dict[str, Any] = json.loads(paths.result.read_text())
        if known["key"] != key:
            raise InputError(
                f"{paths.result} is a fit of other settings or data", remedy="give another --folder"
            )
        return known
    folder.mkdir(parents=True, exist_ok=True)
    course = _Course(frames, readout, split, seed, settings, torch_device(device), at_once)
    states = FitFolder(folder, save_every_s)
    start = states.state(key)
    if start is not None:
        start = start if course.go_on(paths.curve, start.step) else None
    plan = Plan(
        settings.steps, settings.learning_rate, 0.0, settings.average, settings.plateau, patience=None
    )
    parameters = dict(course.model.named_parameters())

    def on_row(row: Row) -> None:
        course.add(row)
        write_whole(paths.curve, json.dumps(course.curve).encode())

    found = descend(
        parameters,
        lambda: parameters,
        course.loss,
        course.judge,
        plan,
        start=start,
        save=states.save,
        fit=key,
        on_row=on_row,
    )
    course.averaged.load_state_dict(found.weights)
    made = {"key": key, "readout": readout, "split": split, "seed": seed, **course.result()}
    save_model(paths.model, course.averaged, course.split.held_out)
    write_whole(paths.result, json.dumps(made, indent=1).encode())
    paths.curve.unlink(missing_ok=True)
    (folder / f"{key}.state").unlink(missing_ok=True)
    return made


def _settings_key(settings: FitSettings) -> str:
    """Key of the settings in the oldest version that can say them: fits stay known when a field is added."""
    fields, version = dict(vars(settings)), 1 + len(_ADDED)
    for name, before in reversed(_ADDED.items()):
        if fields[name] != before:
            break
        del fields[name]
        version -= 1
    return content_key("FitSettings", {"version": version, **fields})


class _Course:
    """A fit under way: model, frames, learning curve."""

    def __init__(
        self,
        frames: Frames,
        readout: str,
        split: str,
        seed: int,
        settings: FitSettings,
        device: torch.device,
        at_once: int = _AT_ONCE,
    ) -> None:
        self.split: Split = split_frames(frames, split, seed)
        self.settings, self.seed, self.device, self.at_once = settings, seed, device, at_once
        train = self.split.train
        kind, own = readout_of(readout, settings.features)
        header = CellHeader(
            numbers=frames.numbers,
            box=frames.box,
            backbone=settings.backbone,
            features=settings.features,
            layers=settings.layers,
            radial=settings.radial,
            cutoff=settings.cutoff * angstrom,
            settings=settings.settings,
            readout=kind,
            readout_settings=own,
            energy_zero=float(frames.energy[train].mean()),
            energy_scale=float(frames.forces[train].std()),  # hartree for each bohr that an atom moves
            each_layer=settings.each_layer,
        )
        precision = {"float32": torch.float32, "float64": torch.float64}[settings.precision]
        self.model, self.averaged = (CellModel(header, seed).to(device, precision) for _ in range(2))
        self.positions = torch.tensor(frames.positions).to(device, precision)
        self.energy = torch.tensor(frames.energy - header.energy_zero).to(device, precision)
        self.forces = torch.tensor(frames.forces).to(device, precision)
        self.shown = _some(train), _some(self.split.held_out)
        self.curve: list[dict[str, Any]] = []
        self.before_s, self.began = 0.0, time.process_time()
        self.last: tuple[dict[str, float], dict[str, float]] = ({}, {})

    @property
    def cpu_s(self) -> float:
        """Of this fit, also before it was killed."""
        return self.before_s + time.process_time() - self.began

    def go_on(self, path: Path, step: int) -> bool:
        """Take the learning curve up to ``step`` from a file; False if it is not there."""
        if not path.exists():
            return False
        self.curve = [point for point in json.loads(path.read_text()) if point["step"] <= step]
        self.before_s = self.curve[-1]["cpu_s"] if self.curve else 0.0
        return True

    def loss(self, step: int) -> Iterator[Tensor]:
        """Squared error of the cell's energy and of force components, E^2 / weight + F^2 in eV and A.

        In parts that add up to it, each of some of the step's frames.
        """
        train = self.split.train
        place = frames_of_step(step, self.settings.batch, len(train), (self.seed, 3))
        everything = torch.from_numpy(train)[place].to(self.device)
        for rows in everything.split(self.at_once):
            energy, forces = self.model.with_forces(self.positions[rows], graph=True)
            energy_error = (energy - self.energy[rows]) / ev
            force_error = (forces - self.forces[rows]) * (angstrom / ev)
            part = energy_error.square().mean() / self.settings.force_weight + force_error.square().mean()
            yield part * (len(rows) / len(everything))

    def judge(self, weights: Mapping[str, Tensor]) -> Judged:
        """Errors of averaged weights; the score is that of training frames: held-out ones steer nothing."""
        self.averaged.load_state_dict(dict(weights))
        self.last = self.errors(self.shown[0]), self.errors(self.shown[1])
        kept, held = (
            Errors(one["energy_raw"] * len(self.model.header.numbers) * 1e-3 * ev,
                   one["force"] * ev / angstrom, *NO_ERRORS[2:])
            for one in self.last
        )  # fmt: skip
        return Judged(kept.force, kept, held)

    def add(self, row: Row) -> None:
        """Add a point to the learning curve."""
        train, held = self.last
        self.curve.append(
            {"step": row.step, "cpu_s": self.cpu_s, "rate": row.rate, "train": train, "held_out": held}
        )

    def errors(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """Root mean squares: energies in meV/atom, raw and without their mean error; forces in eV/A."""
        energy_errors, squares = [], []
        for some in torch.from_numpy(rows).split(self.at_once):
            place = some.to(self.device)
            energy, forces = self.averaged.with_forces(self.positions[place])
            energy_errors.append((energy - self.energy[place]).double().cpu())
            squares.append((forces - self.forces[place]).double().square().mean((1, 2)).cpu())
        off = torch.cat(energy_errors) / len(self.model.header.numbers) / (1e-3 * ev)
        return {
            "energy_raw": float(off.square().mean().sqrt()),
            "energy_shifted": float((off - off.mean()).square().mean().sqrt()),
            "force": float(torch.cat(squares).mean().sqrt()) * angstrom / ev,
        }

    def result(self) -> dict[str, Any]:
        """What is written when the fit is done."""
        held = [point["held_out"]["force"] for point in self.curve]
        best = self.curve[int(np.argmin(held))]
        everything = len(self.energy)
        train, held_out = self.split.train, self.split.held_out
        return {
            "units": {"energy": "meV/atom, root mean square", "force": "eV/A, root mean square"},
            "settings": _plain(self.settings),
            "device": str(self.device),
            "torch": version("torch"),
            "frames": {
                "train": len(train),
                "held_out": len(held_out),
                "in_neither": everything - len(train) - len(held_out),
            },
            "parameters": self.model.parameter_counts,
            "curve": self.curve,
            "final": {"train": self.errors(train), "held_out": self.errors(held_out)},
            "lowest_held_out_force": {"step": best["step"], "force": best["held_out"]["force"]},
            "cpu_s": self.cpu_s,
        }


def _some(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Evenly spaced rows, as many as a point of the learning curve takes."""
    return np.asarray(rows[np.unique(np.linspace(0, len(rows) - 1, _SHOWN).round().astype(np.int64))])


def _plain(settings: FitSettings) -> dict[str, Any]:
    """Settings as JSON takes them."""
    own = settings.settings
    return {**vars(settings), "settings": None if own is None else vars(own)}


def settings_of(name: str, steps: int | None) -> FitSettings:
    """Named settings with another number of steps, or their own."""
    return SETTINGS[name] if steps is None else replace(SETTINGS[name], steps=steps)


def fit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of the scripts that make fits."""
    for option in (
        click.option("--device", default="auto", show_default=True, help="Torch device."),
        click.option(
            "--at-once", type=click.IntRange(1), default=_AT_ONCE, show_default=True, help="Frames in memory."
        ),
        click.option("--steps", type=click.IntRange(1), help="Optimiser steps; else those of the settings."),
        click.option(
            "--settings", "name", type=click.Choice(list(SETTINGS)), default="small", show_default=True
        ),
        click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where fits are kept."),
        click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path)),
    ):
        command = option(command)
    return command


@click.command(help=__doc__)
@fit_options
@click.option("--readout", type=click.Choice(READOUTS), default="classical", show_default=True)
@click.option("--split", type=click.Choice(SPLITS), default="block", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
def main(
    data: Path,
    folder: Path,
    name: str,
    steps: int | None,
    device: str,
    at_once: int,
    readout: str,
    split: str,
    seed: int,
) -> None:
    """Make one fit and print its errors."""
    made = fit(read_frames(data), folder, readout, split, seed, settings_of(name, steps), device, at_once)
    for side, errors in made["final"].items():
        print(
            f"{side}: {errors['energy_raw']:.2f} meV/atom raw, {errors['energy_shifted']:.2f} mean-shifted, "
            f"{errors['force']:.4f} eV/A"
        )
    print(f"{made['cpu_s']:.0f} CPU seconds; {paths_of(folder, split, readout, seed).result}")


if __name__ == "__main__":
    run_plainly(main)
