"""Tasks of the potential: the campaign in, nodes of members, their transfer and both committees out."""

from collections.abc import Iterator
from typing import Final

from drupe.freeenergy.campaigns.fitting import FitStage, GatherStage, TransferStage
from drupe.freeenergy.campaigns.maker import Maker
from drupe.freeenergy.tasks.runner import Node
from drupe.mlp.specs import FitSpec, TransferSpec

__all__ = ["fit_nodes"]


_FITTING: Final = "drupe.freeenergy.campaigns.fitting"


def fit_nodes(make: Maker) -> Iterator[Node]:
    """Members of the committee at the low level, their transfer, and both committees."""
    table = make.config.potential
    spec = FitSpec(
        backbone=table.backbone,
        members=table.members,
        seed=make.seed("fit"),
        steps=table.steps,
        readout=table.readout,
        reach=_reach(make),
    )
    transfer = TransferSpec(seed=make.seed("transfer"), steps=table.transfer_steps)
    labels = make.labels
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
    yield from _gather(make, "low", labels)
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
    yield from _gather(make, "core", labels)
    for label in make.with_core:
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


def _reach(make: Maker) -> float | None:
    """How far charges act on the potential: none with mechanical embedding, in a box those of the labels."""
    if make.config.potential.embedding == "mechanical":
        return 0.0
    return None if make.config.water is None else make.config.water.reach


def _gather(make: Maker, level: str, labels: tuple[str, ...]) -> Iterator[Node]:
    members = tuple(f"{level}/member/{k}" for k in range(make.config.potential.members))
    yield Node(
        f"{level}/committee",
        "fit" if level == "low" else "transfer",
        f"{_FITTING}:gather",
        GatherStage(level, len(members)),
        needs=("prepared",) if level == "low" else ("prepared", "low/committee"),
        wants=(*members, *labels),
        guess_s=15,
    )
