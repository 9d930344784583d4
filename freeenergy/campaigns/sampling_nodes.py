"""Tasks of the MM runs: the campaign in, nodes of runs, snapshots and the restraint out."""

from collections.abc import Iterator
from typing import Final

from drupe.freeenergy.campaigns.maker import LEGS, Maker
from drupe.freeenergy.campaigns.stages import RestraintStage, SampleStage, SnapshotStage
from drupe.freeenergy.tasks.runner import Node

__all__ = ["restraint_nodes", "sampling_nodes"]


_STAGES: Final = "drupe.freeenergy.campaigns.stages"
#: Iterations of minimisation before an MM run; the waters around a ligand that was put into a box touch.
_MINIMISE: Final = {False: 50, True: 200}


def sampling_nodes(make: Maker) -> Iterator[Node]:
    """MM runs of both legs, and the snapshots taken from them."""
    for leg in LEGS:
        table = make.sampling(leg)
        for run in range(table.runs):
            spec = make.dynamics(
                make.config.dynamics.step,
                table.equilibration,
                table.spacing,
                table.frames,
                seed=make.seed("sample", leg, run),
                minimise=_MINIMISE[make.config.water is not None],
            )
            yield Node(
                f"{leg}/sample/{run}",
                "MM sampling",
                f"{_STAGES}:sample_leg",
                SampleStage(leg, spec, make.place),
                needs=("prepared",),
                guess_s=spec.n_steps * (0.12 if leg == "complex" else 0.001) + 5,
            )
        if make.config.corrected:
            switching = make.switching(leg)
            settings = SnapshotStage(leg, make.counts(leg).total, switching.switches + switching.piloted)
        else:  # the alchemical windows alone start from them
            settings = SnapshotStage(leg, 0, table.runs * table.frames)
        yield Node(
            f"{leg}/snapshots",
            "MM sampling",
            f"{_STAGES}:pick_snapshots",
            settings,
            needs=make.runs(leg, "sample", table.runs),
            guess_s=3,
        )


def restraint_nodes(make: Maker) -> Iterator[Node]:
    """The restraint of the complex."""
    yield Node(
        "complex/restraint",
        "restraint",
        f"{_STAGES}:find_restraint",
        RestraintStage(make.config.dynamics.temperature),
        needs=("prepared", *make.runs("complex", "sample", make.config.sampling.complex.runs)),
        guess_s=5,
    )
