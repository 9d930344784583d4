"""Section of the report on alchemical sampling: the checks of each leg and repeat in, HTML out."""

from html import escape
from typing import Any

import numpy as np

from drupe.freeenergy.alchemical.mixing import Mixing
from drupe.freeenergy.estimation.convergence import Convergence
from drupe.freeenergy.outcomes.campaign import CampaignResult, MmLeg
from drupe.freeenergy.reporting.book import Book, card, grid
from drupe.freeenergy.reporting.figures import axis, frame, state_matrix
from drupe.freeenergy.reporting.text import badge, in_unit, reasons, signed

__all__ = ["convergence_figure", "sampling_section", "walk_figure"]

Figure = dict[str, Any]

_note = (
    "Frames before equilibrium are discarded, the others thinned to independent ones. Forward and backward "
    "estimates take the first and the last part of every window; where they meet early and stay together, "
    "nothing drifts."
)


def sampling_section(book: Book, result: CampaignResult) -> str:
    """Convergence in time of both legs, mixing of replicas where they were exchanged, and a table of both."""
    legs = [leg for leg in result.mm_legs if leg.checks]
    if not legs:
        return '<h2>Sampling</h2><p class="quiet">The frames behind these legs were not checked.</p>'
    cards = []
    for leg in legs:
        caption = (
            f"ΔG of the {leg.leg} leg from a growing part of the frames; whiskers are standard errors, "
            "the band is the whole."
        )
        figure = convergence_figure(leg, result.temperature_k)
        title = f"Convergence in time, {leg.leg}"
        cards.append(card(book.figure(f"convergence-{leg.leg}", figure, title, caption)))
    for leg in legs:
        mixed = [(k, one.mixing) for k, one in enumerate(leg.checks, 1) if one.mixing is not None]
        if mixed:
            number, slowest = max(mixed, key=lambda pair: pair[1].second)
            cards += _mixing_cards(book, leg, number, slowest)
    return (
        f"<h2>Sampling</h2><p class=note>{_note}</p>"
        + grid(*cards)
        + card(_table(legs, result.temperature_k), css="below")
    )


def convergence_figure(leg: MmLeg, temperature_k: float) -> Figure:
    """Forward and backward convergence of all repeats of a leg, kcal/mol."""
    traces, shapes = [], []
    for k, checks in enumerate(leg.checks):
        found = checks.convergence
        rows = (
            ("forward", found.forward, found.forward_errors, "@s1", -0.006),
            ("backward", found.backward, found.backward_errors, "@s2", 0.006),
        )
        for name, values, errors, colour, aside in rows:
            label = name if len(leg.checks) == 1 else f"{name}, repeat {k + 1}"
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": name,
                    "legendgroup": name,
                    "showlegend": k == 0,
                    "x": [round(float(x) + aside, 4) for x in found.fractions],
                    "y": [_kcal(value, temperature_k) for value in values],
                    "error_y": {
                        "type": "data",
                        "array": [_kcal(error, temperature_k) for error in errors],
                        "color": colour,
                        "thickness": 1.3,
                        "width": 3,
                    },
                    "line": {"color": colour, "width": 2, "dash": ("solid", "dash", "dot")[k % 3]},
                    "marker": {"color": colour, "size": 6},
                    "hovertemplate": label + ": %{y:.2f} kcal/mol<extra></extra>",
                }
            )
        shapes += _band(found, temperature_k)
    x = axis("part of the frames of every window", range=[0.05, 1.04], dtick=0.2)
    return {"data": traces, "layout": frame(340, x, axis("ΔG / kcal mol⁻¹"), shapes=shapes)}


def walk_figure(mixing: Mixing) -> Figure:
    """State of the first, a middle and the last replica along the run."""
    replicas = sorted({0, mixing.walks.shape[1] // 2, mixing.walks.shape[1] - 1})
    iterations = (mixing.every * np.arange(len(mixing.walks))).tolist()
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"replica {replica}",
            "x": iterations,
            "y": mixing.walks[:, replica].tolist(),
            "line": {"color": colour, "width": 1.6, "shape": "hv"},
            "hovertemplate": f"replica {replica}, iteration %{{x}}: state %{{y}}<extra></extra>",
        }
        for replica, colour in zip(replicas, ("@s1", "@s2", "@s3"), strict=False)
    ]
    top = mixing.walks.shape[1] - 1
    y = axis("state", range=[-0.4, top + 0.4], dtick=1 if top <= 10 else 5)
    return {"data": traces, "layout": frame(300, axis("iteration"), y)}


def _mixing_cards(book: Book, leg: MmLeg, number: int, found: Mixing) -> list[str]:
    which = f" Repeat {number} of {len(leg.checks)}, the slowest." if len(leg.checks) > 1 else ""
    slow = f"forgets its start in {found.relaxation:.3g} iterations"
    if not np.isfinite(found.relaxation):
        slow = "never forgets its start"
    matrix = (
        f"How often a replica goes from state to state in one iteration. Second eigenvalue "
        f"{found.second:.4f}: the walk {slow}.{which}"
    )
    walk = (
        f"{found.round_trips} round trips of {len(found.transitions)} replicas in {found.iterations} "
        "iterations. Replicas that stay among a few states carry nothing from one end to the other."
    )
    hover = "from state %{y} to %{x}: %{z:.3f}"
    return [
        card(
            book.figure(
                f"mixing-{leg.leg}",
                state_matrix(found.transitions, hover),
                f"Replica mixing, {leg.leg}",
                matrix,
            )
        ),
        card(
            book.figure(f"walk-{leg.leg}", walk_figure(found), f"Walks through the states, {leg.leg}", walk)
        ),
    ]


def _table(legs: list[MmLeg], temperature_k: float) -> str:
    body = []
    for leg in legs:
        for k, one in enumerate(leg.checks, 1):
            kept, drift = one.equilibration, one.convergence
            name = leg.leg if len(leg.checks) == 1 else f"{leg.leg}, repeat {k}"
            frames = f"{int(kept.kept.min())} to {int(kept.kept.max())} of {kept.frames}"
            shift = _shift(drift.drift, drift.drift_error, temperature_k)
            bend = _shift(drift.bend, drift.bend_error, temperature_k)
            body.append(
                f'<tr><th scope="row">{escape(name)}'
                f'<span class="parts">{_mixing_words(one.mixing)}; middle half − rest {bend} kcal mol⁻¹'
                "</span></th>"
                f'<td class="num" data-name="independent frames">{frames}</td>'
                f'<td class="num" data-name="discarded at most">{int(kept.discarded.max())}</td>'
                f'<td class="num" data-name="second half − first">{shift}</td>'
                f"<td>{badge(one.verdict)}{reasons(one.verdict)}</td></tr>"
            )
    numeric = ("independent frames per window", "discarded at most", "second half − first / kcal mol⁻¹")
    top = "".join(f'<th scope="col" class="num">{head}</th>' for head in numeric)
    top = f'<th scope="col">leg</th>{top}<th scope="col">verdict</th>'
    return f'<table class="stack"><thead><tr>{top}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def _shift(value: float, error: float, temperature_k: float) -> str:
    kcal, its = (_kcal(x, temperature_k) for x in (value, error))
    return "–" if kcal is None or its is None else f"{signed(kcal)} ± {signed(its)}"


def _mixing_words(mixing: Mixing | None) -> str:
    if mixing is None:
        return "windows by themselves"
    if not len(mixing.acceptance):
        return "one state"
    low, mean = float(mixing.acceptance.min()), float(mixing.acceptance.mean())
    return f"acceptance of neighbours {mean:.2f}, lowest {low:.2f}; {mixing.round_trips} round trips"


def _band(found: Convergence, temperature_k: float) -> list[Figure]:
    value, error = (_kcal(x, temperature_k) for x in (found.forward[-1], found.forward_errors[-1]))
    if value is None or error is None:
        return []
    edges = {"x0": 0, "x1": 1, "xref": "paper", "y0": value - error, "y1": value + error}
    return [{"type": "rect", **edges, "fillcolor": "@band", "line": {"width": 0}, "layer": "below"}]


def _kcal(value: float, temperature_k: float) -> float | None:
    return round(in_unit(float(value), temperature_k, "kcal/mol"), 4) if np.isfinite(value) else None
