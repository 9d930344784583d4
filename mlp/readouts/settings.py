"""Settings that one readout alone has: plain numbers in, validated records out."""

from dataclasses import dataclass
from typing import get_type_hints

from drupe.embedding.settings import plain_value
from drupe.errors import InputError
from drupe.hardware.circuits import Circuit, check_diff_method
from drupe.records import register

__all__ = ["ClassicalSettings", "CosineSettings", "ReadoutSettings", "VqcSettings"]


@register(version=1)
@dataclass(frozen=True)
class ClassicalSettings:
    """A network of its own for the energy, as a control: Linear, SiLU, Linear.

    Parameters
    ----------
    width
        Hidden values.
    """

    width: int = 9

    def __post_init__(self) -> None:
        _plain(self)
        _at_least_one(self, self.width)


@register(version=1)
@dataclass(frozen=True)
class CosineSettings:
    """Linear, cosine, Linear: what a circuit without gates between its qubits computes.

    Parameters
    ----------
    width
        Cosines.
    """

    width: int = 9

    def __post_init__(self) -> None:
        _plain(self)
        _at_least_one(self, self.width)


@register(version=1)
@dataclass(frozen=True)
class VqcSettings:
    """A variational quantum circuit: Linear, one angle on each qubit, layers, <Z>, Linear.

    Parameters
    ----------
    qubits, layers, entangler
        See `drupe.hardware.circuits.Circuit`.
    diff_method
        What training differentiates: ``"observable"``, the circuit's observable as a short Fourier series,
        or ``"backprop"``, PennyLane's simulation, for comparison: the same numbers in far more time.
        Inference takes the observable either way. PennyLane's ``"adjoint"`` is refused.
    """

    qubits: int = 8
    layers: int = 3
    entangler: str = "cz"
    diff_method: str = "observable"

    def __post_init__(self) -> None:
        _plain(self)
        _ = self.circuit  # checks the numbers
        if self.diff_method != "observable":
            check_diff_method(self.diff_method, forces=True)

    @property
    def circuit(self) -> Circuit:
        """What PennyLane needs to know."""
        return Circuit(self.qubits, self.layers, self.entangler)


ReadoutSettings = ClassicalSettings | CosineSettings | VqcSettings


def _plain(settings: object) -> None:
    """Every field has its type: a fraction is no number of qubits."""
    for name, kind in get_type_hints(type(settings)).items():
        value = plain_value(name, kind, getattr(settings, name), type(settings).__name__)
        object.__setattr__(settings, name, value)


def _at_least_one(settings: object, width: int) -> None:
    if width < 1:
        raise InputError(
            f"width = {width} in {type(settings).__name__}", remedy="give a positive whole number"
        )
