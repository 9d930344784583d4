"""Label a structure or the frames of a trajectory: a `LabelConfig` in, a graph of tasks and their labels out.

No label depends on another, with one exception that is physics: where cores are to be computed for
several frames and the level leaves the number of their orbitals open, the first frame decides it, so
that all frames are comparable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.labeling import Label, check_request
from drupe.embedding.level import Level
from drupe.embedding.regions.partition import CoreSpec, Partition
from drupe.embedding.structures.structure import locate
from drupe.embedding.structures.trajectory import Trajectory
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.freeenergy.labelling.config import CoreTable, LabelConfig, TrajectoryTable
from drupe.freeenergy.labelling.structure import key_of_built, read_labelled
from drupe.freeenergy.tasks.runner import Node
from drupe.records import frozen, register

__all__ = ["FrameStage", "Job", "LabelledFrame", "Subject", "label_frame", "label_graph", "prepare_labels"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class Subject:
    """What is labelled: the system as its structure has it, and its regions."""

    system: MolecularSystem
    partition: Partition


@register(version=1)
@dataclass(frozen=True, eq=False)
class FrameStage:
    """Settings of `label_frame`: the geometry (bohr), the level, and which frame of which file it is.

    ``source`` is the sha256 of the trajectory file, or ``"structure"``.
    """

    source: str
    index: int
    positions: NDArray[np.float64]
    box: NDArray[np.float64] | None
    level: Level

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", frozen(self.positions, np.float64))
        if self.box is not None:
            object.__setattr__(self, "box", frozen(self.box, np.float64))


@register(version=1)
@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """A label, and the frame it is of."""

    source: str
    index: int
    label: Label

    @property
    def ledger_energies(self) -> Mapping[str, float]:
        """Energies for the ledger, in hartree."""
        return {"low": self.label.energy_low, "total": self.label.energy}


@dataclass(frozen=True, eq=False)
class Job:
    """A labelling run that was found to be possible: its subject, its tasks and its trajectory files.

    ``built`` names the complex that was built for it; None if the structure was read as it is.
    """

    subject: Subject
    nodes: tuple[Node, ...]
    trajectories: tuple[Trajectory, ...]
    built: str | None = None


def prepare_labels(config: LabelConfig, base: Path, folder: Path | None = None) -> Job:
    """Read structure, regions and frames; all that bad input can break, before any writing.

    Parameters
    ----------
    config
        The input.
    base
        Folder that relative paths start from.
    folder
        Labels folder of an earlier run: a complex that was built there is taken again.

    Raises
    ------
    InputError
        If a file, a selection, the level, or a charge and multiplicity is wrong.
    """
    level = config.make_level()
    system = read_labelled(config.structure, base, folder)
    partition = _select(config, system)
    check_request(system, partition, level)
    if config.trajectory is None:
        trajectories: tuple[Trajectory, ...] = ()
        stages = [FrameStage("structure", 0, system.positions, system.box, level)]
        names = ["structure/0"]
    else:
        trajectories = _open(config.trajectory, base, system)
        stages, names = _stages(config.trajectory, trajectories, system, level)
    subject = Subject(system, partition)
    for stage, name in zip(stages, names, strict=True):
        _check_frame(subject, stage, name)
    return Job(subject, tuple(label_graph(stages, names)), trajectories, key_of_built(config.structure, base))


def label_graph(stages: Sequence[FrameStage], names: Sequence[str]) -> list[Node]:
    """One task per frame; those after the first wait for it only if it must fix the orbital counts."""
    nodes: list[Node] = []
    for stage, name in zip(stages, names, strict=True):
        is_open = stage.level.core is not None and stage.level.n_occupied is None
        needs = ("subject", names[0]) if is_open and nodes else ("subject",)
        call = f"{__name__}:label_frame"
        nodes.append(Node(name, "labels", call, stage, needs=needs, guess_s=60))
    return nodes


def label_frame(settings: FrameStage, subject: Subject, *reference: LabelledFrame) -> LabelledFrame:
    """Label one frame, with the orbital counts of the reference where one is given."""
    from drupe.embedding.labeling import label

    level = settings.level
    if reference:
        level = replace(level, n_occupied=tuple(core.n_occupied for core in reference[0].label.cores))
    made = label(_put(subject.system, settings), subject.partition, level)
    return LabelledFrame(settings.source, settings.index, made)


def _put(system: MolecularSystem, stage: FrameStage) -> MolecularSystem:
    return replace(system, positions=stage.positions, box=stage.box)


def _check_frame(subject: Subject, stage: FrameStage, name: str) -> None:
    try:
        subject.partition.check_fits(_put(subject.system, stage))
    except InputError as error:
        raise InputError(f"{name}: {error.found}", remedy=error.remedy) from error


def _select(config: LabelConfig, system: MolecularSystem) -> Partition:
    given = config.partition
    cores = [CoreSpec(**core.model_dump()) if isinstance(core, CoreTable) else core for core in given.cores]
    return Partition.select(
        system,
        qm=given.qm,
        charge=given.charge,
        multiplicity=given.multiplicity,
        cores=cores,
        allow_cut=given.allow_cut,
        allow_open_valence=given.allow_open_valence,
    )


def _open(table: TrajectoryTable, base: Path, system: MolecularSystem) -> tuple[Trajectory, ...]:
    none = [None] * len(table.files)
    opened = tuple(
        Trajectory.open(locate(path, base), system.n_atoms, expected_frames=expected, sha256=sha256)
        for path, expected, sha256 in zip(
            table.files, table.expected_frames or none, table.sha256 or none, strict=True
        )
    )
    if len({one.sha256 for one in opened}) != len(opened):
        raise InputError(
            "two of the trajectory files have the same content", remedy="name each trajectory once"
        )
    return opened


def _stages(
    table: TrajectoryTable, trajectories: Sequence[Trajectory], system: MolecularSystem, level: Level
) -> tuple[list[FrameStage], list[str]]:
    stages, names = [], []
    stems = [one.path.stem for one in trajectories]
    for number, trajectory in enumerate(trajectories):
        stem = stems[number] if stems.count(stems[number]) == 1 else f"{stems[number]}-{number}"
        for frame in trajectory.frames(table.start, table.stop, table.stride):
            at = frame.put_into(system)
            stages.append(FrameStage(trajectory.sha256, frame.index, at.positions, at.box, level))
            names.append(f"{stem}/{frame.index}")
    return stages, names
