"""Tasks of labels: the campaign in, nodes of the labels that are learned and of those that check out."""

from collections.abc import Iterator
from typing import Final

from drupe.freeenergy.campaigns.checking import CheckStage
from drupe.freeenergy.campaigns.maker import LEGS, Maker
from drupe.freeenergy.campaigns.stages import LabelStage, SnapshotStage
from drupe.freeenergy.tasks.runner import Node

__all__ = ["check_nodes", "label_nodes"]


_STAGES: Final = "drupe.freeenergy.campaigns.stages"
_CHECKING: Final = "drupe.freeenergy.campaigns.checking"


def label_nodes(make: Maker) -> Iterator[Node]:
    """The reference label, then the labels of both legs, the core-corrected ones first."""
    high, low = make.levels
    yield Node(
        "complex/reference",
        "labels",
        f"{_STAGES}:label_reference",
        LabelStage("complex", 0, high, check=True),
        needs=("prepared",),
        guess_s=60,
    )
    for leg in LEGS:
        for index in range(make.counts(leg).total):
            with_core = index < make.counts(leg).core
            yield Node(
                f"{leg}/label/{index}",
                "labels with core" if with_core else "labels",
                f"{_STAGES}:label_snapshot",
                LabelStage(leg, index, high if with_core else low, check=with_core and index == 0),
                needs=("prepared", f"{leg}/snapshots", "complex/reference"),
                guess_s=30 if leg == "complex" else 15,
            )


def check_nodes(make: Maker) -> Iterator[Node]:
    """Fresh labels of frames of every ML/MM end state, and what they say of the potential."""
    for level, labelled in zip(("core", "low"), make.levels, strict=True):
        for leg in LEGS:
            table = make.switching(leg)
            count = min(make.counts(leg).check, table.runs * table.frames)
            if not count:
                continue
            runs = make.runs(leg, f"ml-{level}", table.runs)
            yield Node(
                f"{leg}/fresh-{level}",
                "label check",
                f"{_STAGES}:pick_snapshots",
                SnapshotStage(leg, count, 0),
                needs=runs,
                guess_s=3,
            )
            labels = make.runs(leg, f"fresh-{level}", count)
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
                CheckStage(leg, level, make.config.dynamics.temperature, count),
                needs=("prepared", f"{level}/committee"),
                wants=labels,
                guess_s=6,
            )
