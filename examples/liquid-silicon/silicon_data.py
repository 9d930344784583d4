"""Frames of one periodic cell: an npz file in (angstrom, eV), frames and splits out (bohr, hartree).

The file's frames are shuffled: those of the study are two runs, with neighbours in time that are 10 fs and
5 fs apart, in no order. A split into stretches needs the order back. It follows from the positions: atoms
move a few tenths of an angstrom between neighbours in time, and by angstroms between any other two frames.
Neither times nor temperatures are in the file; both follow from positions and forces (`Kinetics`).
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import units
from ase.data import atomic_masses
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from drupe.errors import InputError
from drupe.records import content_key, frozen
from drupe.units import angstrom, ev

__all__ = [
    "SPLITS",
    "Frames",
    "Kinetics",
    "Split",
    "distances",
    "in_time",
    "kinetics",
    "read_frames",
    "runs_of",
    "split_frames",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

SPLITS = ("block", "random")
HELD_OUT = 0.2  # of the frames
GAP = 10  # frames next to a stretch that is held out and belong to neither side
_JUMP = 1.0  # angstrom, rms: frames farther apart than this are no neighbours in time
_FIELDS = ("numbers", "positions_angstrom", "energy_ev", "forces_ev_per_angstrom", "cell_angstrom")


@dataclass(frozen=True, eq=False)
class Frames:
    """Labels of one cell.

    ``numbers`` ``(atoms,)``; ``positions`` ``(frames, atoms, 3)`` bohr; ``energy`` ``(frames,)`` hartree;
    ``forces`` ``(frames, atoms, 3)`` hartree/bohr; ``box`` vectors as rows ``(3, 3)`` bohr.
    """

    numbers: Indices
    positions: Array
    energy: Array
    forces: Array
    box: Array

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            kind = np.int64 if name == "numbers" else np.float64
            object.__setattr__(self, name, frozen(getattr(self, name), kind))
        frames, atoms = len(self.positions), self.numbers.size
        each = (frames, atoms, 3)
        shapes = {"numbers": (atoms,), "positions": each, "forces": each, "energy": (frames,), "box": (3, 3)}
        for name, shape in shapes.items():
            found = getattr(self, name)
            if found.shape != shape:
                raise InputError(
                    f"{name} of shape {found.shape}, where {frames} frames of {atoms} atoms have {shape}",
                    remedy=f"give an npz file with {', '.join(_FIELDS)}",
                )
            if not np.isfinite(found).all():
                raise InputError(
                    f"{name} hold values that are no numbers", remedy="leave the frames they belong to out"
                )
        if not abs(np.linalg.det(self.box)) > 0:
            raise InputError("the box vectors span no volume", remedy="give three rows, angstrom")

    @property
    def key(self) -> str:
        """Content name."""
        return content_key("Frames", {name: getattr(self, name) for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Kinetics:
    """What positions and forces tell of a run: fs between its frames, and its kinetic temperature, kelvin."""

    step_fs: float
    temperature_k: float


@dataclass(frozen=True, eq=False)
class Split:
    """Frames to fit and frames to judge by; what is in neither is too near in time to both."""

    train: Indices
    held_out: Indices


def read_frames(path: Path) -> Frames:
    """Read the npz file.

    Raises
    ------
    InputError
        If the file is no npz file, or an array is missing or has another shape.
    """
    try:
        opened = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is no npz file: {error}", remedy=f"give one with {', '.join(_FIELDS)}"
        ) from error
    if not isinstance(opened, np.lib.npyio.NpzFile):
        raise InputError(f"{path} holds a single array", remedy=f"give an npz file with {', '.join(_FIELDS)}")
    with opened as found:
        missing = [name for name in _FIELDS if name not in found]
        if missing:
            raise InputError(f"{path} has no {', '.join(missing)}", remedy=f"it needs {', '.join(_FIELDS)}")
        numbers, place, energy, forces, box = (found[name] for name in _FIELDS)
    return Frames(numbers, place * angstrom, energy * ev, forces * (ev / angstrom), box * angstrom)


def runs_of(frames: Frames) -> list[Indices]:
    """Frames that belong together, in no order: chains of frames closer than any two runs are."""
    return _parts(distances(frames.positions, frames.box) / angstrom)


def _parts(apart: Array) -> list[Indices]:
    count, run = connected_components(np.where(apart < _JUMP, apart, 0.0), directed=False)
    return [np.flatnonzero(run == name) for name in range(count)]


def kinetics(frames: Frames, run: Indices) -> Kinetics:
    """Times and temperature of a run whose frames are in order.

    Second differences of positions are F dt^2 / m, which gives dt; first differences over dt are velocities.
    Of an oscillator both miss the same factor sin(w dt / 2) / (w dt / 2), so that it drops out of the
    temperature; the time comes out short by it, 4 % at 10 fs in silicon.

    Parameters
    ----------
    frames
        All of them.
    run
        Neighbours in time, as `in_time` gives them. Where frames are missing nothing is taken.
    """
    mass = atomic_masses[frames.numbers][:, None]  # u
    moved = np.diff(frames.positions[run], axis=0)
    moved = (moved - np.rint(moved @ np.linalg.inv(frames.box)) @ frames.box) / angstrom
    length = np.sqrt((moved**2).sum(-1).mean(-1))
    whole = length < 1.3 * np.median(length)
    both = whole[1:] & whole[:-1]
    second = (moved[1:] - moved[:-1])[both]
    pull = frames.forces[run][1:-1][both] * (angstrom / ev) / mass  # eV/A/u
    step = np.sqrt((second * pull).sum() / (pull**2).sum())  # in A sqrt(u/eV)
    twice = (mass * moved[whole] ** 2).mean() / step**2
    return Kinetics(float(step / units.fs), float(twice / units.kB))


def in_time(frames: Frames) -> list[Indices]:
    """Frames of each run in the order of time, the direction of which positions do not tell.

    Neighbours in time are the nearest in position, so each run is the shortest tree through its frames,
    and that tree is a path.

    Raises
    ------
    InputError
        If it is not: the frames are too far apart, or of more than one cell.
    """
    apart = distances(frames.positions, frames.box) / angstrom
    runs = []
    for rows in _parts(apart):
        if len(rows) < 3:
            runs.append(rows)
            continue
        tree = minimum_spanning_tree(apart[np.ix_(rows, rows)])
        degree = np.bincount(np.concatenate(tree.nonzero()), minlength=len(rows))
        if degree.max() > 2:
            raise InputError(
                f"{int((degree > 2).sum())} of {len(rows)} frames have more than two nearest neighbours",
                remedy="the frames are too far apart to be put in the order of time: use --split random",
            )
        order = breadth_first_order(tree, int((degree == 1).argmax()), directed=False)[0]
        runs.append(rows[order].astype(np.int64))
    return runs


def split_frames(frames: Frames, kind: str, seed: int) -> Split:
    """Hold a fifth of the frames out.

    Parameters
    ----------
    frames
        All of them.
    kind
        ``"random"``: any frames, most with a neighbour in time among those that are fitted; ``"block"``: one
        stretch of each run, with a gap of ten frames before and after.
    seed
        Which ones.
    """
    rng = np.random.default_rng([seed, SPLITS.index(kind)])
    count = len(frames.energy)
    if kind == "random":
        order = rng.permutation(count)
        held = round(HELD_OUT * count)
        return Split(np.sort(order[held:]), np.sort(order[:held]))
    train, chosen = [], []
    for run in in_time(frames):
        size = round(HELD_OUT * len(run))
        first = int(rng.integers(0, len(run) - size + 1))
        chosen.append(run[first : first + size])
        train += [run[: max(first - GAP, 0)], run[first + size + GAP :]]
    if not sum(map(len, train)) or not sum(map(len, chosen)):
        raise InputError(
            f"{count} frames are too few for stretches with gaps of {GAP} frames around them",
            remedy="give more frames, or use --split random",
        )
    return Split(np.sort(np.concatenate(train)), np.sort(np.concatenate(chosen)))


def distances(positions: Array, box: Array) -> Array:
    """Root-mean-square displacements between frames, nearest images, ``(frames, frames)``, bohr."""
    inverse = np.linalg.inv(box)
    made = np.zeros((len(positions), len(positions)))
    for k in range(len(positions)):
        moved = positions[k + 1 :] - positions[k]
        moved -= np.rint(moved @ inverse) @ box
        made[k, k + 1 :] = np.sqrt((moved**2).sum(-1).mean(-1))
    return np.asarray(made + made.T)
