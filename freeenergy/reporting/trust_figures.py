"""Figures of the error budget, the label check and the restraint: records in, Plotly figures out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from drupe.freeenergy.alchemical.restraint_health import NAMES, deviations
from drupe.freeenergy.outcomes.budget import BudgetRow
from drupe.freeenergy.outcomes.campaign import CampaignResult
from drupe.freeenergy.reporting.figures import axis, frame
from drupe.freeenergy.reporting.text import in_unit

__all__ = ["budget_figure", "label_figure", "restraint_figure"]

Figure = dict[str, Any]

_kinds = {
    "sampling": "@s1",
    "finite size": "@s2",
    "replicate": "@s4",
    "model": "@qm",
    "label": "@core",
    "residual": "@s3",
    "total": "@ink",
}
_colours = ("@s1", "@s2", "@s3", "@s4", "@qm", "@core")
_most_points = 400


def budget_figure(rows: Sequence[BudgetRow], temperature_k: float) -> Figure:
    """One bar per cause of error, kcal/mol; causes that nobody knows have none."""
    shown = list(reversed(rows))
    values = [None if row.error is None else in_unit(row.error, temperature_k, "kcal/mol") for row in shown]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [row.cause for row in shown],
        "x": values,
        "marker": {"color": [_kinds[row.kind] for row in shown]},
        "width": 0.62,
        "text": ["" if value is None else f"{value:.2f}" for value in values],
        "textposition": "auto",
        "hovertemplate": "%{y}: %{x:.2f} kcal/mol<extra></extra>",
        "showlegend": False,
    }
    layout = frame(80 + 32 * len(rows), axis("kcal mol⁻¹", rangemode="tozero"), axis("", type="category"))
    layout["yaxis"]["ticksuffix"] = " "
    return {"data": [bars], "layout": layout}


def label_figure(result: CampaignResult) -> Figure:
    """Fresh labels less the potential, kcal/mol from the mean of each level, by level and leg."""
    traces = []
    for k, one in enumerate(result.checks):
        if not len(one.difference):
            continue
        every = np.concatenate([other.difference for other in result.checks if other.level == one.level])
        middle = float(every.mean())
        colour = _colours[k % len(_colours)]
        traces.append(
            {
                "type": "box",
                "name": f"{one.level}, {one.leg}",
                "x": [in_unit(float(d) - middle, result.temperature_k, "kcal/mol") for d in one.difference],
                "boxpoints": "all",
                "jitter": 0.5,
                "pointpos": 0,
                "width": 0.5,
                "orientation": "h",
                "fillcolor": f"{colour}-fill",
                "line": {"color": colour, "width": 1.6},
                "marker": {"size": 8},
                "hovertemplate": "%{x:.2f} kcal/mol<extra></extra>",
                "showlegend": False,
            }
        )
    x = axis("label − potential / kcal mol⁻¹", zeroline=True)
    return {"data": traces, "layout": frame(110 + 56 * len(traces), x, axis("", type="category"))}


def restraint_figure(result: CampaignResult, *, held: bool) -> Figure | None:
    """Six coordinates in sigma along time: the first window with the restraint on, or the runs without.

    None where no such trace was kept.
    """
    found = [one for one in result.restraint_traces if one.held == held]
    if result.boresch is None or not found:
        return None
    traces = []
    for number, one in enumerate(found[:1] if held else found):
        off = deviations(result.boresch, one.values, result.temperature_k)
        keep = np.linspace(0, len(off) - 1, min(len(off), _most_points)).astype(int)
        for k, name in enumerate(NAMES):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers" if len(keep) < 40 else "lines",
                    "name": name,
                    "legendgroup": name,
                    "showlegend": number == 0,
                    "x": one.time_ps[keep].round(5).tolist(),
                    "y": off[keep, k].round(3).tolist(),
                    "line": {"color": _colours[k], "width": 1.5},
                    "marker": {"size": 5, "color": _colours[k]},
                    "hovertemplate": f"{one.name}, {name}<br>%{{x:.3f}} ps: %{{y:.2f}} σ<extra></extra>",
                }
            )
    band = {
        "type": "rect",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": -2,
        "y1": 2,
        "fillcolor": "@band",
        "line": {"width": 0},
        "layer": "below",
    }
    layout = frame(
        340, axis("time / ps"), axis("(x − rest) / σ", zeroline=True), shapes=[band], showlegend=True
    )
    layout["margin"]["t"] = 62  # six names need two lines
    return {"data": traces, "layout": layout}
