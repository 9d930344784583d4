"""Binding free energies put together: works and legs in kT go in, free energies with verdicts come out.

dG_bind(high) = dG_bind(MM) + [correction(complex) - correction(solvent)]. Errors of independent
terms add in quadrature, part by part, those of terms that share frames linearly; the verdict of a sum is the
worst of its terms.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from drupe.errors import InputError
from drupe.freeenergy.estimation.diagnostics import repeats_verdict, standard_state_verdict, worst
from drupe.freeenergy.estimation.estimators import Runs, side_by_side
from drupe.freeenergy.estimation.results import FreeEnergy
from drupe.freeenergy.estimation.reweighting import ModelError, model_error
from drupe.records import register

__all__ = [
    "EndStateCorrection",
    "binding_free_energy",
    "combine",
    "end_state_correction",
    "over_repeats",
]


@register(version=1)
@dataclass(frozen=True, eq=False)
class EndStateCorrection:
    """Correction of a binding free energy from works of both legs, all in kT.

    ==============  ========================================================================
    field           meaning
    ==============  ========================================================================
    difference      BAR(complex) - BAR(solvent), with model and label error
    complex_leg     BAR, MBAR, Jarzynski forward, Jarzynski reverse, Crooks-Gaussian of the complex
    solvent_leg     the same five of the solvent
    model           committee spread, None where no committee was evaluated
    temperature_k   kelvin
    ==============  ========================================================================
    """

    difference: FreeEnergy
    complex_leg: tuple[FreeEnergy, ...]
    solvent_leg: tuple[FreeEnergy, ...]
    model: ModelError | None
    temperature_k: float


def end_state_correction(
    w_f_complex: ArrayLike,
    w_r_complex: ArrayLike,
    w_f_solvent: ArrayLike,
    w_r_solvent: ArrayLike,
    temperature_k: float,
    seed: int,
    *,
    members_complex: ArrayLike | None = None,
    members_solvent: ArrayLike | None = None,
    label_error: float | None = None,
    n_resamples: int = 200,
    runs_complex: Runs = (None, None),
    runs_solvent: Runs = (None, None),
) -> EndStateCorrection:
    """Correction and verdict from the works of all four directions.

    Parameters
    ----------
    w_f_complex, w_r_complex, w_f_solvent, w_r_solvent
        Works done on the system, as measured, kT: forward goes from the lower to the higher level.
        Instantaneous energy differences are works too; a direction that failed may be empty.
    temperature_k
        Kelvin; kept for conversion.
    seed
        Of the bootstraps.
    members_complex, members_solvent
        (u_m - u_mean) of the committee at frames of the higher level, shape ``(members, frames)``,
        kT; both or neither.
    label_error
        Error of the reference energies in the difference, kT, where it is known.
    n_resamples
        Bootstrap resamples.
    runs_complex, runs_solvent
        The independent run of each forward and each reverse work, as for `drupe.freeenergy.bar`.
    """
    if not temperature_k > 0.0:
        raise InputError(f"the temperature is {temperature_k} K", remedy="pass kelvin, above zero")
    if (members_complex is None) != (members_solvent is None):
        raise InputError(
            "the committee was evaluated in one leg only",
            remedy="pass members_complex and members_solvent, or neither",
        )
    complex_leg = side_by_side(
        w_f_complex, w_r_complex, seed=seed, n_resamples=n_resamples, runs=runs_complex
    )
    solvent_leg = side_by_side(
        w_f_solvent, w_r_solvent, seed=seed + 1, n_resamples=n_resamples, runs=runs_solvent
    )
    model = None if members_complex is None else model_error(members_complex, members_solvent)
    difference = combine({"complex": (1.0, complex_leg[0]), "solvent": (-1.0, solvent_leg[0])}, "BAR")
    if model is not None:
        judged = worst([("", difference.verdict), ("committee", model.verdict)])
        difference = replace(difference, model=model.error, verdict=judged)
    difference = replace(difference, label=label_error)
    return EndStateCorrection(difference, complex_leg, solvent_leg, model, temperature_k)


def binding_free_energy(
    complex_leg: FreeEnergy,
    solvent_leg: FreeEnergy,
    *,
    release_numerical: float,
    release_analytic: float,
    temperature_k: float,
) -> FreeEnergy:
    """Absolute binding free energy of a double-decoupling cycle, kT.

    dG_bind = dG_solvent - dG_complex - dG_release.

    Parameters
    ----------
    complex_leg
        From the free, interacting ligand in the complex to the restrained, decoupled one.
    solvent_leg
        From the interacting ligand in solvent to the decoupled one.
    release_numerical, release_analytic
        Free energy of releasing the restraint of the decoupled ligand to the standard state, by
        integral (used) and by formula (judged against it), kT.
    temperature_k
        Kelvin; the bounds of the judgement are in kcal/mol.
    """
    judged = standard_state_verdict(release_analytic, release_numerical, temperature_k)
    release = FreeEnergy(release_numerical, judged, "numerical integral", sampling=0.0)
    terms = {"solvent": (1.0, solvent_leg), "complex": (-1.0, complex_leg), "restraint": (-1.0, release)}
    return combine(terms, f"{complex_leg.method}, double decoupling")


def combine(
    terms: Mapping[str, tuple[float, FreeEnergy]], method: str, *, sharing: Collection[str] = ()
) -> FreeEnergy:
    """Sum of free energies with factors, independent but for those that share frames.

    Parameters
    ----------
    terms
        Name of each term, its factor, and the free energy; names lead the reasons of the verdict.
    method
        What to call the sum.
    sharing
        Names of terms whose works start from the same frames: their statistical errors may be the same
        error twice, so they are added before the quadrature. That is the most they can be together.

    Returns
    -------
    FreeEnergy
        Each named part of the error is the quadrature of that part over the terms that have it. The
        statistical part is that of the larger of sampling and replicate of each term: a scatter of repeats
        says nothing about a term that has none.
    """
    if not terms:
        raise InputError("there is no term to add", remedy="pass at least one free energy")

    def part(name: str) -> float | None:
        if any(math.isnan(f.value) for _, f in terms.values()):
            return None  # a sum that does not exist has no error
        known = {
            term: abs(c) * getattr(f, name) for term, (c, f) in terms.items() if getattr(f, name) is not None
        }
        if not known:
            return None
        if name not in ("sampling", "scatter"):
            return math.hypot(*known.values())
        together = sum(value for term, value in known.items() if term in sharing)
        return math.hypot(together, *(value for term, value in known.items() if term not in sharing))

    return FreeEnergy(
        sum(factor * term.value for factor, term in terms.values()),
        worst([(name, term.verdict) for name, (_, term) in terms.items()]),
        method,
        sampling=part("sampling"),
        replicate=part("replicate"),
        model=part("model"),
        label=part("label"),
        residual=part("residual"),
        statistical=part("scatter"),
        n_forward=sum(term.n_forward for _, term in terms.values()),
        n_reverse=sum(term.n_reverse for _, term in terms.values()),
        provenance=" ".join(f"{'+' if c >= 0 else '-'} {name}" for name, (c, _) in terms.items()),
    )


def over_repeats(repeats: Sequence[FreeEnergy]) -> FreeEnergy:
    """Mean of independent repeats; the error is never below their standard deviation.

    One repeat has no replicate error: the part stays None and the verdict says so.
    """
    values = [one.value for one in repeats]
    judged = [("", repeats_verdict(values, [one.error for one in repeats]))]
    judged += [("" if len(repeats) == 1 else f"repeat {k}", one.verdict) for k, one in enumerate(repeats, 1)]
    return FreeEnergy(
        float(np.mean(values)),
        worst(judged),
        repeats[0].method,
        sampling=_mean_error([one.sampling for one in repeats]),
        replicate=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        model=_largest([one.model for one in repeats]),
        label=_largest([one.label for one in repeats]),
        residual=_largest([one.residual for one in repeats]),
        n_forward=sum(one.n_forward for one in repeats),
        n_reverse=sum(one.n_reverse for one in repeats),
        provenance=f"{len(values)} repeat{'s' if len(values) > 1 else ''}; {repeats[0].provenance}",
    )


def _mean_error(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return math.hypot(*known) / len(known) if known else None


def _largest(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return max(known) if known else None
