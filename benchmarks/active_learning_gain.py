"""Labels that active learning saves: force errors against the number of labels, beside random choice.

The frames are of methanol without surroundings from dynamics at 300, 600 and 1000 K (seven, two and one tenth
of them), labelled with PBE; the held-out frames are drawn the same way from runs of their own. Each course
asks for all its labels through `learn_actively`, with `choice="spread"` and with `choice="random"` and
everything else the same. The folder is a store: stop it, run it again, it goes on. Prints one JSON object.
Run: OMP_NUM_THREADS=1 python benchmarks/active_learning_gain.py --folder F [--seeds 3]
"""

import json
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import openmm
from openmm import app, unit
from rich.console import Console

HERE = Path(__file__).resolve().parent
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
sys.path.insert(0, str(HERE))

from methanol import force_field, methanol  # noqa: E402

from drupe.embedding import Level, MolecularSystem, Partition  # noqa: E402
from drupe.freeenergy.learning.active_learning import ActivePlan, Ground, Pool, learn_actively  # noqa: E402
from drupe.freeenergy.learning.pool import PoolFrame  # noqa: E402
from drupe.freeenergy.tasks.progress import Progress  # noqa: E402
from drupe.freeenergy.tasks.runner import Node, read_result, run_graph  # noqa: E402
from drupe.hardware.engine import LocalEngine  # noqa: E402
from drupe.mlp import Dataset, FitSpec, accuracy  # noqa: E402
from drupe.mlp.baseline import LigandForceField  # noqa: E402
from drupe.store import Store  # noqa: E402
from drupe.units import angstrom, kcal_per_mol, nanometer  # noqa: E402

SHARES = {300.0: 0.7, 600.0: 0.2, 1000.0: 0.1}
FORCE = kcal_per_mol / angstrom
LABEL = "drupe.freeenergy.learning.pool:label_frame"


def frames(system: openmm.System, start: Any, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` frames 0.2 ps apart, in runs of twenty, at the temperatures of `SHARES`; bohr."""
    found, runs = [], []
    for number, (kelvin, share) in enumerate(SHARES.items()):
        for chunk in range(-(-round(share * count) // 20)):
            integrator = openmm.LangevinMiddleIntegrator(kelvin, 5 / unit.picosecond, 0.0005)
            integrator.setRandomNumberSeed(1000 * seed + 100 * number + chunk + 1)
            context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
            context.setPositions(start)
            context.setVelocitiesToTemperature(kelvin, 1000 * seed + 100 * number + chunk + 1)
            integrator.step(2000)
            for _ in range(20):
                integrator.step(400)
                state = context.getState(getPositions=True)
                place = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
                found.append(np.array(place) * nanometer)
                runs.append(100 * number + chunk)
    return np.array(found), np.array(runs)


def labels_to_reach(curve: list[tuple[int, float]], error: float) -> float | None:
    """Labels at which a curve falls below an error for good, by powers between its points; None: never."""
    if curve[-1][1] > error:
        return None
    for (n, here), (m, there) in reversed(list(pairwise(curve))):
        if here > error:
            share = np.log(here / error) / np.log(here / there)
            return float(n * (m / n) ** share)
    return float(curve[0][0])


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--frames", "n_frames", default=400, show_default=True)
@click.option("--held-out", default=100, show_default=True)
@click.option("--labels", default=120, show_default=True)
@click.option("--members", default=3, show_default=True)
@click.option("--steps", default=1000, show_default=True)
@click.option("--basis", default="6-31G", show_default=True)
@click.option("--workers", default=2, show_default=True)
def main(
    folder: Path,
    seeds: int,
    n_frames: int,
    held_out: int,
    labels: int,
    members: int,
    steps: int,
    basis: str,
    workers: int,
) -> None:
    """Run all courses, or go on with them."""
    topology, start = methanol()
    system = app.ForceField(force_field()).createSystem(topology, constraints=None, removeCMMotion=False)
    molecule = MolecularSystem.from_openmm(topology, system, start)
    region = Partition.select(molecule, qm=range(6), charge=0)
    level = Level("PBE", basis)
    pool = Pool(molecule, region, level, *frames(system, start, n_frames, 1))
    unseen = Pool(molecule, region, level, *frames(system, start, held_out, 2))
    ground = Ground(LigandForceField.from_system(system, range(6)))
    rows = []
    with Store(folder) as store:
        engine = LocalEngine(store.scratch, folder / "logs", slots=workers, threads=1)
        nodes = [
            Node(f"unseen/{i}", "labels", LABEL, PoolFrame(i), ("unseen",))
            for i in range(len(unseen.positions))
        ]
        with Progress(nodes, workers, Console(stderr=True)) as watcher:
            done = run_graph(nodes, {"unseen": unseen}, store, engine, watcher, timeout_s=3600)
        test = Dataset.from_labels([read_result(store, done[node.name]) for node in nodes], which="low")
        for seed in range(seeds):
            for choice in ("random", "spread"):
                plan = ActivePlan(
                    labels=labels,
                    first=20,
                    every=20,
                    fit=FitSpec(members=members, seed=seed + 1, steps=steps, energy_bound=0.2),
                    choice=choice,
                    seed=seed + 1,
                )
                with Progress([], workers, Console(stderr=True)) as watcher:
                    made = learn_actively(pool, plan, ground, store, engine, watcher)
                for one in made.rounds:
                    found = accuracy(one.committee, test)
                    rows.append(
                        {
                            "seed": seed,
                            "choice": choice,
                            "labels": len(one.frames),
                            "force_kcal_mol_a": found.force / FORCE,
                            "energy_kcal_mol": found.energy_spread / kcal_per_mol,
                        }
                    )
    print(json.dumps({"rows": rows, "saved": [_saved(rows, seed) for seed in range(seeds)]}, indent=2))


def _saved(rows: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Labels that the committee's choice needs for the error random choice ends with."""
    curves = {
        choice: sorted(
            (r["labels"], r["force_kcal_mol_a"]) for r in rows if (r["seed"], r["choice"]) == (seed, choice)
        )
        for choice in ("random", "spread")
    }
    n, error = curves["random"][-1]
    needed = labels_to_reach(curves["spread"], error)
    return {"random": n, "error": error, "spread": needed, "share": None if needed is None else needed / n}


if __name__ == "__main__":
    main()
