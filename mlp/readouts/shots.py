"""What measuring a readout's circuits gives: features in; energies, their variance and samples out (hartree).

All qubits are read in every shot, so one shot of a circuit gives sum w_k z_k of a bit string z. Its mean is
the energy, its variance sum w_k w_l (<Z_k Z_l> - <Z_k><Z_l>) is known as the energy is, and S shots have the
S-th part of it. The energy is linear in what is measured: its noise has no bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drupe.errors import InputError
from drupe.hardware.circuits import Circuit, Gate
from drupe.mlp.readouts.pauli_paths import GATES
from drupe.mlp.readouts.vqc import Vqc
from drupe.records import frozen

__all__ = ["Measurement", "bit_strings", "measurement"]

Array = NDArray[np.float64]

_MOST = 1e15  # shots of a circuit; what int64 and float64 both count


@dataclass(frozen=True, eq=False)
class Measurement:
    """What the circuits behind one energy can show.

    ``probabilities`` and ``values`` ``(circuits, bit strings)``: how often a shot of a circuit gives a bit
    string, and what it adds to the energy, hartree; ``rest`` what is not measured, hartree.
    """

    probabilities: Array
    values: Array
    rest: float

    def __post_init__(self) -> None:
        for name in ("probabilities", "values"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))

    @property
    def energy(self) -> float:
        """Exact expectation, hartree."""
        return self.rest + float((self.probabilities * self.values).sum())

    @property
    def variances(self) -> Array:
        """Variance of one shot of each circuit, hartree^2, ``(circuits,)``."""
        mean = (self.probabilities * self.values).sum(1, keepdims=True)
        return np.asarray((self.probabilities * (self.values - mean) ** 2).sum(1))

    def variance(self, shots: int | NDArray[np.int64]) -> float:
        """Variance of the energy, hartree^2.

        Parameters
        ----------
        shots
            Of each circuit: one number for all, or ``(circuits,)``; one or more.
        """
        return float((self.variances / _counted(shots, len(self.values))).sum())

    def shots_for(self, error: float) -> NDArray[np.int64]:
        """Shots of each circuit that bring the standard error of the energy to ``error``.

        Circuits get shots in proportion to their standard deviation, which spends the fewest in all (Neyman,
        J. R. Stat. Soc. 97, 558, 1934), rounded up: at most one shot of each circuit too many.

        Parameters
        ----------
        error
            hartree.

        Returns
        -------
        ndarray
            Shape ``(circuits,)``, one shot or more.

        Raises
        ------
        InputError
            If the error is not positive, or so small that shots cannot be counted.
        """
        if not error > 0:
            raise InputError(f"a standard error of {error} hartree", remedy="give a positive number")
        deviations = np.sqrt(self.variances)
        wanted = np.ceil(deviations * (deviations.sum() / error) / error)
        if not wanted.max(initial=0) <= _MOST:
            raise InputError(
                f"a standard error of {error} hartree takes {wanted.max():.1e} shots of a circuit",
                remedy="ask for a larger error",
            )
        return np.asarray(np.maximum(wanted, 1).astype(np.int64))

    def sample(self, shots: int | NDArray[np.int64], rng: np.random.Generator) -> float:
        """One measured energy, hartree: bit strings are drawn, shot by shot.

        Parameters
        ----------
        shots
            Of each circuit: one number for all, or ``(circuits,)``; one or more.
        rng
            Where chance comes from.
        """
        each = _counted(shots, len(self.values))
        counts = rng.multinomial(each, self.probabilities)
        return self.rest + float(((counts * self.values).sum(1) / each).sum())


def _counted(shots: int | NDArray[np.int64], circuits: int) -> NDArray[np.int64]:
    """Shots of each circuit."""
    given = np.asarray(shots)
    if given.shape not in ((), (circuits,)) or given.dtype.kind not in "iu" or (given < 1).any():
        raise InputError(
            f"{shots} shots for {circuits} circuits",
            remedy="give a whole number of one or more, or one such number for each circuit",
        )
    return np.broadcast_to(given, circuits)


def measurement(readouts: Sequence[Vqc], features: Sequence[Tensor], rest: float) -> Measurement:
    """Circuits of all atoms, readouts and members behind the mean energy of a frame.

    Parameters
    ----------
    readouts
        Those of a backbone, usually one.
    features
        What each of them reads, ``(members, atoms, features)``.
    rest
        All of the energy that does not come from circuits, hartree.
    """
    probabilities, values = [], []
    for readout, rows in zip(readouts, features, strict=True):
        circuit, members = readout.settings.circuit, len(rows)
        with torch.no_grad():
            angles = readout.angles(rows).double().cpu().numpy()
            rotations = readout.rotations.double().cpu().numpy()
            weights, constants = (part.double().cpu().numpy() for part in readout.observable())
        for k in range(members):
            probabilities.append(bit_strings(circuit, angles[k], rotations[k]))
            shown = _signs(circuit.qubits) @ weights[k] / members
            values.append(np.broadcast_to(shown, probabilities[-1].shape))
            rest += float(constants[k, 0]) * len(angles[k]) / members
    return Measurement(np.concatenate(probabilities), np.concatenate(values), rest)


def bit_strings(circuit: Circuit, angles: Array, rotations: Array) -> Array:
    """Probability of each bit string, in the order of binary numbers with qubit 0 first.

    Parameters
    ----------
    circuit
        What is run.
    angles, rotations
        Radians; shapes ``(rows, qubits)`` and ``(layers, qubits)``.

    Returns
    -------
    ndarray
        Shape ``(rows, 2 ** qubits)``.
    """
    rows, qubits = angles.shape
    start = np.ones((rows, 1))
    for k in range(qubits):
        one = np.stack([np.cos(angles[:, k] / 2), np.sin(angles[:, k] / 2)], axis=1)
        start = (start[:, :, None] * one[:, None]).reshape(rows, -1)
    made = np.zeros(start.shape)
    for gates in circuit.branches:
        back = _run(circuit, gates, rotations)
        made += np.abs(start @ back) ** 2 / len(circuit.branches)
    return np.asarray(made / made.sum(1, keepdims=True))


def _run(circuit: Circuit, gates: tuple[Gate, ...], rotations: Array) -> NDArray[np.complex128]:
    """Transpose of the circuit's unitary after the first angles."""
    size = 2**circuit.qubits
    states = np.eye(size, dtype=np.complex128).reshape((size, *[2] * circuit.qubits))
    for layer in rotations:
        for k, angle in enumerate(layer):
            c, s = np.cos(angle / 2), -1j * np.sin(angle / 2)
            states = _apply(np.array([[c, s], [s, c]]), (k,), states)
        for gate in gates:
            states = _apply(GATES[gate.name], gate.wires, states)
    return states.reshape(size, size)


def _apply(
    matrix: NDArray[np.complex128], wires: tuple[int, ...], states: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    axes = tuple(wire + 1 for wire in wires)
    first = tuple(range(len(axes)))
    ahead = np.moveaxis(states, axes, first)
    made = (matrix @ ahead.reshape(len(matrix), -1)).reshape(ahead.shape)
    return np.moveaxis(made, first, axes)


def _signs(qubits: int) -> Array:
    """Values of Z of each qubit in each bit string, ``(2 ** qubits, qubits)``."""
    bits = np.arange(2**qubits)[:, None] >> np.arange(qubits)[::-1] & 1
    return np.asarray(1.0 - 2.0 * bits)
