"""Door to OpenMM for replica exchange: a leg and its schedule in, a mover of replicas out (bohr, ps, kT).

One context serves all states whose systems are the same, with other parameters: one for the charged
ligand, one for the uncharged, one for all in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray
from openmm import unit

from drupe.embedding.structures.structure import Structure
from drupe.errors import InputError
from drupe.freeenergy.alchemical.alchemy import Schedule
from drupe.freeenergy.alchemical.counter_ion import CounterIons
from drupe.freeenergy.alchemical.decoupling import AlchemicalSystem, alchemical_system, reduced_potentials
from drupe.freeenergy.alchemical.replicas import Phase
from drupe.freeenergy.alchemical.restraints import BoreschRestraint
from drupe.freeenergy.simulation.dynamics import (
    advance,
    engine_versions,
    langevin_context,
    minimise,
    read_positions,
    split_seed,
)
from drupe.freeenergy.simulation.periodic import whole_start
from drupe.freeenergy.simulation.sampling import SampleSpec
from drupe.units import nanometer

__all__ = ["AlchemicalMover", "read_phase", "set_phase"]


@dataclass(frozen=True, eq=False)
class _Room:
    """A context and the system it was made of."""

    window: AlchemicalSystem
    context: openmm.Context


class AlchemicalMover:
    """Dynamics and energies of every state of a schedule.

    Parameters
    ----------
    structure, ligand, restraint, counter_ions
        As for `alchemical_system`.
    schedule
        All states.
    spec
        Temperature, pressure, step, friction and the seed of the noise.
    start_positions
        Any sound geometry, shape ``(atoms, 3)``, bohr: the contexts are made with it.
    platform, threads
        Where to run.

    Raises
    ------
    InputError
        If the schedule has a restraint and none is given, or the start cannot be run from.
    """

    def __init__(
        self,
        structure: Structure,
        ligand: ArrayLike,
        schedule: Schedule,
        restraint: BoreschRestraint | None,
        spec: SampleSpec,
        start_positions: ArrayLike,
        *,
        counter_ions: CounterIons | None = None,
        platform: str = "auto",
        threads: int | None = None,
    ) -> None:
        if restraint is None and any(schedule.restraint):
            raise InputError("the schedule has a restraint, but none was given", remedy="choose one first")
        self._spec, self._structure = spec, structure
        self._states = [schedule.state(k) for k in range(len(schedule))]
        self._rooms: dict[str, _Room] = {}
        for number, kind in enumerate(dict.fromkeys(charge_state(state) for state in self._states)):
            state = next(one for one in self._states if charge_state(one) == kind)
            window = alchemical_system(structure, ligand, state, restraint, counter_ions)
            context = langevin_context(
                window.system,
                whole_start(structure, start_positions, None) if window.periodic else start_positions,
                temperature_k=spec.temperature_k,
                step_fs=spec.step_fs,
                friction_per_ps=spec.friction_per_ps,
                seed=spec.seed + number,
                groups=window.dynamic_groups,
                parameters=window.parameters,
                pressure_bar=spec.pressure_bar,
                platform=platform,
                threads=threads,
            )
            self._rooms[kind] = _Room(window, context)

    @property
    def versions(self) -> dict[str, str]:
        """Versions and platform behind the dynamics."""
        return engine_versions(next(iter(self._rooms.values())).context)

    def begin(self, positions: ArrayLike, state: int, box: NDArray[np.float64] | None = None) -> Phase:
        """Take a start into a state: minimised, with Maxwell velocities, and equilibrated by itself.

        How long is said by ``minimise`` and ``n_equilibration`` of the spec; the velocities depend
        on its seed and the state. ``box`` of the start, rows in bohr; None takes that of the structure.
        """
        spec, room = self._spec, self._enter(state)
        context, place = room.context, np.asarray(positions, np.float64)
        if room.window.periodic:
            # Another replica may have left its box in this context.
            box = self._structure.system.box if box is None else box
            assert box is not None
            place = whole_start(self._structure, place, box)
            context.setPeriodicBoxVectors(*(box / nanometer))
        context.setPositions(place / nanometer)
        if context.getSystem().getNumConstraints():
            context.applyConstraints(context.getIntegrator().getConstraintTolerance())
        seed = spec.seed + 7919 * (state + 1)
        if spec.minimise:
            minimise(context, spec.minimise, spec.temperature_k, seed)
        else:
            context.setVelocitiesToTemperature(spec.temperature_k * unit.kelvin, split_seed(seed)[0])
        if spec.n_equilibration:
            advance(context, spec.n_equilibration, spec.temperature_k)
        return read_phase(context)

    def move(self, phase: Phase, state: int, n_steps: int) -> tuple[Phase, NDArray[np.float64]]:
        """Make steps in ``state``; the new phase and its reduced potential in every state (kT).

        Raises
        ------
        ConvergenceError
            If the dynamics blows up.
        """
        room = self._enter(state)
        set_phase(room.context, phase)
        advance(room.context, n_steps, self._spec.temperature_k)
        here = replace(room.window, state=self._states[state])
        u = reduced_potentials(
            room.context, here, self._states, self._spec.temperature_k, self._spec.pressure_bar
        )
        return read_phase(room.context), u

    def _enter(self, state: int) -> _Room:
        room = self._rooms[charge_state(self._states[state])]
        here = replace(room.window, state=self._states[state])
        for name, value in here.parameters.items():
            room.context.setParameter(name, value)
        return room


def charge_state(state: Mapping[str, float]) -> str:
    """What the system of a state depends on; its other lambdas are parameters of that system."""
    return {0.0: "uncharged", 1.0: "charged"}.get(state["lambda_electrostatics"], "between")


def read_phase(context: openmm.Context) -> Phase:
    """Positions, velocities and, where there is one, the box of a context."""
    state = context.getState(velocities=True)
    per_ps = unit.nanometer / unit.picosecond
    velocities = np.asarray(state.getVelocities(asNumpy=True).value_in_unit(per_ps), np.float64) * nanometer
    box = None
    if context.getSystem().usesPeriodicBoundaryConditions():
        vectors = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
        box = np.asarray(vectors, np.float64) * nanometer
    return Phase(read_positions(context), velocities, box)


def set_phase(context: openmm.Context, phase: Phase) -> None:
    """Put a replica into a context."""
    if phase.box is not None:
        context.setPeriodicBoxVectors(*(phase.box / nanometer))
    context.setPositions(phase.positions / nanometer)
    context.setVelocities(phase.velocities / nanometer)
