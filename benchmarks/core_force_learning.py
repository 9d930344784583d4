"""What forces of quantum cores buy: learning curves of methanol in MM water, its OH group the core.

Samples independent runs (each a block), labels their frames at CCSD(T)-in-PBE with all virtual orbitals in
three force modes, and carries low-level potentials to that level from 25 to 400 labels with energies only,
with directional slopes, with MP2 forces and with exact forces. Errors in energy and force are against exact
labels of the last runs, which nothing has seen. The folder is a campaign store: stop it, run it again,
it goes on.
Prints one JSON object.
Run: OMP_NUM_THREADS=1 python benchmarks/core_force_learning.py --folder F [--stage sample|label|learn|tell]
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

HERE = Path(__file__).resolve().parent
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
sys.path.insert(0, str(HERE))

from core_force_tasks import MODES, LabelStage, Learned, LearnStage, RunStage  # noqa: E402

from drupe.errors import DrupeError  # noqa: E402
from drupe.freeenergy.runner import Node, read_result, run_graph  # noqa: E402
from drupe.hardware.engine import LocalEngine  # noqa: E402
from drupe.mlp import FitSpec, TransferSpec  # noqa: E402
from drupe.store import Row, Store  # noqa: E402
from drupe.units import angstrom, kcal_per_mol  # noqa: E402

STAGES = ("sample", "label", "learn", "tell")
TIME_LIMIT_S = 12 * 3600.0


class Lines:
    """One line for each finished task, on stderr."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._left = len(nodes)

    def started(self, node: Node) -> None:
        """Say nothing: only what is finished counts."""

    def ended(self, node: Node, row: Row, *, reused: bool) -> None:
        self._left -= 1
        if not reused:
            click.echo(f"{row.state:6s} {node.name:34s} {row.seconds:8.1f} s  {self._left} left", err=True)


def graph(
    sizes: Sequence[int],
    *,
    held_out: int,
    runs: int,
    held_out_runs: int,
    members: int,
    steps: tuple[int, int],
    rate: float,
    basis: str,
    grid: int,
    spacing_ps: float,
    equilibration_ps: float,
    box_nm: float,
    cluster_bohr: float,
    n_directions: int,
    seed: int,
) -> list[Node]:
    """All tasks. Frames come from all runs of a side in turn, so that every size spans all its blocks."""
    per_run = -(-max(sizes) // runs)
    per_held = -(-held_out // held_out_runs)
    nodes = []
    for run in range(runs + held_out_runs):
        stage = RunStage(run, per_run if run < runs else per_held, spacing_ps, equilibration_ps, box_nm, seed)
        nodes.append(Node(f"run-{run}", "sample", "core_force_tasks:sample", stage))

    def labels(first: int, count: int, of_runs: int) -> list[str]:
        names = []
        for i in range(count):
            run, frame = first + i % of_runs, i // of_runs
            stage = LabelStage(run, frame, basis, grid, cluster_bohr, n_directions)
            names.append(f"run-{run}/frame-{frame:04d}")
            nodes.append(Node(names[-1], "label", "core_force_tasks:label_frame", stage, (f"run-{run}",)))
        return names

    unseen = labels(runs, held_out, held_out_runs)
    seen = labels(0, max(sizes), runs)
    for size in sorted(sizes):
        for member in range(members):
            for mode in MODES:
                stage = LearnStage(
                    mode,
                    size,
                    member,
                    FitSpec(members=members, seed=seed, steps=steps[0]),
                    TransferSpec(
                        seed=seed, steps=steps[1], learning_rate=rate, batch=16, max_force_drift=0.05
                    ),
                )
                needs = ("run-0", *seen[:size], *unseen)
                name = f"learn/{size}/{mode}/{member}"
                nodes.append(Node(name, "learn", "core_force_tasks:learn", stage, needs))
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
@click.option("--fit-steps", default=1500, show_default=True, help="Steps of the low-level fit.")
@click.option("--transfer-steps", default=1500, show_default=True, help="Steps of the transfer.")
@click.option("--rate", default=1e-3, show_default=True, help="Peak learning rate of the transfer.")
@click.option("--basis", default="6-31G", show_default=True)
@click.option("--grid", default=3, show_default=True)
@click.option("--spacing-ps", default=2.0, show_default=True, help="Between frames of a run.")
@click.option("--equilibration-ps", default=20.0, show_default=True)
@click.option("--box-nm", default=2.6, show_default=True)
@click.option("--cluster-bohr", default=17.0, show_default=True, help="Water around methanol in a label.")
@click.option("--directions", default=4, show_default=True, help="Slopes of each label.")
@click.option("--seed", default=2026, show_default=True)
@click.option("--workers", default=2, show_default=True, help="Tasks at a time, one thread each.")
def main(folder: Path, stage: str, sizes: str, workers: int, directions: int, **options: object) -> None:
    """Make the learning curves in FOLDER, or go on with them."""
    steps = (options.pop("fit_steps"), options.pop("transfer_steps"))
    counts = [int(size) for size in sizes.split(",")]
    nodes = graph(counts, steps=steps, n_directions=directions, **options)  # type: ignore[arg-type]
    last = STAGES.index(stage)
    wanted = [node for node in nodes if STAGES.index(node.stage) <= last]
    try:
        with Store(folder) as store:
            if stage == "tell":
                rows = {row.name: row for row in store.rows()}
            else:
                engine = LocalEngine(store.scratch, folder / "logs", slots=workers, threads=1)
                rows = run_graph(wanted, {}, store, engine, Lines(wanted), timeout_s=TIME_LIMIT_S)
            seconds = {
                kind: [row.seconds for row in rows.values() if row.kind == kind] for kind in STAGES[:3]
            }
            report = {
                "seconds_per_task": {k: float(np.mean(v)) for k, v in seconds.items() if v},
                "points": tell(store, rows),
                "failed": {row.name: row.error for row in rows.values() if row.state == "failed"},
            }
    except DrupeError as error:
        raise SystemExit(f"{error}") from error
    print(json.dumps(report, indent=2))
    raise SystemExit(3 if report["failed"] else 0)


if __name__ == "__main__":
    main()
