"""The headline of a campaign: a campaign record goes in, four free energies with verdicts come out (kT).

Nothing is canned: every value, error and reason is computed here from the works and the MBAR
results of the record, so other works give another verdict.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from drupe.freeenergy.campaign import CampaignResult
from drupe.freeenergy.corrections import (
    EndStateCorrection,
    binding_free_energy,
    combine,
    end_state_correction,
    over_repeats,
)
from drupe.freeenergy.diagnostics import Verdict, worst
from drupe.freeenergy.results import FreeEnergy
from drupe.records import register
from drupe.units import kcal_per_mol, kt

__all__ = ["Summary", "summarise", "transfer_verdict"]


def _without_torsions(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had no torsion refit; its fields may be left out."""
    return fields


@register(version=2, upgrades={1: _without_torsions})
@dataclass(frozen=True, eq=False)
class Summary:
    """The numbers of the headline, all in kT, binding convention (negative binds).

    ==============  =============================================================
    field           meaning
    ==============  =============================================================
    mm_complex      decoupling free energy of the complex leg, over its repeats
    mm_solvent      the same of the solvent leg
    mm              dG_bind(MM)
    low             correction MM -> low level (None where there are no works)
    core            correction low level -> core-corrected (None likewise)
    total           dG_bind(MM) + low + core
    level           what ``total`` stands for: "core-corrected", "low level", "MM"
    torsions        correction MM -> torsion refit, a baseline (None likewise)
    refitted        dG_bind(MM) + torsions
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
    torsions: EndStateCorrection | None = None
    refitted: FreeEnergy | None = None

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
    legs = {
        leg: over_repeats([one.total for one in result.mm_leg(leg).repeats]) for leg in ("complex", "solvent")
    }
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
    terms = {"MM": (1.0, mm)}
    if low is not None:
        terms["correction low"] = (1.0, low.difference)
    if core is not None:
        terms["correction core"] = (1.0, core.difference)
    total = combine(terms, " + ".join(dict.fromkeys(term.method for _, term in terms.values())))
    last = core or low
    if last is not None:
        # The low potential is on the way only: it cancels between the two corrections, and its error too.
        total = replace(total, model=last.difference.model)
    level = "core-corrected" if core is not None else "low level" if low is not None else "MM"
    missing = [name for name, one in (("low", low), ("core", core)) if one is None]
    if missing:
        reason = f"no works for the correction{'s' if len(missing) > 1 else ''} {' and '.join(missing)}"
        lacking = Verdict("FAIL", (f"{reason}: the total stops at the level {level}",))
        total = replace(total, verdict=worst([("", lacking), ("", total.verdict)]))
    torsions = _correction(result, "torsions", n_resamples)
    refitted = None
    if torsions is not None:
        refitted = combine(
            {"MM": (1.0, mm), "correction torsions": (1.0, torsions.difference)},
            f"{mm.method} + {torsions.difference.method}",
        )
    return Summary(
        result.temperature_k,
        legs["complex"],
        legs["solvent"],
        mm,
        low,
        core,
        total,
        level,
        torsions,
        refitted,
    )


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


def _correction(result: CampaignResult, name: str, n_resamples: int) -> EndStateCorrection | None:
    here, there = result.works(name, "complex"), result.works(name, "solvent")
    if here is None or there is None:
        return None
    label = None
    if result.label_error_kcal is not None and name in ("low", "torsions"):
        label = result.label_error_kcal * kcal_per_mol / kt(result.temperature_k)
    both = here.members is not None and there.members is not None
    return end_state_correction(
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
    )
