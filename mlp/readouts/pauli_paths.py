"""Where a circuit's observable can go in the Heisenberg picture: a circuit in, index tables out (no unit).

An observable is a sum of Pauli strings. Going back through a layer, its gates relabel strings and change
signs, and a rotation about X turns Z into Y: which strings can appear does not depend on the angles. For
eight qubits and three layers these are some hundreds of the 4^8.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drupe.hardware.circuits import Circuit, Gate

__all__ = ["GATES", "I", "PauliPaths", "Turns", "X", "Y", "Z", "paths_of"]

Codes = NDArray[np.int64]  # a string is a number with two bits for each qubit
I, Z, X, Y = range(4)  # noqa: E741  # Pauli matrices in the order of these bits

_PAULI: Final = np.array([[[1, 0], [0, 1]], [[1, 0], [0, -1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]]])
GATES: Final[dict[str, NDArray[np.complex128]]] = {
    "CNOT": np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], np.complex128),
    "CZ": np.diag([1, 1, 1, -1]).astype(np.complex128),
    "PauliZ": np.diag([1, -1]).astype(np.complex128),
}


class Turns(NamedTuple):
    """Back through the gates of a layer and then through its rotations.

    ``place`` and ``sign`` ``(strings before,)``: where each string goes among those after, and its sign;
    ``partner`` ``(qubits, strings)``: the string with Z and Y exchanged on a qubit; ``turn`` ``(qubits,
    strings)``: -1 where it has Z there, 1 where Y, else 0.
    """

    place: Codes
    sign: NDArray[np.float64]
    partner: Codes
    turn: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PauliPaths:
    """The way of sum w_k Z_k back through one circuit.

    ``layers`` from the last to the second; before the rotations of the first, ``digits`` ``(strings,
    qubits)`` are the strings and ``sign`` their signs relative to the coefficients that come out of
    ``layers``. The first rotations need only what product states with real amplitudes can see: Z stays Z,
    Y becomes Z, and X stays.
    """

    layers: tuple[Turns, ...]
    digits: Codes
    sign: NDArray[np.float64]


def paths_of(circuit: Circuit, gates: tuple[Gate, ...]) -> PauliPaths:
    """Follow Z of each qubit back to the first rotations.

    Parameters
    ----------
    circuit
        Qubits and layers.
    gates
        One of its ``branches``.
    """
    codes = Z << (2 * np.arange(circuit.qubits))
    layers = []
    for layer in reversed(range(circuit.layers)):
        codes, sign = _through(gates, codes)
        if layer:
            closed = _closed(codes, circuit.qubits)
            layers.append(_turns(codes, sign, closed, circuit.qubits))
            codes = closed
    return PauliPaths(tuple(layers), _digits(codes, circuit.qubits), sign)


def _through(gates: tuple[Gate, ...], codes: Codes) -> tuple[Codes, NDArray[np.float64]]:
    """Strings g' P g and their signs, for all gates of a layer."""
    sign = np.ones(len(codes))
    for gate in reversed(gates):
        to, signs = _relabel(GATES[gate.name])
        local = np.zeros_like(codes)
        for wire in gate.wires:
            local = (local << 2) | (codes >> (2 * wire)) & 3
        sign, moved = sign * signs[local], to[local]
        for wire in reversed(gate.wires):
            codes = codes & ~np.int64(3 << (2 * wire)) | (moved & 3) << (2 * wire)
            moved = moved >> 2
    return codes, sign


def _relabel(matrix: NDArray[np.complex128]) -> tuple[Codes, NDArray[np.float64]]:
    """Number and sign of U' P U for each string P on the wires of a gate that maps strings to strings."""
    strings = _PAULI if len(matrix) == 2 else np.array([np.kron(a, b) for a in _PAULI for b in _PAULI])
    turned = matrix.conj().T @ strings @ matrix
    seen = np.einsum("pab,qba->pq", turned, strings).real / len(matrix)
    return np.abs(seen).argmax(1), seen.sum(1)


def _closed(codes: Codes, qubits: int) -> Codes:
    """The strings and all that rotations about X make of them, sorted."""
    for k in range(qubits):
        turned = codes[(codes >> 2 * k) & 1 == 1]  # Z and Y are the odd digits
        codes = np.union1d(codes, turned ^ (Z ^ Y) << 2 * k)
    return codes


def _turns(codes: Codes, sign: NDArray[np.float64], closed: Codes, qubits: int) -> Turns:
    digits = _digits(closed, qubits).T
    odd = digits & 1
    flip = ((Z ^ Y) << (2 * np.arange(qubits)))[:, None] * odd
    return Turns(
        place=np.searchsorted(closed, codes),
        sign=sign,
        partner=np.searchsorted(closed, closed ^ flip),
        turn=np.where(digits == Z, -1.0, np.where(digits == Y, 1.0, 0.0)),
    )


def _digits(codes: Codes, qubits: int) -> Codes:
    return np.asarray((codes[:, None] >> (2 * np.arange(qubits))) & 3)
