"""Figures of free energies: a campaign and its summary go in, Plotly figures (kcal/mol, kT) come out.

A figure is a plain dictionary. Colours that begin with ``@`` are names; the page replaces them by
those of its light or dark theme.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.freeenergy.estimation.chain import MbarResult
from drupe.freeenergy.estimation.results import FreeEnergy
from drupe.freeenergy.outcomes.campaign import CampaignResult, SwitchingResult
from drupe.freeenergy.outcomes.summary import Summary
from drupe.freeenergy.reporting.text import in_unit, signed

__all__ = [
    "axis",
    "cascade",
    "estimators",
    "frame",
    "mbar_overlap",
    "mbar_profile",
    "state_matrix",
    "work_distribution",
]

Figure = dict[str, Any]


def frame(height: int, x: Figure, y: Figure, **more: Any) -> Figure:
    """Layout that all flat figures share."""
    legend = {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"}
    margin = {"l": 58, "r": 14, "t": 34, "b": 52}
    return {"height": height, "margin": margin, "legend": legend, "xaxis": x, "yaxis": y, **more}


def axis(title: str, **more: Any) -> Figure:
    """Axis with a title; colours and grid come from the theme."""
    return {"title": {"text": title}, "automargin": True, **more}


def cascade(result: CampaignResult, summary: Summary) -> Figure:
    """Waterfall from dG_bind(MM) over the corrections to the total, with errors and the experiment."""
    steps = [("MM" if summary.finite_size is None else "MM, as simulated", summary.mm, False)]
    steps += [("+ finite size", summary.finite_size, True)] if summary.finite_size else []
    steps += [("+ low level", summary.low.difference, True)] if summary.low else []
    steps += [("+ core", summary.core.difference, True)] if summary.core else []
    steps += [(summary.level, summary.total, False)] if len(steps) > 1 else []
    names, bases, heights, errors, colours = [], [], [], [], []
    level = 0.0
    for name, energy, moves in steps:
        value, error = (in_unit(v, summary.temperature_k, "kcal/mol") for v in (energy.value, energy.error))
        names.append(f"{name}<br><b>{signed(value)}</b>")
        bases.append(_finite(level if moves else 0.0))
        heights.append(_finite(value))
        errors.append(_finite(error))
        colours.append(_colour_of(name))
        level = level + value if moves else value
    bars = {
        "type": "bar",
        "x": names,
        "y": heights,
        "base": bases,
        "width": 0.56,
        "marker": {"color": colours, "line": {"width": 0}},
        "error_y": {"type": "data", "array": errors, "color": "@ink", "thickness": 1.6, "width": 7},
        "hovertemplate": "%{x} kcal/mol<extra></extra>",
        "showlegend": False,
    }
    ends = [None if h is None or b is None else b + h for b, h in zip(bases, heights, strict=True)]
    links = [
        {
            "type": "line",
            "x0": i + 0.28,
            "x1": i + 0.72,
            "y0": ends[i],
            "y1": ends[i],
            "line": _line("@quiet", 1.2, "dot"),
        }
        for i in range(len(ends) - 1)
        if ends[i] is not None
    ]
    traces: list[Figure] = [bars]
    if result.experiment_kcal is not None:
        y = result.experiment_kcal
        links.append(
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": y,
                "y1": y,
                "line": _line("@s3", 2.2, "dash"),
            }
        )
        key = {
            "type": "scatter",
            "mode": "lines",
            "x": [None],
            "y": [None],
            "line": _line("@s3", 2.2, "dash"),
        }
        traces.append({**key, "name": f"experiment {signed(y)}", "showlegend": True})
    layout = frame(380, axis("", type="category"), axis("ΔG / kcal mol⁻¹", zeroline=True), shapes=links)
    return {"data": traces, "layout": layout}


def work_distribution(works: SwitchingResult, energy: FreeEnergy) -> Figure:
    """Forward and reverse works of one leg relative to BAR, every work as a tick below."""
    zero = energy.value
    if not math.isfinite(zero):
        sides = [side for side in (works.w_f, -works.w_r) if len(side)]
        zero = float(np.mean([side.mean() for side in sides])) if sides else 0.0
    pairs = [("W forward", works.w_f - zero, "@s1", -0.045), ("−W reverse", -works.w_r - zero, "@s2", -0.105)]
    every = np.concatenate([side for _, side, _, _ in pairs])
    traces: list[Figure] = []
    grid = np.zeros(0)
    if len(every):
        margin = 0.25 * max(float(np.ptp(every)), 1.0)
        grid = np.linspace(every.min() - margin, every.max() + margin, 240)
    curves = [_density(side, grid) for _, side, _, _ in pairs]
    top = max((float(curve.max()) for curve in curves if len(curve)), default=1.0)
    for (name, side, colour, depth), curve in zip(pairs, curves, strict=True):
        if not len(side):
            continue
        if len(curve):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": grid.round(4).tolist(),
                    "y": curve.round(5).tolist(),
                    "name": name,
                    "line": {"color": colour, "width": 2.4},
                    "fill": "tozeroy",
                    "fillcolor": f"{colour}-fill",
                    "legendgroup": name,
                    "hoverinfo": "skip",
                }
            )
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": side.tolist(),
                "y": [depth * top] * len(side),
                "name": name,
                "marker": {"symbol": "line-ns-open", "size": 11, "color": colour, "line": {"width": 1.6}},
                "legendgroup": name,
                "showlegend": not len(curve),
                "hovertemplate": name + " − ΔG = %{x:.2f} kT<extra></extra>",
            }
        )
    shapes = [
        {
            "type": "line",
            "x0": 0,
            "x1": 0,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": _line("@ink", 1.6, "dash"),
        }
    ]
    if math.isfinite(energy.error):
        shapes.append(
            {
                "type": "rect",
                "x0": -energy.error,
                "x1": energy.error,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "fillcolor": "@band",
                "line": {"width": 0},
                "layer": "below",
            }
        )
    y = axis("density", showticklabels=False, range=[-0.17 * top, 1.12 * top], zeroline=True)
    x = axis("(work − ΔG<sub>BAR</sub>) / kT" if math.isfinite(energy.value) else "(work − middle) / kT")
    if len(
        every
    ):  # the crossing stays in view, and so does every work; a huge error band does not stretch it
        x["range"] = [min(float(grid[0]), -1.0), max(float(grid[-1]), 1.0)]
    return {"data": traces, "layout": frame(300, x, y, shapes=shapes, showlegend=True)}


def estimators(summary: Summary) -> Figure:
    """BAR, MBAR, Jarzynski both ways and Crooks-Gaussian side by side, relative to BAR."""
    rows = []
    for name, correction in (("core", summary.core), ("low", summary.low)):
        if correction is not None:
            rows += [
                (f"{name}, solvent", correction.solvent_leg),
                (f"{name}, complex", correction.complex_leg),
            ]
    looks = {
        "BAR": ("@ink", "diamond"),
        "MBAR": ("@quiet", "diamond-open"),
        "Jarzynski forward": ("@s1", "triangle-right"),
        "Jarzynski reverse": ("@s2", "triangle-left"),
        "Crooks-Gaussian": ("@s3", "circle"),
    }
    traces = []
    for k, (method, (colour, symbol)) in enumerate(looks.items()):
        values = [leg[k].value - leg[0].value for _, leg in rows]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": method,
                "x": [_finite(v) for v in values],
                "y": [i + 0.28 - 0.14 * k for i in range(len(rows))],
                "error_x": {
                    "type": "data",
                    "array": [_finite(leg[k].error) for _, leg in rows],
                    "color": colour,
                    "thickness": 1.4,
                    "width": 4,
                },
                "marker": {"color": colour, "symbol": symbol, "size": 10},
                "customdata": [signed(leg[k].value) for _, leg in rows],
                "hovertemplate": method + ": %{customdata} kT<extra></extra>",
            }
        )
    ticks = {"tickvals": list(range(len(rows))), "ticktext": [name for name, _ in rows]}
    y = axis("", range=[-0.6, len(rows) - 0.4], zeroline=False, **ticks)
    return {
        "data": traces,
        "layout": frame(120 + 70 * len(rows), axis("(ΔG − ΔG<sub>BAR</sub>) / kT", zeroline=True), y),
    }


def mbar_overlap(mbar: MbarResult) -> Figure:
    """Overlap matrix; numbers in the cells where they fit."""
    return state_matrix(mbar.overlap, "state %{y} seen from %{x}: %{z:.3f}")


def state_matrix(matrix: NDArray[np.float64], hover: str) -> Figure:
    """States against states, rows that sum to 1; numbers in the cells where they fit."""
    few = len(matrix) <= 10
    heat = {
        "type": "heatmap",
        "z": matrix.round(4).tolist(),
        "x": list(range(len(matrix))),
        "y": list(range(len(matrix))),
        "zmin": 0,
        "zmax": 0.5,
        "colorscale": [[0, "@heat0"], [0.06, "@heat1"], [0.35, "@heat2"], [1, "@heat3"]],
        "xgap": 2,
        "ygap": 2,
        "showscale": not few,
        "colorbar": {"thickness": 10, "outlinewidth": 0},
        "hovertemplate": f"{hover}<extra></extra>",
    }
    notes = (
        [
            _note(
                j,
                i,
                f"{v:.2f}".removeprefix("0") if v >= 0.005 else "·",
                font={"color": "@heat-ink" if v > 0.16 else "@ink", "size": 11},
            )
            for i, row in enumerate(matrix)
            for j, v in enumerate(row)
        ]
        if few
        else []
    )
    tick = {"dtick": 1 if few else 5, "showgrid": False, "zeroline": False}
    y = axis("state", autorange="reversed", scaleanchor="x", constrain="domain", **tick)
    return {
        "data": [heat],
        "layout": frame(360, axis("state", constrain="domain", **tick), y, annotations=notes),
    }


def mbar_profile(result: CampaignResult) -> Figure:
    """Free energy along the alchemical path of both legs, one line per repeat."""
    traces = []
    for leg, colour in (("complex", "@s1"), ("solvent", "@s2")):
        for k, one in enumerate(result.mm_leg(leg).repeats):
            values = [in_unit(v, result.temperature_k, "kcal/mol") for v in one.values]
            errors = [in_unit(v, result.temperature_k, "kcal/mol") for v in one.errors]
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": leg,
                    "legendgroup": leg,
                    "showlegend": k == 0,
                    "x": list(range(len(values))),
                    "y": values,
                    "text": list(one.names),
                    "error_y": {
                        "type": "data",
                        "array": errors,
                        "color": colour,
                        "thickness": 1.3,
                        "width": 4,
                    },
                    "line": {"color": colour, "width": 2.2},
                    "marker": {"size": 7, "color": colour},
                    "hovertemplate": leg + " %{text}: %{y:.2f} kcal/mol<extra></extra>",
                }
            )
    y = axis("G<sub>k</sub> − G<sub>0</sub> / kcal mol⁻¹", zeroline=True)
    return {"data": traces, "layout": frame(360, axis("state k", dtick=_tick(result)), y)}


def _tick(result: CampaignResult) -> int:
    most = max(len(one.values) for leg in result.mm_legs for one in leg.repeats)
    return 1 if most <= 12 else 5


def _density(values: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian kernel density, Silverman's width; empty when there is nothing to smooth."""
    if len(values) < 3 or not np.ptp(values) > 0.0:
        return np.zeros(0)
    spread = min(
        float(values.std(ddof=1)), float(np.subtract(*np.percentile(values, [75, 25]))) / 1.349 or math.inf
    )
    width = 0.9 * spread * len(values) ** -0.2
    kernel = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2)
    density: NDArray[np.float64] = kernel.sum(axis=1) / (len(values) * width * math.sqrt(2.0 * math.pi))
    return density


def _colour_of(step: str) -> str:
    """Colour of a step of the cascade."""
    if step.startswith("MM"):
        return "@mm"
    return "@s2" if "finite" in step else "@qm" if "low" in step else "@core"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _line(colour: str, width: float, dash: str) -> Figure:
    return {"color": colour, "width": width, "dash": dash}


def _note(x: object, y: float, text: str, **more: Any) -> Figure:
    return {"x": x, "y": y, "text": text, "showarrow": False, **more}
