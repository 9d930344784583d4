"""What forces of quantum cores buy: learning curves of methanol in MM water, its OH group the core.

Samples independent runs (each a block), labels their frames with DFT/MM and at CCSD(T)-in-PBE with all
virtual orbitals, fits low-level potentials to all frames of the first runs, and carries these to the high
level from 25 to 400 labels with energies only, with slopes, with MP2 forces and with exact forces.
Errors in energy and force are against exact labels of the last runs, which nothing has seen. The folder is a
campaign store: stop it, run it again, it goes on.
Prints one JSON object.
Run: OMP_NUM_THREADS=1 python benchmarks/core_force_learning.py --folder F [--stage sample|label|learn|tell]
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

HERE = Path(__file__).resolve().parent
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
sys.path.insert(0, str(HERE))

from core_force_tasks import MODES, FitStage, Labelled, LabelStage, Learned, LearnStage, RunStage  # noqa: E402

from drupe.errors import DrupeError  # noqa: E402
from drupe.freeenergy.tasks.progress import Progress  # noqa: E402
from drupe.freeenergy.tasks.runner import Node, read_result, run_graph  # noqa: E402
from drupe.hardware.engine import LocalEngine  # noqa: E402
from drupe.mlp import Committee, Dataset, FitSpec, TransferSpec, accuracy  # noqa: E402
from drupe.store import Row, Store  # noqa: E402
from drupe.units import angstrom, kcal_per_mol  # noqa: E402

STAGES = ("sample", "label", "learn", "tell")
TIME_LIMIT_S = 12 * 3600.0
FRAMES_PER_TASK = 25


@dataclass(frozen=True)
class Plan:
    """How much of everything; see the options of `main`."""

    sizes: tuple[int, ...]
    held_out: int
    runs: int
    held_out_runs: int
    members: int
    fit_steps: int
    transfer_steps: int
    rate: float
    basis: str
    grid: int
    spacing_ps: float
    equilibration_ps: float
    box_nm: float
    cluster_bohr: float
    directions: int
    seed: int


def graph(plan: Plan) -> list[Node]:
    """All tasks."""
    nodes = []
    parts: dict[bool, list[str]] = {False: [], True: []}
    for run in range(plan.runs + plan.held_out_runs):
        unseen = run >= plan.runs
        frames = -(-plan.held_out // plan.held_out_runs) if unseen else -(-max(plan.sizes) // plan.runs)
        stage = RunStage(run, frames, plan.spacing_ps, plan.equilibration_ps, plan.box_nm, plan.seed)
        nodes.append(Node(f"run-{run}", "sample", "core_force_tasks:sample", stage))
        for first in range(0, frames, FRAMES_PER_TASK):
            last = min(first + FRAMES_PER_TASK, frames)
            part = LabelStage(first, last, plan.basis, plan.grid, plan.cluster_bohr)
            name = f"run-{run}/frames-{first:03d}"
            parts[unseen].append(name)
            nodes.append(Node(name, "label", "core_force_tasks:label_frames", part, (f"run-{run}",)))
    known = (*parts[False],)
    for member in range(plan.members):
        # Energies weigh little: the noise of sixteen of them would hide the gradient of the forces.
        spec = FitSpec(
            members=plan.members, seed=plan.seed, steps=plan.fit_steps, features=32, energy_weight=0.03
        )
        needs = ("run-0", *known)
        nodes.append(Node(f"fit/{member}", "learn", "core_force_tasks:fit", FitStage(spec, member), needs))
    to_high = TransferSpec(
        seed=plan.seed, steps=plan.transfer_steps, learning_rate=plan.rate, batch=16, max_force_drift=0.05
    )
    for size in sorted(plan.sizes):
        for member in range(plan.members):
            for mode in MODES:
                how = LearnStage(mode, size, plan.directions, len(parts[True]), member, to_high)
                needs = (f"fit/{member}", *known, *parts[True])
                name = f"learn/{size}/{mode}/{member}"
                nodes.append(Node(name, "learn", "core_force_tasks:learn", how, needs))
    return nodes


def tell(store: Store, rows: dict[str, Row]) -> list[dict[str, object]]:
    """Mean and standard deviation over members of each point, kcal/mol and kcal/mol/angstrom."""
    found: dict[tuple[int, str], list[Learned]] = {}
    for name, row in rows.items():
        if name.startswith("learn/") and row.state == "done":
            _, size, mode, _ = name.split("/")
            found.setdefault((int(size), mode), []).append(read_result(store, row))
    force = kcal_per_mol / angstrom
    points = []
    for (size, mode), members in sorted(found.items()):
        point: dict[str, object] = {"labels": size, "mode": mode, "members": len(members)}
        for which in ("low", "high"):
            errors = [getattr(one, which) for one in members]
            for quantity, scale in (
                ("energy_spread", kcal_per_mol),
                ("energy_mean", kcal_per_mol),
                ("force", force),
                ("mm_force", force),
            ):
                values = np.array([getattr(e, quantity) for e in errors]) / scale
                point[f"{which}_{quantity}"] = float(np.abs(values).mean())
                point[f"{which}_{quantity}_sd"] = float(values.std(ddof=1)) if len(values) > 1 else None
        points.append(point)
    return points


def low_level_fits(store: Store, rows: dict[str, Row], first_unseen: int) -> dict[str, float]:
    """Mean errors of the low-level fits against held-out labels of their own level."""
    done = [row for row in rows.values() if row.state == "done"]
    parts = [read_result(store, row) for row in done if row.kind == "label"]
    unseen = [low for part in parts if part.run >= first_unseen for low in part.low]
    fits = [read_result(store, row) for row in done if row.name.startswith("fit/")]
    if not fits or not unseen:
        return {}
    test = Dataset.from_labels(unseen, which="low")
    found = [accuracy(Committee((fit.stored,)), test) for fit in fits]
    return {
        "energy_spread": float(np.mean([one.energy_spread for one in found])) / kcal_per_mol,
        "force": float(np.mean([one.force for one in found])) / (kcal_per_mol / angstrom),
    }


def slope_miss(store: Store, rows: dict[str, Row]) -> float | None:
    """Largest difference between directional slopes and projected exact forces, hartree/bohr."""
    parts = [read_result(store, row) for row in rows.values() if row.kind == "label" and row.state == "done"]
    return max((part.slope_miss for part in parts if isinstance(part, Labelled)), default=None)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where results lie.")
@click.option(
    "--stage", type=click.Choice(STAGES), default="learn", show_default=True, help="Last stage to run."
)
@click.option("--sizes", default="25,50,100,200,400", show_default=True, help="Labels to learn from.")
@click.option("--held-out", default=100, show_default=True, help="Labels that nothing sees.")
@click.option("--runs", default=8, show_default=True, help="Runs that are learned from.")
@click.option("--held-out-runs", default=4, show_default=True, help="Further runs, for the held-out labels.")
@click.option("--members", default=3, show_default=True, help="Fits of each point, with seeds of their own.")
@click.option("--fit-steps", default=2500, show_default=True, help="Steps of the low-level fit.")
@click.option("--transfer-steps", default=800, show_default=True, help="Steps of the transfer.")
@click.option("--rate", default=1e-3, show_default=True, help="Peak learning rate of the transfer.")
@click.option("--basis", default="6-31G", show_default=True)
@click.option("--grid", default=3, show_default=True)
@click.option("--spacing-ps", default=1.0, show_default=True, help="Between frames of a run.")
@click.option("--equilibration-ps", default=10.0, show_default=True)
@click.option("--box-nm", default=2.2, show_default=True)
@click.option("--cluster-bohr", default=17.0, show_default=True, help="Water around methanol in a label.")
@click.option("--directions", default=4, show_default=True, help="Slopes of each label.")
@click.option("--seed", default=2026, show_default=True)
@click.option("--workers", default=2, show_default=True, help="Tasks at a time, one thread each.")
def main(folder: Path, stage: str, workers: int, sizes: str, **options: Any) -> None:
    """Make the learning curves in FOLDER, or go on with them."""
    nodes = graph(Plan(tuple(int(size) for size in sizes.split(",")), **options))
    last = STAGES.index(stage)
    wanted = [node for node in nodes if STAGES.index(node.stage) <= last]
    try:
        with Store(folder) as store:
            if stage == "tell":
                rows = {row.name: row for row in store.rows()}
            else:
                engine = LocalEngine(store.scratch, folder / "logs", slots=workers, threads=1)
                with Progress(wanted, workers, Console(stderr=True)) as progress:
                    rows = run_graph(wanted, {}, store, engine, progress, timeout_s=TIME_LIMIT_S)
            seconds = {
                kind: [row.seconds for row in rows.values() if row.kind == kind] for kind in STAGES[:3]
            }
            report = {
                "seconds_per_task": {k: float(np.mean(v)) for k, v in seconds.items() if v},
                "points": tell(store, rows),
                "low_level_fits": low_level_fits(store, rows, options["runs"]),
                "slope_miss": slope_miss(store, rows),
                "failed": {row.name: row.error for row in rows.values() if row.state == "failed"},
            }
    except DrupeError as error:
        raise SystemExit(f"{error}") from error
    print(json.dumps(report, indent=2))
    raise SystemExit(3 if report["failed"] else 0)


if __name__ == "__main__":
    main()
