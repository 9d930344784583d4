"""How well replicas mix: the walk of each replica through the states in, numbers and a verdict out.

Times are in iterations, one exchange each. Chodera and Shirts, J. Chem. Phys. 135, 194110 (2011).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.errors import InputError
from drupe.freeenergy.alchemical.exchange import neighbour_acceptance
from drupe.freeenergy.alchemical.leg_tables import Tables
from drupe.freeenergy.estimation.diagnostics import Level, Verdict, collect
from drupe.records import frozen, register

__all__ = ["Mixing", "mixing", "transition_matrix"]

#: Mean acceptance of neighbours below this is under the best of every common exchange scheme, 8 % to
#: 41 %: Lingenheil, Denschlag, Mathias and Tavan, Chem. Phys. Lett. 478, 80 (2009).
least_acceptance: Final = 0.08
#: A mean over fewer than about 20 independent samples is not to be relied on: Grossfield and Zuckerman,
#: Annu. Rep. Comput. Chem. 5, 23 (2009). A relaxation time of the walk counts as one.
least_relaxations: Final = 20.0


@register(version=1)
@dataclass(frozen=True, eq=False)
class Mixing:
    """What the walks of the replicas of one run say.

    ===============  ====================  ==========================================================
    field            shape                 meaning
    ===============  ====================  ==========================================================
    transitions      ``(states, states)``  from state to state in one iteration; rows sum to 1
    acceptance       ``(states - 1,)``     mean Metropolis acceptance of neighbouring states
    second           scalar                second eigenvalue of ``transitions``; 1 - second is the gap
    round_trips      scalar                first to last state and back, or the other way, all replicas
    iterations       scalar                length of the walks
    walks            ``(points, states)``  the walks, thinned, for drawing
    every            scalar                iterations between two points of ``walks``
    verdict          --
    ===============  ====================  ==========================================================
    """

    transitions: NDArray[np.float64]
    acceptance: NDArray[np.float64]
    second: float
    round_trips: int
    iterations: int
    walks: NDArray[np.int64]
    every: int
    verdict: Verdict

    def __post_init__(self) -> None:
        for name in ("transitions", "acceptance"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
        object.__setattr__(self, "walks", frozen(self.walks, np.int64))

    @property
    def relaxation(self) -> float:
        """Slowest relaxation time of the walk, 1 / (1 - second), in iterations; inf where it falls apart."""
        return 1.0 / (1.0 - self.second) if self.second < 1.0 - 1e-9 else float("inf")


def mixing(tables: Tables, *, most_points: int = 200) -> Mixing:
    """Judge the mixing of one run of replica exchange.

    FAIL: the states fall into groups between which no replica ever went, or the run is shorter than
    one relaxation time of the walk. WARN: it is shorter than 20; neighbours whose mean acceptance is
    below 0.08; no replica made a round trip.

    Parameters
    ----------
    tables
        Of all stretches together.
    most_points
        Points of each walk to keep for drawing.

    Raises
    ------
    InputError
        If nothing was exchanged.
    """
    if tables.state_of is None:
        raise InputError(
            "these windows ran by themselves: there is no mixing to judge",
            remedy="run them with abfe.exchange",
        )
    walks = tables.state_of
    matrix = transition_matrix(walks)
    eigenvalues = np.linalg.eigvalsh(matrix)  # symmetric: see transition_matrix
    second = float(min(eigenvalues[-2], 1.0)) if len(eigenvalues) > 1 else 0.0
    acceptance = neighbour_acceptance(tables.u)
    trips = round_trips(walks)
    every = max(1, -(-len(walks) // most_points))
    judged = _judge(matrix, acceptance, second, trips, len(walks))
    return Mixing(matrix, acceptance, second, trips, len(walks), walks[::every], every, judged)


def transition_matrix(walks: ArrayLike) -> NDArray[np.float64]:
    """Frequencies of going from state to state in one iteration, symmetrised.

    Every state is populated by one replica at any time, so that detailed balance makes the matrix of
    the walk in equilibrium symmetric: counts are taken in both directions.

    Parameters
    ----------
    walks
        State of each replica in each iteration, shape ``(iterations, replicas)``.

    Returns
    -------
    NDArray
        Shape ``(states, states)``, rows sum to 1.
    """
    table = np.asarray(walks, np.int64)
    states = table.shape[1]
    if len(table) < 2:
        return np.eye(states)
    counts = np.zeros((states, states))
    np.add.at(counts, (table[:-1].ravel(), table[1:].ravel()), 1.0)
    matrix: NDArray[np.float64] = (counts + counts.T) / (2.0 * (len(table) - 1))
    return matrix


def round_trips(walks: NDArray[np.int64]) -> int:
    """Complete round trips between the first and the last state, over all replicas."""
    last = walks.shape[1] - 1
    if not last:
        return 0
    found = 0
    for walk in walks.T:
        ends = walk[(walk == 0) | (walk == last)]
        found += int(np.count_nonzero(np.diff(ends))) // 2
    return found


def _judge(
    matrix: NDArray[np.float64], acceptance: NDArray[np.float64], second: float, trips: int, iterations: int
) -> Verdict:
    from scipy.sparse.csgraph import connected_components

    groups, member = connected_components(matrix > 0.0, directed=False)
    if groups > 1:
        parts = [np.flatnonzero(member == g).tolist() for g in range(groups)]
        told = "; ".join(f"{part[0]} to {part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts[:4])
        reason = (
            f"no replica ever went between {groups} groups of states ({told}{' ...' if groups > 4 else ''}) "
            f"in {iterations} iterations: add states between them, or run longer"
        )
        return Verdict("FAIL", (reason,))
    relaxations = iterations * (1.0 - second)
    found: list[tuple[Level, str]] = []
    if relaxations < least_relaxations:
        bound = 1.0 if relaxations < 1.0 else least_relaxations
        found.append(
            (
                "FAIL" if relaxations < 1.0 else "WARN",
                f"{iterations} iterations are {relaxations:.2g} relaxation times of the walk through the "
                f"states (second eigenvalue {second:.4f}), fewer than {bound:g}",
            )
        )
    poor = np.flatnonzero(acceptance < least_acceptance)
    if len(poor):
        worst = int(poor[acceptance[poor].argmin()])
        found.append(
            (
                "WARN",
                f"{len(poor)} of {len(acceptance)} neighbouring pairs exchange with a mean acceptance below "
                f"{least_acceptance:g} (lowest {acceptance[worst]:.2g}, states {worst}-{worst + 1})",
            )
        )
    if not trips and len(matrix) > 1:
        found.append(("WARN", f"no replica made a round trip in {iterations} iterations"))
    return collect(found)
