"""A held Fourier series with its slopes in one compiled pass: angles in; sums and slopes out (no unit).

As separate operations on all rows a series goes through memory once for each of its products, which costs
more than the arithmetic. Here a block of rows stays in the processor's cache from its cosines to its slopes,
and only terms that can appear are added. The pass is an operator of torch, so that frozen graphs carry it.
"""

import threading
from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["SumsAndSlopes"]

_one_at_a_time = threading.Lock()
_made: dict[torch.dtype, Callable[..., None]] = {}

Array = NDArray[np.floating[Any]]

_BLOCK: Final = 64  # rows: some hundred values of each fit a cache of the second level, and most of the first

_ONLY: Final = (
    "a held series has first derivatives along its angles only, backwards; "
    "differentiate a readout that is not held (FourierSeries.forward)"
)


class SumsAndSlopes(torch.autograd.Function):
    """Sums of products of cosines and sines of angles, and their derivatives along the angles.

    Values are numbered: 0 is 1, then come the cosines of all sites, their sines, and the products in the
    order in which they are made. Numbers of values are not checked: `FourierSeries` makes them.

    Sums have first derivatives along the angles, backwards; all others are refused.
    """

    @staticmethod
    def forward(
        coefficients: Tensor, angles: Tensor, products: Tensor, terms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sums and slopes.

        Parameters
        ----------
        coefficients
            Shape ``(members, terms)``.
        angles
            Shape ``(members, rows, sites)``, radians; on a processor, in the type of the coefficients.
        products
            Which two earlier values each product multiplies, shape ``(products, 2)``, int64.
        terms
            Which two values each term multiplies, shape ``(terms, 2)``, int64.

        Returns
        -------
        tuple of Tensor
            Shapes ``(members, rows)`` and ``(members, rows, sites)``, in units of the coefficients.
        """
        made: tuple[Tensor, Tensor] = torch.ops.drupe.fourier_sums(coefficients, angles, products, terms)
        return made

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep the slopes."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(
        ctx: Any, along_sums: Tensor | None, along_slopes: Tensor | None
    ) -> tuple[None, Tensor | None, None, None]:
        """Multiply by the slopes."""
        if along_slopes is not None or ctx.needs_input_grad[0]:
            raise NotImplementedError(_ONLY)
        (slopes,) = ctx.saved_tensors
        return None, None if along_sums is None else along_sums[:, :, None] * slopes, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        """Refused: torch would take the slopes, whose derivatives are not known, for constants."""
        raise NotImplementedError(_ONLY)


def _sums_and_slopes(
    coefficients: Tensor, angles: Tensor, products: Tensor, terms: Tensor
) -> tuple[Tensor, Tensor]:
    angles = angles.contiguous()
    sums, slopes = angles.new_empty(angles.shape[:2]), torch.empty_like(angles)
    parts = (coefficients, torch.cos(angles), torch.sin(angles), products, terms, sums, slopes)
    _compiled(angles.dtype)(*(part.numpy() for part in parts))
    return sums, slopes


_NAME: Final = "drupe::fourier_sums"
torch.library.define(
    _NAME, "(Tensor coefficients, Tensor angles, Tensor products, Tensor terms) -> (Tensor, Tensor)"
)
torch.library.impl(_NAME, "cpu", _sums_and_slopes)


def _refuse(ctx: Any, *along: Tensor) -> None:
    """Where a graph that was written down is differentiated, the Function is gone."""
    raise NotImplementedError(_ONLY)


torch.library.register_autograd(_NAME, _refuse)


def _pass(
    coefficients: Array,
    cosines: Array,
    sines: Array,
    products: NDArray[np.int64],
    terms: NDArray[np.int64],
    sums: Array,
    slopes: Array,
) -> None:
    """Forward through the products, over the terms, and back: plain loops, which numba makes fast."""
    members, rows, sites = cosines.shape
    first = 1 + 2 * sites
    # Every loop goes over a whole block, whose length the compiler knows; the last one has some rows in vain.
    value = np.ones((first + len(products), _BLOCK), cosines.dtype)
    slope = np.empty_like(value)
    total = np.empty(_BLOCK, cosines.dtype)
    for member in range(members):
        for start in range(0, rows, _BLOCK):
            count = min(_BLOCK, rows - start)
            for i in range(count):
                for k in range(sites):
                    value[1 + k, i] = cosines[member, start + i, k]
                    value[1 + sites + k, i] = sines[member, start + i, k]
            for made in range(len(products)):
                one, other, product = value[products[made, 0]], value[products[made, 1]], value[first + made]
                for i in range(_BLOCK):
                    product[i] = one[i] * other[i]
            slope[:] = 0
            for term in range(len(terms)):
                factor = coefficients[member, term]
                one, other = value[terms[term, 0]], value[terms[term, 1]]
                one_slope, other_slope = slope[terms[term, 0]], slope[terms[term, 1]]
                for i in range(_BLOCK):
                    one_slope[i] += factor * other[i]
                for i in range(_BLOCK):
                    other_slope[i] += factor * one[i]
            # Each term is linear in both of its values: values times slopes are twice the sum. Values in no
            # term add zero, which takes less time than to leave them out.
            total[:] = 0
            for k in range(len(value)):
                one, one_slope = value[k], slope[k]
                for i in range(_BLOCK):
                    total[i] += one[i] * one_slope[i]
            for i in range(count):
                sums[member, start + i] = total[i] / 2
            for made in range(len(products) - 1, -1, -1):
                along = slope[first + made]
                one, other = value[products[made, 0]], value[products[made, 1]]
                one_slope, other_slope = slope[products[made, 0]], slope[products[made, 1]]
                for i in range(_BLOCK):
                    one_slope[i] += along[i] * other[i]
                for i in range(_BLOCK):
                    other_slope[i] += along[i] * one[i]
            for i in range(count):
                for k in range(sites):
                    cosine, sine = 1 + k, 1 + sites + k
                    slopes[member, start + i, k] = (
                        slope[sine, i] * value[cosine, i] - slope[cosine, i] * value[sine, i]
                    )


def _compiled(precision: torch.dtype) -> Callable[..., None]:
    """Machine code for double or single precision: 1.5 s once in a process.

    numba could keep it in files, but reads them unchecked, and damaged ones give wrong numbers.
    """
    with _one_at_a_time:
        if precision not in _made:
            number = {torch.float64: numba.float64, torch.float32: numba.float32}[precision]
            rows, blocks, whole = number[:, ::1], number[:, :, ::1], numba.int64[:, ::1]
            kinds = numba.void(rows, blocks, blocks, whole, whole, rows, blocks)
            _made[precision] = numba.njit(kinds, nogil=True)(_pass)
    return _made[precision]
