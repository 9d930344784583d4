"""Labels of a ligand in its pocket, and of one in water, for learning: run it, stop it, run it again.

``python make.py --folder /data/pocket --stage sample`` runs the MM dynamics, ``--stage label`` also
labels the frames, ``--stage count`` says what is there while the others run. They go on where they
stopped, also after a kill: the folder is a campaign store. ``read_labels`` of ``pocket_labels`` reads it.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

HERE = Path(__file__).resolve().parent
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
sys.path.insert(0, str(HERE))

from pocket_labels import tell  # noqa: E402
from pocket_sampling import SYSTEMS  # noqa: E402
from pocket_tasks import Plan, labelling  # noqa: E402

from drupe.errors import DrupeError  # noqa: E402
from drupe.freeenergy.tasks.progress import Progress  # noqa: E402
from drupe.freeenergy.tasks.runner import Node, run_graph  # noqa: E402
from drupe.hardware.engine import LocalEngine  # noqa: E402
from drupe.store import Row, Store  # noqa: E402

TIME_LIMIT_S = 6 * 3600.0


def make(folder: Path, nodes: Sequence[Node], workers: int) -> dict[str, Row]:
    """Run ``nodes`` in the store of ``folder``; what is finished there is not run again."""
    with Store(folder) as store:
        # Each task has one thread: on a busy machine threads that wait for each other lose most.
        engine = LocalEngine(store.scratch, folder / "logs", slots=workers, threads=1)
        with Progress(nodes, workers, Console()) as progress:
            return run_graph(nodes, {}, store, engine, progress, timeout_s=TIME_LIMIT_S)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where frames and labels lie.")
@click.option("--system", type=click.Choice(SYSTEMS), multiple=True, help="Default: all.")
@click.option("--stage", type=click.Choice(["sample", "label", "count"]), default="label", show_default=True)
@click.option("--low", type=click.IntRange(2), default=300, show_default=True, help="Labels of each system.")
@click.option(
    "--high",
    type=click.IntRange(0),
    default=60,
    show_default=True,
    help="How many of them are core-corrected.",
)
@click.option("--basis", default="def2-SVP", show_default=True, help="6-31G halves the time of a label.")
@click.option("--spacing", "spacing_ps", default=1.0, show_default=True, help="Picoseconds between frames.")
@click.option("--workers", default=2, show_default=True, help="Tasks at a time, one thread each.")
def main(
    folder: Path,
    system: tuple[str, ...],
    stage: str,
    low: int,
    high: int,
    basis: str,
    spacing_ps: float,
    workers: int,
) -> None:
    """Make the pocket data set in FOLDER, or go on with it."""
    plan = Plan(low=low, high=high, basis=basis, spacing_ps=spacing_ps)
    chosen = system or SYSTEMS
    rows: dict[str, Row] = {}
    try:
        if stage != "count":
            nodes = labelling(plan, chosen)
            rows = make(folder, [node for node in nodes if stage in ("label", node.stage)], workers)
        if not (folder / "campaign.sqlite").exists():
            raise SystemExit(f"{folder} holds no labels\n  -> make them first: --stage label")
        for name in chosen:
            print(tell(folder, name))
    except DrupeError as error:
        raise SystemExit(f"{error}") from error
    failed = sorted(name for name, row in rows.items() if row.state == "failed")
    if failed:
        print(f"{len(failed)} tasks failed: {', '.join(failed[:8])}")
    raise SystemExit(3 if failed else 0)


if __name__ == "__main__":
    main()
