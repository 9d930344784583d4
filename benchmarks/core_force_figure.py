"""Figure of `core_force_learning`: its JSON in, a picture of the learning curves out (kcal/mol, angstrom).

Run: python benchmarks/core_force_figure.py curves.json docs/figures/core_force_learning.svg
"""

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullLocator

# Okabe and Ito's colours, which also differ to the colour-blind; markers differ as well.
LOOK = {
    "energies": ("energies only", "#000000", "o"),
    "slopes": ("+ 4 directional slopes", "#E69F00", "s"),
    "mp2": ("+ MP2 forces", "#56B4E9", "^"),
    "exact": ("+ exact forces", "#D55E00", "D"),
}
PANELS = {
    "energy_spread": "energy, after a constant (kcal/mol)",
    "force": "QM force component (kcal/mol/Å)",
}


def draw(report: dict[str, Any], target: Path) -> None:
    """One panel below the other, so that it stays readable on a narrow page."""
    points, floor = report["points"], report["low_level_fits"]
    plt.switch_backend("agg")
    plt.rcParams.update({"font.size": 11, "svg.hashsalt": "drupe", "svg.fonttype": "none"})
    figure, axes = plt.subplots(2, 1, figsize=(5.2, 7.2), sharex=True, layout="constrained")
    for axis, (quantity, title) in zip(axes, PANELS.items(), strict=True):
        for mode, (name, colour, marker) in LOOK.items():
            mine = sorted((p for p in points if p["mode"] == mode), key=lambda p: p["labels"])
            sizes = [p["labels"] for p in mine]
            errors = [p[f"high_{quantity}"] for p in mine]
            bars = [p[f"high_{quantity}_sd"] or 0.0 for p in mine]
            axis.errorbar(sizes, errors, bars, label=name, color=colour, marker=marker, capsize=3)
        untouched = [p[f"low_{quantity}"] for p in points]
        axis.axhline(
            sum(untouched) / len(untouched), color="0.5", linestyle="--", label="before the transfer"
        )
        axis.axhline(floor[quantity], color="0.5", linestyle=":", label="low-level fit, own level")
        axis.set(xscale="log", yscale="log", ylabel=title)
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
        axis.grid(color="0.9")
    axes[-1].set_xlabel("core-corrected labels")
    ticks = sorted({p["labels"] for p in points})
    axes[-1].set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes[-1].minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
