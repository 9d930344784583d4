"""Section of the report that says what the number rests on: a campaign and its summary in, HTML out."""

from html import escape

from drupe.freeenergy.outcomes.budget import error_budget
from drupe.freeenergy.outcomes.campaign import CampaignResult
from drupe.freeenergy.outcomes.summary import Summary
from drupe.freeenergy.reporting.book import Book, card, grid
from drupe.freeenergy.reporting.sections import table
from drupe.freeenergy.reporting.text import badge, in_unit, reasons, signed
from drupe.freeenergy.reporting.trust_figures import budget_figure, label_figure, restraint_figure

__all__ = ["trust_section"]

_levels = {"low": "low level", "core": "core-corrected"}


def trust_section(book: Book, result: CampaignResult, summary: Summary) -> str:
    """Error budget, fresh labels, restraint traces, and everything that was looked at."""
    drawn = book.figure(
        "budget",
        budget_figure(error_budget(summary), summary.temperature_k),
        "Error by cause",
        "One standard error each. A cause without a bar is not known, and not in the total.",
    )
    cards = [card(drawn), card(f"<h3>Error budget</h3>{_budget_table(summary)}")]
    if any(len(one.difference) for one in result.checks):
        caption = (
            "Every point is one fresh label less the potential, from the mean of its level. Where the two "
            "legs differ, the potential owes the binding free energy something."
        )
        cards.append(
            card(
                book.figure(
                    "fresh-labels", label_figure(result), "Fresh labels against the potential", caption
                )
            )
        )
    if not summary.mm_only:
        cards.append(card(f"<h3>Label check</h3>{_check_table(summary)}"))
    for name, title, held in (
        ("restraint-held", "Restrained coordinates, restraint on, ligand coupled", True),
        ("restraint-free", "The same coordinates in the runs without restraint", False),
    ):
        figure = restraint_figure(result, held=held)
        if figure is not None:
            caption = (
                "From the rest value in units of the width that the restraint alone gives; the band is two "
                "of these. Steps mean another well."
            )
            cards.append(card(book.figure(name, figure, title, caption)))
    return (
        "<h2>Can it be trusted?</h2><p class=note>What the error is made of, and what was looked at besides "
        "the works. The worst verdict of all of them is the verdict of the number, but for baselines; "
        "fresh labels of a low potential that cancels between two corrections warn at most.</p>"
        + grid(*cards)
        + card(f"<h3>What was looked at</h3>{_diagnoses_table(summary)}", css="below")
    )


def _budget_table(summary: Summary) -> str:
    body = []
    for row in error_budget(summary):
        shown = "not known"
        if row.error is not None:
            shown = signed(in_unit(row.error, summary.temperature_k, "kcal/mol"))
        body.append(
            f'<tr{" class=total" if row.kind == "total" else ""}><th scope="row">{escape(row.cause)}'
            f'<span class="parts">{escape(row.how)}</span></th><td class="num">{shown}</td></tr>'
        )
    caption = (
        "Sampling adds in quadrature, and counts or the scatter of repeats, whichever is larger; the others "
        "add in quadrature."
    )
    return table(("", "kcal/mol"), body, "slim", caption)


def _check_table(summary: Summary) -> str:
    if not summary.checks:
        return '<p class="quiet">There is no potential to check.</p>'
    body = []
    for name, check in summary.checks.items():
        value, error, cross = (
            in_unit(x, summary.temperature_k, "kcal/mol")
            for x in (
                check.residual,
                check.error if check.error is not None else float("nan"),
                check.cumulant,
            )
        )
        told = (
            f"{check.labels[0]} + {check.labels[1]} labels, "
            f"effective {check.size[0]:.1f} + {check.size[1]:.1f}; "
            f"to second order (a cross-check) {signed(cross)}"
        )
        body.append(
            f'<tr><th scope="row">{_levels[name]}<span class="parts">{told}</span></th>'
            f'<td class="num" data-name="kcal/mol">{signed(value)} ± {signed(error)}</td>'
            f"<td>{badge(check.verdict)}{reasons(check.verdict)}</td></tr>"
        )
    caption = "Residual correction, complex − solvent, by reweighting from the potential to fresh labels."
    return table(("level", "kcal/mol", "verdict"), body, "stack", caption)


def _diagnoses_table(summary: Summary) -> str:
    body = [
        f'<tr><th scope="row">{escape(one.subject)}<span class="parts">{escape(one.test)}'
        f"{'; of the baseline alone' if one.beside else ''}</span></th>"
        f"<td>{badge(one.verdict)}{reasons(one.verdict)}</td></tr>"
        for one in summary.diagnoses
    ]
    return table(("", "verdict"), body, "stack")
