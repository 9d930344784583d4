"""The headline of a campaign: a campaign record goes in, four free energies with verdicts come out (kT).

Nothing is canned: every value, error and reason is computed here from the works and the MBAR
results of the record, so other works give another verdict.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from drupe.freeenergy.alchemical.leg_estimate import judged_total
from drupe.freeenergy.estimation.diagnostics import Verdict, worst
from drupe.freeenergy.estimation.estimators import Runs
from drupe.freeenergy.estimation.label_check import LabelCheck, label_check
from drupe.freeenergy.estimation.results import FreeEnergy
from drupe.freeenergy.outcomes.campaign import CampaignResult, MmLeg, SwitchingResult
from drupe.freeenergy.outcomes.corrections import (
    EndStateCorrection,
    binding_free_energy,
    combine,
    end_state_correction,
    over_repeats,
)
from drupe.freeenergy.outcomes.trust import Diagnosis, diagnose
from drupe.records import register
from drupe.units import kcal_per_mol, kt

__all__ = ["Summary", "summarise", "transfer_verdict"]


def _same(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 looked at the works alone, 2 always asked for corrections, 3 knew no finite size."""
    return fields


@register(version=4, upgrades={1: _same, 2: _same, 3: _same})
@dataclass(frozen=True, eq=False)
class Summary:
    """The numbers of the headline, all in kT, binding convention (negative binds).

    ==============  =============================================================
    field           meaning
    ==============  =============================================================
    mm_complex      decoupling free energy of the complex leg, over its repeats, as simulated
    mm_solvent      the same of the solvent leg
    mm              dG_bind(MM) of these and the restraint
    low             correction MM -> low level (None where there are no works)
    core            correction low level -> core-corrected (None likewise)
    total           dG_bind(MM) + finite_size + low + core
    level           what ``total`` stands for: "core-corrected", "low level", "MM";
                    with ", mechanical embedding" where the potentials feel no field
    checks          fresh labels against the potential of "low" and "core", where there are works
    diagnoses       what was looked at besides the works themselves
    torsions        correction MM -> torsion refit, a baseline (None likewise)
    refitted        dG_bind(MM) + finite_size + torsions
    mm_only         whether nothing beyond the MM level was asked for
    finite_size     what undoes that the boxes lose the ligand's charge (None where nothing has to)
    ==============  =============================================================
    """

    temperature_k: float
    mm_complex: FreeEnergy
    mm_solvent: FreeEnergy
    mm: FreeEnergy
    low: EndStateCorrection | None
    core: EndStateCorrection | None
    total: FreeEnergy
    level: str
    checks: Mapping[str, LabelCheck] = field(default_factory=dict)
    diagnoses: tuple[Diagnosis, ...] = ()
    torsions: EndStateCorrection | None = None
    refitted: FreeEnergy | None = None
    mm_only: bool = False
    finite_size: FreeEnergy | None = None

    @property
    def verdict(self) -> Verdict:
        """Verdict of the whole: that of ``total``."""
        return self.total.verdict


def summarise(result: CampaignResult, *, n_resamples: int = 200) -> Summary:
    """Headline numbers of a campaign.

    Parameters
    ----------
    result
        The campaign; its works and MBAR results are read, nothing that was concluded before.
    n_resamples
        Bootstrap resamples of every BAR.
    """
    legs = {leg: _over_repeats(result.mm_leg(leg)) for leg in ("complex", "solvent")}
    mm = binding_free_energy(
        legs["complex"],
        legs["solvent"],
        release_numerical=result.restraint.release_numerical,
        release_analytic=result.restraint.release_analytic,
        temperature_k=result.temperature_k,
    )
    low = _correction(result, "low", n_resamples)
    core = _correction(result, "core", n_resamples) if low is not None else None
    if core is not None:
        judged = worst([("", core.difference.verdict), ("transfer", transfer_verdict(result))])
        core = replace(core, difference=replace(core.difference, verdict=judged))
    checks = {
        name: _check(result, name, one.difference)
        for name, one in (("low", low), ("core", core))
        if one is not None
    }
    # The low potential is on the way only: it cancels between the two corrections, and its errors too.
    if core is not None:
        core = _with_check(core, checks["core"])
    elif low is not None:
        low = _with_check(low, checks["low"])
    terms = {"MM": (1.0, mm)}
    finite_size = _finite_size(result)
    if finite_size is not None:
        terms["finite size"] = (1.0, finite_size)
    at_mm = dict(terms)
    if low is not None:
        terms["correction low"] = (1.0, low.difference)
    if core is not None:
        terms["correction core"] = (1.0, core.difference)
    # Frames of the low potential end the works of the first correction and start those of the second.
    total = combine(
        terms,
        " + ".join(dict.fromkeys(term.method for _, term in terms.values())),
        sharing=("correction low", "correction core"),
    )
    last = core or low
    if last is not None:
        total = replace(total, model=last.difference.model, residual=last.difference.residual)
    on_the_way = Verdict("PASS")
    if core is not None and low is not None:
        on_the_way = _warned(checks["low"].verdict)
        low = _with_check(low, checks["low"])
    level = "core-corrected" if core is not None else "low level" if low is not None else "MM"
    if result.mechanical and low is not None:
        level += ", mechanical embedding"
    missing = [name for name, one in (("low", low), ("core", core)) if one is None]
    if missing and result.asked != "MM":
        reason = f"no works for the correction{'s' if len(missing) > 1 else ''} {' and '.join(missing)}"
        lacking = Verdict("FAIL", (f"{reason}: the total stops at the level {level}",))
        total = replace(total, verdict=worst([("", lacking), ("", total.verdict)]))
    diagnoses = diagnose(result)
    at_mm_level = [(one.subject, one.verdict) for one in diagnoses if one.of_mm]
    mm = replace(mm, verdict=worst([("", mm.verdict), *at_mm_level]))
    at_mm["MM"] = (1.0, mm)
    torsions = _correction(result, "torsions", n_resamples)
    refitted = None
    if torsions is not None:
        runs = [(one.subject, one.verdict) for one in diagnoses if one.beside]
        judged = worst([("", torsions.difference.verdict), *runs])
        torsions = replace(torsions, difference=replace(torsions.difference, verdict=judged))
        refitted = combine(
            {**at_mm, "correction torsions": (1.0, torsions.difference)},
            f"{mm.method} + {torsions.difference.method}",
        )
    looked = [(one.subject, one.verdict) for one in diagnoses if not one.beside]
    judged = worst([("", total.verdict), ("low potential", on_the_way), *looked])
    total = replace(total, verdict=judged)
    return Summary(
        result.temperature_k,
        legs["complex"],
        legs["solvent"],
        mm,
        low,
        core,
        total,
        level,
        checks,
        diagnoses,
        torsions,
        refitted,
        mm_only=result.asked == "MM",
        finite_size=finite_size,
    )


def _warned(verdict: Verdict) -> Verdict:
    """A verdict on what cancels: it warns at most."""
    if verdict.level == "PASS":
        return verdict
    told = tuple(f"{reason}; it cancels between the two corrections" for reason in verdict.reasons)
    return Verdict("WARN", told)


def transfer_verdict(result: CampaignResult) -> Verdict:
    """Whether the transfer knows core corrections it did not see better than a constant shift does.

    WARN when it does not, or when nothing was left out to tell. The root-mean-square errors of
    both are those of the parity record of quantity ``"correction"``.
    """
    found = next((p for p in result.parity if p.quantity == "correction"), None)
    if found is None:
        return Verdict("WARN", ("no label was left out of the transfer: its error is not known",))
    group = np.array(found.group)
    missed = (found.predicted - found.reference) / kcal_per_mol
    transferred, shift = (
        float(np.sqrt(np.mean(missed[group == name] ** 2))) for name in ("transferred", "constant shift")
    )
    if transferred < shift:
        return Verdict("PASS")
    count = int((group == "transferred").sum())
    return Verdict(
        "WARN",
        (
            f"left out of {count} labels, a core correction is missed by {transferred:.2f} kcal/mol (rms), "
            f"by {shift:.2f} with a constant shift: no more than the shift was learned",
        ),
    )


def _over_repeats(leg: MmLeg) -> FreeEnergy:
    checks = leg.checks or (None,) * len(leg.repeats)
    return over_repeats([judged_total(*pair) for pair in zip(leg.repeats, checks, strict=True)])


def _finite_size(result: CampaignResult) -> FreeEnergy | None:
    """What is added to dG_bind: the correction of decoupling in solvent less that in the complex."""
    here, there = result.mm_leg("complex").finite_size, result.mm_leg("solvent").finite_size
    if here is None or there is None:
        return None
    legs = {"complex": (-1.0, here.decoupling), "solvent": (1.0, there.decoupling)}
    return combine(legs, here.decoupling.method)


def _correction(result: CampaignResult, name: str, n_resamples: int) -> EndStateCorrection | None:
    here, there = result.works(name, "complex"), result.works(name, "solvent")
    if here is None or there is None:
        return None
    label = None
    if result.label_error_kcal is not None and name in ("low", "torsions"):
        label = result.label_error_kcal * kcal_per_mol / kt(result.temperature_k)
    elif name == "core":
        label = _truncation(result)
    both = here.members is not None and there.members is not None
    unjudged = Verdict(
        "WARN", ("no committee was asked at the end states of both legs: the model error is not known",)
    )
    made = end_state_correction(
        here.w_f,
        here.w_r,
        there.w_f,
        there.w_r,
        result.temperature_k,
        result.seed + ("low", "core", "torsions").index(name) * 10,
        members_complex=here.members if both else None,
        members_solvent=there.members if both else None,
        label_error=label,
        n_resamples=n_resamples,
        runs_complex=_runs(here),
        runs_solvent=_runs(there),
    )
    pilots = [(f"{one.leg} pilot", one.pilot) for one in (here, there) if one.pilot is not None]
    committee = [] if both or name == "torsions" else [("", unjudged)]
    judged = worst([("", made.difference.verdict), *pilots, *committee])
    return replace(made, difference=replace(made.difference, verdict=judged))


def _runs(works: SwitchingResult) -> Runs:
    return works.run_f, works.run_r


def _truncation(result: CampaignResult) -> float | None:
    """What MP2 stands for beyond the kept virtual orbitals, complex less solvent, kT; None if not known."""
    cores = result.cores
    leg = np.array(cores.leg)
    if cores.truncation is None or not {"complex", "solvent"} <= set(cores.leg):
        return None
    # Cores of one label add up; every core has as many labels.
    sums = [
        sum(
            float(cores.truncation[(leg == name) & (np.array(cores.core) == core)].mean())
            for core in set(cores.core)
        )
        for name in ("complex", "solvent")
    ]
    return abs(sums[0] - sums[1]) / kt(result.temperature_k)


def _check(result: CampaignResult, name: str, difference: FreeEnergy) -> LabelCheck:
    return label_check(
        result.check(name, "complex"),
        result.check(name, "solvent"),
        model=difference.model,
        # The field that nobody screens is in labels and potential alike.
        label=None if name == "low" else difference.label,
        temperature_k=result.temperature_k,
        seed=result.seed + 100,
    )


def _with_check(correction: EndStateCorrection, check: LabelCheck) -> EndStateCorrection:
    """Let the fresh labels into error and verdict."""
    difference = correction.difference
    judged = worst([("", difference.verdict), ("label check", check.verdict)])
    return replace(correction, difference=replace(difference, residual=check.part, verdict=judged))
