"""Sections of the report that carry the evidence: a campaign and its summary go in, HTML comes out."""

from drupe.freeenergy.estimation.chain import least_neighbour_overlap
from drupe.freeenergy.outcomes.campaign import CampaignResult
from drupe.freeenergy.outcomes.figure_data import Parity
from drupe.freeenergy.outcomes.summary import Summary
from drupe.freeenergy.reporting.book import Book, card, grid
from drupe.freeenergy.reporting.figures import estimators, mbar_overlap, mbar_profile, work_distribution
from drupe.freeenergy.reporting.learning import (
    core_figure,
    cost_figure,
    learning_figure,
    parity_figure,
    trace_figure,
)
from drupe.freeenergy.reporting.sections import (
    core_table,
    counts_table,
    failures,
    finite_size_table,
    leg_table,
    pairs,
    parity_table,
    restraint,
)
from drupe.freeenergy.reporting.text import duration

__all__ = ["core_section", "correction_section", "mm_section", "potential_section", "run_section"]


def correction_section(book: Book, result: CampaignResult, summary: Summary) -> str:
    """Works of all corrections in both legs, and what the estimators make of them."""
    cards, rows = [], []
    names = {
        "low": "MM → low level",
        "core": "low level → core-corrected",
        "torsions": "MM → torsion refit",
    }
    found_of = {"low": summary.low, "core": summary.core, "torsions": summary.torsions}
    for key, correction in found_of.items():
        if correction is None:
            continue
        for leg, found in (("complex", correction.complex_leg), ("solvent", correction.solvent_leg)):
            works = result.works(key, leg)
            if works is None:
                continue
            title = f"{names[key]}, {leg}"
            rows.append((title, found[0]))
            caption = f"{works.description}. The curves cross at the free energy; the dashed line is BAR."
            figure = work_distribution(works, found[0])
            cards.append(card(book.figure(f"works-{key}-{leg}", figure, title, caption)))
    if not rows:
        return '<h2>End-state corrections</h2><p class="quiet">There are no works.</p>'
    side = book.figure(
        "estimators",
        estimators(summary),
        "Estimators side by side",
        "BAR uses both directions and is the headline. Where the one-sided estimates leave it, the works "
        "are too few or the switches too fast.",
    )
    return (
        "<h2>End-state corrections</h2><p class=note>Works of switching between levels, forward and "
        "reverse. The increment of work is taken before each propagation.</p>"
        + grid(*cards)
        + card(leg_table(rows, summary.temperature_k), css="below")
        + card(side, css="below")
    )


def mm_section(book: Book, result: CampaignResult, summary: Summary) -> str:
    """MBAR of both legs with profile and overlap, and the restraint."""
    caption = "Free energy of every state from MBAR, with its error."
    cards = [book.figure("profile", mbar_profile(result), "Along the alchemical path", caption)]
    for leg in ("complex", "solvent"):
        repeats = result.mm_leg(leg).repeats
        number, shown = min(enumerate(repeats, 1), key=lambda pair: least_neighbour_overlap(pair[1]))
        which = f" Repeat {number} of {len(repeats)}, the one with the least." if len(repeats) > 1 else ""
        caption = (
            f"{len(shown.n_k)} states, {int(shown.n_k.sum())} decorrelated samples. Cells beside the "
            f"diagonal must not be empty: the smallest is {least_neighbour_overlap(shown):.3f}.{which}"
        )
        cards.append(book.figure(f"overlap-{leg}", mbar_overlap(shown), f"Overlap, {leg}", caption))
    cards.append(f"<h3>Restraint</h3>{restraint(result)}")
    if finite := finite_size_table(result):
        cards.append(f"<h3>Finite size</h3>{finite}")
    legs = [("complex", summary.mm_complex), ("solvent", summary.mm_solvent)]
    legs += [
        (f"finite size, {leg.leg}", leg.finite_size.decoupling)
        for leg in result.mm_legs
        if leg.finite_size is not None
    ]
    note = " Each leg with its finite-size correction." if finite else ""
    return (
        "<h2>MM level</h2><p class=note>Double decoupling: ΔG bind = ΔG(solvent) − ΔG(complex) − "
        f"ΔG(release of the restraint to 1 mol/l).{note}</p>"
        + card(leg_table(legs, summary.temperature_k))
        + grid(*(card(one) for one in cards))
    )


def potential_section(book: Book, result: CampaignResult) -> str:
    """Learning curves and parity plots."""
    cards = []
    caption = "One line per member. Low level: labels held out by trajectory block; core: the fitted labels."
    for quantity in ("energy", "force") if result.learning else ():
        figure = learning_figure(result, quantity)
        cards.append(book.figure(f"learning-{quantity}", figure, f"Learning, {quantity}", caption))
    for k, parity in enumerate(result.parity):
        title, caption = _parity_words(parity)
        cards.append(book.figure(f"parity-{k}", parity_figure(parity), title, caption))
    table = card(parity_table(result.parity), css="below") if result.parity else ""
    return (
        "<h2>Learned potential</h2><p class=note>The committee against its reference labels.</p>"
        + grid(*(card(one) for one in cards))
        + table
    )


def core_section(book: Book, result: CampaignResult) -> str:
    """Core corrections by leg and their diagnostics."""
    cards = []
    if len(result.cores.leg):
        caption = "Every point is one snapshot. What matters for binding is how the two legs differ."
        cards.append(book.figure("cores", core_figure(result.cores), "Core corrections by leg", caption))
    cards.append(f"<h3>Diagnostics</h3>{core_table(result)}")
    return (
        "<h2>Quantum cores</h2><p class=note>Projection-embedded wave function in DFT, snapshot by "
        "snapshot.</p>" + grid(*(card(one) for one in cards))
    )


def run_section(book: Book, result: CampaignResult) -> str:
    """Show counts, cost, traces, failures, settings and versions."""
    total = duration(sum(cost.seconds for cost in result.costs))
    traces = "<h3>Energy traces</h3><p class=quiet>None kept.</p>"
    if result.traces:
        caption = "Potential energy from its mean: a drift means that the run has not settled."
        traces = book.figure("traces", trace_figure(result), "Energy traces", caption)
    cost = book.figure(
        "cost", cost_figure(result.costs), "Cost per stage", f"{total} in all, summed over tasks."
    )
    settings = {**result.settings, "seed": str(result.seed)}
    cards = [
        f"<h3>Counts</h3>{counts_table(result)}",
        cost,
        traces,
        f"<h3>Failures</h3>{failures(result)}",
        f"<h3>Settings</h3>{pairs(settings.items())}",
        f"<h3>Versions</h3>{pairs(result.versions.items())}",
    ]
    return "<h2>The run</h2>" + grid(*(card(one) for one in cards))


def _parity_words(parity: Parity) -> tuple[str, str]:
    quantities = {"energy": "Energies", "force_qm": "Forces on QM atoms", "force_mm": "Forces on MM atoms"}
    if parity.quantity == "correction":
        return "Core corrections, each left out of the transfer that predicts it", (
            "From their mean. A constant shift is what a transfer without any shape would say: the transfer "
            "has learned the shape of the correction only where its points lie closer to the dashed line."
        )
    level = "low level" if parity.level == "low" else "core-corrected"
    zero = " from their mean" if parity.quantity == "energy" else ""
    bars = " Whiskers: committee sigma." if parity.sigma is not None else ""
    caption = f"{len(parity.reference):,} values{zero}, most of them fitted; on the dashed line both agree."
    return f"{quantities[parity.quantity]}, {level}", caption + bars
