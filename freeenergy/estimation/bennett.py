"""Array kernels of two-state free energies: works in kT go in, numbers in kT come out.

Sign rule: ``w_f`` is work done on the system going 0 -> 1 and ``w_r`` going 1 -> 0, both as
measured, so that mean(w_f) + mean(w_r) >= 0. Bennett, J. Comput. Phys. 22, 245 (1976).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import chdtrc, expit, log_expit, logsumexp

__all__ = ["Misfit", "acceptance_root", "consistency", "fluctuation_misfit", "one_sided", "overlap"]

Works = NDArray[np.float64]


def acceptance_root(w_f: Works, w_r: Works) -> float:
    """Free energy difference G_1 - G_0 that solves Bennett's equation.

    The equation is solved in logarithms, so that works hundreds of kT apart do not underflow.

    Parameters
    ----------
    w_f, w_r
        Works of the two directions, shapes ``(n_f,)`` and ``(n_r,)``, each at least one long, in
        kT; a common offset of 1e6 kT should be taken out before.

    Returns
    -------
    float
        kT.
    """
    shift = math.log(len(w_f) / len(w_r))

    def imbalance(df: float) -> float:
        forward = logsumexp(log_expit(df - shift - w_f))
        reverse = logsumexp(log_expit(shift - df - w_r))
        return float(forward - reverse)

    low = float(min(w_f.min(), -w_r.max())) - abs(shift) - 1.0
    high = float(max(w_f.max(), -w_r.min())) + abs(shift) + 1.0
    while imbalance(low) > 0.0:
        low -= high - low
    while imbalance(high) < 0.0:
        high += high - low
    return float(brentq(imbalance, low, high, xtol=1e-12, rtol=1e-14, maxiter=500))


def overlap(w_f: Works, w_r: Works, df: float) -> float:
    """Overlap of the two ensembles, from 0 (none) to 1 (the same ensemble).

    One minus the second eigenvalue of the two-state MBAR overlap matrix (Klimovich, Shirts,
    Mobley, J. Comput.-Aided Mol. Des. 29, 397 (2015)), which has a closed form for two states.

    Parameters
    ----------
    w_f, w_r
        Works, shapes ``(n_f,)`` and ``(n_r,)``, kT.
    df
        The Bennett estimate for the same works, kT.
    """
    n_f, n_r = len(w_f), len(w_r)
    x = math.log(n_f / n_r) - df + np.concatenate([w_f, -w_r])
    shared = float(np.exp(log_expit(x) + log_expit(-x)).sum())
    return shared * (n_f + n_r) / (n_f * n_r)


def consistency(w_f: Works, w_r: Works, df: float) -> tuple[float, float]:
    """Do the two directions obey one fluctuation theorem? Two estimates of the overlap are compared.

    In the spirit of the convergence measure of Hahn and Then, arXiv:0910.2858: the overlap from
    first moments of the acceptance against that from second moments. Zero on average for works that
    belong together and reach their tails. The standard error is that of the sum over works.

    Parameters
    ----------
    w_f, w_r
        Works, shapes ``(n_f,)`` and ``(n_r,)``, each at least two long, kT.
    df
        The Bennett estimate for the same works, kT.

    Returns
    -------
    tuple
        The relative difference of the two estimates, below 1, and the same difference in units of
        its own standard error.
    """
    shift = math.log(len(w_f) / len(w_r))
    in_0 = [expit(shift + w_f - df), expit(shift - w_r - df)]  # weight of state 0 in each work
    terms = [(1.0 - in_0[0]) * (in_0[0] - 0.5), in_0[1] * (0.5 - in_0[1])]
    difference = float(sum(term.sum() for term in terms))
    error = math.sqrt(float(sum(len(term) * term.var(ddof=1) for term in terms)))
    first = 0.5 * float((1.0 - in_0[0]).sum() + in_0[1].sum())
    if abs(difference) <= 1e-9 * first:
        return 0.0, 0.0
    return -difference / first, -difference / error if error > 0.0 else math.copysign(math.inf, -difference)


class Misfit(NamedTuple):
    """How two sets of works deviate from Crooks' theorem.

    ``slope`` of log P_F(W) / P_R(-W) against W, 1 for works that belong together; ``per_work`` the
    log-likelihood gained per work by giving that theorem up, times two; ``chance`` of a gain that large
    among works that obey it.
    """

    slope: float
    per_work: float
    chance: float


def fluctuation_misfit(w_f: Works, w_r: Works, df: float) -> Misfit:
    """Test log P_F(W) / P_R(-W) = W - dF, in kT, against a parabola in W.

    Which direction a work came from is a logistic regression in W with slope 1 and no curvature, and
    Bennett's dF is its maximum of likelihood (Shirts et al., Phys. Rev. Lett. 91, 140601 (2003)); with slope
    and curvature free, twice the gain in log-likelihood is chi^2 with two degrees of freedom for
    independent works (Shirts, J. Chem. Theory Comput. 9, 909 (2013), for slopes of ensembles). A wrong unit,
    a wrong sign or works of other states change the slope.

    Parameters
    ----------
    w_f, w_r
        Works, shapes ``(n_f,)`` and ``(n_r,)``, each at least two long, kT.
    df
        The Bennett estimate for the same works, kT.
    """
    works = np.concatenate([w_f, -w_r]) - df
    width = float(works.std())
    if width < 1e-9:
        return Misfit(1.0, 0.0, 1.0)
    z = works / width
    powers = np.stack([np.ones_like(z), z, z * z])
    came_from = np.concatenate([np.ones(len(w_f)), -np.ones(len(w_r))])

    def loss(weights: Works) -> tuple[float, Works]:
        t = came_from * (weights @ powers[: len(weights)])
        return -float(log_expit(t).sum()), -(powers[: len(weights)] @ (came_from * expit(-t)))

    theorem = np.array([math.log(len(w_f) / len(w_r)), width, 0.0])
    line = minimize(loss, theorem[:2], jac=True, method="BFGS")
    parabola = minimize(loss, theorem, jac=True, method="BFGS")
    gain = 2.0 * max(0.0, loss(theorem)[0] - min(float(parabola.fun), float(line.fun)))
    return Misfit(float(line.x[1]) / width, gain / len(works), float(chdtrc(2, gain)))


def one_sided(w: Works) -> tuple[float, float]:
    """Exponential average of one direction and the number of works that carry it.

    Returns
    -------
    tuple
        -ln <exp(-w)> in kT (Jarzynski, Phys. Rev. Lett. 78, 2690 (1997)) and Kish's effective
        sample size (sum p)^2 / sum p^2 of the weights p = exp(-w).
    """
    value = math.log(len(w)) - float(logsumexp(-w))
    size = math.exp(2.0 * float(logsumexp(-w)) - float(logsumexp(-2.0 * w)))
    return value, size
