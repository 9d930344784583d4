"""The command line. Prints, exits with 0 ok, 2 bad input, 3 partial, 4 environment, 130 interrupted."""

import json
import logging
import math
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec

import click
from rich.console import Console

from drupe.errors import DrupeError, InputError, MachineError
from drupe.version import __version__

if TYPE_CHECKING:
    from drupe.freeenergy.campaigns.config import Config
    from drupe.freeenergy.outcomes.campaign import CampaignResult

__all__ = ["main"]

P = ParamSpec("P")

_PARTIAL: Final[int] = 3
_ENVIRONMENT: Final[int] = 4
_INTERRUPTED: Final[int] = 130


def _speaks_plainly(command: Callable[P, None]) -> Callable[P, None]:
    """Turn our own errors into one message and an exit code; anything else is a bug and shows itself."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except DrupeError as error:
            click.echo(f"drupe: {error}", err=True)
            code = (
                2
                if isinstance(error, InputError)
                else _ENVIRONMENT
                if isinstance(error, MachineError)
                else _PARTIAL
            )
            sys.exit(code)
        except KeyboardInterrupt:
            click.echo("drupe: interrupted; the same command goes on where this one stopped", err=True)
            sys.exit(_INTERRUPTED)

    return wrapped


@click.group()
@click.version_option(__version__)
def main() -> None:
    """Drupe: from a protein-ligand complex to a binding free energy with quantum cores."""
    # pymbar logs two warnings when it is imported (no jax, use of timeseries) that say nothing of the run.
    logging.getLogger("pymbar").setLevel(logging.ERROR)


@main.command()
@click.argument("input_file", metavar="INPUT.toml", type=click.Path(path_type=Path))
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Campaign folder  [default: ./NAME of the input]"
)
@_speaks_plainly
def run(input_file: Path, folder: Path | None) -> None:
    """Run the campaign in INPUT.toml to its report, or go on with it.

    Everything finished is kept in the campaign folder and never computed twice: after a kill, a
    crash or a change in the input the same command does what is missing.
    """
    from drupe.freeenergy.campaigns.config import read_config

    config = read_config(input_file)
    complete = _run_campaign(config, input_file, folder or Path(config.name))
    if not complete:
        sys.exit(_PARTIAL)


@main.command()
@click.argument("input_file", metavar="INPUT.toml", type=click.Path(path_type=Path))
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Store folder  [default: ./NAME of the input]"
)
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON; progress goes to stderr.")
@_speaks_plainly
def label(input_file: Path, folder: Path | None, as_json: bool) -> None:
    """Label the structure or the trajectory frames in INPUT.toml, or go on with it.

    Labels are kept in the folder and never computed twice; extended xyz and QCSchema files are
    written beside them.
    """
    from drupe.freeenergy.labelling.command import run_labels
    from drupe.freeenergy.labelling.config import read_label_config

    config = read_label_config(input_file)
    console = Console(highlight=False, stderr=as_json)
    summary = run_labels(config, input_file, folder or Path(config.name), console)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        for name, error in summary["failures"].items():
            click.echo(f"failed: {name}: {error['found']}\n  -> {error['remedy']}")
        click.echo(f"{summary['done']} of {summary['frames']} frames labelled")
        for kind, path in summary["exports"].items():
            click.echo(f"{kind}: {path}")
    if summary["done"] < summary["frames"]:
        sys.exit(_PARTIAL)


@main.command()
@click.argument("input_file", metavar="INPUT.toml", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_speaks_plainly
def estimate(input_file: Path, as_json: bool) -> None:
    """Check the campaign in INPUT.toml as far as can be without running it, and say what it will cost.

    Files, selections, charges, boxes and platform are read and checked; steps of both legs are timed for some
    seconds. Nothing is written.
    """
    from drupe.freeenergy.campaigns.config import read_config

    _estimate(read_config(input_file), input_file, as_json)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_speaks_plainly
def status(folder: Path, as_json: bool) -> None:
    """Say what a campaign FOLDER holds, also while it runs."""
    from drupe.store import read_rows

    rows = read_rows(folder)
    stages: dict[str, Counter[str]] = {}
    for row in rows:
        stages.setdefault(row.kind, Counter())[row.state] += 1
    failures = {row.name: json.loads(row.error) for row in rows if row.error is not None}
    if as_json:
        click.echo(json.dumps({"stages": stages, "failures": failures}, indent=2))
        return
    if not rows:
        click.echo("no task has ended yet")
    for stage, states in stages.items():
        click.echo(f"{stage:<24}{states['done']:>5} done{states['failed']:>5} failed")
    for name, error in failures.items():
        click.echo(f"failed: {name}: {error['found']}\n  -> {error['remedy']}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--u-nk",
    "u_nk",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Write the reduced potentials of each leg and repeat there, as alchemlyb reads them.",
)
@_speaks_plainly
def export(folder: Path, u_nk: Path) -> None:
    """Write results of the campaign in FOLDER to files for other programs.

    Each Parquet file is a leg of one repeat, every frame in every state, in kT:
    alchemlyb.parsing.parquet.extract_u_nk(file, T=...) reads it.
    """
    from drupe.freeenergy.campaigns.export_command import export_u_nk

    for path in export_u_nk(folder, u_nk):
        click.echo(path)


def _estimate(config: "Config", input_file: Path, as_json: bool) -> None:
    from drupe.freeenergy.campaigns.estimate import measured_speeds, stage_costs
    from drupe.freeenergy.campaigns.preparation import prepare
    from drupe.freeenergy.campaigns.workflow import campaign_graph
    from drupe.freeenergy.tasks.placing import slots_for

    prepared = prepare(config, input_file.resolve().parent)
    slots, nodes = slots_for(config.engine), campaign_graph(config)
    speeds = measured_speeds(config, prepared)
    costs = stage_costs(nodes, speeds)
    hours = sum(cost.seconds for cost in costs) / 3600
    if as_json:
        legs = {
            leg: {
                "atoms": prepared.leg(leg).structure.system.n_atoms,
                "mm_step_s": speed.mm,
                "window_step_s": speed.window,
            }
            for leg, speed in speeds.items()
        }
        told = {
            "legs": legs,
            "stages": [vars(cost) for cost in costs],
            "slots": slots,
            "slot_hours": hours,
            "hours": hours / slots,
        }
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"campaign {config.name}: {len(nodes)} tasks, valid as far as can be seen without running it")
    for leg, speed in speeds.items():
        atoms = prepared.leg(leg).structure.system.n_atoms
        click.echo(
            f"{leg}: {atoms} atoms, {1e3 * speed.mm:.1f} ms a step, {1e3 * speed.window:.1f} ms in a window"
        )
    for cost in costs:
        how = "timed steps" if cost.timed else "guess"
        click.echo(f"{cost.stage:<28}{cost.tasks:>6} tasks{cost.seconds / 3600:>12.2f} h  {how}")
    click.echo(
        f"about {hours:.1f} h of one slot, {hours / slots:.1f} h with {slots} at a time, "
        "if nothing else runs here"
    )


def _run_campaign(config: "Config", input_file: Path, folder: Path) -> bool:
    from drupe.freeenergy.campaigns.preparation import key_of_built, prepare

    base = input_file.resolve().parent
    prepared = prepare(config, base, folder)  # before anything slow: it finds bad input

    from drupe.freeenergy.campaigns.assembly import assemble
    from drupe.freeenergy.campaigns.workflow import campaign_graph
    from drupe.freeenergy.inputs.built import keep_built
    from drupe.freeenergy.reporting.report import write_report
    from drupe.freeenergy.tasks.placing import engine_for, slots_for
    from drupe.freeenergy.tasks.progress import Progress
    from drupe.freeenergy.tasks.runner import run_graph
    from drupe.store import Store

    console = Console(highlight=False)
    slots_for(config.engine)  # before anything is written
    nodes = campaign_graph(config)
    with Store(folder) as store:
        shutil.copyfile(input_file, store.scratch / "campaign.toml")
        (store.scratch / "campaign.toml").replace(folder / "campaign.toml")
        if (built := key_of_built(config, base)) is not None:
            keep_built(built, prepared.complex.structure, store)
        engine, placed = engine_for(config.engine, store)
        console.print(
            f"campaign {config.name}: {len(nodes)} tasks, {placed}, folder {folder}", soft_wrap=True
        )
        with Progress(nodes, engine.slots, console, store=store) as progress:
            rows = run_graph(
                nodes, {"prepared": prepared}, store, engine, progress, timeout_s=config.engine.timeout
            )
        progress.keep(store)
        store.keep_fact("rows", {name: row.key for name, row in rows.items()})
        result = assemble(config, prepared, nodes, rows, store)
        write_report(result, folder / "report.html", folder / "report.json")
    _print_summary(console, result, folder)
    return len(rows) == len(nodes) and all(row.state == "done" for row in rows.values())


def _print_summary(console: Console, result: "CampaignResult", folder: Path) -> None:
    """The headline in five lines, as in the report."""
    from drupe.freeenergy.outcomes.summary import summarise
    from drupe.units import kcal_per_mol, kj_per_mol, kt

    summary = summarise(result)
    thermal = kt(result.temperature_k)
    terms = [("dG_bind(MM)", summary.mm)] if result.asked != "MM" else []
    if summary.finite_size is not None:
        terms = [("dG_bind(MM), as simulated", summary.mm), ("finite size", summary.finite_size)]
    terms += [
        (f"correction {name}", one.difference)
        for name, one in (("MM to ML/MM", summary.low), ("to quantum cores", summary.core))
        if one is not None
    ]
    terms.append((f"dG_bind({summary.level})", summary.total))
    for name, term in terms:
        kcal, kj = (term.value * thermal / unit for unit in (kcal_per_mol, kj_per_mol))
        errors = [
            "?" if math.isnan(term.error) else f"{term.error * thermal / unit:.2f}"  # nobody estimated it
            for unit in (kcal_per_mol, kj_per_mol)
        ]
        console.print(
            f"{name:<28}{kcal:>9.2f} +- {errors[0]:<6} kcal/mol {kj:>9.2f} +- {errors[1]:<6} kJ/mol  "
            f"{term.verdict.level}",
            soft_wrap=True,
        )
    for reason in summary.verdict.reasons:
        console.print(f"  {summary.verdict.level}: {reason}", soft_wrap=True, markup=False)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
