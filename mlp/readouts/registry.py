"""The readouts by name: settings in, a network from features to energies of atoms out (hartree).

Only energies have a readout to choose: charges and polarizabilities stay with `drupe.mlp.readout.Readout`.
"""

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol

from drupe.errors import InputError
from drupe.mlp.readouts.settings import ClassicalSettings, CosineSettings, ReadoutSettings, VqcSettings

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["READOUTS", "EnergyReadout", "ReadoutSize", "build_readout", "matched", "resolve_readout"]


class EnergyReadout(Protocol):
    """What every readout of energies is: a torch module with this signature."""

    def __call__(self, features: "Tensor") -> "Tensor":
        """Energies ``(members, rows)`` of features ``(members, rows, features)``, hartree.

        Zero before training, and never beyond the bound.
        """

    def hold(self) -> None:
        """Prepare for weights that do not change any more."""


class ReadoutSize(NamedTuple):
    """Size of a readout: ``features`` width of what comes in, ``members`` stacked networks.

    ``energy_scale`` hartree, what an output of one means; ``energy_bound`` hartree, no energy passes it.
    """

    features: int
    members: int
    energy_scale: float
    energy_bound: float


# Name: module, class, class of its settings. Modules are imported when asked for.
_TABLE: dict[str, tuple[str, str, type[ReadoutSettings]]] = {
    "classical": ("perceptron", "Perceptron", ClassicalSettings),
    "cosine": ("cosine", "Cosine", CosineSettings),
    "vqc": ("vqc", "Vqc", VqcSettings),
}
READOUTS = tuple(_TABLE)


def resolve_readout(name: str, settings: ReadoutSettings | None) -> ReadoutSettings | None:
    """Settings of readout ``name``: those given, its defaults, None for the one that shares its layers.

    Raises
    ------
    InputError
        If there is no such readout, or the settings belong to another one.
    """
    if name not in _TABLE:
        close = difflib.get_close_matches(name, READOUTS, n=1)
        raise InputError(
            f"no readout is called {name!r}",
            remedy=(f"did you mean {close[0]!r}? " if close else "") + f"use one of: {', '.join(READOUTS)}",
        )
    kind = _TABLE[name][2]
    if settings is None:
        # Without settings the energy is an output of the network that also makes the charges.
        return None if name == "classical" else kind()
    if not isinstance(settings, kind):
        raise InputError(
            f"{type(settings).__name__} are not settings of the readout {name!r}",
            remedy=f"give {kind.__name__}",
        )
    return settings


def build_readout(name: str, size: ReadoutSize, settings: ReadoutSettings | None) -> EnergyReadout | None:
    """Make a readout with random weights from torch's random state.

    Returns
    -------
    EnergyReadout or None
        None where the energy shares the layers of charges and polarizabilities.

    Raises
    ------
    InputError
        If the name or the settings are wrong.
    """
    settings = resolve_readout(name, settings)
    if settings is None:
        return None
    module, kind, _ = _TABLE[name]
    made: EnergyReadout = getattr(import_module(f"drupe.mlp.readouts.{module}"), kind)(size, settings)
    return made


def matched(vqc: VqcSettings, features: int) -> tuple[ClassicalSettings, CosineSettings]:
    """Controls with as many parameters as the circuit's readout, as near as whole widths come.

    Parameters
    ----------
    vqc
        The readout to be compared.
    features
        Width of what comes in.
    """
    wanted = (features + 2 + vqc.layers) * vqc.qubits + 1
    width = max(1, round((wanted - 1) / (features + 2)))
    return ClassicalSettings(width), CosineSettings(width)
