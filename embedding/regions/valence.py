"""Are there hydrogens missing: a system and its QM atoms in, silence or a refusal that names atoms out.

Quantum chemistry converges for bare oxygen or a ring without hydrogens and says nothing. Without bond
orders only what no closed-shell molecule does is refused: a bare C, N, O, P or S atom, a carbon
with two neighbours at a bend, a carbon that hangs on one single bond.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from drupe.embedding.regions.geometry import covalent_radii, shortest_vectors
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.units import angstrom

__all__ = ["check_hydrogens"]

_NEVER_BARE = (6, 7, 8, 15, 16)
_LINEAR_DEGREES = 145.0  # alkynes, nitriles and cumulenes at room temperature stay above 155
_TRIPLE_A = 1.30  # an end carbon is held by a triple bond (1.13 to 1.21) or not at all
_NEAR = 1.3  # of the sum of covalent radii, for atoms that list no bonds
_SHOWN = 5


def check_hydrogens(system: MolecularSystem, qm: NDArray[np.int64], multiplicity: int = 1) -> None:
    """Refuse QM atoms that lack hydrogens in a closed-shell region.

    Parameters
    ----------
    system
        Positions in bohr, elements, bonds.
    qm
        Indices of the QM atoms, shape ``(qm,)``.
    multiplicity
        Radicals and carbenes with unpaired electrons have open valences: only 1 is checked.

    Raises
    ------
    InputError
        Naming the atoms.
    """
    if multiplicity != 1:
        return
    near = _neighbours(system, qm)
    open_ones = [system.describe(atom) for atom in qm.tolist() if _is_open(system, atom, near)]
    if open_ones:
        raise InputError(
            f"{len(open_ones)} QM atoms have an open valence: {', '.join(open_ones[:_SHOWN])}",
            remedy="add the missing hydrogens; if this is meant (a carbene, an ion), "
            "pass allow_open_valence=True to Partition.select",
        )


def _is_open(system: MolecularSystem, atom: int, neighbours: dict[int, list[int]]) -> bool:
    number, near = int(system.numbers[atom]), neighbours[atom]
    if not near:
        return number in _NEVER_BARE
    if number != 6 or len(near) > 2:
        return False
    arms = _vectors(system, atom, near)
    lengths = np.linalg.norm(arms, axis=1)
    if len(near) == 1:
        is_diatomic = neighbours.get(near[0]) == [atom]  # CO and CN are themselves, also when stretched
        return bool(lengths[0] > _TRIPLE_A * angstrom) and not (
            is_diatomic and int(system.numbers[near[0]]) in (7, 8)
        )
    cosine = float(arms[0] @ arms[1] / lengths.prod())
    return bool(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))) < _LINEAR_DEGREES)


def _vectors(system: MolecularSystem, atom: int, near: list[int]) -> NDArray[np.float64]:
    arms = system.positions[near] - system.positions[atom]
    return arms if system.box is None else shortest_vectors(arms, system.box)


def _neighbours(system: MolecularSystem, qm: NDArray[np.int64]) -> dict[int, list[int]]:
    """Bonded atoms of each QM atom: as listed, or by distance for an atom that lists none."""
    found: dict[int, list[int]] = {int(atom): [] for atom in qm}
    for i, j in system.bonds.tolist():
        for here, there in ((i, j), (j, i)):
            if here in found:
                found[here].append(there)
    lonely = [atom for atom, near in found.items() if not near]
    real = np.flatnonzero(system.numbers > 0)
    radii = covalent_radii(system.numbers)
    tree = cKDTree(system.positions[real])
    for atom in lonely:
        reach = _NEAR * (radii[atom] + float(radii[real].max()))
        for place in tree.query_ball_point(system.positions[atom], reach):
            other = int(real[place])
            distance = float(np.linalg.norm(system.positions[other] - system.positions[atom]))
            if other != atom and distance < _NEAR * (radii[atom] + radii[other]):
                found[atom].append(other)
    return found
