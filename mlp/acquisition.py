"""Which frames to label next: a committee's predictions in, frames in order of what they would teach out.

Nothing here labels or fits: `drupe.freeenergy.learning.active_learning` has the loop that does. Atomic units.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.mlp.committee import Committee
from drupe.mlp.electrostatics import field_at
from drupe.mlp.evaluation import evaluate
from drupe.mlp.potential import Potential, StoredPotential
from drupe.records import frozen, register

__all__ = ["QUANTITIES", "Geometry", "Quantity", "Scores", "choose", "score"]

Quantity = Literal["force", "energy"]
QUANTITIES = ("force", "energy")

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Geometry:
    """One frame: ``qm`` and ``mm`` positions ``(n, 3)`` in bohr, ``charges`` (e) and residues of the latter.

    ``groups`` may be None for potentials that feel all charges; ``border_atoms`` rows of the border atoms
    among the charges, for potentials with link atoms.
    """

    qm: Array
    mm: Array
    charges: Array
    groups: NDArray[np.int64] | None = None
    border_atoms: NDArray[np.int64] | None = None


@register(version=1)
@dataclass(frozen=True, eq=False)
class Scores:
    """What a committee makes of frames.

    ``spread`` ``(frames,)`` is the disagreement of the members, hartree/bohr for forces (root mean square
    over the components of a frame) and hartree for energies; ``places`` ``(frames, k)`` says where the
    frames lie: inverse distances inside the molecule and the potential of the surroundings at its atoms,
    each divided by its standard deviation over the frames.
    """

    spread: Array
    places: Array

    def __post_init__(self) -> None:
        for name in ("spread", "places"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
        if not np.isfinite(self.spread).all() or (self.spread < 0).any():
            raise InputError(
                "the spread of a committee is not a finite number for every frame",
                remedy="score with a committee of at least two members, on frames without overlapping atoms",
            )


def score(
    committee: Committee,
    frames: Sequence[Geometry],
    *,
    quantity: Quantity = "force",
    base: Committee | None = None,
) -> Scores:
    """Disagreement of a committee at each frame, and where the frames lie.

    Parameters
    ----------
    committee
        At least two members.
    frames
        Frames of the committee's molecule.
    quantity
        What the members are compared in: what the labels will tell.
    base
        The low-level committee that ``committee`` was carried from: members are then compared in their
        corrections, high minus low, because the spread that both share says nothing about the labels of
        the high level.

    Raises
    ------
    InputError
        If there is one member only, ``base`` has another number of them, or energies are to be compared
        that no label had.
    """
    if len(committee.members) < 2:
        raise InputError(
            "one potential has no spread", remedy="train a committee of at least two, better four, members"
        )
    if base is not None and len(base.members) != len(committee.members):
        raise InputError(
            f"{len(committee.members)} members were carried from {len(base.members)}",
            remedy="give the committee whose members were transferred, in their order",
        )
    if quantity == "energy" and committee.header.energies == "none":
        raise InputError(
            "members that learned from forces only have energies of arbitrary zeros that cannot be compared",
            remedy='compare them in forces: quantity="force"',
        )
    made = [_predict(stored, frames, quantity) for stored in committee.members]
    if base is not None:
        made = [high - _predict(low, frames, quantity) for high, low in zip(made, base.members, strict=True)]
    deviation = np.std(made, axis=0, ddof=1)
    width = committee.header.damping
    return Scores(np.sqrt((deviation**2).mean(axis=1)), _places(frames, width))


def choose(scores: Scores, taken: Collection[int], count: int = 1) -> list[int]:
    """Take frames one by one, where the spread times the distance to all that were taken is largest.

    Frames whose labels are on their way count as taken: what they will tell is not asked for twice.

    Parameters
    ----------
    scores
        From `score`.
    taken
        Frames that are labelled, asked for, or cannot be labelled.
    count
        How many to choose.

    Returns
    -------
    list of int
        At most ``count`` frames; fewer when no more are left.
    """
    gone = np.zeros(len(scores.spread), bool)
    gone[list(taken)] = True
    nearest = np.full(len(gone), np.inf)
    for frame in sorted(taken):
        nearest = np.minimum(nearest, _distances(scores.places, frame))
    chosen: list[int] = []
    for _ in range(min(count, int((~gone).sum()))):
        # Before anything is taken all are equally far.
        worth = scores.spread * np.where(np.isinf(nearest), 1.0, nearest)
        best = int(np.argmax(np.where(gone, -1.0, worth)))
        chosen.append(best)
        gone[best] = True
        nearest = np.minimum(nearest, _distances(scores.places, best))
    return chosen


def _predict(stored: StoredPotential, frames: Sequence[Geometry], quantity: Quantity) -> Array:
    """Energies ``(frames, 1)`` or forces on the QM atoms ``(frames, 3 qm)`` of one member."""
    potential = Potential.from_stored(stored)
    rows = []
    for frame in frames:
        given = frame.qm, frame.mm, frame.charges, frame.groups, frame.border_atoms
        made = evaluate(potential, *given, fixed_coulomb=True)
        rows.append(made.energies if quantity == "energy" else made.forces_qm.ravel())
    return np.array(rows)


def _places(frames: Sequence[Geometry], width: float) -> Array:
    inside, around = [], []
    for frame in frames:
        i, j = np.triu_indices(len(frame.qm), 1)
        inside.append(1 / np.linalg.norm(frame.qm[i] - frame.qm[j], axis=1))
        qm, mm, charges = (torch.from_numpy(np.array(a)) for a in (frame.qm, frame.mm, frame.charges))
        around.append(field_at(qm, mm, charges, width).potential.numpy())
    return np.hstack([_scaled(np.array(inside)), _scaled(np.array(around))])


def _scaled(table: Array) -> Array:
    """Columns of unit variance, the whole table of unit weight; columns that never change are left out."""
    deviation = table.std(axis=0)
    moving = deviation > 1e-9 * (np.abs(table).max(initial=0.0) + 1e-30)
    scaled: Array = table[:, moving] / deviation[moving] / np.sqrt(max(1, int(moving.sum())))
    return scaled


def _distances(places: Array, frame: int) -> Array:
    found: Array = np.linalg.norm(places - places[frame], axis=1)
    return found
