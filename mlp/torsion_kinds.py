"""Which torsions of a molecule are refitted, and which of them share constants: elements and bonds in.

A bond can be turned if it is in no ring, both its atoms carry further atoms, and neither is the middle of a
linear group (sp). An end with three like atoms of one bond each (CH3, CF3, NH3+) is a rotor: turning it leads
to the same molecule again, and such bonds are left out unless they are asked for. Bond orders are not known
in force field files: a double bond that no label turns keeps the constants it has.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["Torsions", "torsions_of"]


@dataclass(frozen=True, eq=False)
class Torsions:
    """Torsions of one molecule.

    ``atoms (torsions, 4)``; ``kinds`` the name of each, such as ``"C4-C4-O2-H1"``: element and number of
    bonded atoms along the torsion, the same read from either end; ``axes (bonds, 2)`` the bonds they turn
    about, and ``sides (bonds, atoms)`` what is on the smaller side of each.
    """

    atoms: NDArray[np.int64]
    kinds: tuple[str, ...]
    axes: NDArray[np.int64]
    sides: NDArray[np.bool_]


def torsions_of(numbers: NDArray[np.int64], bonds: NDArray[np.int64], *, rotors: bool = False) -> Torsions:
    """Torsions about the bonds of a molecule that can be turned.

    Parameters
    ----------
    numbers
        Atomic numbers, ``(atoms,)``.
    bonds
        Pairs of bonded atoms, ``(bonds, 2)``.
    rotors
        Whether bonds to groups such as methyl count.

    Returns
    -------
    Torsions
        Of no torsions where no bond can be turned.
    """
    from ase.data import chemical_symbols

    near: list[list[int]] = [[] for _ in numbers]
    for i, j in bonds.tolist():
        near[i].append(j)
        near[j].append(i)
    called = [f"{chemical_symbols[z]}{len(others)}" for z, others in zip(numbers, near, strict=True)]
    atoms, kinds, axes, sides = [], [], [], []
    for j, k in bonds.tolist():
        side = _side(len(numbers), bonds, j, k)
        ends = [(j, [i for i in near[j] if i != k]), (k, [i for i in near[k] if i != j])]
        if side is None or any(not others or _linear(end, near, numbers) for end, others in ends):
            continue
        if not rotors and any(_rotor(others, near, numbers) for _, others in ends):
            continue
        axes.append((j, k))
        sides.append(side)
        for i in ends[0][1]:
            for m in ends[1][1]:
                atoms.append((i, j, k, m))
                names = [called[a] for a in (i, j, k, m)]
                kinds.append("-".join(min(names, names[::-1])))
    return Torsions(
        np.array(atoms, np.int64).reshape(-1, 4),
        tuple(kinds),
        np.array(axes, np.int64).reshape(-1, 2),
        np.array(sides, bool).reshape(-1, len(numbers)),
    )


def _side(count: int, bonds: NDArray[np.int64], j: int, k: int) -> NDArray[np.bool_] | None:
    """Atoms on the smaller side of a bond; None for a bond in a ring."""
    rest = bonds[~((bonds == [j, k]).all(1) | (bonds == [k, j]).all(1))]
    graph = coo_array((np.ones(len(rest)), (rest[:, 0], rest[:, 1])), shape=(count, count))
    part = connected_components(graph, directed=False)[1]
    if part[j] == part[k]:
        return None
    one, other = part == part[k], part == part[j]
    return np.asarray(one if one.sum() <= other.sum() else other)


def _linear(end: int, near: list[list[int]], numbers: NDArray[np.int64]) -> bool:
    """An sp carbon, or the middle of N=N=N."""
    if len(near[end]) != 2:
        return False
    return numbers[end] == 6 or (
        numbers[end] == 7 and any(_is_terminal(i, 7, near, numbers) for i in near[end])
    )


def _rotor(others: Iterable[int], near: list[list[int]], numbers: NDArray[np.int64]) -> bool:
    found = list(others)
    return len(found) == 3 and all(_is_terminal(i, int(numbers[found[0]]), near, numbers) for i in found)


def _is_terminal(atom: int, number: int, near: list[list[int]], numbers: NDArray[np.int64]) -> bool:
    return bool(numbers[atom] == number and len(near[atom]) == 1)
