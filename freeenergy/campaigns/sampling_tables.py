"""What is sampled, in a campaign's input file: dynamics, windows, switches; TOML in, checked tables out."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from drupe.freeenergy.campaigns.schedules import STANDARD_WINDOWS
from drupe.freeenergy.inputs.common import Count
from drupe.freeenergy.inputs.quantities import Femtoseconds, Kelvin, PerPicosecond, Picoseconds
from drupe.freeenergy.inputs.toml_input import Table as _Table

__all__ = [
    "AbfeTable",
    "Dynamics",
    "LegSampling",
    "LegSwitching",
    "LegWindows",
    "SamplingTable",
    "SwitchingTable",
]

Temperature = Annotated[Kelvin, Field(ge=1.0, le=5000.0)]
Step = Annotated[Femtoseconds, Field(ge=0.01, le=5.0)]
Friction = Annotated[PerPicosecond, Field(ge=1e-3, le=1e4)]
Span = Annotated[Picoseconds, Field(ge=1e-5, le=1e9)]
Lambda = Annotated[float, Field(ge=0.0, le=1.0, strict=True)]


class Dynamics(_Table):
    """Settings common to all dynamics."""

    temperature: Temperature = 300.0
    friction: Friction = 5.0
    step: Step = 2.0
    ml_step: Step = 1.0


class LegSampling(_Table):
    """Molecular-mechanics sampling of one leg, in independent runs."""

    runs: Count = 3
    equilibration: Span
    spacing: Span
    frames: Count


class PilotTable(_Table):
    """Short switches that pick the length: how many of each length, half of them in either direction."""

    switches: Annotated[int, Field(ge=4, le=10_000, multiple_of=2)] = 20
    lengths: list[Span] = Field(default=[1.0, 5.0, 20.0], min_length=1)


class CoreSwitching(_Table):
    """Switches from the low level to the core-corrected one: how many per direction, and their length."""

    switches: Annotated[int, Field(ge=2, le=1_000_000)]
    length: Span


class LegSwitching(_Table):
    """Switching in one leg: switches per direction, their length, and the ML/MM runs before the reverse.

    The length is given, or a pilot picks it. Between the two levels of the potential the works are
    instantaneous energy differences, which is enough where the levels overlap; a table ``core`` switches
    there, too.
    """

    switches: Annotated[int, Field(ge=2, le=1_000_000)]
    length: Span | None = None
    pilot: PilotTable | None = None
    runs: Count = 3
    equilibration: Span
    spacing: Span
    frames: Count
    core: CoreSwitching | None = None

    @model_validator(mode="after")
    def _one_length(self) -> "LegSwitching":
        if (self.length is None) == (self.pilot is None):
            raise ValueError("give either length, or a table pilot that picks one")
        return self

    @property
    def piloted(self) -> int:
        """Switches of the pilot per direction and length."""
        return 0 if self.pilot is None else self.pilot.switches // 2


class LegWindows(_Table):
    """Alchemical windows of one leg: lambda of the restraint, electrostatics and sterics in each.

    A leg that names none of the three lists has the standard windows.
    """

    restraints: list[Lambda] | None = None
    electrostatics: list[Lambda]
    sterics: list[Lambda]
    equilibration: Span
    length: Span
    spacing: Span

    @model_validator(mode="after")
    def _same_lengths(self) -> "LegWindows":
        lengths = {len(self.electrostatics), len(self.sterics), len(self.restraints or self.sterics)}
        if len(lengths) != 1:
            raise ValueError(f"the lambda lists have different lengths: {sorted(lengths)}")
        if len(self.sterics) < 2:
            raise ValueError("at least two windows are needed")
        ends = [(row[0], row[-1]) for row in (self.electrostatics, self.sterics)]
        if ends != [(1.0, 0.0), (1.0, 0.0)]:
            raise ValueError("electrostatics and sterics must both go from 1.0 (first window) to 0.0 (last)")
        if self.length < self.spacing:
            raise ValueError(f"windows of {self.length:g} ps hold no frame every {self.spacing:g} ps")
        return self


class SamplingTable(_Table):
    """Molecular-mechanics sampling of both legs."""

    complex: LegSampling
    solvent: LegSampling


class AbfeTable(_Table):
    """Alchemical windows of both legs: independent repeats of each, and whether windows exchange states.

    With ``exchange`` the windows of a leg make ``spacing`` of dynamics between exchanges, and one task
    carries all of them through a ``stretch`` (a tenth of their length unless it is given).
    """

    repeats: Count = 3
    exchange: Literal["none", "gibbs", "neighbours"] = "none"
    stretch: Span | None = None
    complex: LegWindows
    solvent: LegWindows

    @model_validator(mode="before")
    @classmethod
    def _standard_windows(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        made = dict(given)
        for leg, windows in STANDARD_WINDOWS.items():
            own = made.get(leg)
            if isinstance(own, dict) and not {"restraints", "electrostatics", "sterics"} & own.keys():
                made[leg] = {**windows, **own}
        return made

    @model_validator(mode="after")
    def _stretches_hold_an_exchange(self) -> "AbfeTable":
        if self.stretch is not None:
            if self.exchange == "none":
                raise ValueError('stretch is for windows that exchange states: set exchange = "gibbs"')
            longest = max(self.complex.spacing, self.solvent.spacing)
            if self.stretch < longest * (1 - 1e-9):
                raise ValueError(f"stretch is {self.stretch:g} ps, shorter than a spacing of {longest:g} ps")
        return self

    @model_validator(mode="after")
    def _restrained_in_the_complex_only(self) -> "AbfeTable":
        held = self.complex.restraints
        if held is None or (held[0], held[-1]) != (0.0, 1.0):
            raise ValueError(
                "complex.restraints must go from 0.0 in the first window to 1.0 in the last: the free energy "
                "of the restraint and the standard state are counted from there"
            )
        if any(self.solvent.restraints or ()):
            raise ValueError("solvent.restraints: there is nothing to restrain the ligand to in solvent")
        return self


class SwitchingTable(_Table):
    """Switching in both legs."""

    complex: LegSwitching
    solvent: LegSwitching
