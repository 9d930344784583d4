"""Search for Boresch anchors: a free trajectory of a complex (bohr) in, six atoms with rest values out.

Every set of three bonded ligand atoms and three bonded receptor atoms (backbone where there is
one) near the ligand is measured; the set with the smallest configurational volume wins.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.embedding.regions.periodic import gather
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.units import angstrom, kcal_per_mol, kt

__all__ = ["Anchors", "boresch_coordinates", "search"]

_reach = 12.0 * angstrom  # of R1 from the ligand's centre
_nearest = 3.0 * angstrom  # R1-L1 not shorter than this
_straight = np.radians(25.0)  # three anchors of one side may not be closer to a line
# Force constants: a prior of a typical tight binder worth ten frames, then hard bounds. Short runs
# see too little motion, and unbounded constants would freeze the ligand.
_prior_frames = 10.0
_prior = np.array([10.0 / angstrom**2, 40.0, 40.0, 40.0, 40.0, 40.0]) * kcal_per_mol
_least = np.array([2.0 / angstrom**2, 10.0, 10.0, 10.0, 10.0, 10.0]) * kcal_per_mol
_most = np.array([25.0 / angstrom**2, 100.0, 100.0, 100.0, 100.0, 100.0]) * kcal_per_mol
_least_edge = np.radians(45.0)  # of the two restrained angles: short runs overrate how stiff they are
_wall = 10.0  # kT at which an angle restraint must still be away from 0 and pi


@dataclass(frozen=True, eq=False)
class Anchors:
    """The best set found, in the order of `boresch_coordinates`.

    Fields: ``atoms`` R3, R2, R1, L1, L2, L3, shape ``(6,)``; ``center`` rest values, shape ``(6,)``,
    bohr and rad; ``k`` force constants for E = k/2 x^2, shape ``(6,)``, hartree/bohr^2 and hartree/rad^2.
    """

    atoms: NDArray[np.int64]
    center: NDArray[np.float64]
    k: NDArray[np.float64]


def search(
    system: MolecularSystem,
    members: NDArray[np.int64],
    frames: NDArray[np.float64],
    temperature_k: float,
    boxes: NDArray[np.float64] | None = None,
) -> Anchors:
    """Find the safe set of anchors with the smallest configurational volume.

    Parameters
    ----------
    system
        The complex.
    members
        Indices of the ligand's atoms.
    frames
        Unrestrained motion, shape ``(frames, atoms, 3)``, bohr.
    temperature_k
        Kelvin.
    boxes
        Periodic box of each frame, shape ``(frames, 3, 3)``, bohr; None without one.

    Raises
    ------
    InputError
        If shapes disagree, or no set of anchors is safe.
    """
    _check(frames, members, system)
    if boxes is not None:
        frames = _near_the_ligand(system, members, frames, boxes)
    sets = _candidates(system, members, frames[0])
    center, variance = _moments(boresch_coordinates(frames[:, sets, :]))
    thermal = kt(temperature_k)
    count = len(frames)
    shrunk = ((count - 1) * variance + _prior_frames * thermal / _prior) / (count - 1 + _prior_frames)
    k = np.clip(thermal / shrunk, _least, _most)
    log_volume = (
        2 * np.log(center[:, 0])
        + np.log(np.abs(np.sin(center[:, 1:3]))).sum(axis=1)
        - 0.5 * np.log(k).sum(axis=1)
    )
    edge = np.minimum(center[:, 1:3], np.pi - center[:, 1:3])
    safe = (0.5 * k[:, 1:3] * edge**2 >= _wall * thermal).all(axis=1)
    safe &= (edge >= _least_edge).all(axis=1) & (center[:, 0] >= _nearest)
    if not safe.any():
        raise InputError(
            f"none of {len(sets)} sets of anchors keeps its angles 10 kT away from 0 and pi",
            remedy="give a longer trajectory of the bound ligand, or write the restraint yourself",
        )
    best = int(np.flatnonzero(safe)[log_volume[safe].argmin()])
    return Anchors(sets[best], center[best], k[best])


def boresch_coordinates(six: ArrayLike) -> NDArray[np.float64]:
    """Distance (unit of the input), two angles and three dihedrals (rad) of six points.

    Parameters
    ----------
    six
        Points R3, R2, R1, L1, L2, L3, shape ``(..., 6, 3)``.

    Returns
    -------
    NDArray
        Shape ``(..., 6)``; dihedrals in (-pi, pi].
    """
    x = np.asarray(six, np.float64)
    p = [x[..., n, :] for n in range(6)]
    distance = np.linalg.norm(p[3] - p[2], axis=-1)
    angles = [_angle(p[1], p[2], p[3]), _angle(p[2], p[3], p[4])]
    return np.stack([distance, *angles, *(_dihedral(*p[n : n + 4]) for n in range(3))], axis=-1)


def _check(frames: NDArray[np.float64], members: NDArray[np.int64], system: MolecularSystem) -> None:
    if frames.ndim != 3 or frames.shape[1:] != (system.n_atoms, 3) or len(frames) < 2:
        raise InputError(
            f"the trajectory has shape {frames.shape} for {system.n_atoms} atoms",
            remedy=f"pass at least two frames, shape (frames, {system.n_atoms}, 3), in bohr",
        )
    if not np.isfinite(frames).all():
        raise InputError("the trajectory holds positions that are not finite", remedy="sample it again")
    if len(members) < 3 or len(set(members.tolist())) != len(members) or members.max() >= system.n_atoms:
        raise InputError(
            f"the ligand is given as {len(members)} indices", remedy="name at least three different atoms"
        )


def _near_the_ligand(
    system: MolecularSystem,
    members: NDArray[np.int64],
    frames: NDArray[np.float64],
    boxes: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Frames with molecules in one piece, at the image nearest to the ligand: a barostat wraps them."""
    if boxes.shape != (len(frames), 3, 3):
        raise InputError(
            f"{len(frames)} frames come with boxes of shape {boxes.shape}",
            remedy="pass one box of three rows per frame, in bohr",
        )
    place = [
        gather(system.with_positions(frame).with_box(box), members).positions
        for frame, box in zip(frames, boxes, strict=True)
    ]
    return np.array(place)


def _candidates(
    system: MolecularSystem, members: NDArray[np.int64], first: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Index sets R3, R2, R1, L1, L2, L3, shape ``(sets, 6)``."""
    inside = np.zeros(system.n_atoms, bool)
    inside[members] = True
    heavy = system.numbers > 1
    near = np.linalg.norm(first - first[members].mean(axis=0), axis=1) < _reach
    backbone = np.isin(np.array(system.atom_names), ("N", "CA", "C")) & ~inside
    pool = heavy & near & ~inside & (backbone if backbone.any() else True)
    hosts = [path for path in _paths(system, pool) if _bent(first[list(path)])]
    guests = [path for path in _paths(system, heavy & inside) if _bent(first[list(path)])]
    if not hosts or not guests:
        raise InputError(
            f"there are {len(hosts)} receptor and {len(guests)} ligand triples of bonded heavy atoms",
            remedy="write the restraint yourself: this ligand or receptor is too small for the search",
        )
    return np.array([(*reversed(host), *guest) for host, guest in itertools.product(hosts, guests)], np.int64)


def _paths(system: MolecularSystem, pool: NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """Chains of three bonded atoms of ``pool``, in both directions."""
    near: dict[int, list[int]] = {}
    for i, j in system.bonds:
        if pool[i] and pool[j]:
            near.setdefault(int(i), []).append(int(j))
            near.setdefault(int(j), []).append(int(i))
    for middle, ends in near.items():
        yield from ((first, middle, last) for first, last in itertools.permutations(ends, 2))


def _bent(three: NDArray[np.float64]) -> bool:
    u, v = three[0] - three[1], three[2] - three[1]
    angle = np.arctan2(np.linalg.norm(np.cross(u, v)), u @ v)
    return bool(_straight < angle < np.pi - _straight)


def _moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and variances over frames, circular for the dihedrals; each shape ``(sets, 6)``."""
    center = values.mean(axis=0)
    center[:, 3:] = np.angle(np.exp(1j * values[..., 3:]).mean(axis=0))
    off = values - center
    off[..., 3:] -= 2 * np.pi * np.round(off[..., 3:] / (2 * np.pi))
    return center, (off**2).sum(axis=0) / max(len(values) - 1, 1)


def _angle(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> NDArray[np.float64]:
    u, v = a - b, c - b
    return np.asarray(np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), np.einsum("...x,...x->...", u, v)))


def _dihedral(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], d: NDArray[np.float64]
) -> NDArray[np.float64]:
    """IUPAC sign, the same as OpenMM's: cis is 0, trans is pi."""
    b1, b2, b3 = b - a, c - b, d - c
    n1, n2 = np.cross(b1, b2), np.cross(b2, b3)
    sine = np.einsum("...x,...x->...", b1, n2) * np.linalg.norm(b2, axis=-1)
    return np.asarray(np.arctan2(sine, np.einsum("...x,...x->...", n1, n2)))
