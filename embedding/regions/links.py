"""Cut bonds: a system and its QM atoms in, host pairs (QM, MM) of the link atoms or a refusal out (bohr)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.regions.geometry import covalent_radii, crosses_the_box
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.units import angstrom

__all__ = ["AllowCut", "check_links", "find_links", "unusual_cuts"]

Indices = NDArray[np.int64]
AllowCut = bool | Sequence[tuple[int, int]]

_CARBON = 6
_SP3_NEIGHBOURS = 4
_STRETCHED = 1.5  # of the sum of covalent radii: a bond of the force field that is longer is broken


def find_links(system: MolecularSystem, qm: Indices, allow_cut: AllowCut = ()) -> Indices:
    """Bonds that the QM region cuts, each to be capped by one link atom.

    Parameters
    ----------
    system
        Elements and bonds; a system that lists no bonds has no links.
    qm
        Indices of the QM atoms, shape ``(qm,)``.
    allow_cut
        Pairs of atoms whose bond may be cut although it is no sp3 C-C single bond, in either order;
        True allows every cut.

    Returns
    -------
    Indices
        Shape ``(links, 2)``: QM host, MM host; rising.

    Raises
    ------
    InputError
        Naming both atoms: if a cut bond is not a single bond between two carbons of four neighbours
        each, a hydrogen stands at the boundary, one atom would be the host of two link atoms, or an
        allowed pair is no cut bond.
    """
    inside = np.zeros(system.n_atoms, bool)
    inside[qm] = True
    links = _crossing(system, inside)
    allowed = _allowed(system, links, allow_cut)
    refused = []
    for (i, j), reason in unusual_cuts(system, links).items():
        bare = system.numbers[[i, j]].min() == 0
        if bare or frozenset((i, j)) not in allowed:
            refused.append((i, j, reason, bare))
    if refused:
        i, j, reason, bare = refused[0]
        more = f" (and {len(refused) - 1} more such bonds)" if len(refused) > 1 else ""
        remedy = "take both atoms into the QM region or neither, and cut at an sp3 C-C single bond"
        raise InputError(
            f"the QM region cuts the covalent bond between {system.describe(i)} and "
            f"{system.describe(j)}: {reason}{more}",
            remedy=remedy if bare else f"{remedy}; allow_cut=[({i}, {j})] forces this one",
        )
    return links


def unusual_cuts(system: MolecularSystem, links: Indices) -> dict[tuple[int, int], str]:
    """Cut bonds that need permission, with the reason; see `find_links`."""
    real = system.bonds[(system.numbers[system.bonds] > 0).all(axis=1)]
    neighbours = np.bincount(real.ravel(), minlength=system.n_atoms)
    reasons = {(i, j): _objection(system, links, neighbours, [i, j]) for i, j in links.tolist()}
    return {pair: reason for pair, reason in reasons.items() if reason}


def check_links(system: MolecularSystem, qm: Indices, links: Indices) -> None:
    """Refuse a frame whose cut bonds are not ``links``, or are broken.

    Parameters
    ----------
    system
        The frame.
    qm
        Indices of the QM atoms, shape ``(qm,)``.
    links
        Host pairs of the link atoms, shape ``(links, 2)``.

    Raises
    ------
    InputError
        If the system lists other bonds across the boundary, a bond of the QM region runs through a
        face of the periodic box, or a cut bond is longer than 1.5 times the sum of covalent radii.
    """
    inside = np.zeros(system.n_atoms, bool)
    inside[qm] = True
    if not np.array_equal(_crossing(system, inside), links):
        raise InputError(
            f"the QM region cuts the bonds {_crossing(system, inside).tolist()} of this system, "
            f"the partition has link atoms on {links.tolist()}",
            remedy="make the partition from this system: Partition.select(system, ...)",
        )
    touching = system.bonds[inside[system.bonds].any(axis=1)] if len(system.bonds) else system.bonds
    split = crosses_the_box(system, touching)
    if split.any():
        i, j = touching[split][0].tolist()
        raise InputError(
            f"the bond between {system.describe(i)} and {system.describe(j)} runs through a face of the box",
            remedy="make molecules whole first (for example mdtraj's image_molecules)",
        )
    for i, j in links.tolist():
        length = float(np.linalg.norm(system.positions[i] - system.positions[j]))
        longest = _STRETCHED * float(covalent_radii(system.numbers[[i, j]]).sum())
        if length > longest:
            raise InputError(
                f"the cut bond between {system.describe(i)} and {system.describe(j)} is "
                f"{length / angstrom:.2f} A long",
                remedy=f"it is a bond of the force field, at most {longest / angstrom:.2f} A: "
                "repair the coordinates, or take both atoms into the QM region",
            )


def _crossing(system: MolecularSystem, inside: NDArray[np.bool_]) -> Indices:
    bonds = system.bonds[inside[system.bonds].sum(axis=1) == 1]
    links: Indices = np.where(inside[bonds[:, :1]], bonds, bonds[:, ::-1])
    return links[np.lexsort((links[:, 1], links[:, 0]))]


def _allowed(system: MolecularSystem, links: Indices, allow_cut: AllowCut) -> set[frozenset[int]]:
    cut = {frozenset(row) for row in links.tolist()}
    if isinstance(allow_cut, bool):
        return cut if allow_cut else set()
    given = {frozenset(int(atom) for atom in pair) for pair in allow_cut}
    for pair in given - cut:
        raise InputError(
            f"allow_cut names {sorted(pair)}, the QM region cuts no such bond",
            remedy=f"the bonds it cuts are {links.tolist()}",
        )
    return given


def _objection(system: MolecularSystem, links: Indices, neighbours: Indices, link: list[int]) -> str:
    """Why this bond is not cut by default; empty for an sp3 C-C single bond with hosts of its own."""
    numbers = system.numbers[link].tolist()
    if 0 in numbers:
        return "a bare charge belongs to its atom"
    if 1 in numbers:
        return "a hydrogen would stand at the boundary"
    if numbers != [_CARBON, _CARBON]:
        return "it is no C-C bond"
    for atom in link:
        if neighbours[atom] != _SP3_NEIGHBOURS:
            return (
                f"atom {atom} has {neighbours[atom]} neighbours, so it is no sp3 carbon "
                "(double, aromatic or amide bond?)"
            )
    for side, atom in enumerate(link):
        if np.count_nonzero(links[:, side] == atom) > 1:
            return f"atom {atom} would be the host of two link atoms"
    return ""
