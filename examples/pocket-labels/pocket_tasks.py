"""The graph of the pocket data set: a plan in, the tasks of `run_graph` out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pocket_labels import REGIONS, PocketFrame
from pocket_sampling import SYSTEMS, ChunkStage, StartStage

from drupe.freeenergy.tasks.runner import Node


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
    basis: str = "def2-SVP"

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
            before = (_chunk(system, run, chunk - 1),) if chunk else ()
            settings = ChunkStage(
                system, run, chunk, plan.frames_per_chunk, plan.spacing_ps, plan.equilibration_ps, plan.seed
            )
            name = _chunk(system, run, chunk)
            nodes.append(
                Node(name, "sample", "pocket_sampling:sample_chunk", settings, (start.name, *before))
            )
    return nodes


def labelling(plan: Plan, systems: Sequence[str]) -> list[Node]:
    """Tasks of dynamics and labels, one chunk of all runs after the other.

    What is finished at any time is a stretch of all runs of all systems, labels with and without
    core in their final proportion.
    """
    nodes = []
    dynamics = {system: sampling(plan, system) for system in systems}
    labels = {system: _labels(plan, system) for system in systems}
    per_chunk = plan.runs * plan.frames_per_chunk
    for chunk in range(plan.chunks):
        for system in systems:
            first = 0 if chunk == 0 else 1 + chunk * plan.runs  # the start comes with the first chunk
            nodes += dynamics[system][first : 1 + (chunk + 1) * plan.runs]
        for place in range(chunk * per_chunk, min((chunk + 1) * per_chunk, plan.low)):
            nodes += [labels[system][place] for system in systems]
    return nodes


def _labels(plan: Plan, system: str) -> list[Node]:
    """Labels of a system: within each chunk of all runs in an order drawn from the seed."""
    region = REGIONS[system]
    rng = np.random.default_rng([plan.seed, SYSTEMS.index(system)])
    nodes: list[Node] = []
    for chunk in range(plan.chunks):
        for drawn in rng.permutation(plan.runs * plan.frames_per_chunk).tolist()[: plan.low - len(nodes)]:
            run, place = divmod(drawn, plan.frames_per_chunk)
            frame = chunk * plan.frames_per_chunk + place
            done = len(nodes)
            with_core = (done + 1) * plan.high // plan.low > done * plan.high // plan.low
            settings = PocketFrame(
                system, run, frame, place, "CCSD(T)" if with_core else None,
                region.n_occupied, region.cluster_bohr, basis=plan.basis,
            )  # fmt: skip
            needs = (f"{system}/start", _chunk(system, run, chunk))
            name = f"{system}/run-{run}/frame-{frame:04d}"
            nodes.append(Node(name, "label", "pocket_labels:label_frame", settings, needs))
    return nodes


def _chunk(system: str, run: int, chunk: int) -> str:
    return f"{system}/run-{run}/chunk-{chunk:03d}"
