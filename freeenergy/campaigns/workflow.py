"""A campaign as a graph of tasks, and the engine it runs on: a `Config` in, nodes out.

Nodes stand in the order in which the longest chain wants them: snapshots, labels, fits, switches;
the alchemical windows, which wait for nothing of that, fill the gaps.
"""

import os
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal, Protocol

import psutil

from drupe.embedding.labeling import Level
from drupe.errors import MachineError
from drupe.freeenergy.campaigns.checking import CheckStage
from drupe.freeenergy.campaigns.config import Config, EngineTable, LegSwitching
from drupe.freeenergy.campaigns.fitting import CompareStage, FitStage, GatherStage, TransferStage
from drupe.freeenergy.campaigns.preparation import high_level
from drupe.freeenergy.campaigns.stages import (
    LabelStage,
    PilotStage,
    Place,
    RestraintStage,
    SampleStage,
    SnapshotStage,
    SwitchStage,
)
from drupe.freeenergy.campaigns.torsion_stages import RefitStage, RefitWorksStage
from drupe.freeenergy.campaigns.window_nodes import window_nodes
from drupe.freeenergy.simulation.sampling import SampleSpec
from drupe.freeenergy.switches.switching import SwitchSpec
from drupe.freeenergy.tasks.runner import Node
from drupe.hardware.engine import Engine, LocalEngine
from drupe.mlp.specs import FitSpec, TransferSpec
from drupe.mlp.torsion_refit import TorsionSpec
from drupe.store import Store

__all__ = ["campaign_graph", "engine_for", "slots_for"]

LEGS = ("complex", "solvent")
_DIRECTIONS: Final[tuple[Literal["forward", "reverse"], ...]] = ("forward", "reverse")
_STAGES = "drupe.freeenergy.campaigns.stages"
_FITTING = "drupe.freeenergy.campaigns.fitting"
_CHECKING = "drupe.freeenergy.campaigns.checking"
_TORSIONS = "drupe.freeenergy.campaigns.torsion_stages"


class _Placed(Protocol):
    """An input that says where its tasks run."""

    @property
    def engine(self) -> EngineTable:
        """The table of that name."""
        ...


def slots_for(config: _Placed) -> int:
    """How many tasks run at a time.

    Raises
    ------
    MachineError
        If workers and threads asked for do not fit this machine.
    """
    cores, threads = _cores(), config.engine.threads
    slots = max(1, cores // threads) if config.engine.workers == "auto" else config.engine.workers
    if slots * threads > cores:
        raise MachineError(
            f"{slots} workers of {threads} threads need {slots * threads} cores, this machine gives {cores}",
            remedy='lower engine.workers or engine.threads, or set workers = "auto"',
        )
    return slots


def engine_for(config: _Placed, store: Store) -> tuple[Engine, str]:
    """The engine a campaign asks for, and one line that says what was taken."""
    slots, threads = slots_for(config), config.engine.threads
    engine = LocalEngine(store.scratch, store.folder / "logs", slots=slots, threads=threads)
    return engine, f"{slots} workers of {threads} thread{'s' if threads > 1 else ''} on {_cores()} cores"


def _cores() -> int:
    """Cores this process may use."""
    here = psutil.Process()
    return len(here.cpu_affinity()) if hasattr(here, "cpu_affinity") else os.cpu_count() or 1


def campaign_graph(config: Config) -> list[Node]:
    """All tasks of a campaign, those that others wait for first."""
    make = _Maker(config)
    return [
        *make.sampling(),
        *make.labels(),
        *make.fits(),
        *make.mixed(),
        *make.switches(),
        *make.checks(),
        *make.torsions(),
        *make.restraint(),
        *make.windows(),
    ]


class _Maker:
    """Makes the nodes of one campaign; each method is one part of the chain."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.place = Place(config.engine.platform, config.engine.threads)

    def sampling(self) -> Iterator[Node]:
        """MM runs of both legs, and the snapshots taken from them."""
        for leg in LEGS:
            table = getattr(self.config.sampling, leg)
            for run in range(table.runs):
                spec = self.dynamics(
                    self.config.dynamics.step,
                    table.equilibration,
                    table.spacing,
                    table.frames,
                    seed=self.seed("sample", leg, run),
                    minimise=50,
                )
                yield Node(
                    f"{leg}/sample/{run}",
                    "MM sampling",
                    f"{_STAGES}:sample_leg",
                    SampleStage(leg, spec, self.place),
                    needs=("prepared",),
                    guess_s=spec.n_steps * (0.12 if leg == "complex" else 0.001) + 5,
                )
            switching = getattr(self.config.switching, leg)
            settings = SnapshotStage(
                leg, getattr(self.config.labels.total, leg), switching.switches + switching.piloted
            )
            yield Node(
                f"{leg}/snapshots",
                "MM sampling",
                f"{_STAGES}:pick_snapshots",
                settings,
                needs=self._runs(leg, "sample", table.runs),
                guess_s=3,
            )

    def labels(self) -> Iterator[Node]:
        """The reference label, then the labels of both legs, the core-corrected ones first."""
        high, low = self._levels()
        yield Node(
            "complex/reference",
            "labels",
            f"{_STAGES}:label_reference",
            LabelStage("complex", 0, high, check=True),
            needs=("prepared",),
            guess_s=60,
        )
        for leg in LEGS:
            for index in range(getattr(self.config.labels.total, leg)):
                with_core = index < getattr(self.config.labels.core, leg)
                yield Node(
                    f"{leg}/label/{index}",
                    "labels with core" if with_core else "labels",
                    f"{_STAGES}:label_snapshot",
                    LabelStage(leg, index, high if with_core else low, check=with_core and index == 0),
                    needs=("prepared", f"{leg}/snapshots", "complex/reference"),
                    guess_s=30 if leg == "complex" else 15,
                )

    def fits(self) -> Iterator[Node]:
        """Members of the committee at the low level, their transfer, and both committees."""
        table = self.config.potential
        spec = FitSpec(
            backbone=table.backbone,
            members=table.members,
            seed=self.seed("fit"),
            steps=table.steps,
            readout=table.readout,
            reach=0.0 if table.embedding == "mechanical" else None,
        )
        transfer = TransferSpec(seed=self.seed("transfer"), steps=table.transfer_steps)
        labels = self._labels()
        for member in range(table.members):
            yield Node(
                f"low/member/{member}",
                "fit",
                f"{_FITTING}:fit_member",
                FitStage(spec, member),
                needs=("prepared",),
                wants=labels,
                version=2,
                guess_s=90,
                goes_on=True,
            )
        yield from self._gather("low", labels)
        for member in range(table.members):
            yield Node(
                f"core/member/{member}",
                "transfer",
                f"{_FITTING}:transfer_one",
                TransferStage(transfer, member),
                needs=("prepared", f"low/member/{member}"),
                wants=labels,
                version=2,
                guess_s=30,
                goes_on=True,
            )
        yield from self._gather("core", labels)
        for label in self._with_core():
            yield Node(
                f"core/left-out/{label.replace('/', '-')}",
                "transfer check",
                f"{_FITTING}:leave_out",
                TransferStage(transfer, 0),
                needs=("prepared", "low/member/0", label),
                wants=tuple(other for other in labels if other != label),
                version=2,
                guess_s=25,
            )

    def mixed(self) -> Iterator[Node]:
        """ML/MM runs of both legs at both levels, and the energy differences between the levels."""
        for level in ("low", "core"):
            for leg in LEGS:
                table = getattr(self.config.switching, leg)
                for run in range(table.runs):
                    spec = self.dynamics(
                        self.config.dynamics.ml_step,
                        table.equilibration,
                        table.spacing,
                        table.frames,
                        seed=self.seed(f"mixed-{level}", leg, run),
                        minimise=0,
                    )
                    yield Node(
                        f"{leg}/ml-{level}/{run}",
                        "ML/MM sampling",
                        f"{_STAGES}:sample_mixed",
                        SampleStage(leg, spec, self.place, start=run),
                        needs=("prepared", f"{leg}/snapshots", f"{level}/committee"),
                        guess_s=spec.n_steps * (0.14 if leg == "complex" else 0.01) + 8,
                    )
        for leg in LEGS:
            runs = getattr(self.config.switching, leg).runs
            yield Node(
                f"{leg}/levels",
                "level differences",
                f"{_FITTING}:compare_levels",
                CompareStage(leg, self.config.dynamics.temperature, runs),
                needs=(
                    "prepared",
                    "low/committee",
                    "core/committee",
                    *self._runs(leg, "ml-low", runs),
                    *self._runs(leg, "ml-core", runs),
                ),
                version=2,
                guess_s=6,
            )

    def switches(self) -> Iterator[Node]:
        """Non-equilibrium switches between MM and ML/MM, both directions, both legs; pilots before them."""
        for leg in LEGS:
            table: LegSwitching = getattr(self.config.switching, leg)
            spans, pilot = [table.length or 0.0], list[str]()
            if table.pilot is not None:
                spans, pilot = sorted(set(table.pilot.lengths)), [f"{leg}/pilot"]
                yield from self._pilot(leg, table, spans)
            for direction in _DIRECTIONS:
                for index in range(table.switches):
                    name = f"{leg}/{direction}/{index}"
                    yield self._switch(leg, table, direction, index, spans[-1], name, *pilot)

    def _pilot(self, leg: str, table: LegSwitching, spans: list[float]) -> Iterator[Node]:
        """Switches of every length from the frames after those of the estimate, and the choice."""
        names = []
        for span in spans:
            for direction in _DIRECTIONS:
                for k in range(table.piloted):
                    names.append(f"{leg}/pilot/{span:g} ps/{direction}/{k}")
                    yield self._switch(leg, table, direction, table.switches + k, span, names[-1])
        yield Node(
            f"{leg}/pilot",
            "pilot switches",
            f"{_STAGES}:choose_switch_length",
            PilotStage(leg, tuple(self._increments(span) for span in spans)),
            wants=tuple(names),
            guess_s=3,
        )

    def _switch(
        self,
        leg: str,
        table: LegSwitching,
        direction: Literal["forward", "reverse"],
        index: int,
        span: float,
        name: str,
        *pilot: str,
    ) -> Node:
        dynamics, n_steps = self.config.dynamics, self._increments(span)
        spec = SwitchSpec(
            n_steps=n_steps,
            step_fs=dynamics.ml_step,
            temperature_k=dynamics.temperature,
            friction_per_ps=dynamics.friction,
            direction=direction,
        )
        sources = (
            (f"{leg}/snapshots", "low/committee")
            if direction == "forward"
            else ("low/committee", *self._runs(leg, "ml-low", table.runs))
        )
        in_pilot = name.startswith(f"{leg}/pilot/")
        seed = self.seed(*name.split("/")) if in_pilot else self.seed(direction, leg, index)
        return Node(
            name,
            "pilot switches" if in_pilot else f"switches {direction}",
            f"{_STAGES}:switch_{direction}",
            SwitchStage(leg, index, spec, seed, self.place),
            needs=("prepared", *sources, *pilot),
            guess_s=n_steps * (0.14 if leg == "complex" else 0.01) + 8,
        )

    def _increments(self, span_ps: float) -> int:
        return max(1, round(span_ps * 1e3 / self.config.dynamics.ml_step))

    def checks(self) -> Iterator[Node]:
        """Fresh labels of frames of every ML/MM end state, and what they say of the potential."""
        for level, labelled in zip(("core", "low"), self._levels(), strict=True):
            for leg in LEGS:
                table = getattr(self.config.switching, leg)
                count = min(getattr(self.config.labels.check, leg), table.runs * table.frames)
                if not count:
                    continue
                runs = self._runs(leg, f"ml-{level}", table.runs)
                yield Node(
                    f"{leg}/fresh-{level}",
                    "label check",
                    f"{_STAGES}:pick_snapshots",
                    SnapshotStage(leg, count, 0),
                    needs=runs,
                    guess_s=3,
                )
                labels = self._runs(leg, f"fresh-{level}", count)
                for index, name in enumerate(labels):
                    yield Node(
                        name,
                        "label check",
                        f"{_STAGES}:label_snapshot",
                        LabelStage(leg, index, labelled),
                        needs=("prepared", f"{leg}/fresh-{level}", "complex/reference"),
                        guess_s=30 if leg == "complex" else 15,
                    )
                yield Node(
                    f"{leg}/check-{level}",
                    "label check",
                    f"{_CHECKING}:compare_with_labels",
                    CheckStage(leg, level, self.config.dynamics.temperature, count),
                    needs=("prepared", f"{level}/committee"),
                    wants=labels,
                    guess_s=6,
                )

    def restraint(self) -> Iterator[Node]:
        """The restraint of the complex."""
        yield Node(
            "complex/restraint",
            "restraint",
            f"{_STAGES}:find_restraint",
            RestraintStage(self.config.dynamics.temperature),
            needs=("prepared", *self._runs("complex", "sample", self.config.sampling.complex.runs)),
            guess_s=5,
        )

    def windows(self) -> Iterator[Node]:
        """Alchemical windows of both legs."""
        yield from window_nodes(self.config.abfe, self.config.dynamics.step, self)

    def torsions(self) -> Iterator[Node]:
        """The torsion refit where it is asked for, MM runs with it, and its works from MM and back."""
        table = self.config.torsions
        if table is None:
            return
        spec = TorsionSpec(highest=table.highest, width=table.width, rotors=table.rotors)
        yield Node(
            "torsions/refit",
            "torsion refit",
            f"{_TORSIONS}:refit",
            RefitStage(spec),
            needs=("prepared",),
            wants=self._labels(),
            guess_s=15,
        )
        dynamics = self.config.dynamics
        for leg in LEGS:
            switching = getattr(self.config.switching, leg)
            for run in range(switching.runs):
                sampling = self.dynamics(
                    dynamics.step,
                    switching.equilibration,
                    switching.spacing,
                    switching.frames,
                    seed=self.seed("torsions", leg, run),
                    minimise=0,
                )
                yield Node(
                    f"{leg}/torsions/{run}",
                    "torsion refit, sampling",
                    f"{_TORSIONS}:sample_refitted",
                    SampleStage(leg, sampling, self.place, start=run),
                    needs=("prepared", f"{leg}/snapshots", "torsions/refit"),
                    guess_s=sampling.n_steps * (0.12 if leg == "complex" else 0.001) + 5,
                )
            yield Node(
                f"{leg}/torsion-works",
                "torsion refit",
                f"{_TORSIONS}:refit_works",
                RefitWorksStage(leg, dynamics.temperature, self.seed("torsion-draws")),
                needs=(
                    "prepared",
                    f"{leg}/snapshots",
                    "torsions/refit",
                    *self._runs(leg, "torsions", switching.runs),
                ),
                guess_s=5,
            )

    def _labels(self) -> tuple[str, ...]:
        return tuple(
            f"{leg}/label/{k}" for leg in LEGS for k in range(getattr(self.config.labels.total, leg))
        )

    def _with_core(self) -> Iterator[str]:
        for leg in LEGS:
            for index in range(getattr(self.config.labels.core, leg)):
                yield f"{leg}/label/{index}"

    def _gather(self, level: str, labels: tuple[str, ...]) -> Iterator[Node]:
        members = tuple(f"{level}/member/{k}" for k in range(self.config.potential.members))
        yield Node(
            f"{level}/committee",
            "fit" if level == "low" else "transfer",
            f"{_FITTING}:gather",
            GatherStage(level, len(members)),
            needs=("prepared",) if level == "low" else ("prepared", "low/committee"),
            wants=(*members, *labels),
            guess_s=15,
        )

    def _levels(self) -> tuple[Level, Level]:
        high = high_level(self.config)
        return high, replace(high, core=None, virtual_shells=1)

    def dynamics(
        self, step: float, equilibration: float, spacing: float, frames: int, *, seed: int, minimise: int
    ) -> SampleSpec:
        """Times in ps (the step in fs) to whole steps."""
        return SampleSpec(
            temperature_k=self.config.dynamics.temperature,
            step_fs=step,
            friction_per_ps=self.config.dynamics.friction,
            n_equilibration=round(equilibration * 1e3 / step),
            n_frames=frames,
            stride=max(1, round(spacing * 1e3 / step)),
            minimise=minimise,
            seed=seed,
        )

    def _runs(self, leg: str, kind: str, count: int) -> tuple[str, ...]:
        return tuple(f"{leg}/{kind}/{run}" for run in range(count))

    def seed(self, *names: object) -> int:
        """A seed of its own for everything that draws random numbers, the same on any machine."""
        text = "/".join(str(name) for name in (self.config.seed, *names))
        return zlib.crc32(text.encode()) % (2**31 - 1) + 1
