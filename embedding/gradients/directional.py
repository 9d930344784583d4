"""Slopes of an energy along random directions: an energy of positions in, exact dE/ds out (hartree/bohr).

Four displaced energies a direction; two central differences, at steps h and 2h, give by Richardson's rule
a slope with an error of order h^4, and their distance bounds what is left.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DirectionalSlopes", "directional_slopes", "random_directions"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DirectionalSlopes:
    """``directions`` ``(k, atoms, 3)``, each of norm 1; ``slopes`` and ``errors`` ``(k,)`` hartree/bohr."""

    directions: NDArray[np.float64]
    slopes: NDArray[np.float64]
    errors: NDArray[np.float64]


def directional_slopes(
    energy: Callable[[Matrix], float], positions: Matrix, count: int, seed: int, step: float
) -> DirectionalSlopes:
    """Differentiate ``energy`` along random unit vectors.

    Parameters
    ----------
    energy
        Energy in hartree of positions ``(atoms, 3)`` in bohr.
    positions
        Where, shape ``(atoms, 3)``, bohr.
    count
        Number of directions, uniform on the sphere in ``3 * atoms`` dimensions.
    seed
        Of the directions.
    step
        Displacement h along a direction, bohr.

    Returns
    -------
    DirectionalSlopes
        ``slopes`` are dE/ds, so ``-(forces * direction).sum()``; ``errors`` are a third of the change
        from step 2h to h, an upper estimate of the error of the smaller step, not of the result.
    """
    vectors = random_directions(count, len(positions), seed)
    found, errors = np.empty(count), np.empty(count)
    for index, vector in enumerate(vectors):
        narrow, wide = (
            (energy(positions + s * vector) - energy(positions - s * vector)) / (2 * s)
            for s in (step, 2 * step)
        )
        found[index] = narrow + (narrow - wide) / 3
        errors[index] = abs(narrow - wide) / 3
    return DirectionalSlopes(vectors, found, errors)


def random_directions(count: int, atoms: int, seed: int) -> Matrix:
    """Draw vectors of norm 1, uniform on the sphere in ``3 * atoms`` dimensions: ``(count, atoms, 3)``."""
    vectors = np.random.default_rng(seed).normal(size=(count, atoms, 3))
    unit: Matrix = vectors / np.linalg.norm(vectors, axis=(1, 2), keepdims=True)
    return unit
