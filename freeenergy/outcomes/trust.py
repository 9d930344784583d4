"""Everything that is looked at before a result is believed: a campaign goes in, named verdicts come out."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from drupe.freeenergy.alchemical.restraint_health import free_health, restrained_health
from drupe.freeenergy.estimation.diagnostics import Verdict, worst
from drupe.freeenergy.estimation.extrapolation import model_doubt, outside
from drupe.freeenergy.estimation.stationarity import drift_of_works, settled
from drupe.freeenergy.outcomes.campaign import CampaignResult, SwitchingResult
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
        return self.subject.endswith("/torsions") or self.subject.startswith("correction torsions")

    @property
    def of_mm(self) -> bool:
        """Whether it is about the MM level: its runs, its windows, its restraint, the charge of its boxes."""
        return self.subject.startswith(_of_mm) and not self.beside


def diagnose(result: CampaignResult) -> tuple[Diagnosis, ...]:
    """Look at runs, works, restraint and potential of a campaign.

    What the works themselves say (second law, overlap, hysteresis, effective samples) stands with every BAR.
    """
    return (
        *_legs(result),
        *_runs(result),
        *_works(result),
        *_restraint(result),
        *_charge(result),
        *_potential(result),
        *_tasks(result),
    )


#: How subjects of the MM level begin.
_of_mm: Final = (
    "MM, ",
    "runs",
    "complex/sample",
    "solvent/sample",
    "complex/window",
    "complex/exchange",
    "restraint",
    "charge of",
)
#: Share of starts within a correlation time of another, and of tasks of one kind that failed, to warn of.
most_correlated: Final = 0.2
most_failed: Final = 0.25


def _runs(result: CampaignResult) -> list[Diagnosis]:
    if not result.traces:
        unseen = Verdict("WARN", ("no run kept its energies: nobody saw whether they settled",))
        return [Diagnosis("runs", "equilibration and drift of the energy", unseen)]
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
        subject = f"correction {one.correction}, {one.leg}"
        if one.correlated is not None:
            made.append(Diagnosis(subject, "starts against each other", _starts(one)))
        if one.run_f is None or one.run_r is None:
            unknown = (
                "nobody knows which runs the works start from: neither drift nor how runs differ is seen"
            )
            made.append(Diagnosis(subject, "early against late starts", Verdict("WARN", (unknown,))))
        if one.time_f is None or one.time_r is None:
            if one.run_f is not None and one.run_r is not None:
                unknown = "nobody knows when in their runs the works start: drift is not seen"
                made.append(Diagnosis(subject, "early against late starts", Verdict("WARN", (unknown,))))
            continue
        found = drift_of_works(one.w_f, one.w_r, one.time_f.tolist(), one.time_r.tolist())
        made.append(Diagnosis(subject, "early against late starts", found))
    return made


def _starts(one: SwitchingResult) -> Verdict:
    """Warn of starts that are no measurements of their own."""
    counts = zip(("forward", "reverse"), one.correlated or (0, 0), (one.w_f, one.w_r), strict=True)
    told = [
        f"{close} of {len(works)} {name} starts lie within a correlation time of another: sample longer"
        for name, close, works in counts
        if close > most_correlated * len(works)
    ]
    return Verdict("WARN", tuple(told)) if told else Verdict("PASS")


def _tasks(result: CampaignResult) -> list[Diagnosis]:
    """Warn of work that failed: what is left may be what was easy."""
    told = [
        f"{one.failed} of {one.wanted} {one.what} failed: the rest may be what was easy"
        for one in result.counts
        if one.failed > most_failed * one.wanted
    ]
    return [Diagnosis("tasks", "failures", Verdict("WARN", tuple(told)))] if told else []


def _legs(result: CampaignResult) -> list[Diagnosis]:
    unseen = Verdict(
        "WARN", ("the windows were not checked: neither equilibration nor convergence is known",)
    )
    return [Diagnosis(f"MM, {leg.leg}", "windows", unseen) for leg in result.mm_legs if not leg.checks]


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
    unseen = Verdict("WARN", ("no frame was compared with the training set",))
    known = {(doubt.level, doubt.place) for doubt in result.doubts}
    made = [
        Diagnosis(f"{level} potential, {place}", "novelty of the frames", unseen)
        for level, place in _asked(result)
        if (level, place) not in known
    ]
    for doubt in result.doubts:
        subject = f"{doubt.level} potential, {doubt.place}"
        made.append(Diagnosis(subject, "novelty of the frames", outside(doubt.novelty)))
        made.append(Diagnosis(subject, "its own standard error", model_doubt(doubt.sigma)))
    return made


def _asked(result: CampaignResult) -> list[tuple[str, str]]:
    """Level and place of all frames that the corrections of a campaign rest on."""
    made = [
        (one.correction, f"{one.leg}, end state")
        for one in result.switching
        if one.correction in ("low", "core")
    ]
    # From MM one has to switch; between the levels differences of energies may be enough.
    return made + [("low", f"{one.leg}, switches") for one in result.switching if one.correction == "low"]
