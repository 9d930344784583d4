"""A leg as alchemlyb's ``u_nk``: one repeat of a leg in, a DataFrame of reduced potentials (kT) out."""

from typing import TYPE_CHECKING

import numpy as np

from drupe.errors import InputError
from drupe.freeenergy.alchemical.leg_run import LegRun

if TYPE_CHECKING:
    import pandas

__all__ = ["u_nk"]


def u_nk(run: LegRun) -> "pandas.DataFrame":
    """Every frame of a leg in every state, in the standard form of alchemlyb.

    Rows are frames, with the index ``time`` (ps) and one level for each lambda of the state that was
    sampled; columns are the states, tuples of these lambdas; ``attrs`` has ``temperature`` (kelvin)
    and ``energy_unit``. Lambdas are those of GROMACS, 0 for the interacting and 1 for the decoupled ligand:
    coul-lambda and vdw-lambda are 1 minus the electrostatics and sterics of the schedule,
    restraint-lambda is its restraint. The order of states is then that of sorted lambdas, in which
    estimators stack them. Frames are neither cut nor thinned.

    Parameters
    ----------
    run
        One repeat of a leg.

    Raises
    ------
    InputError
        If two states have the same lambdas: they could not be told apart by name.
    """
    import pandas

    columns = _lambdas(run)
    states = list(zip(*columns.values(), strict=True))
    if len(set(states)) < len(states):
        twice = next(state for state in states if states.count(state) > 1)
        raise InputError(
            f"two windows of the {run.leg} leg have the lambdas {twice}",
            remedy="leave one of them out of the schedule: names of states must differ",
        )
    frames = run.tables.u.shape[2]
    time = run.spacing_ps * np.arange(1, frames + 1)
    order = sorted(range(len(states)), key=lambda k: states[k])
    index = pandas.MultiIndex.from_tuples(
        [(float(t), *states[k]) for k in order for t in time], names=["time", *columns]
    )
    rows = np.concatenate([run.tables.u[k].T[:, order] for k in order])
    names = pandas.Index([states[k] for k in order], tupleize_cols=False)
    table = pandas.DataFrame(rows, index=index, columns=names)
    table.attrs = {"temperature": run.spec.temperature_k, "energy_unit": "kT"}
    return table


def _lambdas(run: LegRun) -> dict[str, list[float]]:
    schedule = run.schedule
    found = {"restraint-lambda": [float(x) for x in schedule.restraint]} if run.leg == "complex" else {}
    found["coul-lambda"] = [_gone(x) for x in schedule.electrostatics]
    found["vdw-lambda"] = [_gone(x) for x in schedule.sterics]
    return found


def _gone(strength: float) -> float:
    return round(1.0 - strength, 12)  # 1 - 0.9 is to be called 0.1
