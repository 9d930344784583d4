"""A stretch of replica exchange: replicas and a way to move them in, the same replicas later out.

A stretch starts from a stored record and from nothing else, so the same record gives the same bits on
the same machine, and all replicas keep one age.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.alchemical.exchange import METHODS, Method, exchange
from drupe.freeenergy.alchemical.leg_tables import Tables
from drupe.freeenergy.alchemical.replicas import Phase, Replicas

__all__ = ["Mover", "run_iterations"]


class Mover(Protocol):
    """Dynamics of every state of a leg."""

    def move(self, phase: Phase, state: int, n_steps: int) -> tuple[Phase, NDArray[np.float64]]:
        """Make steps in ``state``; the new phase and its reduced potential in every state (kT)."""
        ...


def run_iterations(
    mover: Mover,
    replicas: Replicas,
    n_iterations: int,
    stride: int,
    method: Method,
    seed: int,
    *,
    on_done: Callable[[int], None] = lambda n: None,
) -> tuple[Replicas, Tables]:
    """Let every replica make ``stride`` steps, then exchange states; again and again.

    The random numbers of an exchange come from the seed and the age of the replicas, not from what
    was drawn before, so that cutting a run into other stretches leaves them as they are.

    Parameters
    ----------
    mover
        Dynamics and energies of all states.
    replicas
        Where to start; each replica goes on in its state.
    n_iterations, stride
        Exchanges to make, steps before each.
    method, seed
        Of the exchanges.
    on_done
        Called with the number of iterations done.

    Returns
    -------
    tuple
        The replicas after the last exchange, and the tables of this stretch.
    """
    if n_iterations < 1 or stride < 1:
        raise InputError(
            f"{n_iterations} iterations of {stride} steps were asked for", remedy="give 1 or more of both"
        )
    if method not in METHODS:
        raise InputError(f"states are to be exchanged by {method!r}", remedy=f"use one of {METHODS}")
    count = len(replicas.state_of)
    phases = [replicas.phase(r) for r in range(count)]
    state_of = replicas.state_of
    tables, walks = [], []
    for done in range(n_iterations):
        u = np.empty((count, count))  # (state, replica)
        for state in range(count):
            replica = int(np.flatnonzero(state_of == state)[0])
            phases[replica], u[:, replica] = _named(mover, phases[replica], state, stride)
        tables.append(u[:, np.argsort(state_of)].T)
        walks.append(state_of)
        rng = np.random.default_rng([seed, replicas.age + done])
        state_of = exchange(u, state_of, method, rng)
        on_done(done + 1)
    after = Replicas.of(phases, state_of, replicas.age + n_iterations)
    return after, Tables(np.array(tables).transpose(1, 2, 0), np.array(walks))


def _named(mover: Mover, phase: Phase, state: int, n_steps: int) -> tuple[Phase, NDArray[np.float64]]:
    try:
        return mover.move(phase, state, n_steps)
    except ConvergenceError as error:
        raise ConvergenceError(f"in state {state}, {error.found}", remedy=error.remedy) from error
