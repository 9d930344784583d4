"""Non-equilibrium switching: a System with ``lambda_interpolate`` and a start (bohr) in, a `Work` (kT) out.

Sign rule: the work is done on the system, in the direction of the switch. The increment
(l_i - l_{i-1}) dU/dl is taken at x_{i-1}, before the step at l_i; the other order is biased.
"""

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray
from openmm import unit

from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.simulation.dynamics import (
    advance,
    engine_versions,
    langevin_context,
    nan_is_an_explosion,
)
from drupe.freeenergy.switches.end_states import LAMBDA, MOVERS, system_key
from drupe.records import content_key, frozen, register
from drupe.units import kj_per_mol, kt

__all__ = ["SwitchSpec", "Work", "switch", "switching"]

_checked_every: Final = 10  # steps between looks for an explosion
_profile_points: Final = 100  # of the running work that is kept


@register(version=1)
@dataclass(frozen=True)
class SwitchSpec:
    """Everything that fixes a switch except its start and its seed.

    Fields: number of increments, step (fs), bath temperature (K), collision rate (1/ps), and the
    direction: ``"forward"`` takes lambda_interpolate 0 -> 1, ``"reverse"`` 1 -> 0.
    """

    n_steps: int
    step_fs: float = 1.0
    temperature_k: float = 300.0
    friction_per_ps: float = 5.0
    direction: Literal["forward", "reverse"] = "forward"

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise InputError(f"a switch has {self.n_steps} steps", remedy="give at least one")
        if self.direction not in ("forward", "reverse"):
            raise InputError(f"the direction is {self.direction!r}", remedy='use "forward" or "reverse"')

    @property
    def ladder(self) -> NDArray[np.float64]:
        """Values of lambda_interpolate, shape ``(n_steps + 1,)``."""
        up = np.linspace(0.0, 1.0, self.n_steps + 1)
        return up if self.direction == "forward" else up[::-1]

    @property
    def protocol(self) -> dict[str, float]:
        """What a switch and its mirror image have in common."""
        fields = ("n_steps", "step_fs", "temperature_k", "friction_per_ps")
        return {name: getattr(self, name) for name in fields}


def _profiled(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 kept every increment, and did not say which ends or which leg they were of."""
    increments = fields.pop("increments")
    return {**fields, "profile": _profile(increments), "protocol": "", "leg": ""}


@register(version=2, upgrades={1: _profiled})
@dataclass(frozen=True, eq=False)
class Work:
    """Work of one switch and what made it.

    ========  ============  =====  =================================================================
    field     shape         unit   note
    ========  ============  =====  =================================================================
    value     scalar        kT     sum of the increments
    profile   ``(<=100,)``  kT     work done by the end of each of a hundred equal stretches, or of each
                                   increment where there are fewer: 800 bytes, however long the switch
    spec      --            --     its direction included
    start     --            --     content key of the starting positions
    seed      scalar        --
    protocol  --            --     content key of both ends and of the spec without its direction: a
                                   switch and its mirror image share it; empty where it was not kept
    leg       --            --     what the caller calls the surroundings
    versions  --            --     of the engine, and the platform taken
    ========  ============  =====  =================================================================
    """

    value: float
    profile: NDArray[np.float64]
    spec: SwitchSpec
    start: str
    seed: int
    protocol: str
    leg: str
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "profile", frozen(self.profile, np.float64))
        if not math.isfinite(self.value):
            raise ConvergenceError(
                f"the work of a switch is {self.value}", remedy="take a shorter step or another start"
            )


def switch(
    system: openmm.System,
    positions: ArrayLike,
    spec: SwitchSpec,
    seed: int,
    *,
    box: ArrayLike | None = None,
    leg: str = "",
    platform: str = "auto",
    threads: int | None = None,
    on_done: Callable[[int], None] = lambda n: None,
) -> Work:
    """Drive the system from one end state to the other and count the work.

    From MM to a learned potential the system is OpenMM-ML's, made with ``createMixedSystem(...,
    interpolate=True)``; between two learned potentials or two force fields it is made by
    `drupe.freeenergy.switches.end_states.between`.

    The energy must be linear in ``lambda_interpolate``, so that each increment is the step in
    lambda times a derivative; this is checked at the start. The step after the last increment
    is not made: it cannot change the work.

    Parameters
    ----------
    system
        Flexible system with one CustomCVForce that has the global parameter ``lambda_interpolate``
        and its energy derivative, alone in its force group.
    positions
        Snapshot of the starting ensemble, shape ``(atoms, 3)``, bohr. Velocities are drawn anew.
    spec
        Length, direction and bath.
    seed
        Fixes velocities and noise.
    box
        Periodic box of the snapshot, rows in bohr; None takes that of the system. It stays as it is: works
        between snapshots of two ensembles at constant pressure give the difference at that pressure, since
        exp(-work) averages to a ratio of partition functions at each volume.
    leg
        What to call the surroundings, for the record.
    platform, threads
        Where to run.
    on_done
        Called with the increments done so far.

    Raises
    ------
    InputError
        If the force is missing, shares its group, or is not linear, the system has a barostat or thermostat,
        or the potential refuses a frame.
    ConvergenceError
        If the dynamics blows up or the work is not a number.
    """
    steps = switching(
        system, positions, spec, seed, box=box, leg=leg, platform=platform, threads=threads, on_done=on_done
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            work: Work = end.value
            return work


def switching(
    system: openmm.System,
    positions: ArrayLike,
    spec: SwitchSpec,
    seed: int,
    *,
    box: ArrayLike | None = None,
    leg: str = "",
    platform: str = "auto",
    threads: int | None = None,
    on_done: Callable[[int], None] = lambda n: None,
) -> Generator[openmm.Context, None, Work]:
    """`switch` increment by increment: stops before each with the context whose energy is asked for next.

    Who drives several at a time may find that energy out for all of them together.
    """
    group = _group(system)
    _check_still(system)
    ladder = spec.ladder
    context = langevin_context(
        system,
        positions,
        temperature_k=spec.temperature_k,
        step_fs=spec.step_fs,
        friction_per_ps=spec.friction_per_ps,
        seed=seed,
        parameters={LAMBDA: float(ladder[0])},
        box=box,
        platform=platform,
        threads=threads,
    )
    _check_linear(context, group, ladder)
    to_kt = kj_per_mol / kt(spec.temperature_k)
    increments = np.zeros(spec.n_steps)
    for i in range(1, spec.n_steps + 1):
        yield context
        slope = _slope(context, group) * to_kt
        increments[i - 1] = (ladder[i] - ladder[i - 1]) * slope
        if not math.isfinite(slope):
            raise ConvergenceError(
                f"dU/dlambda became {slope} at increment {i} of {spec.n_steps}",
                remedy="take a shorter step; the potential of the far end may be wild at this geometry",
            )
        if i < spec.n_steps:
            context.setParameter(LAMBDA, float(ladder[i]))
            if i % _checked_every == 0:
                advance(context, 1, spec.temperature_k)
            else:
                with nan_is_an_explosion(1):
                    context.getIntegrator().step(1)
        on_done(i)
    start = content_key("Positions", {"positions": np.asarray(positions, np.float64)})
    protocol = content_key("Protocol", {"ends": system_key(system), **spec.protocol})
    versions = engine_versions(context)
    return Work(
        float(math.fsum(increments)), _profile(increments), spec, start, seed, protocol, leg, versions
    )


def _profile(increments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running work at the ends of equal stretches; the last is the whole work."""
    count = len(increments)
    ends = np.unique(np.ceil(np.linspace(0, count, min(count, _profile_points) + 1)[1:]).astype(int))
    kept: NDArray[np.float64] = np.cumsum(increments)[ends - 1]
    return kept


def _group(system: openmm.System) -> int:
    """Force group of the one force that depends on lambda, after checking that it is alone in it."""
    found = [
        force
        for force in system.getForces()
        if isinstance(force, openmm.CustomCVForce)
        and LAMBDA in (force.getGlobalParameterName(n) for n in range(force.getNumGlobalParameters()))
    ]
    if len(found) != 1:
        raise InputError(
            f"the system has {len(found)} CustomCVForces with the parameter {LAMBDA!r}",
            remedy="build the mixed system with interpolate=True, or with between() of two systems",
        )
    (force,) = found
    count = force.getNumEnergyParameterDerivatives()
    names = [force.getEnergyParameterDerivativeName(n) for n in range(count)]
    if LAMBDA not in names:
        raise InputError(
            f"the force with {LAMBDA!r} does not give its derivative",
            remedy=f'call addEnergyParameterDerivative("{LAMBDA}") on it before making a context',
        )
    group = int(force.getForceGroup())
    sharing = [f.getName() for f in system.getForces() if f.getForceGroup() == group]
    if len(sharing) > 1:
        raise InputError(
            f"the force with {LAMBDA!r} shares force group {group} with {len(sharing) - 1} others",
            remedy="give it a group of its own (forceGroup=7), or each increment evaluates the whole energy",
        )
    return group


def _check_still(system: openmm.System) -> None:
    """Refuse what would change volume or temperature beside the switch's own bath, unseen by its work."""
    movers = [force for force in system.getForces() if isinstance(force, MOVERS)]
    found = [force.getName() for force in movers if not isinstance(force, openmm.CMMotionRemover)]
    if found:
        raise InputError(
            f"the system has a {found[0]}: a switch keeps its volume and has a bath of its own",
            remedy="remove it; starts from runs at constant pressure give the difference at that pressure",
        )


def _slope(context: openmm.Context, group: int) -> float:
    with nan_is_an_explosion(1):
        state = context.getState(parameterDerivatives=True, groups={group})
    return float(state.getEnergyParameterDerivatives()[LAMBDA])


def _check_linear(context: openmm.Context, group: int, ladder: NDArray[np.float64]) -> None:
    first = _slope(context, group)
    energies = []
    for value in (0.0, 0.5, 1.0):
        context.setParameter(LAMBDA, value)
        state = context.getState(energy=True, groups={group})
        energies.append(float(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)))
    context.setParameter(LAMBDA, float(ladder[0]))
    rise = energies[2] - energies[0]
    # Single-precision platforms: a few parts in 1e6 of the energies themselves.
    bound = 1e-2 + 1e-5 * max(*(abs(energy) for energy in energies), abs(first))
    if abs(rise - first) > bound or abs(energies[1] - 0.5 * (energies[0] + energies[2])) > bound:
        raise InputError(
            f"the energy is not linear in {LAMBDA!r}: it rises by {rise:.6g} kJ/mol from 0 to 1, "
            f"its derivative is {first:.6g}",
            remedy="mix the end states as (1 - lambda) E0 + lambda E1",
        )
