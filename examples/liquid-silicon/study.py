"""All fits of the study: ``python study.py DATA --folder FOLDER``; what is done is read, the rest is made.

Seven readouts, two splits, three seeds. It may be stopped at any time and started again. Several may work on
one folder at the same time if each has other seeds, splits or readouts.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import click
from fit import fit, fit_options, settings_of
from plain_errors import run_plainly
from silicon_data import SPLITS, read_frames
from silicon_model import READOUTS


@click.command(help=__doc__)
@fit_options
@click.option("--readout", "readouts", type=click.Choice(READOUTS), multiple=True, help="Of these only.")
@click.option("--split", "splits", type=click.Choice(SPLITS), multiple=True, help="Of these only.")
@click.option("--seed", "seeds", type=click.IntRange(0), multiple=True, default=(1, 2, 3), show_default=True)
def main(
    data: Path,
    folder: Path,
    name: str,
    steps: int | None,
    device: str,
    at_once: int,
    readouts: Sequence[str],
    splits: Sequence[str],
    seeds: Sequence[int],
) -> None:
    """Make what is missing, seed by seed, so that a study that is cut short has whole seeds."""
    frames = read_frames(data)
    plan = list(itertools.product(seeds, splits or SPLITS, readouts or READOUTS))
    for number, (seed, split, readout) in enumerate(plan, start=1):
        made = fit(frames, folder, readout, split, seed, settings_of(name, steps), device, at_once)
        errors = made["final"]["held_out"]
        print(
            f"{number}/{len(plan)} {split} {readout} seed {seed}: {errors['energy_shifted']:.2f} meV/atom, "
            f"{errors['force']:.4f} eV/A held out, {made['cpu_s']:.0f} CPU seconds",
            flush=True,
        )


if __name__ == "__main__":
    run_plainly(main)
