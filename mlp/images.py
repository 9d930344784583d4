"""Nearest images: positions and box vectors (bohr) in, a whole molecule among its nearest groups out.

OpenMM may hand over positions in any image, atom by atom. The QM atoms are joined along a tree of bonds;
each group of charges is made whole around its first charge and moved, whole, to its image nearest to the
middle of the molecule. With a box at least as high as twice the reach plus the molecule's extent, that image
is the only one that can act, in orthorhombic and triclinic boxes alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.records import frozen
from drupe.units import angstrom

__all__ = ["Images", "box_heights", "tree_of_bonds"]

Matrix = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Images:
    """How the atoms of a periodic system belong together.

    ``parents`` (qm,): the QM atom each one is joined to, -1 for the first (`tree_of_bonds`);
    ``groups`` (mm,) rising numbers of the groups of charges; ``reach`` bohr, or None where no charges are;
    ``ties`` (ties, 2) a QM atom and a charge near it in one molecule, whose residue goes with that atom.
    """

    parents: Indices
    groups: Indices
    reach: float | None
    ties: Indices = field(default_factory=lambda: np.zeros((0, 2), np.int64))

    def __post_init__(self) -> None:
        object.__setattr__(self, "parents", frozen(self.parents, np.int64))
        object.__setattr__(self, "groups", frozen(self.groups, np.int64))
        object.__setattr__(self, "ties", frozen(self.ties, np.int64))

    @cached_property
    def _ancestors(self) -> Indices:
        """Who is on the way from each QM atom to the first, itself included, ``(qm, qm)``."""
        found = np.zeros((len(self.parents),) * 2, np.int64)
        for atom in range(len(found)):
            step = atom
            while step >= 0:
                found[atom, step] = 1
                step = int(self.parents[step])
        return found

    @cached_property
    def _starts(self) -> Indices:
        return np.flatnonzero(np.diff(self.groups, prepend=-1))

    @cached_property
    def _sizes(self) -> Indices:
        return np.diff(self._starts, append=len(self.groups))

    def place(self, positions: Matrix, box: Matrix) -> Matrix:
        """Move atoms by box vectors.

        Parameters
        ----------
        positions
            QM atoms, then charges, shape ``(qm + mm, 3)``, bohr.
        box
            Box vectors as rows, bohr.

        Returns
        -------
        Matrix
            The same atoms, each moved by a sum of box vectors: forces there are forces here.

        Raises
        ------
        InputError
            If the box is too small for the reach.
        """
        inverse = np.linalg.inv(box)
        place = positions @ inverse
        count = len(self.parents)
        inner, outer = place[:count], place[count:]
        steps = -np.rint(inner - inner[self.parents])
        steps[self.parents < 0] = 0.0
        shifts = np.zeros_like(place)
        shifts[:count] = self._ancestors @ steps
        inner = inner + shifts[:count]
        low, high = inner.min(axis=0), inner.max(axis=0)
        if len(outer):
            self._check(box, high - low)
            together = -np.rint(outer - np.repeat(outer[self._starts], self._sizes, axis=0))
            centre = np.add.reduceat(outer + together, self._starts, axis=0) / self._sizes[:, None]
            nearer = -np.rint(centre - (low + high) / 2)
            for atom, charge in self.ties:
                group = int(np.searchsorted(self._starts, charge, side="right")) - 1
                nearer[group] = -np.rint(outer[charge] + together[charge] - inner[atom])
            shifts[count:] = together + np.repeat(nearer, self._sizes, axis=0)
        return positions + shifts @ box

    def _check(self, box: Matrix, extent: Matrix) -> None:
        assert self.reach is not None
        tall = box_heights(box)
        room = tall * (1 - extent) - 2 * self.reach
        k = int(room.argmin())
        if room[k] < 0:
            raise InputError(
                f"the periodic box is too small for the potential: its faces are "
                f"{tall[k] / angstrom:.2f} A apart along {'abc'[k]}, the molecule is "
                f"{extent[k] * tall[k] / angstrom:.2f} A long that way and the "
                f"learned electrostatics reach {self.reach / angstrom:.2f} A to either side",
                remedy=f"use a box higher by {-room[k] / angstrom:.2f} A, or a potential of a smaller reach",
            )


def box_heights(box: Matrix) -> Matrix:
    """Distances between opposite faces of a box with rows as vectors, shape ``(3,)``."""
    return np.asarray(1 / np.linalg.norm(np.linalg.inv(box), axis=0))


def tree_of_bonds(count: int, bonds: Sequence[tuple[int, int]]) -> Indices:
    """Join the atoms of a molecule along its bonds.

    Parameters
    ----------
    count
        Number of atoms.
    bonds
        Pairs of atoms, from 0.

    Returns
    -------
    Indices
        Shape ``(count,)``: the atom each one hangs on, -1 for the first. Parts without a bond between
        them hang on the first atom.
    """
    parents = np.full(count, -1, np.int64)
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for i, j in bonds:
        neighbours[i].append(j)
        neighbours[j].append(i)
    seen = [False] * count
    for root in range(count):
        if seen[root]:
            continue
        seen[root] = True
        if root:
            parents[root] = 0
        waiting = [root]
        for atom in waiting:
            for other in neighbours[atom]:
                if not seen[other]:
                    seen[other] = True
                    parents[other] = atom
                    waiting.append(other)
    return parents
