"""What one stretch of replica exchange leaves: its tables (kT) and the replicas that go on from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.freeenergy.alchemical.leg_tables import Tables
from drupe.freeenergy.alchemical.replicas import Replicas
from drupe.records import frozen, register

if TYPE_CHECKING:
    from drupe.freeenergy.alchemical.alchemy import Schedule
    from drupe.freeenergy.simulation.sampling import SampleSpec

__all__ = ["ExchangeStretch"]


def _unseen(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 did not keep what the restraint holds."""
    return fields


@register(version=2, upgrades={1: _unseen})
@dataclass(frozen=True, eq=False)
class ExchangeStretch:
    """What one stretch gave: its tables, and the replicas that the next one starts from.

    ``restrained`` are distance, angles and dihedrals that the restraint holds, of each frame sampled in each
    state: ``(states, frames, 6)``, bohr and rad; None without a restraint.
    """

    tables: Tables
    replicas: Replicas
    schedule: "Schedule"
    spec: "SampleSpec"
    versions: Mapping[str, str]
    restrained: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.restrained is None:
            return
        object.__setattr__(self, "restrained", frozen(self.restrained, np.float64))
        states, _, frames = self.tables.u.shape
        if self.restrained.shape != (states, frames, 6):
            raise InputError(
                f"a stretch of {states} states and {frames} frames has coordinates {self.restrained.shape}",
                remedy="give six values per state and frame",
            )
