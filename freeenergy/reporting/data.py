"""The report as data: a campaign and its summary go in, a tree for JSON comes out, units in the names."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.freeenergy.alchemical.finite_size import FiniteSize
from drupe.freeenergy.alchemical.leg_estimate import LegChecks
from drupe.freeenergy.estimation.diagnostics import Verdict
from drupe.freeenergy.estimation.label_check import LabelCheck
from drupe.freeenergy.estimation.results import FreeEnergy
from drupe.freeenergy.outcomes.budget import error_budget
from drupe.freeenergy.outcomes.campaign import CampaignResult
from drupe.freeenergy.outcomes.summary import Summary
from drupe.freeenergy.reporting.learning import parity_errors
from drupe.freeenergy.reporting.sections import PARTS, baseline_rows, headline_rows
from drupe.freeenergy.reporting.text import in_unit
from drupe.version import __version__

__all__ = ["tree"]

Tree = dict[str, Any]


def tree(result: CampaignResult, summary: Summary) -> Tree:
    """Everything the page says in numbers. A number that does not exist is null, never 0."""
    kelvin = summary.temperature_k
    corrections = {}
    for name, one in (("low", summary.low), ("core", summary.core), ("torsions", summary.torsions)):
        if one is not None:
            corrections[name] = {
                "complex": {f.method: _energy(f, kelvin) for f in one.complex_leg},
                "solvent": {f.method: _energy(f, kelvin) for f in one.solvent_leg},
            }
    return {
        "schema": 1,
        "drupe": __version__,
        "title": result.title,
        "ligand": result.ligand,
        "receptor": result.receptor,
        "temperature_k": kelvin,
        "seed": result.seed,
        "verdict": _verdict(summary.total.verdict),
        "headline": {name: _energy(energy, kelvin) for name, _, energy in headline_rows(summary)},
        "baselines": {name: _energy(energy, kelvin) for name, _, energy in baseline_rows(summary)},
        "experiment_kcal_per_mol": result.experiment_kcal,
        "mm_legs": {
            "complex": _energy(summary.mm_complex, kelvin),
            "solvent": _energy(summary.mm_solvent, kelvin),
        },
        "mbar": {
            leg.leg: [
                {
                    "states": list(one.names),
                    "samples": one.n_k.tolist(),
                    "values_kt": _list(one.values),
                    "errors_kt": _list(one.errors),
                    "overlap": _list(one.overlap),
                }
                for one in leg.repeats
            ]
            for leg in result.mm_legs
        },
        "sampling": {leg.leg: [_checks(one) for one in leg.checks] for leg in result.mm_legs},
        "restraint": {
            "release_numerical_kt": result.restraint.release_numerical,
            "release_analytic_kt": result.restraint.release_analytic,
            "anchors": list(result.restraint.anchors),
        },
        "finite_size": {
            leg.leg: _finite_size(leg.finite_size, kelvin)
            for leg in result.mm_legs
            if leg.finite_size is not None
        },
        "corrections": corrections,
        "error_budget": [
            {
                "cause": row.cause,
                "kind": row.kind,
                "kcal_per_mol": None
                if row.error is None
                else _number(in_unit(row.error, kelvin, "kcal/mol")),
                "how": row.how,
            }
            for row in error_budget(summary)
        ],
        "label_check": {name: _check(one, kelvin) for name, one in summary.checks.items()},
        "label_differences_kt": {
            f"{one.level} {one.leg}": _list(one.difference - one.difference.mean())
            for one in result.checks
            if len(one.difference)
        },
        "diagnoses": [
            {"subject": one.subject, "test": one.test, "verdict": _verdict(one.verdict)}
            for one in summary.diagnoses
        ],
        "works_kt": {
            f"{one.correction} {one.leg}": {
                "how": one.description,
                "forward": _list(one.w_f),
                "reverse": _list(one.w_r),
            }
            for one in result.switching
        },
        "potential": [
            {
                "level": p.level,
                "quantity": p.quantity,
                "group": g,
                "values": n,
                "mae": mae,
                "rmse": rmse,
                "unit": unit,
            }
            for p in result.parity
            for g, n, mae, rmse, unit in parity_errors(p)
        ],
        "core_corrections_hartree": _list(result.cores.correction),
        "core_dft_in_dft_errors_hartree": _list(result.cores.dft_in_dft_error),
        "counts": {c.what: {"wanted": c.wanted, "done": c.done, "failed": c.failed} for c in result.counts},
        "cost_seconds": {c.stage: c.seconds for c in result.costs},
        "settings": dict(result.settings),
        "approximations": dict(result.approximations),
        "failures": [{"task": f.task, "found": f.found, "remedy": f.remedy} for f in result.failures],
        "versions": dict(result.versions),
    }


def _checks(checks: LegChecks) -> Tree:
    kept, drift, mixed = checks.equilibration, checks.convergence, checks.mixing
    return {
        "verdict": {"level": checks.verdict.level, "reasons": list(checks.verdict.reasons)},
        "frames": kept.frames,
        "discarded": kept.discarded.tolist(),
        "kept": kept.kept.tolist(),
        "convergence": {
            "fractions": drift.fractions.tolist(),
            "forward_kt": _list(drift.forward),
            "forward_errors_kt": _list(drift.forward_errors),
            "backward_kt": _list(drift.backward),
            "backward_errors_kt": _list(drift.backward_errors),
            "drift_kt": _number(drift.drift),
            "drift_error_kt": _number(drift.drift_error),
            "bend_kt": _number(drift.bend),
            "bend_error_kt": _number(drift.bend_error),
        },
        "exchange": None
        if mixed is None
        else {
            "iterations": mixed.iterations,
            "second_eigenvalue": mixed.second,
            "round_trips": mixed.round_trips,
            "acceptance": mixed.acceptance.tolist(),
            "transitions": mixed.transitions.tolist(),
        },
    }


def _energy(energy: FreeEnergy, temperature_k: float) -> Tree:
    found: Tree = {"method": energy.method, "verdict": _verdict(energy.verdict)}
    for unit, name in (("kcal/mol", "kcal_per_mol"), ("kJ/mol", "kj_per_mol"), ("kT", "kt")):
        found[name] = _number(in_unit(energy.value, temperature_k, unit))
        found[f"error_{name}"] = _number(in_unit(energy.error, temperature_k, unit))
    parts = {part: getattr(energy, part) for part in PARTS}
    found["error_parts_kt"] = {part: None if v is None else _number(v) for part, v in parts.items()}
    found["samples"] = [energy.n_forward, energy.n_reverse]
    found["provenance"] = energy.provenance
    return found


def _finite_size(one: FiniteSize, temperature_k: float) -> Tree:
    """Terms of giving the charge, and the whole as added to the decoupling of a leg."""
    return {
        "decoupling": _energy(one.decoupling, temperature_k),
        "charging_terms_kt": asdict(one.charging),
        "charge": one.charge,
        "receptor_charge": one.receptor_charge,
        "waters": one.n_waters,
        "box_bohr": one.box.tolist(),
        "quadrupole_trace_e_bohr2": one.quadrupole,
        "radius_bohr": one.radius,
    }


def _check(check: LabelCheck, temperature_k: float) -> Tree:
    numbers = {"residual": check.residual, "cumulant": check.cumulant, "spread": check.spread}
    found: Tree = {
        f"{name}_kcal_per_mol": _number(in_unit(value, temperature_k, "kcal/mol"))
        for name, value in numbers.items()
    }
    error = math.nan if check.error is None else check.error
    found["error_kcal_per_mol"] = _number(in_unit(error, temperature_k, "kcal/mol"))
    found["labels"], found["effective_labels"] = list(check.labels), list(check.size)
    found["verdict"] = _verdict(check.verdict)
    return found


def _verdict(verdict: Verdict) -> Tree:
    return {"level": verdict.level, "reasons": list(verdict.reasons), "also": list(verdict.also)}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _list(array: NDArray[np.float64]) -> list[Any]:
    if array.ndim > 1:
        return [_list(row) for row in array]
    return [_number(float(value)) for value in array]
