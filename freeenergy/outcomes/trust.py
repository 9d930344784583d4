"""Everything that is looked at before a result is believed: a campaign goes in, named verdicts come out."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.freeenergy.alchemical.restraint_health import free_health, restrained_health
from drupe.freeenergy.estimation.diagnostics import Verdict, worst
from drupe.freeenergy.estimation.extrapolation import model_doubt, outside
from drupe.freeenergy.estimation.stationarity import drift_of_works, settled
from drupe.freeenergy.outcomes.campaign import CampaignResult
from drupe.records import register

__all__ = ["Diagnosis", "diagnose"]


@register(version=1)
@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at: its ``subject``, the ``test`` in words, and what was found."""

    subject: str
    test: str
    verdict: Verdict

    @property
    def beside(self) -> bool:
        """Whether it is about a baseline, which is no part of the headline."""
        return self.subject.endswith("/torsions")


def diagnose(result: CampaignResult) -> tuple[Diagnosis, ...]:
    """Look at runs, works, restraint and potential of a campaign.

    What the works themselves say (second law, overlap, hysteresis, effective samples) stands with every BAR.
    """
    return (*_runs(result), *_works(result), *_restraint(result), *_charge(result), *_potential(result))


def _runs(result: CampaignResult) -> list[Diagnosis]:
    kinds: dict[str, dict[str, NDArray[np.float64]]] = defaultdict(dict)
    for trace in result.traces:
        kind = trace.name.rpartition("/")[0] or trace.name
        kinds[kind][f"run {trace.name.rpartition('/')[2]}"] = trace.potential
    return [
        Diagnosis(kind, "equilibration and drift of the energy", settled(runs))
        for kind, runs in kinds.items()
    ]


def _works(result: CampaignResult) -> list[Diagnosis]:
    made = []
    for one in result.switching:
        if one.time_f is None or one.time_r is None:
            continue
        found = drift_of_works(one.w_f, one.w_r, one.time_f.tolist(), one.time_r.tolist())
        made.append(Diagnosis(f"correction {one.correction}, {one.leg}", "early against late starts", found))
    return made


def _restraint(result: CampaignResult) -> list[Diagnosis]:
    restraint = result.boresch
    if restraint is None or not any(trace.held for trace in result.restraint_traces):
        reason = "no window with the restraint on kept its coordinates: nobody saw whether it held"
        return [Diagnosis("restraint", "coordinates with the restraint on", Verdict("WARN", (reason,)))]
    made: dict[tuple[str, str], list[tuple[str, Verdict]]] = defaultdict(list)
    for trace in result.restraint_traces:
        judge = restrained_health if trace.held else free_health
        test = "coordinates with the restraint on" if trace.held else "coordinates without the restraint"
        kind, _, number = trace.name.rpartition("/")
        name = f"{'window' if trace.held else 'run'} {number}"
        made[kind or trace.name, test].append((name, judge(restraint, trace.values, result.temperature_k)))
    return [Diagnosis(kind, test, worst(found)) for (kind, test), found in made.items()]


def _charge(result: CampaignResult) -> list[Diagnosis]:
    if result.net_charge is None:
        return []
    return [Diagnosis("charge of the ligand", "charge of the periodic box", result.net_charge)]


def _potential(result: CampaignResult) -> list[Diagnosis]:
    made = []
    for doubt in result.doubts:
        subject = f"{doubt.level} potential, {doubt.place}"
        made.append(Diagnosis(subject, "novelty of the frames", outside(doubt.novelty)))
        made.append(Diagnosis(subject, "its own standard error", model_doubt(doubt.sigma)))
    return made
