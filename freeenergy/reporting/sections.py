"""Tables and lists of the report: a campaign and its summary go in, HTML comes out. All text is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import numpy as np

from drupe.freeenergy.estimation.results import FreeEnergy
from drupe.freeenergy.outcomes.campaign import CampaignResult
from drupe.freeenergy.outcomes.figure_data import Parity
from drupe.freeenergy.outcomes.summary import Summary
from drupe.freeenergy.reporting.learning import parity_errors
from drupe.freeenergy.reporting.text import badge, duration, in_unit, reasons, signed, with_error
from drupe.units import kcal_per_mol, nanometer

__all__ = [
    "PARTS",
    "baseline_rows",
    "baseline_table",
    "core_table",
    "counts_table",
    "failures",
    "finite_size_table",
    "headline_rows",
    "headline_table",
    "leg_table",
    "named_list",
    "pairs",
    "parity_table",
    "restraint",
    "table",
]


#: Terms of the finite-size correction.
_terms: Final = {
    "periodicity": "images and background",
    "undersolvation": "solvent polarised by the images",
    "residual": "residual potential, ligand",
    "finite_radius": "finite radius",
    "discrete_solvent": "discrete solvent",
}
#: Named parts of an error.
PARTS: Final = ("sampling", "replicate", "model", "label", "residual")


def headline_rows(summary: Summary) -> list[tuple[str, str, FreeEnergy]]:
    """(name, explanation, free energy) of every row of the headline."""
    if summary.mm_only and summary.finite_size is None:
        return [("ΔG bind (MM)", "double decoupling at the MM level", summary.total)]
    rows = [("ΔG bind (MM)", "double decoupling at the MM level", summary.mm)]
    if summary.finite_size is not None:
        what = "what PME does to boxes that lose the ligand's charge, undone; complex − solvent"
        rows = [
            ("ΔG bind (MM), as simulated", "double decoupling at the MM level", summary.mm),
            ("finite size", what, summary.finite_size),
        ]
    if summary.low is not None:
        rows.append(("correction low", "MM → ML/MM (DFT/MM), complex − solvent", summary.low.difference))
    if summary.core is not None:
        rows.append(
            ("correction core", "DFT/MM → core-corrected, complex − solvent", summary.core.difference)
        )
    rows.append((f"ΔG bind ({summary.level})", "sum of the rows above", summary.total))
    return rows


def headline_table(result: CampaignResult, summary: Summary) -> str:
    """Write the table of the headline, experiment included."""
    rows = headline_rows(summary)
    body = [_energy_row(name, what, energy, summary, name == rows[-1][0]) for name, what, energy in rows]
    if result.experiment_kcal is not None:
        kj = result.experiment_kcal * 4.184
        body.append(
            '<tr><th scope="row">experiment'
            f'<span class="parts">{escape(result.experiment_source)}</span></th>'
            f'<td class="num" data-name="kcal/mol">{signed(result.experiment_kcal)}</td>'
            f'<td class="num" data-name="kJ/mol">{signed(kj)}</td><td></td><td></td></tr>'
        )
    heads = ("", "kcal/mol", "kJ/mol", "parts of the error / kcal mol⁻¹", "verdict")
    return table(heads, body, "stack", "Errors are one standard error; a part nobody estimated is left out.")


def baseline_rows(summary: Summary) -> list[tuple[str, str, FreeEnergy]]:
    """(name, explanation, free energy) of what stands beside the headline for comparison."""
    if summary.torsions is None or summary.refitted is None:
        return []
    return [
        (
            "correction torsions",
            "MM → MM with torsions refitted to the same labels, complex − solvent",
            summary.torsions.difference,
        ),
        ("ΔG bind (torsion refit)", "ΔG bind (MM) and the row above", summary.refitted),
    ]


def baseline_table(summary: Summary) -> str:
    """Write the table of the baselines; nothing where there are none."""
    body = [_energy_row(name, what, energy, summary, False) for name, what, energy in baseline_rows(summary)]
    heads = ("", "kcal/mol", "kJ/mol", "parts of the error / kcal mol⁻¹", "verdict")
    caption = "Baselines, for comparison: no part of the number above."
    return table(heads, body, "stack", caption) if body else ""


def leg_table(rows: Sequence[tuple[str, FreeEnergy]], temperature_k: float) -> str:
    """Legs behind the headline: value in kT and kcal/mol with its own verdict."""
    body = []
    for name, energy in rows:
        kt_value, kt_error = with_error(energy, temperature_k, "kT")
        value, error = with_error(energy, temperature_k, "kcal/mol")
        counts = f"{energy.n_forward} + {energy.n_reverse}" if energy.n_reverse else f"{energy.n_forward}"
        told = f"{energy.method}, {counts} samples" if energy.n_forward + energy.n_reverse else energy.method
        body.append(
            f'<tr><th scope="row">{escape(name)}'
            f'<span class="parts">{escape(told)}</span></th>'
            f'<td class="num" data-name="kT">{kt_value} {kt_error}</td>'
            f'<td class="num" data-name="kcal/mol">{value} {error}</td>'
            f"<td>{badge(energy.verdict)}{reasons(energy.verdict)}</td></tr>"
        )
    return table(("leg", "kT", "kcal/mol", "verdict"), body, "stack")


def finite_size_table(result: CampaignResult) -> str:
    """Terms of the finite-size correction by leg, as added to its decoupling; nothing where there is none."""
    legs = [(leg.leg, leg.finite_size) for leg in result.mm_legs if leg.finite_size is not None]
    if not legs:
        return ""
    body = []
    for name, what in _terms.items():
        values = [in_unit(-getattr(one.charging, name), result.temperature_k, "kcal/mol") for _, one in legs]
        cells = "".join(f'<td class="num">{signed(value)}</td>' for value in values)
        body.append(f'<tr><th scope="row">{escape(what)}</th>{cells}</tr>')
    made = "; ".join(
        f"{name}: {one.n_waters} waters, {abs(float(np.linalg.det(one.box))) / nanometer**3:.2f} nm³"
        + ("" if one.receptor_charge is None else f", {one.receptor_charge:+.0f} e beside the ligand")
        for name, one in legs
    )
    caption = f"kcal/mol, added to the decoupling of each leg. Mean boxes: {made}."
    return table(("", *(name for name, _ in legs)), body, "slim", caption)


def counts_table(result: CampaignResult) -> str:
    """Write the counts of everything that was run."""
    body = [
        f'<tr><th scope="row">{escape(one.what)}</th><td class="num">{one.wanted}</td>'
        f'<td class="num">{one.done}</td><td class="num">{one.failed}</td></tr>'
        for one in result.counts
    ]
    return table(("", "wanted", "done", "failed"), body, "slim")


def core_table(result: CampaignResult) -> str:
    """Diagnostics of the quantum cores, worst value first."""
    cores = result.cores
    if not len(cores.leg):
        return '<p class="quiet">No snapshot has a core correction.</p>'
    checked = cores.dft_in_dft_error[np.isfinite(cores.dft_in_dft_error)]
    exact = f"{np.abs(checked).max():.1e} hartree ({len(checked)} checked)" if len(checked) else "not checked"
    rows = {
        "corrections": f"{len(cores.leg)} ({', '.join(dict.fromkeys(cores.core))})",
        "mean correction": f"{signed(float(cores.correction.mean()), 5)} hartree",
        "scatter": f"{cores.correction.std() / kcal_per_mol:.3f} kcal/mol",
        "largest DFT-in-DFT error": exact,
        "smallest SPADE gap": f"{cores.spade_gap.min():.3f}",
        "largest T1": f"{known.max():.4f}" if len(known := cores.t1[np.isfinite(cores.t1)]) else "not known",
        "largest residual overlap": f"{np.abs(cores.residual_overlap).max():.1e}",
        "time per core": duration(float(cores.seconds.mean())),
    }
    return pairs(rows.items())


def parity_table(parities: Iterable[Parity]) -> str:
    """Errors of the learned potential by quantity, level and group."""
    quantity = {
        "energy": "energy",
        "correction": "core correction, left out",
        "force_qm": "force, QM atoms",
        "force_mm": "force, MM atoms",
    }
    body = []
    for parity in parities:
        for group, count, mae, rmse, unit in parity_errors(parity):
            body.append(
                f'<tr><th scope="row">{escape(_level(parity.level))}: {quantity[parity.quantity]}'
                f'<span class="parts">{escape(group)}; {unit}</span></th><td class="num">{count}</td>'
                f'<td class="num">{mae:.3f}</td><td class="num">{rmse:.3f}</td></tr>'
            )
    return table(("", "values", "MAE", "RMSE"), body, "slim")


def restraint(result: CampaignResult) -> str:
    """Restraint anchors, values and the two release free energies."""
    one, kelvin = result.restraint, result.temperature_k
    rows = {
        "release, integral": f"{signed(in_unit(one.release_numerical, kelvin, 'kcal/mol'))} kcal/mol",
        "release, formula": f"{signed(in_unit(one.release_analytic, kelvin, 'kcal/mol'))} kcal/mol",
        "anchors": " – ".join(one.anchors),
    }
    if len(one.values) == 6:
        rows["distance"] = f"{one.values[0]:.2f} Å"
        rows["angles"] = ", ".join(f"{value:.1f}°" for value in one.values[1:3])
        rows["dihedrals"] = ", ".join(f"{signed(value, 1)}°" for value in one.values[3:])
    if len(one.force_constants) == 6:
        rest = ", ".join(f"{k:.1f}" for k in one.force_constants[1:])
        rows["force constants"] = (
            f"{one.force_constants[0]:.1f} kcal/mol/Å²; {rest} kcal/mol/rad² (energy k/2 x²)"
        )
    return pairs(rows.items())


def named_list(items: Iterable[tuple[str, str]]) -> str:
    """Name and explanation, one below the other."""
    return (
        '<ul class="named">' + "".join(f"<li><b>{escape(a)}</b>{escape(b)}</li>" for a, b in items) + "</ul>"
    )


def pairs(items: Iterable[tuple[str, str]]) -> str:
    """Name and value, side by side."""
    return "<dl>" + "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in items) + "</dl>"


def failures(result: CampaignResult) -> str:
    """Every recorded failure with what to do about it."""
    if not result.failures:
        return '<p class="quiet">No task failed.</p>'
    return named_list((one.task, f"{one.found} → {one.remedy}") for one in result.failures)


def _level(level: str) -> str:
    return {"low": "low level", "core": "core-corrected"}.get(level, level)


def _energy_row(name: str, what: str, energy: FreeEnergy, summary: Summary, total: bool) -> str:
    kelvin = summary.temperature_k
    cells = []
    for unit in ("kcal/mol", "kJ/mol"):
        value, error = with_error(energy, kelvin, unit)
        cells.append(f'<td class="num" data-name="{unit}">{value} {error}</td>')
    known = [(part, getattr(energy, part)) for part in PARTS]
    parts = ", ".join(f"{part} {in_unit(v, kelvin, 'kcal/mol'):.2f}" for part, v in known if v is not None)
    return (
        f'<tr{" class=total" if total else ""}><th scope="row">{escape(name)}'
        f'<span class="parts">{escape(what)}</span></th>'
        f'{"".join(cells)}<td><span class="parts">{escape(parts) or "none known"}</span></td>'
        f"<td>{badge(energy.verdict)}{reasons(energy.verdict)}</td></tr>"
    )


def table(heads: Sequence[str], body: Sequence[str], css: str, caption: str = "") -> str:
    """Table of rows that are HTML already; ``css`` "stack" falls apart into cards on a phone."""
    numeric = {"kcal/mol", "kJ/mol", "kT", "wanted", "done", "failed", "values", "MAE", "RMSE"}
    top = "".join(f'<th scope="col"{" class=num" if head in numeric else ""}>{head}</th>' for head in heads)
    title = f"<caption>{caption}</caption>" if caption else ""
    return f'<table class="{css}">{title}<thead><tr>{top}</tr></thead><tbody>{"".join(body)}</tbody></table>'
