"""Dynamics on a fitted model: ``python dynamics.py DATA MODEL --out FOLDER``.

NVT at 3000 K, whose pair distribution is compared with the frames that the model did not see; NVE from
there, whose energy must not drift; NVT at 2000 K. Each of the three is kept when it is done, and a run
that was stopped goes on with the first that is missing. Writes FOLDER/dynamics.json and dynamics.svg.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray
from pair_distribution import pair_distribution, shell_edges
from plain_errors import run_plainly
from silicon_data import Frames, read_frames, runs_of
from silicon_model import CellModel, load_model

from drupe.errors import InputError
from drupe.files import write_whole
from drupe.records import content_key
from drupe.units import angstrom, ev

Array = NDArray[np.float64]

STEP_FS = 0.5
FRICTION_PER_PS = 10.0
EVERY = 20  # steps between frames that are kept
_PARTS = 5  # of a run, for errors
_FEWEST = 5  # frames of a run that say what its g(r) is


class CellCalculator(Calculator):  # type: ignore[misc]  # ase has no types here
    """A model of a cell in ASE.

    Parameters
    ----------
    model
        In double precision.

    Raises
    ------
    InputError
        In a calculation, if the atoms or their box are not the model's.
    """

    implemented_properties = ("energy", "forces")

    def __init__(self, model: CellModel) -> None:
        super().__init__()
        self.model = model

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate the model; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        header = self.model.header
        same = np.array_equal(self.atoms.numbers, header.numbers) and self.atoms.pbc.all()
        if not same or not np.allclose(self.atoms.cell.array * angstrom, header.box):
            raise InputError(
                "the atoms or their periodic box are not those of the model",
                remedy="give the cell that the model was fitted to",
            )
        energy, forces = self.model.with_forces(torch.tensor(self.atoms.positions * angstrom)[None])
        self.results = {
            "energy": (float(energy[0]) + header.energy_zero) / ev,
            "forces": forces[0].numpy() * (angstrom / ev),
        }


@dataclass(frozen=True)
class Stage:
    """One run: picoseconds of it and before it, kelvin; the ensemble is NVE without a thermostat."""

    name: str
    temperature_k: float
    thermostat: bool
    equilibration_ps: float
    length_ps: float
    seed: int


@dataclass(frozen=True, eq=False)
class Run:
    """Frames of a stage: angstrom, sqrt(u eV), eV, kelvin."""

    positions: Array
    momenta: Array  # of the last frame
    total: Array
    temperature: Array


def run_stage(atoms: Atoms, stage: Stage, path: Path, key: str) -> Run:
    """Run a stage from where the atoms are, or read it; the atoms are left at its last frame.

    Raises
    ------
    InputError
        If the file is there and of another model or other settings.
    """
    if path.exists():
        with np.load(path, allow_pickle=False) as found:
            if str(found["key"]) != key:
                raise InputError(f"{path} is of another model or settings", remedy="give another --out")
            made = Run(*(found[name] for name in Run.__dataclass_fields__))
        atoms.set_positions(made.positions[-1])
        atoms.set_momenta(made.momenta)
        return made
    rng = np.random.default_rng(stage.seed)
    if stage.thermostat:
        atoms.set_momenta(_thermal_momenta(atoms, stage.temperature_k, rng))
    moves = _integrator(atoms, stage, rng)
    moves.run(round(1e3 * stage.equilibration_ps / STEP_FS))
    kept: list[tuple[Array, float, float]] = []
    for _ in range(max(1, round(1e3 * stage.length_ps / STEP_FS / EVERY))):
        moves.run(EVERY)
        kept.append((atoms.get_positions(), atoms.get_total_energy(), atoms.get_temperature()))
    place, total, temperature = (np.array(column) for column in zip(*kept, strict=True))
    made = Run(place, atoms.get_momenta(), total, temperature)
    held = io.BytesIO()
    np.savez(held, key=np.array(key), **vars(made))
    write_whole(path, held.getvalue())
    return made


def _thermal_momenta(atoms: Atoms, temperature_k: float, rng: np.random.Generator) -> Array:
    """Maxwell-Boltzmann momenta, sqrt(u eV)."""
    mass = atoms.get_masses()[:, None]
    return np.asarray(rng.normal(0.0, np.sqrt(mass * units.kB * temperature_k), (len(mass), 3)))


def _integrator(atoms: Atoms, stage: Stage, rng: np.random.Generator) -> MolecularDynamics:
    if not stage.thermostat:
        return VelocityVerlet(atoms, STEP_FS * units.fs)
    friction = FRICTION_PER_PS / (1e3 * units.fs)
    return Langevin(
        atoms,
        STEP_FS * units.fs,
        temperature_K=stage.temperature_k,
        friction=friction,
        fixcm=False,  # the cell as a whole is warm too
        rng=rng,
    )


def drift(total: Array, atoms: int) -> dict[str, float]:
    """Slope of the total energy in time, meV/atom/ps, and its scatter about the line, meV/atom."""
    time_ps = np.arange(len(total)) * EVERY * STEP_FS * 1e-3
    energy = 1e3 * total / atoms
    slope, first = np.polyfit(time_ps, energy, 1)
    scatter = float((energy - slope * time_ps - first).std())
    return {"mev_per_atom_per_ps": float(slope), "scatter_mev_per_atom": scatter}


def compared(found: Array, parts: Array, wanted: Array, middle: Array) -> dict[str, Any]:
    """How two pair distributions differ; ``parts`` ``(parts, shells)`` are the first one's, for its error."""
    return {
        "largest_difference": float(np.abs(found - wanted).max()),
        "rms_difference": float(np.sqrt(((found - wanted) ** 2).mean())),
        "rms_standard_error": float(np.sqrt((parts.var(0, ddof=1) / len(parts)).mean())),
        "first_peak": {
            name: {"r_angstrom": float(middle[one.argmax()]), "g": float(one.max())}
            for name, one in (("dynamics", found), ("frames", wanted))
        },
    }


def study(
    frames: Frames, model: CellModel, held_out: NDArray[np.int64], out: Path, ps: float
) -> dict[str, Any]:
    """Run the three stages and compare."""
    out.mkdir(parents=True, exist_ok=True)
    box = frames.box / angstrom
    edges = shell_edges(box)
    middle = (edges[1:] + edges[:-1]) / 2
    references = {
        name: pair_distribution(frames.positions[rows] / angstrom, box)
        for name, rows in _unseen(frames, held_out).items()
    }
    atoms = Atoms(
        numbers=frames.numbers, positions=frames.positions[held_out[0]] / angstrom, cell=box, pbc=True
    )
    atoms.calc = CellCalculator(model)
    before = content_key("Dynamics", {"data": frames.key, "weights": _weights(model), "held": held_out})
    made: dict[str, Any] = {"ps": ps, "step_fs": STEP_FS, "stages": {}}
    curves = dict(references)
    for stage in (
        Stage("nvt-3000", 3000.0, True, ps / 5, ps, 1),
        Stage("nve-3000", 3000.0, False, 0.0, ps, 2),
        Stage("nvt-2000", 2000.0, True, ps / 2, ps, 3),
    ):
        before = content_key("Stage", {"before": before, **asdict(stage)})
        run = run_stage(atoms, stage, out / f"{stage.name}.npz", before)
        g = pair_distribution(run.positions, box)
        parts = [pair_distribution(some, box) for some in np.array_split(run.positions, _PARTS) if len(some)]
        made["stages"][stage.name] = {
            "target_k": stage.temperature_k if stage.thermostat else None,
            "temperature_k": {"mean": float(run.temperature.mean()), "sd": float(run.temperature.std())},
            "pair_distribution": g.tolist(),
            "against": {name: compared(g, np.array(parts), one, middle) for name, one in references.items()},
            **({} if stage.thermostat else {"drift": drift(run.total, len(atoms))}),
        }
        curves[stage.name] = g
    made |= {
        "edges_angstrom": edges.tolist(),
        "frames_pair_distribution": {name: one.tolist() for name, one in references.items()},
    }
    write_whole(out / "dynamics.json", json.dumps(made, indent=1).encode())
    _draw(middle, curves, out / "dynamics.svg")
    return made


def _unseen(frames: Frames, held_out: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Frames the model did not see, run by run: runs need not have one temperature."""
    runs = [np.intersect1d(run, held_out) for run in runs_of(frames)]
    found = {f"frames of run {k + 1}": rows for k, rows in enumerate(runs) if len(rows) >= _FEWEST}
    return found or {"frames": held_out}


def _weights(model: CellModel) -> dict[str, Array]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def _draw(middle: Array, curves: dict[str, Array], target: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, g in curves.items():
        axis.plot(middle, g, label=name, color="k" if "frames" in name else None)
    axis.set(xlabel="r, Å", ylabel="g(r)")
    axis.legend()
    figure.savefig(target)
    plt.close(figure)


@click.command(help=__doc__)
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where runs are kept.")
@click.option(
    "--ps",
    type=click.FloatRange(min=0.05),  # five frames: a drift takes some
    default=10.0,
    show_default=True,
    help="Length of each run; the paper's were 100.",
)
def main(data: Path, model: Path, out: Path, ps: float) -> None:
    """Run and print."""
    torch.set_num_threads(1)
    fitted, held_out = load_model(model)
    for name, stage in study(read_frames(data), fitted, held_out, out, ps)["stages"].items():
        for which, g in stage["against"].items():
            print(
                f"{name}: {stage['temperature_k']['mean']:.0f} K, g(r) differs from that of {which} by "
                f"{g['rms_difference']:.3f} rms (its own error {g['rms_standard_error']:.3f})"
            )
        if "drift" in stage:
            print(f"{name}: {stage['drift']}")


if __name__ == "__main__":
    run_plainly(main)
