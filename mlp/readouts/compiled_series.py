"""A held Fourier series with its slopes in one compiled pass: angles in; sums and slopes out (no unit).

As separate operations on all rows a series goes through memory once for each of its products, which costs
more than the arithmetic. Here a block of rows stays in the processor's cache from its cosines to its slopes,
and only terms that can appear are added. The pass is an operator of torch, so that frozen graphs carry it.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from tempfile import TemporaryFile
from typing import Any, Final

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from platformdirs import user_cache_dir
from torch import Tensor

__all__ = ["SumsAndSlopes"]

_log = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()

Array = NDArray[np.floating[Any]]

_BLOCK: Final = 64  # rows: some hundred values of each fit a cache of the second level, and most of the first


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


_ONLY: Final = (
    "a held series has first derivatives along its angles only, backwards; "
    "differentiate a readout that is not held (FourierSeries.forward)"
)


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
            # Each term is linear in both of its values: values times slopes are twice the sum.
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


@cache
def _compiled(precision: torch.dtype) -> Callable[..., None]:
    """Machine code, which takes 1.5 s to make and is kept in the user's cache, where it can be."""
    number = {torch.float64: numba.float64, torch.float32: numba.float32}[precision]
    matrix, whole = number[:, ::1], numba.int64[:, ::1]
    kinds = numba.void(matrix, *2 * [number[:, :, ::1]], whole, whole, matrix, number[:, :, ::1])
    made: Callable[..., None]
    try:
        with _kept():
            made = numba.njit(kinds, nogil=True, cache=True)(_pass)
    except (RuntimeError, OSError, EOFError, UnpicklingError) as error:  # nowhere to write, full, half a file
        _log.warning(
            "machine code cannot be kept (%s): made anew; see NUMBA_CACHE_DIR", error or type(error).__name__
        )
        made = numba.njit(kinds, nogil=True)(_pass)
    return made


@contextmanager
def _kept() -> Iterator[None]:
    """Keep machine code in the user's cache: beside this file it would outlive the package's removal."""
    with _one_at_a_time:
        before = numba.config.CACHE_DIR
        place = Path(before or user_cache_dir("drupe"))
        place.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=place):
            pass  # where nothing can be written numba would take another folder
        numba.config.CACHE_DIR = str(place)
        try:
            yield
        finally:
            numba.config.CACHE_DIR = before
