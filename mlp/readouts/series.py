"""A circuit's energy as the Fourier series it is: rotations in, coefficients out; angles in, sums out.

For angles that enter once, psi(x) = prod RY(x_k)|0> is a real product state with <Z> = cos x and <X> = sin x
on each qubit, so psi' O psi = sum over strings of 1, cos and sin: exactly a Fourier series of first order in
each angle (Schuld, Sweke, Meyer, Phys. Rev. A 103, 032430, 2021). O(theta) = U'(theta) Z U(theta) is found
once for all atoms, in the Heisenberg picture. Everything can be differentiated any number of times, except
where coefficients are held.
"""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from drupe.errors import InputError
from drupe.hardware.circuits import Circuit
from drupe.mlp.readouts.compiled_series import SumsAndSlopes
from drupe.mlp.readouts.pauli_paths import I, PauliPaths, X, Y, Z, paths_of

__all__ = ["FourierSeries"]


class FourierSeries(nn.Module):
    """psi(x)' U(theta)' (sum w_k Z_k) U(theta) psi(x) of a circuit, stacked over members.

    Parameters
    ----------
    circuit
        What U is.
    """

    present: Tensor
    multiplied: Tensor
    summed: Tensor

    def __init__(self, circuit: Circuit) -> None:
        super().__init__()
        self.circuit = circuit
        paths = [paths_of(circuit, gates) for gates in circuit.branches]
        # What the first rotations leave: Y has become Z.
        strings = [np.where(one.digits == Y, Z, one.digits) for one in paths]
        half = (circuit.qubits + 1) // 2
        everything = np.concatenate(strings)
        left, where_left = np.unique(everything[:, :half], axis=0, return_inverse=True)
        right, where_right = np.unique(everything[:, half:], axis=0, return_inverse=True)
        self.shape = len(left), len(right)
        places = np.split(
            where_left.reshape(-1) * len(right) + where_right.reshape(-1),
            np.cumsum([len(one) for one in strings])[:-1],
        )
        self.products = _Products([left, right])
        # Only halves that a string joins; the others have no coefficient.
        present = np.unique(np.concatenate(places))
        self.terms = len(present)
        multiplied, (left_values, right_values) = self.products.one_by_one()
        summed = np.stack([left_values[present // len(right)], right_values[present % len(right)]], axis=1)
        self.register_buffer("present", torch.tensor(present), persistent=False)
        self.register_buffer("multiplied", torch.tensor(multiplied), persistent=False)
        self.register_buffer("summed", torch.tensor(summed), persistent=False)
        self.ways = nn.ModuleList(
            _Way(path, place, 1 / len(paths)) for path, place in zip(paths, places, strict=True)
        )

    def coefficients(self, weights: Tensor, rotations: Tensor) -> Tensor:
        """Coefficients of the series.

        Parameters
        ----------
        weights
            w, shape ``(members, qubits)``.
        rotations
            theta, shape ``(members, layers, qubits)``, radians.

        Returns
        -------
        Tensor
            Shape ``(members, left halves of strings, right halves)``, in units of the weights.
        """
        flat = weights.new_zeros(len(weights), self.shape[0] * self.shape[1])
        for way in self.ways:
            flat = way(flat, weights, rotations)
        return flat.reshape(-1, *self.shape)

    def forward(self, coefficients: Tensor, angles: Tensor) -> Tensor:
        """Sum of the series at angles ``(members, rows, qubits)``: shape ``(members, rows)``."""
        # Qubits before atoms: rows of memory are then long, which halves the time.
        left, right = self.products(angles.transpose(1, 2).contiguous())
        made: Tensor = (torch.bmm(coefficients.transpose(1, 2), left) * right).sum(1)
        return made

    def held(self, coefficients: Tensor, angles: Tensor) -> Tensor:
        """`forward` where coefficients are constants, to rounding: on a processor in one compiled pass.

        There slopes along the angles have no derivatives in turn.

        Raises
        ------
        InputError
            If members, halves of strings or qubits do not fit, or numbers are not all double or all single.
        """
        fits = angles.ndim == 3 and angles.shape[::2] == (len(coefficients), self.circuit.qubits)
        real = angles.dtype in (torch.float64, torch.float32) and angles.dtype == coefficients.dtype
        if not (fits and real and coefficients.shape[1:] == self.shape):
            raise InputError(
                f"angles {tuple(angles.shape)} in {angles.dtype}, coefficients {tuple(coefficients.shape)} "
                f"in {coefficients.dtype}, of a circuit with {self.circuit.qubits} qubits",
                remedy="give angles (members, rows, qubits) and coefficients of this series, in one type",
            )
        made: Tensor
        if angles.is_cpu:
            few = coefficients.flatten(1).index_select(1, self.present)
            made, _ = SumsAndSlopes.apply(few, angles, self.multiplied, self.summed)  # type: ignore[no-untyped-call]
        else:
            made = self(coefficients, angles)
        return made


class _Way(nn.Module):
    """One branch of a circuit: adds its share to the coefficients."""

    digits: Tensor
    sign: Tensor
    place: Tensor

    def __init__(self, path: PauliPaths, place: NDArray[np.int64], share: float) -> None:
        super().__init__()
        self.depth = len(path.layers)
        for number, turns in enumerate(path.layers):
            for name, value in turns._asdict().items():
                self.register_buffer(f"{name}{number}", torch.tensor(value), persistent=False)
            self.register_buffer(f"stays{number}", torch.tensor(turns.turn == 0), persistent=False)
        self.register_buffer("digits", torch.tensor(path.digits.T.copy()), persistent=False)
        self.register_buffer("sign", torch.tensor(path.sign * share), persistent=False)
        self.register_buffer("place", torch.tensor(place), persistent=False)

    def forward(self, total: Tensor, weights: Tensor, rotations: Tensor) -> Tensor:
        held = weights
        cosine, sine = torch.cos(rotations), torch.sin(rotations)
        for number in range(self.depth):
            layer = self.depth - number
            held = self._turned(held, cosine[:, layer], sine[:, layer], number)
        # Z -> cos Z, Y -> -sin Z, where what becomes Y is left out.
        one = torch.ones_like(cosine[:, 0])
        table = torch.stack([one, cosine[:, 0], one, -sine[:, 0]], dim=2)
        gains = (table[:, k].index_select(1, row) for k, row in enumerate(self.digits))
        return total.index_add(1, self.place, held * self.sign * reduce(torch.mul, gains))

    def _turned(self, held: Tensor, cosine: Tensor, sine: Tensor, number: int) -> Tensor:
        """Back through one layer: Z -> cos Z + sin Y and Y -> cos Y - sin Z on each qubit."""
        place, sign, partner, turn, stays = (
            getattr(self, f"{name}{number}") for name in ("place", "sign", "partner", "turn", "stays")
        )
        held = held.new_zeros(len(held), partner.shape[1]).index_add(1, place, held * sign)
        for k in range(len(partner)):
            kept = torch.where(stays[k], 1.0, cosine[:, k, None])
            held = held * kept + held.index_select(1, partner[k]) * (turn[k] * sine[:, k, None])
        return held


class _Products(nn.Module):
    """Products of 1, cos and sin over the sites of the strings that are needed, pair by pair.

    All products of a step are made at once: many small operations cost more than the arithmetic.
    """

    def __init__(self, halves: Sequence[NDArray[np.int64]]) -> None:
        super().__init__()
        sites = sum(half.shape[1] for half in halves)
        self.given = 1 + 2 * sites
        # Row 0 of the first table is 1; site k has its cosine in row 1 + k, its sine in row 1 + sites + k.
        columns, first = [], 0
        for half in halves:
            site = first + np.arange(half.shape[1])
            columns.append(np.where(half == I, 0, 1 + site + np.where(half == X, sites, 0)))
            first += half.shape[1]
        self.depth = 0
        while max(rows.shape[1] for rows in columns) > 2:
            padded = [np.pad(rows, ((0, 0), (0, -rows.shape[1] % 2))) for rows in columns]
            ends = np.cumsum([rows.size // 2 for rows in padded])[:-1]
            pairs = np.concatenate([rows.reshape(-1, 2) for rows in padded])
            # The product of ones comes first again, as padding needs it.
            known, where = np.unique(np.pad(pairs, ((1, 0), (0, 0))), axis=0, return_inverse=True)
            self._add(known)
            columns = [
                found.reshape(len(rows), -1)
                for found, rows in zip(np.split(where.reshape(-1)[1:], ends), padded, strict=True)
            ]
        self._add(np.concatenate([np.pad(rows, ((0, 0), (0, 2 - rows.shape[1]))) for rows in columns]))
        self.lengths = [len(rows) for rows in columns]

    def _add(self, pairs: NDArray[np.int64]) -> None:
        """One step: rows to multiply, all first ones and then all second ones."""
        self.register_buffer(f"pairs{self.depth}", torch.tensor(pairs.T.reshape(-1)), persistent=False)
        self.depth += 1

    def one_by_one(self) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
        """The same products without those with 1, for `SumsAndSlopes`, and where those of each half are."""
        made: dict[tuple[int, int], int] = {}
        found = list(range(self.given))
        for step in range(self.depth):
            pairs = getattr(self, f"pairs{step}").reshape(2, -1).T.tolist()
            joined = ((found[one], found[other]) for one, other in pairs)
            found = [
                max(pair) if 0 in pair else made.setdefault(pair, self.given + len(made)) for pair in joined
            ]
        ends = np.cumsum(self.lengths)[:-1]
        return np.array(list(made), np.int64).reshape(-1, 2), np.split(np.array(found, np.int64), ends)

    def forward(self, angles: Tensor) -> tuple[Tensor, ...]:
        """From ``(members, sites, rows)`` to the products of both halves, ``(members, strings, rows)``."""
        values = torch.cat([torch.ones_like(angles[:, :1]), torch.cos(angles), torch.sin(angles)], dim=1)
        for step in range(self.depth):
            one, other = values.index_select(1, getattr(self, f"pairs{step}")).chunk(2, dim=1)
            values = one * other
        return torch.split(values, self.lengths, dim=1)
