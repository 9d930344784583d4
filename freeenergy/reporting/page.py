"""The report page: a campaign and its summary go in, one self-contained HTML text comes out."""

import json
from html import escape

from drupe.freeenergy.outcomes.campaign import CampaignResult
from drupe.freeenergy.outcomes.summary import Summary
from drupe.freeenergy.reporting.book import Book, card, grid
from drupe.freeenergy.reporting.evidence import (
    core_section,
    correction_section,
    mm_section,
    potential_section,
    run_section,
)
from drupe.freeenergy.reporting.figures import cascade
from drupe.freeenergy.reporting.regions import region_figure
from drupe.freeenergy.reporting.sampling import sampling_section
from drupe.freeenergy.reporting.script import SCRIPT
from drupe.freeenergy.reporting.sections import baseline_table, headline_table, named_list
from drupe.freeenergy.reporting.style import STYLE
from drupe.freeenergy.reporting.text import badge, reasons, signed, with_error
from drupe.freeenergy.reporting.trust import trust_section
from drupe.version import __version__

__all__ = ["page"]

_advice = {
    "PASS": "Every rule that this report checks is kept.",
    "WARN": "Usable with care: read the reasons first.",
    "FAIL": "Do not use this number:",
}
_beyond_mm = ("corrections", "potential", "cores")
_layers = {
    "Backbone": "ribbon",
    "MM atoms": "mm",
    "Pocket": "pocket",
    "QM region": "qm",
    "Quantum core": "core",
    "Restraint": "s1",
}
_layers_note = (
    "Skin, flesh and stone: classical surroundings (grey), the quantum region (ball and stick) and the "
    "quantum core (halo)."
)
_ligand_note = "The ligand (ball and stick) in its surroundings (grey)."
_policy = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; worker-src blob:; connect-src 'none'; form-action 'none'; base-uri 'none'"
)
_logo = (
    '<svg width="26" height="26" viewBox="0 0 26 26" aria-hidden="true">'
    '<circle cx="13" cy="13" r="12" fill="var(--mm)"/><circle cx="13" cy="13" r="8.6" fill="var(--qm)"/>'
    '<circle cx="13" cy="13" r="4" fill="var(--core)"/></svg>'
)


def page(result: CampaignResult, summary: Summary) -> str:
    """Write the whole page; Plotly's script stands in it once, and nothing is fetched."""
    from plotly.offline import get_plotlyjs

    book = Book()
    sections = [
        ("result", "Result", _result(book, result, summary)),
        ("trust", "Trust", trust_section(book, result, summary)),
        ("regions", "Regions", _regions(book, result)),
        ("corrections", "Corrections", correction_section(book, result, summary)),
        ("mm", "MM level", mm_section(book, result, summary)),
        ("sampling", "Sampling", sampling_section(book, result)),
        ("potential", "Potential", potential_section(book, result)),
        ("cores", "Quantum cores", core_section(book, result)),
        ("run", "Run", run_section(book, result)),
    ]
    if summary.mm_only:
        sections = [one for one in sections if one[0] not in _beyond_mm]
    links = "".join(f'<a href="#s-{name}">{title}</a>' for name, title, _ in sections)
    body = "".join(f'<section id="s-{name}">{text}</section>' for name, _, text in sections)
    # "<" inside a script element could end it.
    figures = json.dumps(book.figures, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy}">'
        f"<title>{escape(result.title)} · drupe</title><style>{STYLE}</style></head><body>{_top(result)}"
        f'<nav aria-label="Sections"><div>{links}</div></nav><main>{body}</main>'
        f"<footer>Written by drupe {__version__}. Everything on this page is in this one file; the same "
        "numbers stand in the JSON file beside it.</footer>"
        f'<script type="application/json" id="figures">{figures}</script>'
        f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script></body></html>\n"
    )


def _top(result: CampaignResult) -> str:
    if result.asked == "MM":
        told = "Molecular mechanics throughout: double decoupling of the ligand."
    else:
        told = (
            f"Classical surroundings, a quantum region, {_cores(len(result.regions.cores))}, and a learned "
            "potential that carries the accuracy into the free energy."
        )
    return (
        f'<header class="top"><div class="brand">{_logo}<span>DRUPE · binding free energy</span>'
        '<button id="theme" type="button" aria-label="Switch between light and dark">Light / dark</button>'
        f'</div><h1>{escape(result.title)}</h1><p class="lead">{escape(result.ligand)} in '
        f"{escape(result.receptor)} at {result.temperature_k:g} K. {told}</p></header>"
    )


def _cores(count: int) -> str:
    return {0: "no quantum core", 1: "one quantum core in it"}.get(count, f"{count} quantum cores in it")


def _result(book: Book, result: CampaignResult, summary: Summary) -> str:
    kcal, kj = (with_error(summary.total, summary.temperature_k, unit) for unit in ("kcal/mol", "kJ/mol"))
    level = summary.verdict.level
    against = ""
    if result.experiment_kcal is not None:
        source = f" ({escape(result.experiment_source)})" if result.experiment_source else ""
        against = f'<p class="quiet">Experiment: {signed(result.experiment_kcal)} kcal/mol{source}</p>'
    hero = (
        f'<div class="card hero {level.lower()}"><div><h2>ΔG bind ({escape(summary.level)})</h2>'
        f'<p class="big">{kcal[0]} <small>{kcal[1]} kcal/mol</small></p>'
        f'<p class="quiet num">{kj[0]} {kj[1]} kJ/mol</p>{against}</div>'
        f"<div><p>{badge(summary.verdict)}</p><p>{_advice[level]}</p>"
        f"{reasons(summary.verdict, 4)}</div></div>"
    )
    drawn = book.figure(
        "cascade",
        cascade(result, summary),
        "From MM to the final number",
        "Each correction starts where the bar before it ends. Whiskers are the whole error of each number.",
    )
    limits = f"<h3>What this number does not contain</h3>{named_list(result.approximations)}"
    beside = baseline_table(summary)
    return (
        hero
        + card(headline_table(result, summary), css="below")
        + (card(beside, css="below") if beside else "")
        + grid(card(drawn), card(limits))
    )


def _regions(book: Book, result: CampaignResult) -> str:
    figure = region_figure(result.regions)
    mm_only = result.asked == "MM"
    names = {"QM region": "Ligand"} if mm_only else {}
    present = {trace["meta"] for trace in figure["data"]}
    layers = "".join(
        f'<button type="button" data-layer="{name}" aria-pressed="true">'
        f'<i style="background:var(--{colour})"></i>{names.get(name, name)}</button>'
        for name, colour in _layers.items()
        if name in present
    )
    views = "".join(
        f'<button type="button" data-view="{view}">{name}</button>'
        for view, name in (("whole", "Whole complex"), ("pocket", "Close up"))
    )
    regions = result.regions
    atoms, qm = len(regions.numbers), len(regions.qm)
    cores = [
        f"{label} ({len(core)} atoms)" for core, label in zip(regions.cores, regions.core_labels, strict=True)
    ]
    told = f"{atoms:,} atoms, {qm} of the ligand"
    if not mm_only:
        told = (
            f"{atoms:,} atoms: {atoms - qm:,} MM, {qm} in the QM region; cores: {'; '.join(cores) or 'none'}"
        )
    caption = f"{told}. Drag to turn, pinch or use the buttons to come closer."
    drawn = book.figure("regions", figure, "", caption)
    return f"<h2>Regions</h2><p class=note>{_ligand_note if mm_only else _layers_note}</p>" + card(
        f'<div class="controls">{views}{layers}</div>', drawn
    )
