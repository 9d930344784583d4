"""Is the potential what its labels are? Fresh labels against it (kT) in, a residual correction (kT) out.

Frames of the potential's own ensemble that no fit has seen are labelled directly. Reweighting from the
potential to the labels, dG = -ln <exp(-(u_label - u_potential))>, in complex less solvent is what the
potential still owes; any constant that both legs share drops out. The number is not added to the result: it
is a part of its error, and must lie within what the model error promised.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.freeenergy.estimation.bennett import one_sided
from drupe.freeenergy.estimation.bootstrap import scatter
from drupe.freeenergy.estimation.diagnostics import Verdict, worst
from drupe.records import frozen, register
from drupe.units import kcal_per_mol, kt

__all__ = ["LabelCheck", "LabelDifferences", "label_check"]

#: Labels that reweighting must rest on in each leg.
least_size = 5.0
#: Largest residual in standard errors: of model and check (else WARN), of label as well (else FAIL).
warn_sigmas, fail_sigmas = 2.0, 3.0


@register(version=1)
@dataclass(frozen=True, eq=False)
class LabelDifferences:
    """Fresh labels of one ML/MM end state of one leg against the potential that made it.

    ============  =============  ==============================================================
    field         shape          meaning
    ============  =============  ==============================================================
    leg, level    --             "complex" or "solvent"; "low" or "core"
    wanted        scalar         labels that were asked for
    difference    ``(labels,)``  u_label - u_potential of the absolute energies, kT
    sigma         ``(labels,)``  standard error that the potential gave its energy, kT
    novelty       ``(labels,)``  distance from the training set, 1 is its edge
    run           ``(labels,)``  which run of the end state each frame is from
    ============  =============  ==============================================================
    """

    leg: str
    level: str
    wanted: int
    difference: NDArray[np.float64]
    sigma: NDArray[np.float64]
    novelty: NDArray[np.float64]
    run: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("difference", "sigma", "novelty"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
        object.__setattr__(self, "run", frozen(self.run, np.int64))
        lengths = {len(getattr(self, name)) for name in ("difference", "sigma", "novelty", "run")}
        if len(lengths) != 1 or not np.isfinite(self.difference).all():
            raise InputError(
                f"the fresh labels of the {self.leg} have columns of {sorted(lengths)} numbers, or one that "
                "is not finite",
                remedy="give each label its difference, sigma, novelty and run",
            )


@register(version=1)
@dataclass(frozen=True, eq=False)
class LabelCheck:
    """What reweighting to fresh labels would change, complex less solvent, all in kT.

    ==============  ========================================================================
    field           meaning
    ==============  ========================================================================
    residual        by exponential averages; nan without labels in both legs
    error           of the residual, by bootstrap over runs or over labels, whichever is
                    larger; None where one label is all
    cumulant        the same to second order, mean - variance / 2: a cross-check only; nan
                    with fewer than two labels in a leg
    size            Kish's effective numbers of labels in complex and solvent
    labels          numbers of labels in complex and solvent
    spread          standard deviation of u_label - u_potential over both legs; nan likewise
    verdict         --
    ==============  ========================================================================
    """

    residual: float
    error: float | None
    cumulant: float
    size: tuple[float, float]
    labels: tuple[int, int]
    spread: float
    verdict: Verdict

    @property
    def part(self) -> float | None:
        """What it adds to the error of a free energy, kT: the residual and its own error in quadrature."""
        return math.hypot(self.residual, self.error or 0.0) if math.isfinite(self.residual) else None


def label_check(
    complex_leg: LabelDifferences | None,
    solvent_leg: LabelDifferences | None,
    *,
    model: float | None,
    label: float | None,
    temperature_k: float,
    seed: int,
    n_resamples: int = 200,
) -> LabelCheck:
    """Residual correction of a potential by fresh labels, and whether it keeps what was promised.

    WARN: nobody checked; labels failed; fewer than 5 effective labels in a leg; the residual is larger
    than two standard errors of model and check together. FAIL: it is larger than three standard errors of
    model, label and check together, and both legs have 5 effective labels or no way of weighting the labels
    that there are would bring it within.

    Parameters
    ----------
    complex_leg, solvent_leg
        Fresh labels of both legs at one level; None where none were asked for.
    model, label
        Errors that the free energy of this level states, kT; None where they are unknown.
    temperature_k
        Kelvin; reasons are in kcal/mol.
    seed, n_resamples
        Of the bootstrap.
    """
    legs = [complex_leg, solvent_leg]
    counts = [0 if leg is None else len(leg.difference) for leg in legs]
    labels = (counts[0], counts[1])
    if complex_leg is None or solvent_leg is None or not min(labels):
        asked = sum(leg.wanted for leg in legs if leg is not None)
        told = (
            f"of {asked} fresh labels asked for, {labels[0]} (complex) and {labels[1]} (solvent) succeeded: "
            "the potential was not checked"
            if asked
            else "nobody checked the potential: labels.check asks for no fresh labels"
        )
        return LabelCheck(math.nan, None, math.nan, (0.0, 0.0), labels, math.nan, Verdict("WARN", (told,)))
    both = (complex_leg, solvent_leg)
    middle = float(np.concatenate([leg.difference for leg in both]).mean())  # absolute energies: 1e6 kT
    values = [leg.difference - middle for leg in both]
    averages = [one_sided(one) for one in values]
    residual = averages[0][0] - averages[1][0]
    # Runs may differ more than their labels do, but two or three of them often agree by luck: the larger.
    errors = [
        max(
            scatter(_exponential, (one,), (runs,), seed=seed + k, n_resamples=n_resamples)
            for runs in (leg.run, np.arange(len(one)))
        )
        for k, (one, leg) in enumerate(zip(values, both, strict=True))
    ]
    many = min(labels) > 1
    error = math.hypot(*errors) if many and min(errors) > 0.0 else None
    found = LabelCheck(
        residual,
        error,
        _cumulant(values[0]) - _cumulant(values[1]) if many else math.nan,
        (averages[0][1], averages[1][1]),
        labels,
        float(np.sqrt(np.mean([one.var(ddof=1) for one in values]))) if many else math.nan,
        Verdict("PASS"),
    )
    # Whatever the weights are, the residual lies between these.
    bounds = values[0].min() - values[1].max(), values[0].max() - values[1].min()
    least = 0.0 if bounds[0] <= 0.0 <= bounds[1] else float(min(abs(bound) for bound in bounds))
    judged = [("", _judge(found, model, label, least, kt(temperature_k) / kcal_per_mol))]
    missing = sum(leg.wanted - len(leg.difference) for leg in both)
    if missing:
        judged.append(("", Verdict("WARN", (f"{missing} fresh labels failed",))))
    return LabelCheck(**{**vars(found), "verdict": worst(judged)})


def _judge(found: LabelCheck, model: float | None, label: float | None, least: float, kcal: float) -> Verdict:
    told: list[tuple[str, Verdict]] = []
    own = found.error or 0.0
    names = [name for name, part in (("model", model), ("check", found.error)) if part is not None]
    close, wide = math.hypot(model or 0.0, own), math.hypot(model or 0.0, label or 0.0, own)
    size = abs(found.residual)
    said = f"fresh labels move the result by {found.residual * kcal:+.2f} kcal/mol, more than"
    if found.error is None and model is None:
        told.append(("", Verdict("WARN", ("the residual correction cannot be judged: no error is known",))))
    elif size > fail_sigmas * wide:
        parts = [*names, *(["label"] if label is not None else [])]
        reason = (
            f"{said} {fail_sigmas:g} times the errors of {', '.join(parts)} together ({wide * kcal:.2f}): "
            "train on more labels of this end state"
        )
        sure = min(found.size) >= least_size or least > fail_sigmas * wide
        told.append(("", Verdict("FAIL" if sure else "WARN", (reason,))))
    elif size > warn_sigmas * close:
        reason = f"{said} {warn_sigmas:g} times the errors of {' and '.join(names)} ({close * kcal:.2f})"
        told.append(("", Verdict("WARN", (reason,))))
    if min(found.size) < least_size:
        cross = f"; to second order (a cross-check only) {found.cumulant * kcal:+.2f} kcal/mol"
        reason = (
            f"reweighting to fresh labels rests on {found.size[0]:.1f} (complex) and {found.size[1]:.1f} "
            f"(solvent) effective labels, fewer than {least_size:g}: raise labels.check, or train on more "
            "labels" + (cross if math.isfinite(found.cumulant) else "")
        )
        told.append(("", Verdict("WARN", (reason,))))
    return worst(told)


def _exponential(w: NDArray[np.float64]) -> float:
    """The value of `one_sided` alone: the bootstrap asks often."""
    low = float(w.min())
    return low - math.log(float(np.exp(low - w).mean()))


def _cumulant(w: NDArray[np.float64]) -> float:
    return float(w.mean() - 0.5 * w.var(ddof=1))
