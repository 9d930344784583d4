"""How sure a potential is while OpenMM runs: a reporter that collects frames, stops runaways (hartree, bohr).

The members' energies and the evaluation they came from lie in the force's memory: nothing is evaluated twice.
A frame is collected, whole or not at all, when the members disagree more than one limit; beyond
another limit it is collected too, and the run ends with an error. Frames whose atoms clash are never
collected. Choosing among the frames is `drupe.mlp.acquisition`'s.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drupe.errors import ConvergenceError, InputError
from drupe.files import write_whole
from drupe.mlp.force import Asked, Memory, learned_forces
from drupe.records import frozen, pack, record_key, register, unpack
from drupe.units import angstrom, ev, kcal_per_mol, nanometer

if TYPE_CHECKING:
    import openmm
    from openmm import app

__all__ = ["Monitor", "MonitorSpec", "Spread", "UncertainFrame", "read_candidates", "uncertainty"]

_LEAST_STEPS = 5  # between two frames that are looked at
_SAME_PLACE = 1e-3 * nanometer  # single precision in a large box is far better


class Spread(NamedTuple):
    """How far the members of a committee disagree, and how far the frame is from their training set.

    ``energy`` calibrated standard error, hartree; ``forces`` ``(qm,)`` hartree/bohr, for each QM atom the
    length of the vector of standard deviations of its force's components, calibrated (the epistemic part of
    `Prediction.forces_qm_error`, for the vector); ``novelty`` as in `drupe.mlp.prediction.Prediction`, nan
    where the model has no record of its training set.
    """

    energy: float
    forces: NDArray[np.float64]
    novelty: float


def _without_novelty(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew no distance from the training set."""
    return fields


@register(version=2, upgrades={1: _without_novelty})
@dataclass(frozen=True)
class MonitorSpec:
    """When to collect a frame and when to stop.

    Parameters
    ----------
    collect_force, stop_force
        hartree/bohr: limits for the largest of `Spread.forces`. Three and ten times the error on held-out
        labels are usual, where the committee is calibrated.
    collect_energy, stop_energy
        hartree: limits for `Spread.energy`; None for none. A limit to stop acts also without one to collect.
    every
        Steps between two looks, at least 5.
    closest
        bohr: a frame with an atom nearer than this to one of the molecule is not collected, as it could
        not be labelled; a limit to stop ends the run there too.
    collect_novelty, stop_novelty
        Limits for `Spread.novelty`; 1 is the edge of the training set. None for none.
    """

    collect_force: float
    stop_force: float
    collect_energy: float | None = None
    stop_energy: float | None = None
    every: int = 20
    closest: float = 0.65 * angstrom
    collect_novelty: float | None = None
    stop_novelty: float | None = None

    def __post_init__(self) -> None:
        pairs = (
            (self.collect_force, self.stop_force),
            (self.collect_energy, self.stop_energy),
            (self.collect_novelty, self.stop_novelty),
        )
        limits = [[one for one in pair if one is not None] for pair in pairs]
        wrong = any(not 0 < one < np.inf for given in limits for one in given)
        if wrong or any(given != sorted(set(given)) for given in limits) or self.every < _LEAST_STEPS:
            raise InputError(
                f"limits to collect and to stop {limits}, every {self.every} steps",
                remedy=f"give positive limits, the one to stop above the other, and {_LEAST_STEPS} steps",
            )


@register(version=2, upgrades={1: _without_novelty})
@dataclass(frozen=True, eq=False)
class UncertainFrame:
    """A frame worth a label.

    ``step`` of the run; ``positions`` ``(atoms, 3)`` of all atoms, ``box`` ``(3, 3)`` or None, bohr;
    ``energy`` (hartree) and ``force`` (largest, hartree/bohr) the spread there; ``model`` key of the
    committee; ``novelty`` as in `Spread`.
    """

    step: int
    positions: NDArray[np.float64]
    box: NDArray[np.float64] | None
    energy: float
    force: float
    model: str
    novelty: float = float("nan")

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", frozen(self.positions, np.float64))
        if self.box is not None:
            object.__setattr__(self, "box", frozen(self.box, np.float64))


class Monitor:
    """An OpenMM reporter: ``simulation.reporters.append(Monitor("candidates", MonitorSpec(...)))``.

    Parameters
    ----------
    folder
        Where candidates go, one file each, written whole; made if it is not there.
    spec
        When to collect and when to stop.
    atoms
        Of the molecule to look at, all of them or some; needed where the system holds several learned forces.

    Raises
    ------
    InputError
        At the first report, if the system holds no learned force of these atoms or several, or a committee of
        one, or there are limits for novelty and the model does not know its training set.
    ConvergenceError
        While running, if the spread passes a limit to stop. The frame is collected first, unless its atoms
        clash (``spec.closest``).
    """

    def __init__(self, folder: str | Path, spec: MonitorSpec, atoms: Collection[int] | None = None) -> None:
        self.folder, self.spec, self.atoms = Path(folder), spec, atoms
        self.folder.mkdir(parents=True, exist_ok=True)
        #: Spread at the last report.
        self.last: Spread | None = None
        self._force: tuple[Memory, tuple[int, ...]] | None = None

    def describeNextReport(self, simulation: "app.Simulation") -> dict[str, Any]:
        """Tell OpenMM when to report; the energy is asked for so that the force is at these positions."""
        steps = self.spec.every - simulation.currentStep % self.spec.every
        return {"steps": steps, "periodic": False, "include": ["positions", "energy"]}

    def report(self, simulation: "app.Simulation", state: "openmm.State") -> None:
        """Look at the frame; called by OpenMM."""
        from openmm import unit

        if self._force is None:
            self._force = _only_force(simulation.system, self.atoms)
            self._check_limits(self._force[0])
        force, particles = self._force
        asked = _asked(force, particles, state)
        spread = self.last = _spread_of(force, asked)
        largest = float(spread.forces.max())
        spec = self.spec
        found = (largest, spread.energy, spread.novelty)
        stop = _beyond(found, (spec.stop_force, spec.stop_energy, spec.stop_novelty))
        if not stop and not _beyond(found, (spec.collect_force, spec.collect_energy, spec.collect_novelty)):
            return
        near = _closest(asked, len(spread.forces))
        clash = not near >= spec.closest
        if not clash:
            place = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
            key = force.committee.key
            frame = UncertainFrame(
                simulation.currentStep,
                np.array(place) * nanometer,
                asked.box,
                spread.energy,
                largest,
                key,
                spread.novelty,
            )
            name = f"{frame.step:012d}-{record_key(frame)[-8:]}.candidate"
            write_whole(self.folder / name, pack(frame))
        if stop:
            told = (
                f"{largest / ev * angstrom:.2f} eV/A in a force, {spread.energy / kcal_per_mol:.2f} kcal/mol"
            )
            raise ConvergenceError(
                f"the run left what the potential knows at step {simulation.currentStep}: the members "
                f"disagree by {told} in the energy, the novelty is {spread.novelty:.1f} (1: edge of the "
                f"training set); the nearest two atoms are {near / angstrom:.2f} A apart"
                + (", too near to label: this frame was not collected" if clash else ""),
                remedy="go back to an earlier frame, or train again with labels of earlier frames that were "
                f"collected in {self.folder}"
                if clash
                else f"label the frames in {self.folder} and train again, or go back to an earlier frame",
            )

    def _check_limits(self, force: Memory) -> None:
        limits = (self.spec.collect_energy, self.spec.stop_energy)
        if limits != (None, None) and force.committee.header.energies == "none":
            raise InputError(
                "the monitor has limits for energies, and no label of the model had one",
                remedy="leave these limits out: forces and novelty can be watched",
            )
        asked = (self.spec.collect_novelty, self.spec.stop_novelty) != (None, None)
        known = force.committee.novelty
        if asked and (known is None or not np.isfinite(known.edge)):
            frames = "no record" if known is None else f"{known.frames} frames, too few for an edge,"
            raise InputError(
                f"the monitor has limits for novelty, and the model has {frames} of its training set",
                remedy="train it again with this version on 19 labels or more, or save "
                "committee.referred_to(dataset); or leave these limits out",
            )


def read_candidates(folder: str | Path) -> tuple[UncertainFrame, ...]:
    """Read what a `Monitor` has collected so far, in the order of steps.

    Raises
    ------
    InputError
        If there is no such folder, or a file is not a candidate.
    """
    if not Path(folder).is_dir():
        raise InputError(f"there is no folder {folder}", remedy="give the folder of a Monitor")
    found = []
    for path in sorted(Path(folder).glob("*.candidate")):
        one = unpack(path.read_bytes())
        if not isinstance(one, UncertainFrame):
            raise InputError(f"{path} holds a {type(one).__name__}", remedy="give the folder of a Monitor")
        found.append(one)
    return tuple(found)


def uncertainty(simulation: "app.Simulation", atoms: Collection[int] | None = None) -> Spread:
    """Disagreement of the members at the present positions of a simulation.

    Parameters
    ----------
    simulation
        Its system holds a learned force.
    atoms
        As in `Monitor`.

    Raises
    ------
    InputError
        If its system holds no learned force of these atoms or several, or a committee of one.
    """
    force, particles = _only_force(simulation.system, atoms)
    state = simulation.context.getState(positions=True, energy=True)
    return _spread_of(force, _asked(force, particles, state))


def _only_force(system: "openmm.System", atoms: Collection[int] | None) -> tuple[Memory, tuple[int, ...]]:
    every = learned_forces(system)
    wanted = set() if atoms is None else {int(i) for i in atoms}
    found = [(one, mine) for one, mine in every if wanted <= set(mine[: one.n_atoms])]
    if len(found) != 1:
        told = "; ".join(str(list(mine[: one.n_atoms])) for one, mine in every)
        raise InputError(
            f"the system holds {len(found)} learned forces"
            + (f" of the atoms {sorted(wanted)}" if wanted else "")
            + (f"; all that it holds are of the atoms {told}" if every else ""),
            remedy="give atoms=... of one of them, to uncertainty or to Monitor"
            if every
            else 'give a system made by MLPotential("drupe", ...).createMixedSystem',
        )
    if len(found[0][0].committee.members) < 2:
        raise InputError(
            "one potential has no spread", remedy="train a committee of at least two, better four, members"
        )
    return found[0]


def _asked(force: Memory, particles: tuple[int, ...], state: "openmm.State") -> Asked:
    """What the force worked out for this State."""
    from openmm import unit

    asked = force.asked
    place = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    off = np.inf
    if asked is not None:
        chosen = np.array(place)[list(particles)] * nanometer
        moved = chosen - asked.positions
        if asked.box is not None:
            moved = moved - np.rint(moved @ np.linalg.inv(asked.box)) @ asked.box
        off = float(np.abs(moved).max())
    if asked is None or not off <= _SAME_PLACE:
        raise InputError(
            "the learned force was not evaluated at the positions of this State",
            remedy="report from the Simulation whose System holds the force, with the energy in the State",
        )
    return asked


def _spread_of(force: Memory, asked: Asked) -> Spread:
    scale = force.committee.calibration.forces_qm.epistemic
    deviation = scale * np.linalg.norm(asked.member_forces.std(axis=0, ddof=1), axis=1)
    energy = float(force.committee.energy_error(asked.made).sigma)
    return Spread(energy, deviation, force.committee.novelty_of(asked.made))


def _closest(asked: Asked, count: int) -> float:
    """Smallest distance between a QM atom and any other particle of the force, bohr."""
    inner = asked.placed[:count]
    apart = np.linalg.norm(inner[:, None] - asked.placed, axis=2)
    apart[np.arange(count), np.arange(count)] = np.inf
    return float(apart.min())


def _beyond(values: tuple[float, ...], limits: tuple[float | None, ...]) -> bool:
    return any(limit is not None and value > limit for value, limit in zip(values, limits, strict=True))
