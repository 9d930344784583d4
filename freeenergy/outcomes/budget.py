"""The error of a binding free energy by its causes: a summary goes in, rows in kT come out."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drupe.freeenergy.estimation.results import FreeEnergy

if TYPE_CHECKING:
    from drupe.freeenergy.outcomes.summary import Summary

__all__ = ["BudgetRow", "error_budget"]


@dataclass(frozen=True)
class BudgetRow:
    """One cause of error, kT; None where nobody knows it. ``kind`` groups causes, ``how`` says its origin."""

    cause: str
    kind: str
    error: float | None
    how: str


def error_budget(summary: "Summary") -> tuple[BudgetRow, ...]:
    """Every named part of the error of the total, and the total last.

    Of a term's sampling error and the scatter over its repeats the larger counts; these of the MM legs and
    of the corrections add in quadrature, but the two corrections share frames of the low potential, so that
    theirs are added first; model, label and the residual of the label check add in quadrature to it.
    Model and residual are those of the last potential: the low one cancels on the way.
    """
    terms = [("MM legs", summary.mm)]
    terms += [("MM → low level", summary.low.difference)] if summary.low else []
    terms += [("low level → core", summary.core.difference)] if summary.core else []
    rows = [BudgetRow(f"sampling, {name}", "sampling", one.sampling, _method(one)) for name, one in terms]
    if summary.finite_size is not None:
        rows += _finite_size(summary.finite_size)
    total = summary.total
    rows.append(BudgetRow("scatter of repeats", "replicate", total.replicate, "standard deviation, MM legs"))
    if not summary.mm_only:
        how = "spread over the committee's members, by reweighting"
        rows.append(BudgetRow("model", "model", total.model, how))
        rows += _labels(summary)
        how = "residual correction by reweighting to fresh labels, with its own error"
        rows.append(BudgetRow("label check", "residual", total.residual, how))
    rows.append(BudgetRow("total", "total", _known(total), "as said above"))
    return tuple(rows)


def _finite_size(term: FreeEnergy) -> list[BudgetRow]:
    rows = [BudgetRow("sampling, finite size", "sampling", term.sampling, "mean boxes of the repeats")]
    if term.verdict.level != "PASS":
        how = "takes a Poisson-Boltzmann solution, left out"
        rows.append(BudgetRow("finite size, residual term of the receptor", "finite size", None, how))
    return rows


def _labels(summary: "Summary") -> list[BudgetRow]:
    low = None if summary.low is None else summary.low.difference.label
    core = None if summary.core is None else summary.core.difference.label
    how = "nobody estimated it for this level and these surroundings"
    return [
        BudgetRow(
            "label, unscreened field", "label", low, how if low is None else "stated with the approximations"
        ),
        BudgetRow("label, virtual space", "label", core, "complex − solvent of what MP2 stands for"),
    ]


def _method(term: FreeEnergy) -> str:
    if term.method == "BAR":
        return "BAR, larger of formula and bootstrap over runs"
    return f"formula of {term.method}"


def _known(total: FreeEnergy) -> float | None:
    return total.error if math.isfinite(total.error) else None
