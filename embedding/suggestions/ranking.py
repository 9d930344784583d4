"""Which core to take: corrections over frames in, spreads and an order out. Same energy unit in and out.

Kernels on numbers; the engine that computes the corrections is `drupe.embedding.suggestions.suggestion`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["electric_field", "grow", "growth_ladders", "rank", "relative_spread", "spread_error"]


def relative_spread(values: ArrayLike) -> float:
    """Root mean square difference of ``values`` between two frames, over all pairs of frames.

    A constant does not count: only relative energies enter free energies. Of two frames it is their
    difference; of independent frames it is sqrt(2) standard deviations.

    Parameters
    ----------
    values
        One number per frame, at least two.
    """
    numbers = np.asarray(values, dtype=np.float64)
    return float(np.sqrt(2) * np.std(numbers, ddof=1))


def spread_error(spread: float, n_frames: int) -> float:
    """Return the standard error of a `relative_spread` over independent frames, sigma / sqrt(2 (n - 1))."""
    return spread / float(np.sqrt(2 * (n_frames - 1)))


def rank(
    missing: Sequence[float], errors: Sequence[float], sizes: Sequence[int], tolerance: float
) -> list[int]:
    """Order of cores: those that surely miss little by size, then the others by what they miss.

    Parameters
    ----------
    missing, errors
        What each core misses, and the standard error of that; together they may reach ``tolerance``.
    sizes
        Size of each core; what decides its cost.
    tolerance
        In the unit of ``missing``.
    """

    def place(core: int) -> tuple[bool, float, float]:
        beyond = missing[core] + errors[core] > tolerance
        return beyond, 0.0 if beyond else float(sizes[core]), missing[core]

    return sorted(range(len(missing)), key=place)


def grow(core: frozenset[int], neighbours: Sequence[Sequence[int]]) -> frozenset[int]:
    """Return ``core`` with the neighbours of its groups; everything, where no bond leads further."""
    grown = core.union(*(neighbours[group] for group in core))
    return grown if grown != core else frozenset(range(len(neighbours)))


def growth_ladders(seeds: Sequence[int], neighbours: Sequence[Sequence[int]]) -> list[frozenset[int]]:
    """Every core met when each seed grows to the whole, each once, small ones first.

    Parameters
    ----------
    seeds
        Groups to start from.
    neighbours
        Of each group, the numbers of the groups bonded to it.
    """
    met: dict[frozenset[int], None] = {}
    for seed in seeds:
        core = frozenset({seed})
        while core not in met:
            met[core] = None
            core = grow(core, neighbours)
    return sorted(met, key=lambda core: (len(core), sorted(core)))


def electric_field(
    places: NDArray[np.float64], points: NDArray[np.float64], charges: NDArray[np.float64]
) -> float:
    """Root mean square strength of the field of ``charges`` over ``places``, atomic units.

    Parameters
    ----------
    places, points
        Shapes ``(n, 3)`` and ``(m, 3)``, bohr.
    charges
        Shape ``(m,)``, e.
    """
    arms = places[:, None] - points[None]
    fields = np.einsum("m,nmx->nx", charges, arms / np.linalg.norm(arms, axis=2)[..., None] ** 3)
    return float(np.sqrt(np.mean(np.sum(fields**2, axis=1))))
