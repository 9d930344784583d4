"""Functional groups of a QM region by perceived bond orders: numbers, positions (bohr), bonds in, groups out.

A group never ends inside a pi system: atoms joined by multiple or aromatic bonds, and by the conjugated
single bonds between them, stay together.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.regions.selection import perceive
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError

__all__ = ["Group", "find_groups"]

# Name and SMARTS; all atoms of a pattern belong together. The first pattern that finds an atom names it.
_PATTERNS = (
    ("carboxylate", "[CX3](=[OX1])[OX1-]"),
    ("carboxyl", "[CX3](=[OX1])[OX2H1]"),
    ("ester", "[CX3](=[OX1])[OX2H0]"),
    ("guanidinium", "[NX3][CX3](=[NX3+])[NX3]"),
    ("guanidine", "[NX3][CX3](=[NX2])[NX3]"),
    ("amidinium", "[NX3][CX3]=[NX3+]"),
    ("amidine", "[NX3][CX3]=[NX2]"),
    ("amide", "[NX3][CX3]=[OX1]"),
    ("nitro", "[NX3+](=[OX1])[OX1-]"),
    ("nitrile", "[CX2]#[NX1]"),
    ("sulfonamide", "[SX4](=[OX1])(=[OX1])[NX3]"),
    ("sulfonate", "[SX4](=[OX1])(=[OX1])[OX1-,OX2H1]"),
    ("sulfone", "[SX4](=[OX1])=[OX1]"),
    ("sulfoxide", "[SX3]=[OX1]"),
    ("phosphate", "[PX4](=[OX1])([#8])[#8]"),
    ("carbonyl", "[CX3]=[OX1]"),
    ("thiol", "[SX2H1]"),
    ("thiolate", "[SX1-]"),
    ("thioether", "[SX2H0]"),
    ("water", "[OX2H2]"),
    ("hydroxyl", "[OX2H1]"),
    ("oxide", "[OX1-]"),
    ("ether", "[OX2H0]"),
    ("ammonium", "[NX4+]"),
    ("amine", "[NX3]"),
    ("imine", "[CX3]=[NX2,NX3+]"),
    ("halogen", "[F,Cl,Br,I]"),
    ("aromatic ring", "a"),
    ("alkyne", "[CX2]#[CX2]"),
    ("alkene", "[CX3]=[CX3]"),
    ("methyl", "[CX4H3]"),
    ("methylene", "[CX4H2]"),
    ("methine", "[CX4H1]"),
    ("quaternary carbon", "[CX4H0]"),
)
_SKELETON = frozenset({"methylene", "methine", "quaternary carbon"})


@dataclass(frozen=True)
class Group:
    """Atoms that belong together.

    Fields: ``rows`` rising, counted in the QM region with its link atoms at the end; ``name``;
    ``is_skeleton`` for saturated carbon that only joins other groups; ``neighbours`` the numbers of the
    groups bonded to it.
    """

    rows: tuple[int, ...]
    name: str
    is_skeleton: bool
    neighbours: tuple[int, ...]


def find_groups(
    numbers: NDArray[np.int64], positions: NDArray[np.float64], bonds: NDArray[np.int64], charge: int
) -> tuple[Group, ...]:
    """Split a molecule or several into groups; every atom is in exactly one.

    Parameters
    ----------
    numbers, positions
        Link hydrogens included, ``(atoms,)`` and ``(atoms, 3)`` bohr.
    bonds
        Index pairs, ``(bonds, 2)``; without any, bonds are perceived from distances.
    charge
        Of all atoms together, e.

    Returns
    -------
    tuple of Group
        Sorted by their first atom.

    Raises
    ------
    InputError
        If no bond orders fit the geometry and the charge, or no pattern finds anything.
    """
    system = MolecularSystem.from_atoms(numbers, positions, bonds=bonds)
    molecule = perceive(system, np.arange(len(numbers)), charge, "the QM region")
    names, joined = _match(molecule)
    if not names:
        raise InputError(
            f"no functional group is known in the {len(numbers)} atoms of the QM region",
            remedy="name the core atoms: Partition.select(..., cores=[...])",
        )
    owner = _merge(len(numbers), [*joined, *_unbreakable(molecule)])
    members: dict[int, list[int]] = {}
    for row, root in enumerate(owner):
        members.setdefault(root, []).append(row)
    place = {root: number for number, root in enumerate(members)}
    near: list[set[int]] = [set() for _ in members]
    for bond in molecule.GetBonds():
        a, b = place[owner[bond.GetBeginAtomIdx()]], place[owner[bond.GetEndAtomIdx()]]
        if a != b:
            near[a].add(b)
            near[b].add(a)
    found = []
    for rows, around in zip(members.values(), near, strict=True):
        kinds = sorted({names[row] for row in rows if row in names}, key=_rank)
        symbols = sorted({molecule.GetAtomWithIdx(row).GetSymbol() for row in rows})
        found.append(
            Group(
                rows=tuple(rows),
                name=" + ".join(kinds) or "other " + "".join(symbols),
                is_skeleton=bool(kinds) and _SKELETON.issuperset(kinds),
                neighbours=tuple(sorted(around)),
            )
        )
    return tuple(found)


def _rank(name: str) -> int:
    return [known for known, _ in _PATTERNS].index(name)


def _match(molecule: Any) -> tuple[dict[int, str], list[tuple[int, ...]]]:
    """Name of each heavy atom that a pattern finds, and the atoms that patterns hold together."""
    from rdkit import Chem

    names: dict[int, str] = {}
    joined: list[tuple[int, ...]] = []
    for name, pattern in _PATTERNS:
        matches = molecule.GetSubstructMatches(Chem.MolFromSmarts(pattern), maxMatches=10_000)
        # Two amides of one urea share their carbon: what a pattern finds is judged by earlier patterns only.
        fresh = [match for match in matches if any(atom not in names for atom in match)]
        joined.extend(fresh)
        names.update({atom: name for match in fresh for atom in match if atom not in names})
    return names, joined


def _unbreakable(molecule: Any) -> list[tuple[int, int]]:
    """Bonds that no group may cut: to hydrogen, multiple, aromatic, and conjugated between such."""

    def is_multiple(bond: Any) -> bool:
        return bool(bond.GetBondTypeAsDouble() > 1.0)

    unsaturated = {
        atom.GetIdx() for atom in molecule.GetAtoms() if any(is_multiple(bond) for bond in atom.GetBonds())
    }
    kept = []
    for bond in molecule.GetBonds():
        pair = (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        to_hydrogen = any(molecule.GetAtomWithIdx(atom).GetAtomicNum() == 1 for atom in pair)
        conjugated = bond.GetIsConjugated() and unsaturated.issuperset(pair)
        if to_hydrogen or is_multiple(bond) or conjugated:
            kept.append(pair)
    return kept


def _merge(n_atoms: int, sets: Iterable[tuple[int, ...]]) -> list[int]:
    """Smallest atom of the group of each atom."""
    root = list(range(n_atoms))

    def find(atom: int) -> int:
        while root[atom] != atom:
            atom = root[atom]
        return atom

    for atoms in sets:
        ends = sorted({find(atom) for atom in atoms})
        for end in ends[1:]:
            root[end] = ends[0]
    return [find(atom) for atom in range(n_atoms)]
