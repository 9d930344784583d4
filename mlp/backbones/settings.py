"""Settings that one backbone alone has: plain numbers in, validated records out (bohr)."""

import math
from dataclasses import dataclass

from drupe.errors import InputError
from drupe.records import register

__all__ = ["AcsfSettings", "BackboneSettings", "ChargeMoments", "EquivariantSettings"]


@register(version=1)
@dataclass(frozen=True)
class AcsfSettings:
    """Symmetry functions beside the radial ones.

    Parameters
    ----------
    angular_cutoff
        Neighbours that count in angles, bohr; below the ``cutoff`` of the backbone.
    angular_radial, angular_sections
        Distances and angles of the angular functions.
    charge_radial
        Number of sums over the MM charges at each atom.
    charge_cutoff
        Where these fade out, bohr.
    """

    angular_cutoff: float = 6.6
    angular_radial: int = 4
    angular_sections: int = 4
    charge_radial: int = 8
    charge_cutoff: float = 12.0

    def __post_init__(self) -> None:
        _positive(self)
        _holds_atoms(self.charge_cutoff)


@register(version=1)
@dataclass(frozen=True)
class EquivariantSettings:
    """Irreducible representations and radial network.

    Parameters
    ----------
    max_l
        Highest angular momentum of features and of spherical harmonics, 1 to 3.
    tensor_features
        Multiplicity of the features above l = 1; scalars and vectors have ``features`` of each parity.
    radial_width
        Width of the two hidden layers of the radial network.
    """

    max_l: int = 2
    tensor_features: int = 8
    radial_width: int = 64

    def __post_init__(self) -> None:
        _positive(self)
        if self.max_l > 3:
            raise InputError(f"max_l = {self.max_l}", remedy="give 1, 2 or 3")


@register(version=1)
@dataclass(frozen=True)
class ChargeMoments:
    """Moments of the MM charges around each atom, as further inputs of `painn` and `tensornet`.

    Parameters
    ----------
    charge_radial
        Number of distances at which they are taken.
    charge_cutoff
        Where they fade out, bohr.
    charge_order
        Highest l: 0 sums, 1 also vectors, 2 also tensors.
    """

    charge_radial: int = 4
    charge_cutoff: float = 8.0
    charge_order: int = 2

    def __post_init__(self) -> None:
        if self.charge_order not in (0, 1, 2):
            raise InputError(f"charge_order = {self.charge_order}", remedy="give 0, 1 or 2")
        for name in ("charge_radial", "charge_cutoff"):
            _positive_number(name, getattr(self, name), type(self).__name__)
        _holds_atoms(self.charge_cutoff)


BackboneSettings = AcsfSettings | ChargeMoments | EquivariantSettings


def _positive(settings: object) -> None:
    for name, value in vars(settings).items():
        _positive_number(name, value, type(settings).__name__)


def _positive_number(name: str, value: float, owner: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} = {value} in {owner}", remedy="give a positive number")


def _holds_atoms(charge_cutoff: float) -> None:
    if charge_cutoff <= 4.0:
        raise InputError(
            f"charge_cutoff = {charge_cutoff} bohr holds no MM atom",
            remedy="give a cutoff above 4 bohr; 8 to 12 are usual",
        )
