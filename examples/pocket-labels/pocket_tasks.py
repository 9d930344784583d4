"""The graph of the pocket data set: a plan in, the tasks of `run_graph` out."""

from collections.abc import Sequence
from dataclasses import dataclass

from pocket_sampling import ChunkStage, StartStage

from drupe.freeenergy.runner import Node


@dataclass(frozen=True)
class Plan:
    """How much of each system: labels, core-corrected ones among them, runs, frames, their distance."""

    low: int = 300
    high: int = 60
    runs: int = 3
    frames_per_chunk: int = 10
    spacing_ps: float = 1.0
    equilibration_ps: float = 10.0
    pressure_ps: float = 20.0
    box_nm: float = 2.7
    seed: int = 2026

    @property
    def chunks(self) -> int:
        """Chunks of each run that hold the frames to label."""
        return -(-self.low // (self.runs * self.frames_per_chunk))


def sampling(plan: Plan, system: str) -> list[Node]:
    """Tasks of the dynamics: all runs a chunk further before the next chunk."""
    start = Node(
        f"{system}/start",
        "sample",
        "pocket_sampling:make_start",
        StartStage(system, plan.box_nm, plan.pressure_ps, plan.seed),
    )
    nodes = [start]
    for chunk in range(plan.chunks):
        for run in range(plan.runs):
            before = (chunk_name(system, run, chunk - 1),) if chunk else ()
            settings = ChunkStage(
                system, run, chunk, plan.frames_per_chunk, plan.spacing_ps, plan.equilibration_ps, plan.seed
            )
            name = chunk_name(system, run, chunk)
            nodes.append(
                Node(name, "sample", "pocket_sampling:sample_chunk", settings, (start.name, *before))
            )
    return nodes


def labelling(plan: Plan, systems: Sequence[str]) -> list[Node]:
    return [node for system in systems for node in sampling(plan, system)]


def chunk_name(system: str, run: int, chunk: int) -> str:
    """Name of a task of the dynamics."""
    return f"{system}/run-{run}/chunk-{chunk:03d}"
