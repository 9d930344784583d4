"""Tasks of the torsion refit: the campaign in, nodes of the refit, its MM runs and its works out."""

from collections.abc import Iterator
from typing import Final

from drupe.freeenergy.campaigns.maker import LEGS, Maker
from drupe.freeenergy.campaigns.stages import SampleStage
from drupe.freeenergy.campaigns.torsion_stages import RefitStage, RefitWorksStage
from drupe.freeenergy.tasks.runner import Node
from drupe.mlp.torsion_refit import TorsionSpec

__all__ = ["torsion_nodes"]


_TORSIONS: Final = "drupe.freeenergy.campaigns.torsion_stages"


def torsion_nodes(make: Maker) -> Iterator[Node]:
    """The torsion refit where it is asked for, MM runs with it, and its works from MM and back."""
    table = make.config.torsions
    if table is None:
        return
    spec = TorsionSpec(highest=table.highest, width=table.width, rotors=table.rotors)
    yield Node(
        "torsions/refit",
        "torsion refit",
        f"{_TORSIONS}:refit",
        RefitStage(spec),
        needs=("prepared",),
        wants=make.labels,
        guess_s=15,
    )
    dynamics = make.config.dynamics
    for leg in LEGS:
        switching = make.switching(leg)
        for run in range(switching.runs):
            sampling = make.dynamics(
                dynamics.step,
                switching.equilibration,
                switching.spacing,
                switching.frames,
                seed=make.seed("torsions", leg, run),
                minimise=0,
            )
            yield Node(
                f"{leg}/torsions/{run}",
                "torsion refit, sampling",
                f"{_TORSIONS}:sample_refitted",
                SampleStage(leg, sampling, make.place, start=run),
                needs=("prepared", f"{leg}/snapshots", "torsions/refit"),
                guess_s=sampling.n_steps * (0.12 if leg == "complex" else 0.001) + 5,
            )
        yield Node(
            f"{leg}/torsion-works",
            "torsion refit",
            f"{_TORSIONS}:refit_works",
            RefitWorksStage(leg, dynamics.temperature, make.seed("torsion-draws")),
            needs=(
                "prepared",
                f"{leg}/snapshots",
                "torsions/refit",
                *make.runs(leg, "torsions", switching.runs),
            ),
            version=2,
            guess_s=5,
        )
