"""What the tasks of a campaign share: a `Config` in; names, seeds and dynamics in whole steps out."""

import zlib
from dataclasses import replace
from typing import Final, NamedTuple

from drupe.embedding.labeling import Level
from drupe.freeenergy.campaigns.config import Config
from drupe.freeenergy.campaigns.preparation import high_level
from drupe.freeenergy.campaigns.sampling_tables import LegSampling, LegSwitching
from drupe.freeenergy.campaigns.stages import Place
from drupe.freeenergy.simulation.sampling import SampleSpec

__all__ = ["LEGS", "Maker"]

LEGS: Final = ("complex", "solvent")


class _LabelCounts(NamedTuple):
    """Labels of a leg: all, those with a core correction, and fresh ones of each ML/MM end state."""

    total: int
    core: int
    check: int


class Maker:
    """A campaign as the makers of its nodes see it.

    Parameters
    ----------
    config
        The campaign.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.place = Place(config.engine.platform, config.engine.threads, config.potential.precision)

    def sampling(self, leg: str) -> LegSampling:
        """MM sampling of a leg."""
        found: LegSampling = getattr(self.config.sampling, leg)
        return found

    def switching(self, leg: str) -> LegSwitching:
        """Switching in a leg of a campaign that has corrections."""
        found: LegSwitching = getattr(self.config.switching, leg)
        return found

    def counts(self, leg: str) -> _LabelCounts:
        """How many labels a leg of a campaign that has corrections gets."""
        table = self.config.labels
        assert table is not None
        return _LabelCounts(*(getattr(one, leg) for one in (table.total, table.core, table.check)))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all labels that are learned."""
        return tuple(f"{leg}/label/{k}" for leg in LEGS for k in range(self.counts(leg).total))

    @property
    def with_core(self) -> tuple[str, ...]:
        """Names of those with a core correction."""
        return tuple(f"{leg}/label/{k}" for leg in LEGS for k in range(self.counts(leg).core))

    @property
    def levels(self) -> tuple[Level, Level]:
        """Level of the labels with a core correction, and of those without."""
        high = high_level(self.config)
        return high, replace(high, core=None, virtual_shells=1)

    def runs(self, leg: str, kind: str, count: int) -> tuple[str, ...]:
        """Names of ``count`` numbered tasks of a kind."""
        return tuple(f"{leg}/{kind}/{run}" for run in range(count))

    def dynamics(
        self, step: float, equilibration: float, spacing: float, frames: int, *, seed: int, minimise: int
    ) -> SampleSpec:
        """Times in ps (the step in fs) to whole steps; at constant pressure in a box of water."""
        return SampleSpec(
            temperature_k=self.config.dynamics.temperature,
            step_fs=step,
            friction_per_ps=self.config.dynamics.friction,
            n_equilibration=round(equilibration * 1e3 / step),
            n_frames=frames,
            stride=max(1, round(spacing * 1e3 / step)),
            minimise=minimise,
            seed=seed,
            pressure_bar=None if self.config.water is None else self.config.water.pressure,
        )

    def seed(self, *names: object) -> int:
        """A seed of its own for everything that draws random numbers, the same on any machine."""
        text = "/".join(str(name) for name in (self.config.seed, *names))
        return zlib.crc32(text.encode()) % (2**31 - 1) + 1
