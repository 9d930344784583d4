"""Circuits of quantum readouts, defined in PennyLane: angles in, expectations of Pauli Z out (radians).

Angles x enter once, as RY(x_k) on qubit k; then come layers of RX on each qubit with gates between them
(arXiv 2508.04098). PennyLane is imported when a circuit is run, not when one is described.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from drupe.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ENTANGLERS", "Circuit", "Gate", "check_diff_method", "expectations"]

ENTANGLERS = ("none", "cx", "cz", "qft-cx", "qft-cz")
MOST_QUBITS = 10
_ANCILLAS = 3  # further qubits that the QFT acts on
_DIFF_METHODS = ("backprop", "parameter-shift", "adjoint")


class Gate(NamedTuple):
    """A gate without angle: PennyLane's name of it, and its wires."""

    name: str
    wires: tuple[int, ...]


@dataclass(frozen=True)
class Circuit:
    """Size and kind of a circuit.

    Parameters
    ----------
    qubits
        Qubits that carry an angle each and are measured, at most 10.
    layers
        Layers of RX rotations and gates.
    entangler
        Gates of a layer: ``"none"``; ``"cx"`` or ``"cz"`` in a ring; ``"qft-cx"`` or ``"qft-cz"`` in an open
        chain that goes on over three further qubits, which a quantum Fourier transform prepared.
    """

    qubits: int = 8
    layers: int = 3
    entangler: str = "cz"

    def __post_init__(self) -> None:
        if self.entangler not in ENTANGLERS:
            close = difflib.get_close_matches(self.entangler, ENTANGLERS, n=1)
            raise InputError(
                f"no entangler is called {self.entangler!r}",
                remedy=(f"did you mean {close[0]!r}? " if close else "")
                + f"use one of: {', '.join(ENTANGLERS)}",
            )
        least = 1 if self.entangler == "none" else 2
        if not least <= self.qubits <= MOST_QUBITS:
            raise InputError(
                f"a circuit of {self.qubits} qubits with the entangler {self.entangler!r}",
                remedy=f"give {least} to {MOST_QUBITS} qubits: the observable has up to 4^qubits terms",
            )
        if self.layers < 1:
            raise InputError(f"a circuit of {self.layers} layers", remedy="give one layer or more")

    @property
    def ancillas(self) -> tuple[int, ...]:
        """Wires without angles that the QFT prepares; none without it."""
        return tuple(range(self.qubits, self.qubits + _ANCILLAS)) if "qft" in self.entangler else ()

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Gates of each layer after its rotations, in order."""
        if self.entangler == "none":
            return ()
        n = self.qubits + len(self.ancillas)
        pairs = [(k, k + 1) for k in range(n - 1)]
        if not self.ancillas:
            pairs.append((n - 1, 0))
        return tuple(Gate("CNOT" if "cx" in self.entangler else "CZ", pair) for pair in pairs)

    @property
    def branches(self) -> tuple[tuple[Gate, ...], ...]:
        """Gates of each layer without the further qubits: circuits whose mean is this one.

        The QFT leaves these qubits in the state +. A CX whose target is in + does nothing, and + stays. CZ
        gates keep Z of the further qubits: what one of them does to a neighbour is the mean of nothing and
        of a Z gate in each layer.
        """
        rest = set(self.ancillas)
        found: list[tuple[Gate, ...]] = [()]
        for gate in self.gates:
            first, second = gate.wires
            if second not in rest:
                found = [(*one, gate) for one in found]
            elif first not in rest and gate.name == "CZ":
                found = [more for one in found for more in (one, (*one, Gate("PauliZ", (first,))))]
        return tuple(found)


def expectations(
    circuit: Circuit, diff_method: str = "backprop", *, forces: bool = True
) -> "Callable[[Tensor, Tensor], Tensor]":
    """Build the circuit in PennyLane, on its simulator of pure states.

    Parameters
    ----------
    circuit
        What to build.
    diff_method
        How PennyLane differentiates.
    forces
        Whether derivatives with respect to the angles are themselves differentiated, as in training on
        forces.

    Returns
    -------
    Callable
        From angles ``(rows, qubits)`` and rotations ``(layers, qubits)``, radians, to the expectations of
        Pauli Z of each qubit, ``(rows, qubits)``.

    Raises
    ------
    InputError
        If ``diff_method`` is unknown, or drops the derivatives that forces need.
    """
    check_diff_method(diff_method, forces=forces)
    import pennylane as qml
    import torch

    wires = circuit.qubits + len(circuit.ancillas)

    def run(angles: "Tensor", rotations: "Tensor") -> list[object]:
        for k in range(circuit.qubits):
            qml.RY(angles[..., k], wires=k)
        if circuit.ancillas:
            qml.QFT(wires=circuit.ancillas)
        for layer in range(circuit.layers):
            for k in range(circuit.qubits):
                qml.RX(rotations[layer, k], wires=k)
            for gate in circuit.gates:
                getattr(qml, gate.name)(wires=gate.wires)
        return [qml.expval(qml.PauliZ(k)) for k in range(circuit.qubits)]

    device = qml.device("default.qubit", wires=wires)
    node = qml.QNode(run, device, interface="torch", diff_method=diff_method)

    def expect(angles: "Tensor", rotations: "Tensor") -> "Tensor":
        return torch.stack(list(node(angles, rotations)), dim=-1)

    return expect


def check_diff_method(name: str, *, forces: bool) -> None:
    """Refuse a way to differentiate that is unknown or does not give what is asked of it.

    Raises
    ------
    InputError
        See above.
    """
    if name not in _DIFF_METHODS:
        raise InputError(
            f"no way to differentiate a circuit is called {name!r}",
            remedy="use 'backprop', or the observable that training takes by default"
            if forces
            else f"use one of: {', '.join(_DIFF_METHODS)}",
        )
    if name == "adjoint" and forces:
        raise InputError(
            "diff_method = 'adjoint' with forces: adjoint derivatives cannot be differentiated again, and "
            "the force term would silently drop out of the gradient of the loss",
            remedy="use 'backprop', or the observable that training takes by default",
        )
    if name == "parameter-shift" and forces:
        raise InputError(
            "diff_method = 'parameter-shift' with forces: PennyLane does not differentiate it twice for many "
            "rows at once",
            remedy="use 'backprop', or the observable that training takes by default",
        )
