"""What the fits say: ``python summary.py FOLDER`` writes FOLDER/summary.json, summary.md and summary.svg.

The three published claims are compared with the classical control of as many parameters, paired by seed:
a difference counts where Student's t, for so few seeds, has it nonzero with 95 % confidence.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from plain_errors import run_plainly
from scipy.special import stdtrit
from silicon_model import READOUTS

from drupe.errors import InputError
from drupe.files import write_whole

CONTROL = "classical"
_CONFIDENCE = 0.95  # of a difference that counts, two-sided
_EARLY = 1.3  # times the training force error that every fit reaches: passed in the first part of a fit
_NAMES = ("energy_raw", "energy_shifted", "force")

Fits = dict[str, dict[str, dict[int, dict[str, Any]]]]  # split, readout, seed


def read_fits(folder: Path) -> Fits:
    """All fits of a folder.

    Raises
    ------
    InputError
        If there are none, or they differ in settings.
    """
    found = [
        made for path in sorted(folder.glob("*.json")) if "curve" in (made := json.loads(path.read_text()))
    ]
    kinds = {json.dumps(one["settings"], sort_keys=True) for one in found}
    if len(kinds) != 1:
        raise InputError(
            f"{folder} holds {len(found)} fits of {len(kinds)} different settings",
            remedy="give a folder with the fits of one study",
        )
    fits: Fits = defaultdict(lambda: defaultdict(dict))
    for one in found:
        fits[one["split"]][one["readout"]][one["seed"]] = one
    return fits


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation; None of fewer than two."""
    return {
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "values": list(values),
    }


def difference(one: Mapping[int, float], other: Mapping[int, float]) -> dict[str, Any]:
    """Mean of ``one`` minus ``other`` over common seeds, its standard error, and whether it is settled.

    Settled: outside the interval of Student's t, 4.3 standard errors for three seeds. One in twenty
    differences that are none is called so.
    """
    both = sorted(set(one) & set(other))
    if len(both) < 2:
        return {"mean": None, "standard_error": None, "seeds": both, "settled": False}
    values = np.array([one[seed] - other[seed] for seed in both])
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    return {
        "mean": mean,
        "standard_error": error,
        "seeds": both,
        "settled": bool(abs(mean) > stdtrit(len(values) - 1, (1 + _CONFIDENCE) / 2) * error),
    }


def table(group: Mapping[str, Mapping[int, dict[str, Any]]]) -> dict[str, Any]:
    """Errors, sizes and times of each readout of a split."""
    made: dict[str, Any] = {}
    for readout, fits in group.items():
        made[readout] = {
            side: {name: spread([one["final"][side][name] for one in fits.values()]) for name in _NAMES}
            for side in ("train", "held_out")
        }
        made[readout]["readout_parameters"] = next(iter(fits.values()))["parameters"]["readout"]
        made[readout]["cpu_s"] = spread([one["cpu_s"] for one in fits.values()])
    return made


def speeds(
    group: Mapping[str, Mapping[int, dict[str, Any]]], times: float = 1.0
) -> tuple[float, dict[str, dict[int, float]]]:
    """Steps until the training force error falls below ``times`` what every fit reaches, and that bar."""
    bar = times * max(min(_curve(one, "train")) for fits in group.values() for one in fits.values())
    return bar, {
        readout: {seed: _first_below(one, bar) for seed, one in fits.items()}
        for readout, fits in group.items()
    }


def _first_below(one: dict[str, Any], bar: float) -> float:
    """Step at which the curve passes ``bar``, between its points by a straight line."""
    steps, errors = [float(point["step"]) for point in one["curve"]], _curve(one, "train")
    k = next(k for k, error in enumerate(errors) if error <= bar)
    if k == 0 or errors[k - 1] == errors[k]:
        return steps[k]
    part = (errors[k - 1] - bar) / (errors[k - 1] - errors[k])
    return steps[k - 1] + part * (steps[k] - steps[k - 1])


def _curve(one: dict[str, Any], side: str) -> list[float]:
    return [float(point[side]["force"]) for point in one["curve"]]


def claims(group: Mapping[str, Mapping[int, dict[str, Any]]]) -> dict[str, Any]:
    """Numbers on the three claims for one split."""
    (bar, reached), (early_bar, early) = speeds(group), speeds(group, _EARLY)
    lowest = {
        r: {s: float(o["lowest_held_out_force"]["step"]) for s, o in f.items()} for r, f in group.items()
    }
    rise = {
        r: {s: _curve(o, "held_out")[-1] / min(_curve(o, "held_out")) - 1 for s, o in f.items()}
        for r, f in group.items()
    }
    force = {r: {s: float(o["final"]["held_out"]["force"]) for s, o in f.items()} for r, f in group.items()}
    others = [name for name in group if name != CONTROL]

    def against(
        values: Mapping[str, Mapping[int, float]], control: str, names: Sequence[str]
    ) -> dict[str, Any]:
        if control not in values:
            return {}
        return {name: difference(values[name], values[control]) for name in names if name != control}

    means = {name: float(np.mean(list(force[name].values()))) for name in group}
    return {
        "hybrids fit the training set faster": {
            "training_force_error_passed": bar,
            "steps": {name: spread(list(found.values())) for name, found in reached.items()},
            "steps_minus_classical": against(reached, CONTROL, others),
            "early_training_force_error_passed": early_bar,
            "early_steps": {name: spread(list(found.values())) for name, found in early.items()},
            "early_steps_minus_classical": against(early, CONTROL, others),
        },
        "hybrids overfit earlier": {
            "step_of_lowest_held_out_force": {n: spread(list(v.values())) for n, v in lowest.items()},
            "step_minus_classical": against(lowest, CONTROL, others),
            "rise_from_lowest_to_last": {n: spread(list(v.values())) for n, v in rise.items()},
        },
        "CZ generalises best": {
            "ranking_by_held_out_force": sorted(means, key=lambda name: means[name]),
            "force_minus_vqc_cz": against(force, "vqc-cz", list(group)),
        },
    }


def told(found: Mapping[str, Any]) -> str:
    """What the claims come to, in words made of the numbers."""
    lines = []
    for split, part in found.items():
        lines.append(f"\n## Split: {split}\n")
        lines += _rows(part["table"])
        for claim, numbers in part["claims"].items():
            lines.append(f"\n{claim}:\n")
            for name, compared in ((k, v) for k, v in numbers.items() if "_minus_" in k):
                for readout, one in compared.items():
                    lines.append(f"* {readout}: {name.replace('_', ' ')} {_words(one)}")
                if not compared:
                    lines.append("* nothing to compare with yet")
    return "\n".join(lines) + "\n"


def _rows(found: Mapping[str, Any]) -> list[str]:
    lines = [
        "| readout | parameters | seeds | train eV/A | held out eV/A | meV/atom raw | mean-shifted |",
        "|---|---|---|---|---|---|---|",
    ]
    for readout, one in found.items():
        held = one["held_out"]
        cells = [one["train"]["force"], held["force"], held["energy_raw"], held["energy_shifted"]]
        seeds = len(one["cpu_s"]["values"])
        texts = [_pm(cell) for cell in cells]
        lines.append(f"| {readout} | {one['readout_parameters']} | {seeds} | {' | '.join(texts)} |")
    return lines


def _pm(found: Mapping[str, Any]) -> str:
    sd = "" if found["sd"] is None else f" +- {found['sd']:.2g}"
    return f"{found['mean']:.4g}{sd}"


def _words(one: Mapping[str, Any]) -> str:
    if one["mean"] is None:
        return f"not known from {len(one['seeds'])} common seeds"
    verdict = "settled" if one["settled"] else "not settled"
    return f"{one['mean']:.4g} +- {one['standard_error']:.2g} ({len(one['seeds'])} seeds; {verdict})"


def draw(fits: Fits, target: Path) -> None:
    """Learning curves: mean over seeds, with the range of the seeds shaded."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    figure, axes = plt.subplots(2, len(fits), figsize=(5 * len(fits), 7), squeeze=False, layout="constrained")
    for column, (split, group) in zip(axes.T, fits.items(), strict=True):
        for axis, side in zip(column, ("train", "held_out"), strict=True):
            for readout in (name for name in READOUTS if name in group):
                curves = np.array([_curve(one, side) for one in group[readout].values()])
                steps = [point["step"] for point in next(iter(group[readout].values()))["curve"]]
                color = f"C{READOUTS.index(readout)}"
                axis.plot(steps, curves.mean(0), color=color, label=readout, lw=1.2)
                axis.fill_between(steps, curves.min(0), curves.max(0), color=color, alpha=0.15, lw=0)
            axis.set(xscale="log", yscale="log", xlabel="optimiser step", ylabel="force error, eV/Å")
            axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
            axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.set_title(f"{split} split, {side.replace('_', ' ')}")
    axes[0, 0].legend(fontsize=8)
    figure.savefig(target)
    plt.close(figure)


def summarise(folder: Path) -> dict[str, Any]:
    """Read a folder of fits; write and return what they say."""
    fits = read_fits(folder)
    found = {split: {"table": table(group), "claims": claims(group)} for split, group in fits.items()}
    write_whole(folder / "summary.json", json.dumps(found, indent=1).encode())
    write_whole(folder / "summary.md", told(found).encode())
    draw(fits, folder / "summary.svg")
    return found


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Summarise and print."""
    print(told(summarise(folder)))


if __name__ == "__main__":
    run_plainly(main)
