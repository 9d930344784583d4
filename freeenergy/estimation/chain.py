"""Free energies of a chain of states (MBAR): reduced potentials in kT go in, differences in kT come out.

Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008), solved by pymbar.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.estimation.bennett import acceptance_root
from drupe.freeenergy.estimation.diagnostics import Verdict, chain_verdict
from drupe.freeenergy.estimation.results import FreeEnergy
from drupe.records import frozen, register

#: pymbar's "robust", with fewer iterations of its first solver: from the sums of BAR ten are enough where
#: states overlap, and where they do not its thousand take some ten seconds each time and find nothing.
_protocol: Final = (
    {"method": "adaptive", "options": {"maxiter": 100}},
    {"method": "L-BFGS-B", "options": {"maxiter": 1000}},
)
#: An error below this is rounding: the number is exact, and nobody estimated its error, kT.
exact_kt: Final = 1e-9

__all__ = ["MbarResult", "differences", "least_neighbour_overlap", "mbar", "uncorrelated"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class MbarResult:
    """Free energies of all states of a chain, in kT.

    ===========  ====================  ========================================================
    field        shape                 meaning
    ===========  ====================  ========================================================
    values       ``(states,)``         G_k - G_0, kT
    errors       ``(states,)``         standard error of G_k - G_0, kT
    overlap      ``(states, states)``  overlap matrix; rows sum to 1
    n_k          ``(states,)``         samples per state
    names        ``(states,)``         what the states are called
    verdict      --                    from every neighbouring pair
    ===========  ====================  ========================================================
    """

    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    overlap: NDArray[np.float64]
    n_k: NDArray[np.int64]
    names: tuple[str, ...]
    verdict: Verdict

    def __post_init__(self) -> None:
        for name in ("values", "errors", "overlap"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
        object.__setattr__(self, "n_k", frozen(self.n_k, np.int64))
        object.__setattr__(self, "names", tuple(self.names))
        states = len(self.values)
        if not (len(self.errors) == len(self.n_k) == len(self.names) == states) or self.overlap.shape != (
            states,
            states,
        ):
            raise InputError(
                f"an MBAR result of {states} states has errors {self.errors.shape}, counts {self.n_k.shape}, "
                f"{len(self.names)} names and overlap {self.overlap.shape}",
                remedy="give every field one entry per state",
            )

    @property
    def total(self) -> FreeEnergy:
        """G_last - G_first with its error and verdict."""
        samples = int(self.n_k.sum())
        made = f"{len(self.n_k)} states, {samples} samples"
        return FreeEnergy(
            float(self.values[-1]),
            self.verdict,
            "MBAR",
            sampling=float(self.errors[-1]) if self.errors[-1] > exact_kt else None,
            n_forward=samples,
            provenance=made,
        )


def mbar(u_kn: ArrayLike, n_k: ArrayLike, *, names: Sequence[str] = ()) -> MbarResult:
    """Multistate Bennett acceptance ratio with its overlap matrix.

    Parameters
    ----------
    u_kn
        Reduced potentials of every sample in every state, shape ``(states, samples)``, kT, the
        samples ordered by the state they were drawn in and decorrelated.
    n_k
        Samples per state, shape ``(states,)``, all at least 1.
    names
        What to call the states; their numbers by default.

    Raises
    ------
    InputError
        If shapes, counts and names disagree, a state has no samples, or an energy is not finite.
    ConvergenceError
        If the equations have no usable solution.
    """
    u, counts = _checked(u_kn, n_k)
    called = tuple(str(name) for name in names) or tuple(str(k) for k in range(len(counts)))
    if len(called) != len(counts):
        raise InputError(
            f"{len(called)} names for {len(counts)} states", remedy="name every state, or give no names"
        )
    solver, values, errors = _solved(u, counts)
    shared = np.asarray(solver.compute_overlap()["matrix"])
    return MbarResult(values, errors, shared, counts, called, chain_verdict(u, counts, called))


def least_neighbour_overlap(result: MbarResult) -> float:
    """Smallest element of the overlap matrix beside its diagonal; 1 for a single state."""
    beside = np.concatenate([np.diag(result.overlap, 1), np.diag(result.overlap, -1)])
    return float(beside.min()) if len(beside) else 1.0


def differences(u_kn: ArrayLike, n_k: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """G_k - G_0 of all states and their standard errors, kT, without overlap and verdict.

    Parameters and errors are those of `mbar`.
    """
    _, values, errors = _solved(*_checked(u_kn, n_k))
    return values, errors


def uncorrelated(u: ArrayLike, index: int) -> NDArray[np.int64]:
    """Frames of one window that lie a statistical inefficiency apart.

    Chodera et al., J. Chem. Theory Comput. 3, 26 (2007), as pymbar has it, of the energy difference
    to each neighbouring state; the slower one decides. The estimate presumes a window much longer
    than its correlation time.

    Parameters
    ----------
    u
        Reduced potentials of the window's frames in every state, shape ``(states, frames)``, kT.
    index
        The state that was sampled.

    Returns
    -------
    NDArray
        Indices of the frames to use, shape ``(kept,)``, at least one.
    """
    os.environ.setdefault("PYMBAR_DISABLE_JAX", "1")
    from pymbar import timeseries

    table = np.asarray(u, np.float64)
    frames = table.shape[1]
    neighbours = [k for k in (index - 1, index + 1) if 0 <= k < len(table)]
    series = [table[k] - table[index] for k in neighbours]
    moving = [one for one in series if frames > 3 and np.ptp(one) > 1e-9 * (1.0 + np.abs(one).max())]
    slowest = max((float(timeseries.statistical_inefficiency(one)) for one in moving), default=1.0)
    return np.asarray(timeseries.subsample_correlated_data(np.arange(frames), g=slowest), np.int64)


def _solved(
    u: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[Any, NDArray[np.float64], NDArray[np.float64]]:
    os.environ.setdefault("PYMBAR_DISABLE_JAX", "1")
    from pymbar import MBAR
    from pymbar.utils import ParameterError

    # An offset common to all states of one sample drops out of the equations exactly.
    u = u - u.min(axis=0)
    try:
        with warnings.catch_warnings():
            # pymbar's second solver hands scipy an option that scipy does not know.
            warnings.filterwarnings("ignore", message="Unknown solver options: verbose")
            # pymbar's own start from BAR fails where it has a handful of frames.
            solver = MBAR(u, counts, solver_protocol=_protocol, initial_f_k=_along_the_chain(u, counts))
        got = solver.compute_free_energy_differences()
    except (ParameterError, np.linalg.LinAlgError, FloatingPointError) as error:
        raise ConvergenceError(
            f"MBAR has no solution for {len(counts)} states and {int(counts.sum())} samples ({error})",
            remedy="add windows between states that do not overlap, or sample each window longer",
        ) from error
    values, errors = np.asarray(got["Delta_f"])[0], np.asarray(got["dDelta_f"])[0]
    if not (np.isfinite(values).all() and np.isfinite(errors).all()):
        raise ConvergenceError(
            f"MBAR is not finite for states {np.flatnonzero(~np.isfinite(values + errors)).tolist()}",
            remedy="add windows between states that do not overlap, or sample each window longer",
        )
    return solver, values, errors


def _along_the_chain(u: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """First guess: BAR between neighbouring states, added up."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    steps = [0.0]
    for k in range(len(counts) - 1):
        rise = u[k + 1] - u[k]
        here, there = rise[ends[k] : ends[k + 1]], rise[ends[k + 1] : ends[k + 2]]
        steps.append(acceptance_root(here, -there))
    return np.cumsum(steps)


def _checked(u_kn: ArrayLike, n_k: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    u, counts = np.asarray(u_kn, np.float64), np.asarray(n_k, np.int64)
    if u.ndim != 2 or counts.shape != (len(u),) or int(counts.sum()) != u.shape[1]:
        raise InputError(
            f"reduced potentials have shape {u.shape} for counts {counts.tolist()}",
            remedy="pass u_kn of shape (states, samples) and one count per state that add up to samples",
        )
    if not np.array_equal(counts, np.asarray(n_k, np.float64)):
        raise InputError(f"the counts are {np.asarray(n_k).tolist()}", remedy="pass whole numbers")
    if len(counts) < 2:
        raise InputError("there is one state only", remedy="pass two states or more: a difference is wanted")
    if (counts < 1).any():
        raise InputError(
            f"states {np.flatnonzero(counts < 1).tolist()} have no samples",
            remedy="run those windows, or leave their rows out",
        )
    if not np.isfinite(u).all():
        state, sample = (int(i) for i in np.argwhere(~np.isfinite(u))[0])
        raise InputError(
            f"the reduced potential of sample {sample} in state {state} is not finite",
            remedy="soften the core of that state, or drop windows whose dynamics blew up",
        )
    return u, counts
