"""Equilibrium sampling: an OpenMM System and a start (bohr) in, a `Trajectory` out (bohr, kT)."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray

from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.simulation.dynamics import (
    advance,
    engine_versions,
    langevin_context,
    minimise,
    potential_kt,
    read_box,
    read_positions,
)
from drupe.records import frozen, register

__all__ = ["Decorrelation", "SampleSpec", "Trajectory", "decorrelated", "sample"]


@register(version=1)
@dataclass(frozen=True)
class SampleSpec:
    """Everything that fixes a piece of Langevin dynamics except its system and its start.

    Fields: bath temperature (K), step (fs), collision rate (1/ps), steps thrown away, frames kept,
    steps between frames, iterations of minimisation before the first step (0: none), seed, and the
    pressure (bar) of a barostat in a periodic box (None: the volume stays).
    The step of 2 fs is for hydrogens of 3 amu; take 1 fs or less for natural masses.
    """

    temperature_k: float = 300.0
    step_fs: float = 2.0
    friction_per_ps: float = 5.0
    n_equilibration: int = 250
    n_frames: int = 6
    stride: int = 100
    minimise: int = 0
    seed: int = 1
    pressure_bar: float | None = None

    def __post_init__(self) -> None:
        if self.pressure_bar is not None and not 0 < self.pressure_bar < 1e6:
            raise InputError(
                f"the pressure is {self.pressure_bar} bar", remedy="give a positive one, such as 1"
            )
        least = {"n_equilibration": 0, "n_frames": 1, "stride": 1, "minimise": 0, "seed": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise InputError(f"{name} is {getattr(self, name)}", remedy=f"give {bound} or more")

    @property
    def content(self) -> dict[str, Any]:
        """Fields by which specs are compared: without a pressure, those of a spec that never knew one."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in known.items() if (name, value) != ("pressure_bar", None)}

    @property
    def frame_times_ps(self) -> NDArray[np.float64]:
        """When each frame is kept, ``(frames,)``, ps from the start."""
        steps = self.n_equilibration + self.stride * np.arange(1, self.n_frames + 1)
        return np.asarray(steps * self.step_fs / 1e3)

    @property
    def n_steps(self) -> int:
        """Steps in all, equilibration included."""
        return self.n_equilibration + self.n_frames * self.stride


@register(version=1)
@dataclass(frozen=True, eq=False)
class Trajectory:
    """Frames of one run and what made them.

    =========  ======================  ======  =========================================
    field      shape                   unit    note
    =========  ======================  ======  =========================================
    positions  ``(frames, atoms, 3)``  bohr
    potential  ``(frames,)``           kT      at the temperature of the spec
    spec       --                      --      its seed included
    versions   --                      --      of the engine, and the platform taken
    boxes      ``(frames, 3, 3)``      bohr    rows are box vectors; None without a box
    =========  ======================  ======  =========================================
    """

    positions: NDArray[np.float64]
    potential: NDArray[np.float64]
    spec: SampleSpec
    versions: Mapping[str, str]
    boxes: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.boxes is not None:
            object.__setattr__(self, "boxes", frozen(self.boxes, np.float64))
        object.__setattr__(self, "positions", frozen(self.positions, np.float64))
        object.__setattr__(self, "potential", frozen(self.potential, np.float64))
        if (
            self.positions.ndim != 3
            or self.positions.shape[2] != 3
            or len(self.potential) != len(self.positions)
            or (self.boxes is not None and self.boxes.shape != (len(self.positions), 3, 3))
        ):
            raise InputError(
                f"a trajectory has positions {self.positions.shape}, energies {self.potential.shape} and "
                f"boxes {None if self.boxes is None else self.boxes.shape}",
                remedy="pass positions of shape (frames, atoms, 3), and one energy and one box per frame",
            )
        if not (np.isfinite(self.positions).all() and np.isfinite(self.potential).all()):
            raise ConvergenceError(
                "a trajectory holds numbers that are not finite", remedy="run it again with a shorter step"
            )

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.spec.seed


@register(version=1)
@dataclass(frozen=True, eq=False)
class Decorrelation:
    """Frames one correlation time apart.

    Fields: ``frames`` indices, shape ``(kept,)``; ``inefficiency`` the statistical inefficiency g of
    the potential energy in frames, or None where the run is too short to estimate one (all frames kept).
    """

    frames: NDArray[np.int64]
    inefficiency: float | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "frames", frozen(self.frames, np.int64))


def sample(
    system: openmm.System,
    positions: ArrayLike,
    spec: SampleSpec,
    *,
    box: ArrayLike | None = None,
    platform: str = "auto",
    threads: int | None = None,
    on_done: Callable[[int], None] = lambda n: None,
) -> Trajectory:
    """Run Langevin dynamics and keep frames.

    Parameters
    ----------
    system
        OpenMM system, flexible but for rigid water.
    positions
        Start, shape ``(atoms, 3)``, bohr.
    spec
        What to run.
    box
        Periodic box of the start, rows in bohr; None takes that of the system.
    platform, threads
        Where to run, as for `openmm_platform`.
    on_done
        Called with the steps done so far, equilibration included.

    Raises
    ------
    InputError
        If the system has constraints or the start cannot be run from.
    ConvergenceError
        If the dynamics blows up.
    """
    context = langevin_context(
        system,
        positions,
        temperature_k=spec.temperature_k,
        step_fs=spec.step_fs,
        friction_per_ps=spec.friction_per_ps,
        seed=spec.seed,
        box=box,
        pressure_bar=spec.pressure_bar,
        platform=platform,
        threads=threads,
    )
    if spec.minimise:
        minimise(context, spec.minimise, spec.temperature_k, spec.seed)
    done = 0
    while done < spec.n_equilibration:
        chunk = min(spec.stride, spec.n_equilibration - done)
        advance(context, chunk, spec.temperature_k)
        done += chunk
        on_done(done)
    frames, energies, boxes = [], [], []
    for _ in range(spec.n_frames):
        advance(context, spec.stride, spec.temperature_k)
        frames.append(read_positions(context))
        energies.append(potential_kt(context, spec.temperature_k))
        boxes.append(read_box(context))
        done += spec.stride
        on_done(done)
    return Trajectory(
        np.array(frames),
        np.array(energies),
        spec,
        engine_versions(context),
        boxes=np.array(boxes) if system.usesPeriodicBoundaryConditions() else None,
    )


def decorrelated(trajectory: Trajectory) -> Decorrelation:
    """Pick frames one statistical inefficiency of the potential energy apart.

    Chodera et al., J. Chem. Theory Comput. 3, 26 (2007), as pymbar has it. The estimate presumes a
    run much longer than the correlation time; below four frames, or where the energy never
    changes, none is made.
    """
    energies = trajectory.potential
    if len(energies) < 4 or np.ptp(energies) == 0.0:
        return Decorrelation(np.arange(len(energies)), None)
    os.environ.setdefault("PYMBAR_DISABLE_JAX", "1")
    from pymbar import timeseries

    g = float(timeseries.statistical_inefficiency(energies))
    return Decorrelation(np.asarray(timeseries.subsample_correlated_data(energies, g=g), np.int64), g)
