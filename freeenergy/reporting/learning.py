"""Figures of labels, fits and runs: a campaign record goes in (atomic units), Plotly figures come out.

Energies are drawn in kcal/mol, forces in kcal/mol/angstrom, potentials of trajectories in kT.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.freeenergy.outcomes.campaign import CampaignResult, CoreTable, Cost
from drupe.freeenergy.outcomes.figure_data import Parity
from drupe.freeenergy.reporting.figures import axis, frame
from drupe.units import angstrom, kcal_per_mol

__all__ = ["core_figure", "cost_figure", "learning_figure", "parity_errors", "parity_figure", "trace_figure"]

Figure = dict[str, Any]

_stage_colours = ("@qm", "@core", "@s3", "@s1", "@s4")
_group_colours = ("@s1", "@s2", "@s3", "@s4", "@qm", "@core")
_most_points = 4000


def learning_figure(result: CampaignResult, quantity: str) -> Figure:
    """Draw the validation error against step, one line per member, one colour per stage.

    ``quantity`` is ``"energy"`` or ``"force"``.
    """
    stages = list(dict.fromkeys(curve.stage for curve in result.learning))
    traces = []
    shown: set[str] = set()
    for curve in result.learning:
        values = curve.energy_rmse / kcal_per_mol if quantity == "energy" else _force(curve.force_rmse)
        known = np.isfinite(values) & (values > 0)
        if not known.any():
            continue
        colour = _stage_colours[stages.index(curve.stage) % len(_stage_colours)]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if known.sum() < 25 else "lines",
                "x": curve.step[known].tolist(),
                "y": values[known].tolist(),
                "name": curve.stage,
                "legendgroup": curve.stage,
                "showlegend": curve.stage not in shown,
                "opacity": 0.85,
                "line": {"color": colour, "width": 1.8},
                "marker": {"size": 5, "color": colour},
                "hovertemplate": f"{curve.stage}, member {curve.member}<br>"
                "step %{x}: %{y:.3f}<extra></extra>",
            }
        )
        shown.add(curve.stage)
    unit = "kcal mol⁻¹" if quantity == "energy" else "kcal mol⁻¹ Å⁻¹"
    marks = [m * 10.0**e for e in range(-6, 7) for m in (1, 2, 5)]
    ticks = {"tickvals": marks, "ticktext": [f"{mark:g}" for mark in marks]}
    y = axis(f"{quantity} RMSE / {unit}", type="log", **ticks)
    return {"data": traces, "layout": frame(330, axis("training step"), y)}


def parity_figure(parity: Parity) -> Figure:
    """Prediction against reference; energies from their mean, the diagonal is perfection."""
    reference, predicted, unit = _parity_values(parity)
    group = np.array(parity.group if len(parity.group) == len(reference) else parity.group * len(reference))
    keep = np.linspace(0, len(reference) - 1, min(len(reference), _most_points)).astype(int)
    traces = []
    for k, name in enumerate(dict.fromkeys(parity.group)):
        chosen = keep[group[keep] == name]
        big = len(keep) < 200
        trace = {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": reference[chosen].round(4).tolist(),
            "y": predicted[chosen].round(4).tolist(),
            "marker": {
                "size": 9 if big else 4,
                "opacity": 0.9 if big else 0.5,
                "color": _group_colours[k % len(_group_colours)],
                "line": {"width": 0.8 if big else 0, "color": "@surface"},
            },
            "hovertemplate": f"{name}<br>reference %{{x:.2f}}, predicted %{{y:.2f}}<extra></extra>",
        }
        if parity.sigma is not None and big:
            error = (
                parity.sigma[chosen] / kcal_per_mol
                if parity.quantity in ("energy", "correction")
                else _force(parity.sigma[chosen])
            )
            trace["error_y"] = {
                "type": "data",
                "array": error.tolist(),
                "thickness": 1.2,
                "width": 0,
                "color": _group_colours[k % len(_group_colours)],
            }
        traces.append(trace)
    both = np.concatenate([reference, predicted]) if len(reference) else np.array([-1.0, 1.0])
    pad = 0.06 * max(float(np.ptp(both)), 1e-3)
    ends = [float(both.min()) - pad, float(both.max()) + pad]
    diagonal = {
        "type": "line",
        "x0": ends[0],
        "y0": ends[0],
        "x1": ends[1],
        "y1": ends[1],
        "layer": "below",
        "line": {"color": "@quiet", "width": 1.4, "dash": "dash"},
    }
    x = axis(f"reference / {unit}", range=ends, zeroline=False, constrain="domain")
    y = axis(f"predicted / {unit}", range=ends, zeroline=False, scaleanchor="x", constrain="domain")
    return {"data": traces, "layout": frame(370, x, y, shapes=[diagonal], showlegend=True)}


def parity_errors(parity: Parity) -> list[tuple[str, int, float, float, str]]:
    """(group, values, MAE, RMSE, unit) of every group of a parity plot."""
    reference, predicted, unit = _parity_values(parity)
    group = np.array(parity.group if len(parity.group) == len(reference) else parity.group * len(reference))
    rows = []
    for name in dict.fromkeys(parity.group):
        error = (predicted - reference)[group == name]
        if len(error):
            rmse = float(np.sqrt((error**2).mean()))
            rows.append((name, len(error), float(np.abs(error).mean()), rmse, unit))
    return rows


def trace_figure(result: CampaignResult) -> Figure:
    """Potential energy along every trajectory, from its own mean; one colour per kind of run."""
    kinds = list(dict.fromkeys(_kind(trace.name) for trace in result.traces))
    traces = []
    shown: set[str] = set()
    for trace in result.traces:
        keep = np.linspace(0, len(trace.potential) - 1, min(len(trace.potential), 1000)).astype(int)
        values = trace.potential - trace.potential.mean()
        kind = _kind(trace.name)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": kind,
                "legendgroup": kind,
                "showlegend": kind not in shown,
                "x": trace.time_ps[keep].round(5).tolist(),
                "y": values[keep].round(3).tolist(),
                "line": {"width": 1.5, "color": _group_colours[kinds.index(kind) % len(_group_colours)]},
                "hovertemplate": trace.name + "<br>%{x:.3f} ps: %{y:.1f} kT<extra></extra>",
            }
        )
        shown.add(kind)
    return {
        "data": traces,
        "layout": frame(360, axis("time / ps"), axis("U − ⟨U⟩ / kT", zeroline=True), showlegend=True),
    }


def _kind(name: str) -> str:
    """``"complex/sample/2"`` is of the kind ``"complex/sample"``."""
    return name.rpartition("/")[0] or name


def core_figure(cores: CoreTable) -> Figure:
    """Core corrections of the snapshots, each from the mean over all, by leg."""
    traces = []
    names = list(dict.fromkeys(zip(cores.core, cores.leg, strict=True)))
    for k, (core, leg) in enumerate(names):
        chosen = np.array([(c, one) == (core, leg) for c, one in zip(cores.core, cores.leg, strict=True)])
        mean = cores.correction[np.array([c == core for c in cores.core])].mean()
        values = (cores.correction[chosen] - mean) / kcal_per_mol
        traces.append(
            {
                "type": "box",
                "name": leg if len({c for c, _ in names}) == 1 else f"{core}, {leg}",
                "x": values.tolist(),
                "boxpoints": "all",
                "jitter": 0.5,
                "pointpos": 0,
                "width": 0.5,
                "fillcolor": f"{_group_colours[k % len(_group_colours)]}-fill",
                "orientation": "h",
                "line": {"color": _group_colours[k % len(_group_colours)], "width": 1.6},
                "marker": {"size": 8},
                "hovertemplate": "%{x:.3f} kcal/mol<extra></extra>",
                "showlegend": False,
            }
        )
    x = axis("core correction − mean / kcal mol⁻¹", zeroline=True)
    layout = frame(130 + 70 * len(names), x, axis("", type="category"))
    return {"data": traces, "layout": layout}


def cost_figure(costs: tuple[Cost, ...]) -> Figure:
    """Minutes per stage."""
    ordered = tuple(reversed(costs))
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [cost.stage for cost in ordered],
        "x": [cost.seconds / 60.0 for cost in ordered],
        "marker": {"color": "@s1"},
        "width": 0.62,
        "text": [f"{cost.seconds / 60.0:.1f} min" for cost in ordered],
        "textposition": "auto",
        "hovertemplate": "%{y}: %{x:.2f} min<extra></extra>",
    }
    layout = frame(90 + 34 * len(costs), axis("minutes"), axis("", type="category", ticksuffix=" "))
    return {"data": [bars], "layout": layout}


def _parity_values(parity: Parity) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    if parity.quantity in ("energy", "correction"):
        mean = float(parity.reference.mean()) if len(parity.reference) else 0.0
        return (
            (parity.reference - mean) / kcal_per_mol,
            (parity.predicted - mean) / kcal_per_mol,
            "kcal mol⁻¹",
        )
    return _force(parity.reference), _force(parity.predicted), "kcal mol⁻¹ Å⁻¹"


def _force(atomic: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hartree / bohr to kcal/mol/angstrom."""
    return atomic * (angstrom / kcal_per_mol)
