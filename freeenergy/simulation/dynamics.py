"""Door to OpenMM dynamics: a System and positions (bohr) in, a running Langevin context out.

All bonds are flexible but those of rigid water. Seeds become OpenMM seeds that are never 0, which
OpenMM would replace by the clock.
"""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray
from openmm import unit
from scipy import constants as codata
from scipy.spatial import cKDTree

from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.simulation.rigid_water import refuse_other_constraints
from drupe.hardware.platforms import openmm_platform
from drupe.units import kj_per_mol, kt, nanometer

__all__ = [
    "advance",
    "engine_versions",
    "langevin_context",
    "minimise",
    "nan_is_an_explosion",
    "potential_kt",
    "pressure_work_kt",
    "read_box",
    "read_positions",
    "split_seed",
]

_boltzmann_kj: Final[float] = kt(1.0) / kj_per_mol
_explosion_sigmas: Final[float] = 10.0
_barostat_steps: Final[int] = 25
#: 1 bar nm^3 in kJ/mol.
_bar_nm3_kj: Final[float] = codata.N_A * 1e5 * 1e-27 * 1e-3


def langevin_context(
    system: openmm.System,
    positions: ArrayLike,
    *,
    temperature_k: float,
    step_fs: float,
    friction_per_ps: float,
    seed: int,
    groups: frozenset[int] | None = None,
    parameters: Mapping[str, float] | None = None,
    box: ArrayLike | None = None,
    pressure_bar: float | None = None,
    platform: str = "auto",
    threads: int | None = None,
) -> openmm.Context:
    """Context with a Langevin-middle integrator, positions set and Maxwell velocities drawn.

    Parameters
    ----------
    system
        Flexible system; it may hold no constraints but those of rigid waters.
    positions
        Shape ``(atoms, 3)``, bohr.
    temperature_k, step_fs, friction_per_ps
        Bath temperature (kelvin), step (fs) and collision rate (1/ps).
    seed
        Any whole number >= 0; fixes velocities and noise. On the Reference platform noise is one stream per
        process, which every new context starts anew: contexts that run in turn share it, and one that is
        made while another runs disturbs it.
    groups
        Force groups that move the atoms; None takes all.
    parameters
        Global parameters to set before the first energy.
    box
        Periodic box of the start, rows in bohr; None takes that of the system.
    pressure_bar
        Pressure of a Monte Carlo barostat that scales all three edges alike; None keeps the volume.
    platform, threads
        As for `openmm_platform`.

    Raises
    ------
    InputError
        If the system has other constraints or has no box for a pressure, shapes disagree, a position is
        not finite, the energy of the start is not finite (atoms on top of each other), or a learned
        potential refuses the start.
    """
    refuse_other_constraints(system)
    place = _checked_positions(positions, system.getNumParticles())
    settings = {"temperature_k": temperature_k, "step_fs": step_fs, "friction_per_ps": friction_per_ps}
    if pressure_bar is not None:
        settings["pressure_bar"] = pressure_bar
    for name, value in settings.items():
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}", remedy=f"give a positive {name}")
    velocity_seed, noise_seed = split_seed(seed)
    integrator = openmm.LangevinMiddleIntegrator(
        temperature_k * unit.kelvin, friction_per_ps / unit.picosecond, step_fs * unit.femtosecond
    )
    integrator.setRandomNumberSeed(noise_seed)
    if groups is not None:
        integrator.setIntegrationForceGroups(set(groups))
    if pressure_bar is not None:
        system = _under_pressure(system, pressure_bar, temperature_k, noise_seed)
    chosen, properties = openmm_platform(platform, threads, system.getNumParticles())
    context = openmm.Context(system, integrator, chosen, properties)
    if box is not None:
        context.setPeriodicBoxVectors(*(np.asarray(box, np.float64) / nanometer))
    context.setPositions(place / nanometer)
    if system.getNumConstraints():
        context.applyConstraints(integrator.getConstraintTolerance())
    for name, value in (parameters or {}).items():
        context.setParameter(name, value)
    start = _energy(context, groups)
    if not math.isfinite(start):
        raise InputError(
            f"the energy of the start is {start}; {_closest(place)}",
            remedy="start from minimised coordinates, or look for atoms on top of each other",
        )
    context.setVelocitiesToTemperature(temperature_k * unit.kelvin, velocity_seed)
    return context


def minimise(context: openmm.Context, iterations: int, temperature_k: float, seed: int) -> None:
    """Go downhill, then draw the velocities of `langevin_context` again.

    Where water is rigid, velocities that were drawn for other positions are not those of rigid bodies, and
    the first long step with them ends in NaN.
    """
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=iterations)
    context.setVelocitiesToTemperature(temperature_k * unit.kelvin, split_seed(seed)[0])


def advance(context: openmm.Context, n_steps: int, temperature_k: float, *, watch_heat: bool = True) -> None:
    """Make ``n_steps`` steps, and stop the run when it is no longer a simulation.

    Raises
    ------
    ConvergenceError
        If a position becomes NaN, or the kinetic temperature lies more than ten standard
        deviations above the bath (checked at the end of the steps).
    """
    with nan_is_an_explosion(n_steps):
        context.getIntegrator().step(n_steps)
        state = context.getState(positions=True, velocities=watch_heat)
    if not np.isfinite(state.getPositions(asNumpy=True)._value).all():
        raise _exploded(f"a coordinate became NaN within {n_steps} steps")
    if watch_heat:
        found = _kinetic_temperature(context.getSystem(), state.getVelocities(asNumpy=True)._value)
        freedom = 3 * context.getSystem().getNumParticles() - context.getSystem().getNumConstraints()
        bound = temperature_k * (1.5 + _explosion_sigmas * math.sqrt(2.0 / freedom))
        if not found <= bound:
            raise _exploded(f"the kinetic temperature reached {found:.0f} K in a bath of {temperature_k:g} K")


@contextmanager
def nan_is_an_explosion(n_steps: int) -> Iterator[None]:
    """Turn what OpenMM, or a learned potential inside it, says of a NaN into a `ConvergenceError`.

    What a barostat makes of a box that was hardly larger than two cutoffs becomes an `InputError`, and what
    else a learned potential refuses becomes what it was.
    """
    try:
        yield
    except openmm.OpenMMException as error:
        if (refused := _refusal(error)) is not None:
            raise refused from error
        if "less than twice the nonbonded cutoff" in str(error):
            raise InputError(
                f"the box shrank below two cutoffs within {n_steps} steps: an atom would meet its own image",
                remedy="start from a larger box (more padding), or from one that has its density",
            ) from error
        if not re.search(r"\bnan\b|not finite", str(error), re.IGNORECASE):
            raise
        raise _exploded(f"a coordinate became NaN within {n_steps} steps") from error


def read_positions(context: openmm.Context) -> NDArray[np.float64]:
    """Positions of the context, shape ``(atoms, 3)``, bohr."""
    table = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    return np.asarray(table, np.float64) * nanometer


def read_box(context: openmm.Context) -> NDArray[np.float64]:
    """Periodic box of the context, rows in bohr, shape ``(3, 3)``."""
    rows = context.getState().getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
    return np.asarray(rows, np.float64) * nanometer


def pressure_work_kt(context: openmm.Context, pressure_bar: float, temperature_k: float) -> float:
    """Pressure times volume of the context's box, kT: what a reduced potential has under a barostat."""
    volume_nm3 = abs(float(np.linalg.det(read_box(context) / nanometer)))
    return pressure_bar * volume_nm3 * _bar_nm3_kj / (_boltzmann_kj * temperature_k)


def potential_kt(
    context: openmm.Context, temperature_k: float, groups: frozenset[int] | None = None
) -> float:
    """Potential energy of ``groups`` (None: all) in kT at ``temperature_k``.

    Raises
    ------
    ConvergenceError
        If it is not finite.
    """
    energy = _energy(context, groups) / (_boltzmann_kj * temperature_k)
    if not math.isfinite(energy):
        raise _exploded(f"the potential energy became {energy}")
    return energy


def split_seed(seed: int) -> tuple[int, int]:
    """Two OpenMM seeds from 1 to 2^31 - 1 out of one ``seed`` >= 0."""
    if seed < 0:
        raise InputError(f"the seed is {seed}", remedy="give a whole number, 0 or larger")
    first, second = np.random.SeedSequence(seed).generate_state(2, np.uint64)
    return int(first % (2**31 - 1)) + 1, int(second % (2**31 - 1)) + 1


def engine_versions(context: openmm.Context) -> dict[str, str]:
    """Versions and platform that made a trajectory."""
    return {
        "drupe": version("drupe"),
        "openmm": openmm.version.version,
        "platform": context.getPlatform().getName(),
    }


def _refusal(error: openmm.OpenMMException) -> InputError | None:
    """What a learned potential refused: OpenMM hands on the text of an error, not its kind."""
    found, arrow, remedy = str(error).partition("\n  -> ")
    return InputError(found, remedy=remedy) if arrow and "not finite" not in found else None


def _energy(context: openmm.Context, groups: frozenset[int] | None) -> float:
    try:
        state = context.getState(energy=True, groups=-1 if groups is None else set(groups))
    except openmm.OpenMMException as error:
        if (refused := _refusal(error)) is not None:
            raise refused from error
        raise
    return float(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))


def _kinetic_temperature(system: openmm.System, velocities: NDArray[np.float64]) -> float:
    masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
    freedom = max(3 * int(np.count_nonzero(masses)) - system.getNumConstraints(), 1)
    return float(np.einsum("i,ix,ix->", masses, velocities, velocities) / (freedom * _boltzmann_kj))


def _under_pressure(
    system: openmm.System, pressure_bar: float, temperature_k: float, seed: int
) -> openmm.System:
    """Copy of a periodic system with a Monte Carlo barostat."""
    if not system.usesPeriodicBoundaryConditions():
        raise InputError(
            f"a pressure of {pressure_bar:g} bar was asked for, but the system is not periodic",
            remedy="leave the pressure out, or build the system in a periodic box",
        )
    made = openmm.XmlSerializer.clone(system)
    barostat = openmm.MonteCarloBarostat(
        pressure_bar * unit.bar, temperature_k * unit.kelvin, _barostat_steps
    )
    barostat.setRandomNumberSeed(seed)
    made.addForce(barostat)
    return made


def _checked_positions(positions: ArrayLike, n_atoms: int) -> NDArray[np.float64]:
    place = np.asarray(positions, np.float64)
    if place.shape != (n_atoms, 3):
        raise InputError(
            f"positions have shape {place.shape} for {n_atoms} particles",
            remedy=f"pass an array of shape ({n_atoms}, 3), in bohr",
        )
    bad = np.flatnonzero(~np.isfinite(place).all(axis=1))
    if len(bad):
        raise InputError(
            f"the position of particle {int(bad[0])} is not finite ({len(bad)} such particles)",
            remedy="take the coordinates from their source again; this frame is damaged",
        )
    return place


def _closest(place: NDArray[np.float64]) -> str:
    if len(place) < 2:
        return "there is only one particle"
    distance, other = cKDTree(place).query(place, k=2)
    first = int(distance[:, 1].argmin())
    # For coincident particles the query may list the twin before the particle itself.
    second = next(int(n) for n in other[first] if n != first)
    return f"the closest particles are {first} and {second}, {distance[first, 1] / nanometer:.4f} nm apart"


def _exploded(found: str) -> ConvergenceError:
    return ConvergenceError(
        f"the dynamics blew up: {found}",
        remedy="take a shorter step, minimise the start first, or look at the potential at this geometry",
    )
