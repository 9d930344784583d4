"""From the finished tasks of a campaign to the one record its report reads."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from drupe.errors import ConvergenceError
from drupe.freeenergy.alchemical.leg_estimate import estimate
from drupe.freeenergy.alchemical.leg_run import LegRun, leg_run
from drupe.freeenergy.campaigns.approximations import approximations, unscreened_field_kcal
from drupe.freeenergy.campaigns.assembled_scene import (
    core_names,
    finite_size_of,
    net_charge_of,
    receptor_of,
    regions_of,
    restraint_of,
)
from drupe.freeenergy.campaigns.assembled_settings import settings_of, versions
from drupe.freeenergy.campaigns.assembled_trust import doubts, restraint_traces, starts_of
from drupe.freeenergy.campaigns.config import Config
from drupe.freeenergy.campaigns.preparation import Prepared
from drupe.freeenergy.campaigns.sampling_tables import LegSwitching
from drupe.freeenergy.outcomes.campaign import (
    CampaignResult,
    CoreTable,
    Cost,
    Count,
    Failure,
    MmLeg,
    SwitchingResult,
)
from drupe.freeenergy.outcomes.figure_data import LearningCurve, Parity, Trace
from drupe.freeenergy.outcomes.torsion_results import in_words, torsion_works
from drupe.freeenergy.switches.work_sets import paired_works
from drupe.freeenergy.tasks.runner import Node, read_result
from drupe.store import Row, Store

__all__ = ["assemble"]

_LEGS: Final = ("complex", "solvent")


def assemble(
    config: Config, prepared: Prepared, nodes: Sequence[Node], rows: Mapping[str, Row], store: Store
) -> CampaignResult:
    """Collect a campaign's results.

    Raises
    ------
    ConvergenceError
        If not even the MM-level binding free energy can be had; the failures are named.
    """
    results = _Results(nodes, rows, store)
    missing = [
        n.name for n in nodes if n.stage in ("alchemical windows", "restraint") and n.name not in results
    ]
    if missing:
        raise ConvergenceError(
            f"no binding free energy without {', '.join(missing[:5])}"
            + "".join(_tell(f) for f in results.failures()),
            remedy="correct what the failed tasks name, and run the same command again: the rest is kept",
        )
    restraint = results["complex/restraint"]
    mm_legs = tuple(_mm_leg(results, leg, prepared, config) for leg in _LEGS)
    members = config.potential.members
    return CampaignResult(
        title=config.name,
        ligand=prepared.complex.structure.system.residue_names[int(prepared.complex.ligand[0])],
        receptor=receptor_of(prepared),
        temperature_k=config.dynamics.temperature,
        seed=config.seed,
        regions=regions_of(prepared, np.concatenate([restraint.receptor, restraint.ligand])),
        mm_legs=mm_legs,
        restraint=restraint_of(prepared, restraint, config.dynamics.temperature),
        switching=(*_switching(results, config), *torsion_works(results)),
        boresch=restraint,
        restraint_traces=tuple(restraint_traces(results, restraint)),
        doubts=tuple(doubts(results)),
        checks=tuple(results.matching(r"\w+/check-\w+")),
        cores=_cores(results, prepared),
        parity=(
            *(p for level in ("low", "core") for p in results.attribute(f"{level}/committee", "parity")),
            *_left_out(results),
        ),
        learning=tuple(
            curve
            for level in ("low", "core")
            for member in range(members)
            if (curve := _curve(results, level, member)) is not None
        ),
        traces=tuple(_traces(results)),
        counts=tuple(results.counts()),
        costs=tuple(results.costs()),
        settings={
            **settings_of(config, store),
            **(in_words(results["torsions/refit"]) if "torsions/refit" in results else {}),
        },
        approximations=tuple(
            approximations(
                config,
                prepared,
                {leg: results[f"{leg}/snapshots"] for leg in _LEGS if f"{leg}/snapshots" in results},
                {leg.leg: leg.finite_size for leg in mm_legs if leg.finite_size is not None},
            )
        ),
        versions=versions(),
        failures=tuple(results.failures()),
        label_error_kcal=unscreened_field_kcal if config.corrected and config.water is None else None,
        experiment_kcal=None if config.experiment is None else config.experiment.value_kcal,
        experiment_source="" if config.experiment is None else config.experiment.source,
        asked="core-corrected" if config.corrected else "MM",
        net_charge=net_charge_of(prepared, config),
        mechanical=config.corrected and config.potential.embedding == "mechanical",
    )


class _Results:
    """Results by node name, read when asked for."""

    def __init__(self, nodes: Sequence[Node], rows: Mapping[str, Row], store: Store) -> None:
        self.nodes, self.rows, self._store = nodes, rows, store
        self._read: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.rows and self.rows[name].state == "done"

    def __getitem__(self, name: str) -> Any:
        if name not in self._read:
            self._read[name] = read_result(self._store, self.rows[name])
        return self._read[name]

    def matching(self, pattern: str) -> list[Any]:
        """Results of all nodes whose whole name matches."""
        return [
            self[node.name] for node in self.nodes if re.fullmatch(pattern, node.name) and node.name in self
        ]

    def attribute(self, name: str, field: str) -> Any:
        """A field of a result, or nothing of it where the task has no result."""
        return getattr(self[name], field) if name in self else ()

    def failures(self) -> list[Failure]:
        """Failed tasks, then those that could not start for want of them."""
        said = {name: json.loads(row.error) for name, row in self.rows.items() if row.error is not None}
        told = [Failure(name, error["found"], error["remedy"]) for name, error in said.items()]
        told += [
            Failure(node.name, "not started: a task it needs failed", "see the failed tasks above")
            for node in self.nodes
            if node.name not in self.rows
        ]
        return told

    def counts(self) -> list[Count]:
        """Tasks wanted, done and failed: per stage and leg."""
        groups: dict[str, list[str]] = defaultdict(list)
        for node in self.nodes:
            leg = node.name.split("/")[0]
            groups[f"{node.stage}, {leg}" if leg in _LEGS else node.stage].append(node.name)
        return [
            Count(what, len(names), sum(n in self for n in names), sum(n not in self for n in names))
            for what, names in groups.items()
        ]

    def costs(self) -> list[Cost]:
        """Seconds of each stage, added up over its tasks."""
        seconds: dict[str, list[float]] = defaultdict(list)
        for node in self.nodes:
            if node.name in self.rows:
                seconds[node.stage].append(self.rows[node.name].seconds)
        return [Cost(stage, sum(items), len(items)) for stage, items in seconds.items()]


def _tell(failure: Failure) -> str:
    return f"\n   {failure.task}: {failure.found} ({failure.remedy})"


def _mm_leg(results: _Results, leg: str, prepared: Prepared, config: Config) -> MmLeg:
    runs = [_run(results, leg, repeat) for repeat in range(config.abfe.repeats)]
    found = [estimate(run.tables, run.names) for run in runs]
    return MmLeg(
        leg,
        tuple(one for one, _ in found),
        tuple(checks for _, checks in found),
        finite_size_of(prepared.leg(leg), runs, config),
    )


def _run(results: _Results, leg: str, repeat: int) -> LegRun:
    return leg_run(
        leg,
        windows=results.matching(rf"{leg}/window/{repeat}/\d+"),
        stretches=results.matching(rf"{leg}/exchange/{repeat}/\d+"),
    )


def _switching(results: _Results, config: Config) -> list[SwitchingResult]:
    made = []
    for leg in _LEGS:
        if f"{leg}/levels" not in results:
            continue
        levels = results[f"{leg}/levels"]
        works = paired_works(
            *(results.matching(rf"{leg}/{direction}/\d+") for direction in ("forward", "reverse"))
        )
        table = getattr(config.switching, leg)
        forward = starts_of(results, leg, "forward", "sample")
        reverse = starts_of(results, leg, "reverse", "ml-low")
        (pilot,) = results.matching(rf"{leg}/pilot") or (None,)
        length = table.length if pilot is None else pilot.n_steps * config.dynamics.ml_step / 1e3
        told = "" if length is None else f" of {length:g} ps"
        made.append(
            SwitchingResult(
                leg,
                "low",
                works.w_f,
                works.w_r,
                f"{table.switches} switches{told} in each direction"
                + ("" if pilot is None else ", a length chosen by a pilot"),
                levels.members_low,
                run_f=forward.runs,
                run_r=reverse.runs,
                time_f=forward.times,
                time_r=reverse.times,
                correlated=(forward.correlated, reverse.correlated),
                pilot=None if pilot is None else pilot.verdict,
            )
        )
        made.append(_between_levels(results, leg, table, levels))
    return made


def _between_levels(results: _Results, leg: str, table: LegSwitching, levels: Any) -> SwitchingResult:
    """Works from the low level to the core-corrected one: of switches where there are some."""
    if table.core is None:
        return SwitchingResult(
            leg,
            "core",
            levels.forward,
            levels.reverse,
            f"instantaneous, {len(levels.forward)} and {len(levels.reverse)} frames",
            levels.members_core,
            run_f=levels.run_forward,
            run_r=levels.run_reverse,
            time_f=levels.time_forward,
            time_r=levels.time_reverse,
        )
    works = paired_works(
        *(results.matching(rf"{leg}/core-{direction}/\d+") for direction in ("forward", "reverse"))
    )
    forward = starts_of(results, leg, "core-forward", "ml-low")
    reverse = starts_of(results, leg, "core-reverse", "ml-core")
    return SwitchingResult(
        leg,
        "core",
        works.w_f,
        works.w_r,
        f"{table.core.switches} switches of {table.core.length:g} ps in each direction",
        levels.members_core,
        run_f=forward.runs,
        run_r=reverse.runs,
        time_f=forward.times,
        time_r=reverse.times,
        correlated=(forward.correlated, reverse.correlated),
    )


def _cores(results: _Results, prepared: Prepared) -> CoreTable:
    names = core_names(prepared)
    found = [
        (snapshot.leg, name, core, snapshot.label.seconds)
        for snapshot in [*results.matching("complex/reference"), *results.matching(r"\w+/label/\d+")]
        for name, core in zip(names, snapshot.label.cores, strict=False)  # labels without cores have none
    ]
    return CoreTable(
        leg=tuple(leg for leg, _, _, _ in found),
        core=tuple(name for _, name, _, _ in found),
        correction=np.array([core.correction for _, _, core, _ in found]),
        spade_gap=np.array([core.spade_gap for _, _, core, _ in found]),
        t1=np.array([np.nan if core.t1 is None else core.t1 for _, _, core, _ in found]),
        residual_overlap=np.array([core.residual_overlap for _, _, core, _ in found]),
        dft_in_dft_error=np.array(
            [np.nan if core.dft_in_dft_error is None else core.dft_in_dft_error for _, _, core, _ in found]
        ),
        seconds=np.array([seconds for _, _, _, seconds in found]),
        truncation=np.array([core.mp2_truncation for _, _, core, _ in found]),
    )


def _curve(results: _Results, level: str, member: int) -> LearningCurve | None:
    name = f"{level}/member/{member}"
    if name not in results:
        return None
    curve = results[name].curve
    held_out = np.isfinite(curve.force_held_out).any()
    energy, force = (curve.energy_held_out, curve.force_held_out) if held_out else (curve.energy, curve.force)
    if np.isfinite(curve.force_high).any():  # a transfer that learned forces of its own level
        force = curve.force_high
    stage = level if held_out else f"{level}, fitted labels"
    return LearningCurve(stage, member, curve.step, energy, force)


def _left_out(results: _Results) -> list[Parity]:
    found = results.matching(r"core/left-out/.*")
    if not found:
        return []
    reference = np.array([one.reference for one in found])
    return [
        Parity(
            "core",
            "correction",
            np.concatenate([reference, reference]),
            np.array([one.predicted for one in found] + [one.shift for one in found]),
            ("transferred",) * len(found) + ("constant shift",) * len(found),
        )
    ]


def _traces(results: _Results) -> list[Trace]:
    made = []
    for node in results.nodes:
        if re.fullmatch(r"\w+/(sample|ml-low|ml-core|torsions)/\d+", node.name) and node.name in results:
            run = results[node.name]
            spec = run.spec
            steps = spec.n_equilibration + spec.stride * np.arange(1, spec.n_frames + 1)
            made.append(Trace(node.name, steps * spec.step_fs / 1e3, run.potential))
    return made
