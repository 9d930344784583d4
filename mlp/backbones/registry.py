"""The backbones by name: settings in, a network from positions to features out (bohr, hartree, e).

A backbone reads the molecule's own positions and what the surroundings make at its atoms: their electric
field and, if it asks for them, short-ranged sums and moments of their charges. It never sees MM atoms
themselves, so that derivatives on thousands of them stay closed forms.
"""

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol

from drupe.errors import InputError
from drupe.mlp.backbones.settings import AcsfSettings, BackboneSettings, ChargeMoments, EquivariantSettings

if TYPE_CHECKING:
    from torch import Tensor

    from drupe.mlp.charge_sums import ChargeSums

__all__ = ["BACKBONES", "Backbone", "NetworkSize", "build", "resolve_settings"]


class Backbone(Protocol):
    """What every backbone is: a torch module with this signature.

    ``charge_sums`` says which sums over the MM charges it reads; None for none. ``static``: whether its
    operations are the same at all positions, without lists of neighbours.
    """

    charge_sums: "ChargeSums | None"
    static: bool

    def __call__(self, positions: "Tensor", field: "Tensor", sums: "Tensor") -> "Tensor":
        """Scalar features of shape ``(members, frames * atoms, features)``.

        ``positions`` (frames, atoms, 3) bohr; ``field`` (frames, atoms, 3) hartree/(e bohr); ``sums``
        (frames, atoms, k) e. Features do not change when all are turned, moved or mirrored together, nor
        when like atoms trade places.
        """


class NetworkSize(NamedTuple):
    """Size of a network: what every backbone has.

    ``species`` index of each atom's element ``(atoms,)``; ``n_species`` different elements; ``features``
    width; ``layers`` depth; ``radial`` radial functions; ``cutoff`` bohr; ``field_scale`` hartree/(e bohr)
    where the field feature saturates; ``members`` stacked networks; ``box`` vectors of a periodic box as
    rows ``(3, 3)``, bohr, None for a molecule: atoms then have their neighbours' nearest images.
    """

    species: "Tensor"
    n_species: int
    features: int
    layers: int
    radial: int
    cutoff: float
    field_scale: float
    members: int
    box: "Tensor | None" = None


# Name: module, class, class of its own settings. Modules are imported when asked for.
_TABLE: dict[str, tuple[str, str, type[BackboneSettings]]] = {
    "painn": ("painn", "PaiNN", ChargeMoments),
    "tensornet": ("tensornet", "TensorNet", ChargeMoments),
    "acsf": ("acsf", "Acsf", AcsfSettings),
    "equivariant": ("equivariant", "Equivariant", EquivariantSettings),
}
_OPTIONAL = (ChargeMoments,)  # settings without which a backbone works: None stays None
BACKBONES = tuple(_TABLE)
_GROUP = 5.0  # bohr


def resolve_settings(
    name: str, settings: BackboneSettings | None, cutoff: float, reach: float | None = None
) -> BackboneSettings | None:
    """Settings of backbone ``name``: those given, its defaults, None where it has none.

    Parameters
    ----------
    name, settings
        Of the backbone; None for the defaults.
    cutoff
        Of the backbone, bohr.
    reach
        How near groups of charges must come to be felt, bohr; None for all.

    Raises
    ------
    InputError
        If there is no such backbone, or the settings belong to another one or do not fit the distances.
    """
    if name not in _TABLE:
        close = difflib.get_close_matches(name, BACKBONES, n=1)
        raise InputError(
            f"no backbone is called {name!r}",
            remedy=(f"did you mean {close[0]!r}? " if close else "") + f"use one of: {', '.join(BACKBONES)}",
        )
    kind = _TABLE[name][2]
    if settings is None and kind in _OPTIONAL:
        return None
    settings = kind() if settings is None else settings
    if not isinstance(settings, kind):
        raise InputError(
            f"{type(settings).__name__} are not settings of the backbone {name!r}",
            remedy=f"give {kind.__name__}" + (", or leave settings out" if kind in _OPTIONAL else ""),
        )
    if isinstance(settings, ChargeMoments) and name == "painn" and settings.charge_order > 1:
        raise InputError(
            "the backbone 'painn' has no tensors for charge_order = 2",
            remedy="give charge_order=1, or take the backbone 'tensornet'",
        )
    if isinstance(settings, AcsfSettings) and settings.angular_cutoff >= cutoff:
        raise InputError(
            f"angular_cutoff = {settings.angular_cutoff} is not below the cutoff = {cutoff} bohr",
            remedy="give a smaller angular_cutoff; two thirds of the cutoff are usual",
        )
    charge_cutoff = getattr(settings, "charge_cutoff", None)
    if charge_cutoff is not None and reach == 0:
        raise InputError(
            f"reach = 0 is mechanical embedding, and the backbone {name!r} reads the charges around",
            remedy="take the backbone 'painn' or 'tensornet'"
            + (" without settings of charges" if kind in _OPTIONAL else ""),
        )
    if charge_cutoff is not None and reach is not None and charge_cutoff > reach - _GROUP:
        raise InputError(
            f"charge_cutoff = {charge_cutoff} does not end {_GROUP} bohr, half a residue, before "
            f"the reach = {reach}",
            remedy="give a smaller charge_cutoff or a larger reach: charges beyond the reach may jump to "
            "another image",
        )
    return settings


def build(name: str, size: NetworkSize, settings: BackboneSettings | None) -> Backbone:
    """Make a backbone with random weights from torch's random state.

    Raises
    ------
    InputError
        If the name or the settings are wrong, or an optional package is missing.
    """
    settings = resolve_settings(name, settings, size.cutoff)
    module, kind, _ = _TABLE[name]
    made: Backbone = getattr(import_module(f"drupe.mlp.backbones.{module}"), kind)(size, settings)
    return made
