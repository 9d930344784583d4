"""What one stretch of replica exchange leaves: its tables (kT) and the replicas that go on from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drupe.freeenergy.alchemical.leg_tables import Tables
from drupe.freeenergy.alchemical.replicas import Replicas
from drupe.records import register

if TYPE_CHECKING:
    from drupe.freeenergy.alchemical.alchemy import Schedule
    from drupe.freeenergy.simulation.sampling import SampleSpec

__all__ = ["ExchangeStretch"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class ExchangeStretch:
    """What one stretch gave: its tables, and the replicas that the next one starts from."""

    tables: Tables
    replicas: Replicas
    schedule: "Schedule"
    spec: "SampleSpec"
    versions: Mapping[str, str]
