"""Numbers and verdicts as text: kT come in, kcal/mol and kJ/mol strings go out."""

import math
from html import escape

from drupe.freeenergy.estimation.diagnostics import Verdict
from drupe.freeenergy.estimation.results import FreeEnergy
from drupe.units import kcal_per_mol, kj_per_mol, kt

__all__ = ["badge", "duration", "in_unit", "reasons", "signed", "with_error"]

_signs = {"PASS": "✓", "WARN": "!", "FAIL": "✕"}


def in_unit(value: float, temperature_k: float, unit: str) -> float:
    """``value`` kT in ``"kcal/mol"``, ``"kJ/mol"`` or ``"kT"``."""
    factor = {"kcal/mol": kcal_per_mol, "kJ/mol": kj_per_mol, "kT": kt(temperature_k)}[unit]
    return value * (kt(temperature_k) / factor)  # exact for kT


def signed(value: float, decimals: int = 2) -> str:
    """Write a number with a real minus sign; a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{decimals}e}" if abs(value) >= 1e4 else f"{value:.{decimals}f}"
    return text.replace("-", "−")


def with_error(energy: FreeEnergy, temperature_k: float, unit: str) -> tuple[str, str]:
    """Value and error with the decimals that the error deserves."""
    value, error = (in_unit(x, temperature_k, unit) for x in (energy.value, energy.error))
    if not math.isfinite(value):
        return "no number", ""
    if not math.isfinite(error):
        return signed(value), "error unknown"
    decimals = 2 if error < 1.0 else 1 if error < 100.0 else 0
    return signed(value, decimals), f"± {signed(error, decimals)}"


def badge(verdict: Verdict) -> str:
    """HTML badge; the word carries the meaning, colour and sign repeat it."""
    level = verdict.level
    return (
        f'<span class="badge {level.lower()}"><span aria-hidden="true">{_signs[level]}</span> {level}</span>'
    )


def reasons(verdict: Verdict, shown: int = 2) -> str:
    """HTML list of the reasons, the rest behind a disclosure."""
    items = [f"<li>{escape(reason)}</li>" for reason in (*verdict.reasons, *verdict.also)]
    if not items:
        return '<p class="quiet">No rule is broken.</p>'
    first = f'<ul class="reasons">{"".join(items[:shown])}</ul>'
    if len(items) <= shown:
        return first
    rest = f'<ul class="reasons">{"".join(items[shown:])}</ul>'
    return f"{first}<details><summary>{len(items) - shown} more</summary>{rest}</details>"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90.0:
        return f"{seconds:.1f} s"
    if seconds < 5400.0:
        return f"{seconds / 60.0:.1f} min"
    return f"{seconds / 3600.0:.1f} h"
