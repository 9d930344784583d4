"""Linear regression with a Gaussian prior and several kinds of data of unknown noise: arrays only.

y_g = X_g z + noise of variance s_g^2 in each group g, z of unit normal prior. The posterior of z given the
s_g is Gaussian; the ln s_g are the most probable ones by the evidence (MacKay, Neural Comput. 4, 415 (1992);
Bishop, Pattern Recognition and Machine Learning, 2006, section 3.5) with a flat prior of each variance.
Without it a group of no more values than constants is often given no noise at all, and errors come out far
too small. That the s_g are estimates is not in the posterior.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from drupe.errors import ConvergenceError

__all__ = ["Group", "Posterior", "posterior"]

#: Fewer values of a kind tell nothing beside their own noise, and are not read.
_LEAST_VALUES = 3
_LEAST_NOISE = 1e-9  # of the size of the data: below, rounding decides

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Group:
    """Data of one kind: ``design (values, p)``, ``target (values,)``.

    ``free`` is the number of independent values among them, smaller where a projection took some away.
    """

    design: Array
    target: Array
    free: int


@dataclass(frozen=True, eq=False)
class Posterior:
    """What the data leave: ``mean (p,)`` and ``covariance (p, p)``; the others hold one value per group.

    ``noise`` is a standard deviation, nan for a group of fewer than three values, which is not read;
    ``determined`` how many constants the group settles (its part of MacKay's gamma); ``log_evidence`` that
    of all data.
    """

    mean: Array
    covariance: Array
    noise: tuple[float, ...]
    determined: tuple[float, ...]
    log_evidence: float


def posterior(groups: Sequence[Group]) -> Posterior:
    """Most probable noise of each group and what the data say with it.

    Parameters
    ----------
    groups
        The data, all with the same columns; a group may be empty.

    Returns
    -------
    Posterior
        With no data at all, the prior.

    Raises
    ------
    ConvergenceError
        If no maximum of the evidence is found.
    """
    size = groups[0].design.shape[1]
    used = [g for g in groups if g.free >= _LEAST_VALUES]
    # An orthogonal transformation leaves residuals as they are and p + 1 rows at most.
    tables = [_triangle(np.column_stack([g.design, g.target])) for g in used]
    free = np.array([g.free for g in used], float)
    sizes = np.array([float((t**2).sum()) for t in tables]) / free
    logs = np.zeros(0)
    if used:
        start = np.log([max(float((t[:, -1] ** 2).sum()) / n, s * _LEAST_NOISE**2)
                        for t, n, s in zip(tables, free, sizes, strict=True)])  # fmt: skip
        floor = np.log(sizes * _LEAST_NOISE**2)
        found = minimize(
            _penalised,
            start,
            args=(tables, free, size),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(floor, start + 10.0, strict=True)),
            options={"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-7 * float(free.sum())},
        )
        if not np.isfinite(found.fun):
            raise ConvergenceError(
                "the evidence of a linear fit is not finite", remedy="look for outliers among the data"
            )
        logs = found.x
    root, mean = _solve(logs, tables, size)
    inverse = np.linalg.inv(root)
    gammas = [
        float(((t[:, :-1] @ inverse) ** 2).sum() * np.exp(-s)) for t, s in zip(tables, logs, strict=True)
    ]
    noise, determined = iter(np.exp(logs / 2).tolist()), iter(gammas)
    return Posterior(
        mean,
        inverse @ inverse.T,
        tuple(next(noise) if g.free >= _LEAST_VALUES else float("nan") for g in groups),
        tuple(next(determined) if g.free >= _LEAST_VALUES else 0.0 for g in groups),
        -_cost(logs, tables, free, size)[0] - 0.5 * float(np.log(2 * np.pi) * free.sum()),
    )


def _triangle(rows: Array) -> Array:
    made: Array = np.linalg.qr(rows)[1]
    return made


def _solve(logs: Array, tables: Sequence[Array], size: int) -> tuple[Array, Array]:
    """Triangular root S of A = 1 + sum X'X / s^2 = S'S, and the mean."""
    weighted = [t * np.exp(-s / 2) for t, s in zip(tables, logs, strict=True)]
    prior = np.eye(size, size + 1)
    whole = _triangle(np.vstack([*weighted, prior]))
    root = whole[:size, :size]
    return root, np.asarray(np.linalg.solve(root, whole[:size, size]), np.float64)


def _penalised(logs: Array, tables: Sequence[Array], free: Array, size: int) -> tuple[float, Array]:
    """The cost with the flat prior of each variance, d s^2 = s^2 d ln s^2."""
    cost, slope = _cost(logs, tables, free, size)
    return cost - float(logs.sum()), slope - 1.0


def _cost(logs: Array, tables: Sequence[Array], free: Array, size: int) -> tuple[float, Array]:
    """Minus the log evidence, without its 2 pi, and its slope with each ln s^2."""
    root, mean = _solve(logs, tables, size)
    inverse = np.linalg.inv(root)
    misfit, settled = np.zeros(len(logs)), np.zeros(len(logs))
    for g, table in enumerate(tables):
        misfit[g] = ((table[:, -1] - table[:, :-1] @ mean) ** 2).sum() * np.exp(-logs[g])
        settled[g] = ((table[:, :-1] @ inverse) ** 2).sum() * np.exp(-logs[g])
    volume = 2 * np.log(np.abs(np.diag(root))).sum()
    cost = 0.5 * float(free @ logs + misfit.sum() + mean @ mean + volume)
    return cost, 0.5 * (free - settled - misfit)
