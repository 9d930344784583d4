"""Exchange of states between replicas: reduced potentials (kT) and states in, new states out.

Replica r holds one configuration; ``state_of[r]`` is the state it is sampled in. An exchange moves
states, never configurations. Chodera and Shirts, J. Chem. Phys. 135, 194110 (2011).
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.errors import InputError

__all__ = ["METHODS", "Method", "exchange", "neighbour_acceptance"]

Method = Literal["gibbs", "neighbours"]
METHODS: Final[tuple[Method, ...]] = ("gibbs", "neighbours")


def exchange(
    u: ArrayLike, state_of: ArrayLike, method: Method, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw new states for all replicas; p(states | configurations) stays as it is.

    ``"gibbs"`` proposes K^3 swaps of random pairs, which is the least that the paper finds to be as
    good as an independent draw from all K! permutations. ``"neighbours"`` proposes one swap of each
    even pair of states or of each odd pair, by the toss of a coin. Either is accepted by Metropolis.

    Parameters
    ----------
    u
        ``u[k, r]`` is the reduced potential of the configuration of replica r in state k, shape
        ``(states, replicas)``, kT.
    state_of
        State of each replica, shape ``(replicas,)``, each state once.
    method
        How states are proposed.
    rng
        Source of the random numbers.

    Returns
    -------
    NDArray
        State of each replica after the exchange, shape ``(replicas,)``.

    Raises
    ------
    InputError
        If shapes disagree, a state is missing, or a potential is not finite.
    """
    table, states = _checked(u, state_of)
    count = len(states)
    holder = np.argsort(states).tolist()  # replica of each state
    pairs = _random_pairs(count, rng) if method == "gibbs" else _neighbours(count, rng)
    draws = np.log1p(-rng.random(len(pairs))).tolist()  # of a number within (0, 1]
    energies = table.tolist()
    for (i, j), draw in zip(pairs, draws, strict=True):
        r, s = holder[i], holder[j]
        rise = energies[i][s] + energies[j][r] - energies[i][r] - energies[j][s]
        if draw < -rise:
            holder[i], holder[j] = s, r
    return np.argsort(np.asarray(holder, np.int64))


def neighbour_acceptance(u: ArrayLike) -> NDArray[np.float64]:
    """Mean Metropolis acceptance of a swap between neighbouring states.

    An expectation over the sampled frames, so it does not depend on which swaps were proposed.

    Parameters
    ----------
    u
        ``u[k, l, n]`` is the reduced potential in state l of frame n sampled in state k, shape
        ``(states, states, frames)``, kT.

    Returns
    -------
    NDArray
        Shape ``(states - 1,)``.
    """
    table = np.asarray(u, np.float64)
    found = np.empty(max(len(table) - 1, 0))
    for k in range(len(found)):
        rise = table[k, k + 1] + table[k + 1, k] - table[k, k] - table[k + 1, k + 1]
        found[k] = np.exp(np.minimum(0.0, -rise)).mean()
    return found


def _random_pairs(count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    if count < 2:
        return []
    first = rng.integers(count, size=count**3)
    second = (first + rng.integers(1, count, size=count**3)) % count
    return list(zip(first.tolist(), second.tolist(), strict=True))


def _neighbours(count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    return [(k, k + 1) for k in range(int(rng.integers(2)), count - 1, 2)]


def _checked(u: ArrayLike, state_of: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    table, states = np.asarray(u, np.float64), np.asarray(state_of, np.int64)
    count = len(states)
    if table.shape != (count, count) or sorted(states.tolist()) != list(range(count)):
        raise InputError(
            f"reduced potentials {table.shape} come with the states {states.tolist()}",
            remedy="pass u of shape (states, replicas) and every state once",
        )
    if not np.isfinite(table).all():
        state, replica = (int(i) for i in np.argwhere(~np.isfinite(table))[0])
        raise InputError(
            f"the reduced potential of replica {replica} in state {state} is not finite",
            remedy="soften the core of that state, or take a shorter step",
        )
    return table, states
