"""Shot noise of a fitted model with circuits: ``python noise.py DATA MODEL --out noise.json``.

1. The standard deviation of sampled energies against the known one over three decades of shots.
2. Monte Carlo of a few atoms among the others, held still, at 3000 K: exact energies, noisy ones with the
   penalty method, and noisy ones as if they were exact. Mean energies and pair distributions of the three.
"""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from pair_distribution import pair_distribution, shell_edges
from plain_errors import run_plainly
from silicon_data import read_frames
from silicon_model import CellModel, load_model

from drupe.errors import InputError
from drupe.files import write_whole
from drupe.freeenergy.estimation.noisy_metropolis import Measured, MetropolisSpec, sample_noisy
from drupe.mlp.readouts.shots import Measurement
from drupe.units import angstrom, ev, kt

Array = NDArray[np.float64]

TEMPERATURE_K = 3000.0
NOISE_KT = 0.7  # standard deviation of an energy in Monte Carlo
SHOTS = (100, 316, 1000, 3162, 10_000, 31_623, 100_000)
_BURN_IN = 0.25  # of the steps


def shot_curve(made: Measurement, repeats: int, seed: int) -> dict[str, Any]:
    """Standard deviation of ``repeats`` energies for each number of shots of a circuit, eV."""
    rng = np.random.default_rng(seed)
    measured = [np.std([made.sample(shots, rng) for _ in range(repeats)], ddof=1) / ev for shots in SHOTS]
    known = [np.sqrt(made.variance(shots)) / ev for shots in SHOTS]
    slope = np.polyfit(np.log(SHOTS), np.log(measured), 1)[0]
    return {
        "circuits": len(made.values),
        "shots": list(SHOTS),
        "measured_sd_ev": [float(value) for value in measured],
        "known_sd_ev": [float(value) for value in known],
        "ratio": [float(a / b) for a, b in zip(measured, known, strict=True)],
        "relative_error_of_ratio": float(1 / np.sqrt(2 * (repeats - 1))),
        "exponent": float(slope),
        "one_shot_sd_ev": float(np.sqrt(made.variance(1)) / ev),
    }


class FewAtoms:
    """Some atoms of a frame that move among the others: reduced energies, exact or measured.

    Parameters
    ----------
    model
        With circuits.
    frame
        Positions of all atoms, ``(atoms, 3)`` bohr.
    free
        How many move: an atom and its nearest neighbours.
    """

    def __init__(self, model: CellModel, frame: Array, free: int) -> None:
        self.model, self.frame = model, frame
        box = model.header.box
        apart = frame - frame[0]
        apart = apart - np.rint(apart @ np.linalg.inv(box)) @ box
        self.free = np.argsort(np.linalg.norm(apart, axis=1))[:free]
        self.thermal = kt(TEMPERATURE_K)
        self.shots: list[int] = []

    def whole(self, place: Array) -> Array:
        """All atoms of each walker, from ``(walkers, free, 3)``."""
        made = np.repeat(self.frame[None], len(place), axis=0)
        made[:, self.free] = place
        return made

    def exact(self, place: Array) -> Array:
        """Energies of walkers, kT."""
        with torch.no_grad():
            return np.asarray(self.model(torch.tensor(self.whole(place))).numpy() / self.thermal)

    def without_noise(self, place: Array, rng: np.random.Generator) -> Measured:
        """Exact energies as the sampler takes them."""
        return Measured(self.exact(place), np.zeros(len(place)))

    def measured(self, place: Array, rng: np.random.Generator) -> Measured:
        """Energies from as many shots as each needs, with the variances they are known to have."""
        energies, variances = [], []
        for one in self.model.measurements(self.whole(place)):
            shots = one.shots_for(NOISE_KT * self.thermal)
            self.shots.append(int(shots.sum()))
            energies.append(one.sample(shots, rng))
            variances.append(one.variance(shots))
        return Measured(np.array(energies) / self.thermal, np.array(variances) / self.thermal**2)


def monte_carlo(atoms: FewAtoms, walkers: int, steps: int, move: float, seed: int) -> dict[str, Any]:
    """Sample by three rules; energies in kT with the error over walkers."""
    start = np.repeat(atoms.frame[atoms.free][None], walkers, axis=0)
    made: dict[str, Any] = {
        "free_atoms": len(atoms.free),
        "walkers": walkers,
        "steps": steps,
        "edges_angstrom": shell_edges(atoms.model.header.box / angstrom).tolist(),
    }
    for name, measure, rule in (
        ("exact", atoms.without_noise, "plain"),
        ("penalty", atoms.measured, "penalty"),
        ("noise ignored", atoms.measured, "plain"),
    ):
        chain = sample_noisy(measure, start, MetropolisSpec(steps, move, rule, seed))  # type: ignore[arg-type]
        kept = chain.positions[int(_BURN_IN * steps) :: 5]
        energies = np.array([atoms.exact(place) for place in kept]).mean(0)
        g = [
            pair_distribution(
                np.array([atoms.whole(place[None])[0] for place in one]) / angstrom,
                atoms.model.header.box / angstrom,
                rows=atoms.free,
            )
            for one in kept.swapaxes(0, 1)
        ]
        made[name] = {
            "mean_energy_kt": float(energies.mean()),
            "standard_error_kt": float(energies.std(ddof=1) / np.sqrt(walkers)),
            "acceptance": chain.acceptance,
            "variance_of_differences_kt2": chain.noise,
            "pair_distribution": np.mean(g, axis=0).tolist(),
            "pair_distribution_error": (np.std(g, axis=0, ddof=1) / np.sqrt(walkers)).tolist(),
        }
    made["shots_of_an_energy"] = {
        "mean": float(np.mean(atoms.shots)),
        "fewest": min(atoms.shots),
        "most": max(atoms.shots),
    }
    exact = made["exact"]
    for name in ("penalty", "noise ignored"):
        one = made[name]
        error = float(np.hypot(one["standard_error_kt"], exact["standard_error_kt"]))
        apart = np.array(one["pair_distribution"]) - np.array(exact["pair_distribution"])
        one["energy_minus_exact_kt"] = [one["mean_energy_kt"] - exact["mean_energy_kt"], error]
        one["rms_g_minus_exact"] = float(np.sqrt((apart**2).mean()))
        spread = np.hypot(one["pair_distribution_error"], exact["pair_distribution_error"])
        seen = spread > 0  # shells that some walker visits
        one["mean_square_pull_of_g"] = float(((apart[seen] / spread[seen]) ** 2).mean())
    return made


@click.command(help=__doc__)
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The JSON file to write.")
@click.option(
    "--repeats",
    type=click.IntRange(2),
    default=2000,
    show_default=True,
    help="Energies for each number of shots.",
)
@click.option("--free", default=4, show_default=True, help="Atoms that move in Monte Carlo.")
@click.option("--walkers", type=click.IntRange(2), default=8, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--move", default=0.12, show_default=True, help="Largest shift of a coordinate, angstrom.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
def main(
    data: Path,
    model: Path,
    out: Path,
    repeats: int,
    free: int,
    walkers: int,
    steps: int,
    move: float,
    seed: int,
) -> None:
    """Measure, sample and print."""
    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    fitted, held_out = load_model(model)
    frames = read_frames(data)
    if not 1 <= free <= len(frames.numbers):
        raise InputError(f"{free} free atoms of {len(frames.numbers)}", remedy="give another --free")
    frame = frames.positions[held_out[0]]
    curve = shot_curve(fitted.measurements(frame[None])[0], repeats, seed)
    chains = monte_carlo(FewAtoms(fitted, frame, free), walkers, steps, move * angstrom, seed)
    write_whole(out, json.dumps({"shot_noise": curve, "monte_carlo": chains}, indent=1).encode())
    one_shot, exponent = curve["one_shot_sd_ev"], curve["exponent"]
    print(f"one shot of {curve['circuits']} circuits: {one_shot:.2f} eV; exponent {exponent:.3f}")
    print("measured / known standard deviation:", " ".join(f"{ratio:.3f}" for ratio in curve["ratio"]))
    for name in ("exact", "penalty", "noise ignored"):
        one = chains[name]
        mean, error = one["mean_energy_kt"], one["standard_error_kt"]
        g = "" if name == "exact" else f", g(r): mean square pull {one['mean_square_pull_of_g']:.2f}"
        print(f"{name}: {mean:.3f} +- {error:.3f} kT, accepted {one['acceptance']:.2f}{g}")


if __name__ == "__main__":
    run_plainly(main)
