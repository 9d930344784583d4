"""Task body of the label check: fresh labels of an ML/MM end state in, what the potential misses (kT) out."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from drupe.freeenergy.campaigns.preparation import Prepared
from drupe.freeenergy.campaigns.stages import LabelledSnapshot
from drupe.freeenergy.estimation.label_check import LabelDifferences
from drupe.records import register
from drupe.units import kt

__all__ = ["CheckStage", "compare_with_labels"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class CheckStage:
    """Settings of `compare_with_labels`: which end state, and how many labels were asked for."""

    leg: str
    level: str
    temperature_k: float
    wanted: int


def compare_with_labels(
    settings: CheckStage, prepared: Prepared, gathered: Any, *labels: LabelledSnapshot
) -> LabelDifferences:
    """Subtract the committee's absolute energies from those of fresh labels."""
    thermal = kt(settings.temperature_k)
    predicted = [
        gathered.committee.predict(
            one.label.qm_positions, one.label.mm_positions, one.label.mm_charges, one.label.mm_groups
        )
        for one in labels
    ]
    energies = [one.label.energy_low if settings.level == "low" else one.label.energy for one in labels]
    return LabelDifferences(
        settings.leg,
        settings.level,
        settings.wanted,
        (np.array(energies) - np.array([one.energy for one in predicted])) / thermal,
        np.array([one.energy_sigma for one in predicted]) / thermal,
        np.array([one.novelty for one in predicted]),
        np.array([one.run for one in labels], np.int64),
    )
