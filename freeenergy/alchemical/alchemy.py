"""Absolute binding at the MM level, window by window: a schedule in, reduced potentials (kT) out.

lambda = 1 is "there", 0 is "not there": charges of the ligand are annihilated with
lambda_electrostatics (implicit solvent included), its Lennard-Jones coupling to the rest is switched off
with lambda_sterics through a soft core (alpha 0.5), lambda_restraint = 1 is the full restraint.
In a periodic box the dynamics may run at constant pressure; the reduced potentials then hold its work.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.embedding.structures.structure import Structure
from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.alchemical.anchors import boresch_coordinates
from drupe.freeenergy.alchemical.counter_ion import CounterIons
from drupe.freeenergy.alchemical.decoupling import alchemical_system, reduced_potentials
from drupe.freeenergy.alchemical.restraints import BoreschRestraint
from drupe.freeenergy.simulation.dynamics import (
    advance,
    engine_versions,
    langevin_context,
    minimise,
    read_box,
    read_positions,
)
from drupe.freeenergy.simulation.periodic import nearest_chain, whole_start
from drupe.freeenergy.simulation.sampling import SampleSpec
from drupe.records import frozen, register

__all__ = ["Schedule", "WindowSamples", "run_window"]

_NAMES = ("lambda_restraint", "lambda_electrostatics", "lambda_sterics")


@register(version=1)
@dataclass(frozen=True)
class Schedule:
    """The states of one leg in order, from the free, interacting ligand to the restrained, decoupled one.

    Fields: ``restraint``, ``electrostatics``, ``sterics``, one number within [0, 1] per state in each.
    A leg without restraint has zeros there.
    """

    restraint: tuple[float, ...]
    electrostatics: tuple[float, ...]
    sterics: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("restraint", "electrostatics", "sterics"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        lengths = [len(self.restraint), len(self.electrostatics), len(self.sterics)]
        if len(set(lengths)) != 1 or not lengths[0]:
            raise InputError(
                f"the lambda lists have {lengths} numbers",
                remedy="give restraint, electrostatics and sterics one number per window",
            )
        outside = [v for v in (*self.restraint, *self.electrostatics, *self.sterics) if not 0 <= v <= 1]
        if outside:
            raise InputError(f"a lambda is {outside[0]}", remedy="1 is fully there, 0 is gone")
        pairs = zip(self.sterics, self.electrostatics, strict=True)
        bare = [index for index, (sterics, charges) in enumerate(pairs) if sterics < 1 and charges > 0]
        if bare:
            raise InputError(
                f"window {bare[0]} weakens the sterics of a ligand that still has charges",
                remedy="take electrostatics to 0 before sterics leaves 1, or opposite charges can meet",
            )

    def __len__(self) -> int:
        return len(self.restraint)

    def state(self, index: int) -> dict[str, float]:
        """Global parameters of one state."""
        rows = (self.restraint, self.electrostatics, self.sterics)
        return {name: float(row[index]) for name, row in zip(_NAMES, rows, strict=True)}


def _without_restraint(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 did not keep what the restraint holds."""
    return fields


@register(version=2, upgrades={1: _without_restraint})
@dataclass(frozen=True, eq=False)
class WindowSamples:
    """Kept frames of one window, evaluated in every state.

    ==============  ====================  =====  =================================================
    field           shape                 unit   note
    ==============  ====================  =====  =================================================
    index           scalar                --     the state that was sampled
    u               ``(states, frames)``  kT     reduced potential of each frame in each state
    last_positions  ``(atoms, 3)``        bohr   of the last frame
    last_box        ``(3, 3)``            bohr   of the last frame, rows; None without a box
    volumes         ``(frames,)``         bohr^3 of the box at each frame; None without a box
    schedule        --                    --
    spec            --                    --     of the dynamics, seed included
    versions        --                    --
    restrained      ``(frames, 6)``       bohr,  distance, angles and dihedrals that the restraint
                                          rad    holds; None without a restraint
    ==============  ====================  =====  =================================================
    """

    index: int
    u: NDArray[np.float64]
    last_positions: NDArray[np.float64]
    schedule: Schedule
    spec: SampleSpec
    versions: Mapping[str, str]
    restrained: NDArray[np.float64] | None = None
    last_box: NDArray[np.float64] | None = None
    volumes: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name in ("last_box", "volumes"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
        object.__setattr__(self, "u", frozen(self.u, np.float64))
        if self.restrained is not None:
            object.__setattr__(self, "restrained", frozen(self.restrained, np.float64))
        object.__setattr__(self, "last_positions", frozen(self.last_positions, np.float64))
        if self.u.ndim != 2 or len(self.u) != len(self.schedule) or not 0 <= self.index < len(self.schedule):
            raise InputError(
                f"window {self.index} has reduced potentials {self.u.shape} for {len(self.schedule)} states",
                remedy="pass u of shape (states, frames)",
            )
        if not (np.isfinite(self.u).all() and np.isfinite(self.last_positions).all()):
            raise ConvergenceError(
                f"window {self.index} holds numbers that are not finite",
                remedy="soften the schedule near this window or take a shorter step",
            )


def run_window(
    structure: Structure,
    ligand: ArrayLike,
    schedule: Schedule,
    index: int,
    restraint: BoreschRestraint | None,
    spec: SampleSpec,
    start_positions: ArrayLike,
    *,
    start_box: ArrayLike | None = None,
    counter_ions: CounterIons | None = None,
    platform: str = "auto",
    threads: int | None = None,
    on_done: Callable[[int], None] = lambda n: None,
) -> WindowSamples:
    """Sample one window and evaluate its frames in all windows of the schedule.

    Parameters
    ----------
    structure, ligand, restraint
        As for `alchemical_system`.
    schedule, index
        All states, and the one to sample.
    spec
        Dynamics: steps, frames, minimisation, seed.
    start_positions
        Shape ``(atoms, 3)``, bohr.
    start_box
        Periodic box of the start, rows in bohr; None takes that of the structure.
    counter_ions
        As for `alchemical_system`.
    platform, threads
        Where to run.
    on_done
        Called with the steps done so far.

    Returns
    -------
    WindowSamples
        ``u[i, n]`` is the reduced potential of kept frame n in state i, kT.

    Raises
    ------
    InputError, ConvergenceError
        For a start that cannot be run from; for dynamics that blow up.
    """
    if not 0 <= index < len(schedule):
        raise InputError(
            f"window {index} is asked for", remedy=f"this schedule has windows 0 to {len(schedule) - 1}"
        )
    if restraint is None and any(schedule.restraint):
        raise InputError("the schedule has a restraint, but none was given", remedy="choose one first")
    window = alchemical_system(structure, ligand, schedule.state(index), restraint, counter_ions)
    start = np.asarray(start_positions, np.float64)
    if window.periodic:
        start = whole_start(structure, start, start_box)
    context = langevin_context(
        window.system,
        start,
        temperature_k=spec.temperature_k,
        step_fs=spec.step_fs,
        friction_per_ps=spec.friction_per_ps,
        seed=spec.seed,
        groups=window.dynamic_groups,
        parameters=window.parameters,
        box=start_box,
        pressure_bar=spec.pressure_bar,
        platform=platform,
        threads=threads,
    )
    if spec.minimise:
        minimise(context, spec.minimise, spec.temperature_k, spec.seed)
    advance(context, spec.n_equilibration, spec.temperature_k)
    on_done(spec.n_equilibration)
    states = [schedule.state(n) for n in range(len(schedule))]
    rows, volumes, held = [], [], []
    for frame in range(1, spec.n_frames + 1):
        advance(context, spec.stride, spec.temperature_k)
        rows.append(reduced_potentials(context, window, states, spec.temperature_k, spec.pressure_bar))
        box = read_box(context)
        volumes.append(abs(float(np.linalg.det(box))))
        if restraint is not None:
            six = read_positions(context)[list(restraint.anchors)]
            held.append(boresch_coordinates(nearest_chain(six, box) if window.periodic else six))
        on_done(spec.n_equilibration + frame * spec.stride)
    return WindowSamples(
        index,
        np.array(rows).T,
        read_positions(context),
        schedule,
        spec,
        engine_versions(context),
        restrained=np.array(held) if held else None,
        last_box=read_box(context) if window.periodic else None,
        volumes=np.array(volumes) if window.periodic else None,
    )
