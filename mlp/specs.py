"""What fixes a fit and a transfer except the data: plain settings, checked; torch is not needed for them."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from drupe.embedding.settings import plain_value
from drupe.errors import InputError
from drupe.mlp.backbones.registry import resolve_settings
from drupe.mlp.backbones.settings import BackboneSettings
from drupe.mlp.presets import fields_of
from drupe.mlp.readouts.registry import resolve_readout
from drupe.mlp.readouts.settings import ReadoutSettings
from drupe.records import register

__all__ = ["PRECISIONS", "FitSpec", "TransferSpec"]

PRECISIONS = ("float64", "float32")


def _same(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had no slopes, 2 no reach, 3 no plateaus, 4 no settings, 5 no dispersion, 6 one readout."""
    return fields


@register(version=7, upgrades=dict.fromkeys(range(1, 7), _same))
@dataclass(frozen=True)
class FitSpec:
    """Everything that fixes a fit except the data.

    Parameters
    ----------
    backbone
        Architecture: ``"painn"``, ``"tensornet"``, ``"acsf"`` or ``"equivariant"``.
    members
        Size of the committee.
    seed
        Seed of all random numbers.
    steps
        Optimiser steps per member at most.
    learning_rate
        Peak learning rate; warm-up before, a cosine down to 2 % after.
    features, layers, radial
        Size of the network.
    cutoff
        Neighbours inside the molecule, bohr.
    damping
        Gaussian width of the charges for the learned electrostatics, bohr.
    batch
        Frames per step; all of them when there are fewer.
    held_out
        Largest fraction of the frames a member holds out (whole blocks) to stop early; where no block is so
        small, one that is a third of the frames or less. 0 holds nothing out.
    plateau
        Instead of the cosine, halve the learning rate after so many steps without a better held-out force
        error; for fits whose length is not known beforehand. None takes the cosine.
    patience
        Stop after so many.
    average
        Decay of the moving average of the weights.
    weight_decay
        Decoupled decay of the weights.
    energy_weight, force_weight, mm_force_weight, slope_weight
        Weights of the dimensionless loss terms.
    charge_pull, polarizability_pull
        Pull of charges towards the fixed ones and of polarizabilities towards zero.
    energy_bound
        hartree: no atom's learned energy passes this, however far a geometry is from the data.
    reach
        bohr: residues whose centre is farther than this from every QM atom act on the fixed charges only,
        faded smoothly (`drupe.mlp.reach`). None lets all charges act, which a periodic box cannot have; 0
        lets none act: that is mechanical embedding, as a comparison.
    settings
        What the backbone alone has, see `drupe.mlp.backbones.settings`; None for its defaults.
    precision
        Arithmetic of the network while it is fitted, ``"float64"`` or ``"float32"``; energies are counted
        from their mean either way, and a fitted potential always computes in float64.
    dispersion
        Functional whose D3(BJ) is a term of the potential (extra ``dispersion``); the labels have to hold
        it, see `drupe.mlp.dispersion`. None for none: what labels hold is then learned with the rest.
    readout
        What makes energies of features: ``"classical"``, ``"cosine"`` or ``"vqc"``, a quantum circuit.
    readout_settings
        What the readout alone has, see `drupe.mlp.readouts.settings`; None for its defaults.
    """

    backbone: str = "painn"
    members: int = 4
    seed: int = 1
    steps: int = 1500
    learning_rate: float = 4e-3
    features: int = 24
    layers: int = 2
    radial: int = 8
    cutoff: float = 9.5
    damping: float = 2.0
    batch: int = 16
    held_out: float = 0.25
    plateau: int | None = None
    patience: int = 500
    average: float = 0.99
    weight_decay: float = 1e-3
    energy_weight: float = 0.3
    force_weight: float = 1.0
    mm_force_weight: float = 0.3
    charge_pull: float = 1e-3
    polarizability_pull: float = 1e-3
    energy_bound: float = 0.1
    slope_weight: float = 1.0
    reach: float | None = None
    settings: BackboneSettings | None = None
    precision: str = "float64"
    dispersion: str | None = None
    readout: str = "classical"
    readout_settings: ReadoutSettings | None = None

    def __post_init__(self) -> None:
        _check_fields(self, "the fit specification")
        positive = ("members", "steps", "learning_rate", "features", "layers", "radial", "cutoff", "damping")
        for name in (*positive, "batch", "plateau", "patience", "energy_bound"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(
                    f"{name} = {value} in the fit specification", remedy="give a positive number"
                )
        if self.reach is not None and not (math.isfinite(self.reach) and self.reach >= 0):
            raise InputError(
                f"reach = {self.reach} in the fit specification",
                remedy="give a number of bohr, 0 for mechanical embedding, or None for all charges",
            )
        if not 0 <= self.held_out < 0.9 or not 0 <= self.average < 1:
            raise InputError(
                f"held_out = {self.held_out} and average = {self.average} are not fractions",
                remedy="give held_out below 0.9 and average below 1",
            )
        if self.precision not in PRECISIONS:
            raise InputError(
                f"precision = {self.precision!r} in the fit specification",
                remedy=f"use one of: {', '.join(PRECISIONS)}",
            )
        settings = resolve_settings(self.backbone, self.settings, self.cutoff, self.reach)
        object.__setattr__(self, "settings", settings)
        object.__setattr__(self, "readout_settings", resolve_readout(self.readout, self.readout_settings))

    @classmethod
    def preset(cls, name: str, **changes: object) -> "FitSpec":
        """Settings that fit together, ``"fast"`` or ``"accurate"``; see `drupe.mlp.presets`.

        Parameters
        ----------
        name
            Which preset.
        changes
            Fields to give another value.

        Raises
        ------
        InputError
            If there is no such preset or no such field.
        """
        return cls(**fields_of(name, changes, [field.name for field in dataclasses.fields(cls)]))


def _check_fields(spec: "FitSpec | TransferSpec", owner: str) -> None:
    """Plain values of the right types; weights, pulls and seeds are not negative."""
    for field in dataclasses.fields(spec):
        value = plain_value(field.name, field.type, getattr(spec, field.name), owner)
        object.__setattr__(spec, field.name, value)
        counted = field.name.endswith(("_weight", "_pull", "_decay")) or field.name == "seed"
        if counted and not (math.isfinite(value) and value >= 0):
            raise InputError(f"{owner} has {field.name} = {value}", remedy="give a number from 0 on")


def _less(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 read no forces of the high level, its labels had none; version 2 moved all weights."""
    return fields


@register(version=3, upgrades={1: _less, 2: _less})
@dataclass(frozen=True)
class TransferSpec:
    """Everything that fixes a transfer except the data.

    Parameters
    ----------
    seed
        Seed of all random numbers.
    steps, learning_rate, average
        Optimiser steps, peak learning rate, decay of the moving average of the weights.
    batch
        Frames of each data set per step.
    replay_weight
        Weight of the low-level loss through the second readout.
    weight_pull
        Pull of the weights to the pre-trained ones (L2-SP).
    force_pull
        Pull of QM and MM forces to the low-level potential's, relative to the forces it learned. Strong,
        because a handful of energies says little about forces. The part on QM atoms is left out where the
        high level has forces or slopes of its own, the part on MM atoms where it has forces on these.
    max_force_drift
        hartree/bohr: largest rms change of forces on QM atoms that is accepted, over what the forces and
        slopes of the high level ask for.
    force_weight, mm_force_weight, slope_weight
        Weights of the high level's forces and slopes, dimensionless as the energy's weight of 1 is. With
        0 they are not read: a transfer to energies only has 0 in all three.
    rank
        The maps of the backbone move by matrices of this rank only, see `drupe.mlp.adapters`; the readout
        moves freely. None moves all weights.
    """

    seed: int = 1
    steps: int = 150
    learning_rate: float = 3e-4
    average: float = 0.95
    batch: int = 8
    replay_weight: float = 0.1
    weight_pull: float = 1e-2
    force_pull: float = 5.0
    max_force_drift: float = 0.005
    force_weight: float = 1.0
    mm_force_weight: float = 0.3
    slope_weight: float = 1.0
    rank: int | None = None

    def __post_init__(self) -> None:
        _check_fields(self, "the transfer")
        for name in ("steps", "learning_rate", "batch", "max_force_drift"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} = {value} in the transfer", remedy="give a positive number")
        if not 0 <= self.average < 1:
            raise InputError(
                f"average = {self.average} in the transfer is no fraction", remedy="give a number below 1"
            )
        if self.rank is not None and self.rank < 1:
            raise InputError(f"rank = {self.rank} in the transfer", remedy="give 1 or more, or None")
