"""Is this a molecule: positions (bohr) and bonds in, silence or a refusal that names the atoms out."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.units import angstrom

__all__ = [
    "bonds_across",
    "check_bonds",
    "check_geometry",
    "covalent_radii",
    "crosses_the_box",
    "shortest_vectors",
]

# Covalent radii in angstrom, H to Kr: Cordero et al., Dalton Trans. 2832 (2008); sp3 carbon.
_RADII = (
    "0.31 0.28 1.28 0.96 0.84 0.76 0.71 0.66 0.57 0.58 1.66 1.41 1.21 1.11 1.07 1.05 1.02 1.06 2.03 1.76 "
    "1.70 1.60 1.53 1.39 1.39 1.32 1.26 1.24 1.32 1.22 1.22 1.20 1.19 1.20 1.20 1.16"
)
_HEAVIER = 1.4
_TABLE = np.array([0.0, *map(float, _RADII.split()), *[_HEAVIER] * (118 - 36)])
_TOO_CLOSE = 0.5  # of the sum of covalent radii
_BONDED = 1.2  # of the sum of covalent radii, for systems that list no bonds
_NONMETALS = np.array([1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 35, 53])


def check_geometry(system: MolecularSystem, qm: NDArray[np.int64]) -> None:
    """Refuse overlapping atoms, charges on QM nuclei, and cut bonds that nobody listed.

    Listed bonds that the region cuts get link atoms (`drupe.embedding.regions.links`). Atoms without any
    listed bond count as bonded by their distance.

    Parameters
    ----------
    system
        Positions in bohr, elements, bonds.
    qm
        Indices of the QM atoms, shape ``(qm,)``.

    Raises
    ------
    InputError
        Naming the two atoms. Distances count as overlap below half the sum of the covalent radii; a
        bare charge counts with radius 0. Non-metals without listed bonds count as bonded below 1.2
        times that sum.
    """
    inside = np.zeros(system.n_atoms, bool)
    inside[qm] = True
    lonely = np.bincount(system.bonds.ravel(), minlength=system.n_atoms) == 0
    for i, j, distance in _near_pairs(system, qm):
        reach = float(_TABLE[system.numbers[i]] + _TABLE[system.numbers[j]])
        if distance < _TOO_CLOSE * reach:
            raise InputError(
                f"{system.describe(i)} and {system.describe(j)} are {distance:.3f} A apart"
                + ("" if inside[j] else ": an MM charge sits on a QM nucleus"),
                remedy=f"repair the coordinates: these elements need at least {_TOO_CLOSE * reach:.2f} A",
            )
        if (lonely[i] or lonely[j]) and not inside[j] and _is_bonded(system, i, j, distance):
            raise _unlisted(system, i, j, distance)


def check_bonds(system: MolecularSystem, qm: NDArray[np.int64]) -> None:
    """Refuse a region that ends between two atoms as near as bonded whose bond is not listed.

    Such a cut gets no link atom, and the electron that is missing then looks like a wrong multiplicity.

    Parameters
    ----------
    system, qm
        As in `check_geometry`; also atoms that list other bonds are looked at here.

    Raises
    ------
    InputError
        Naming the two atoms.
    """
    inside, listed = set(qm.tolist()), set(map(tuple, system.bonds.tolist()))
    for i, j, distance in _near_pairs(system, qm):
        pair = (min(i, j), max(i, j))
        if j not in inside and pair not in listed and _is_bonded(system, i, j, distance):
            raise _unlisted(system, i, j, distance)


def _is_bonded(system: MolecularSystem, i: int, j: int, distance: float) -> bool:
    """Whether two non-metals are nearer (angstrom) than 1.2 times the sum of their covalent radii."""
    reach = float(_TABLE[system.numbers[i]] + _TABLE[system.numbers[j]])
    return bool(distance < _BONDED * reach and np.isin(system.numbers[[i, j]], _NONMETALS).all())


def _unlisted(system: MolecularSystem, i: int, j: int, distance: float) -> InputError:
    return InputError(
        f"the QM region cuts the covalent bond between {system.describe(i)} and {system.describe(j)}, "
        f"{distance:.2f} A apart, and the system does not list it",
        remedy="take both atoms into the QM region or neither; link atoms need the system's bonds: give a "
        "topology with all of them (bonds=, CONECT records)",
    )


def covalent_radii(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Covalent radii in bohr of the elements ``numbers`` (Cordero 2008, sp3 carbon; 1.4 A beyond Kr)."""
    radii: NDArray[np.float64] = angstrom * _TABLE[numbers]
    return radii


def shortest_vectors(vectors: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shortest periodic image of each of ``vectors``, shape ``(n, 3)``, any unit.

    Parameters
    ----------
    vectors
        Differences of positions, shape ``(n, 3)``.
    box
        Rows are box vectors, shape ``(3, 3)``, of any shape.
    """
    inner = vectors - np.rint(vectors @ np.linalg.inv(box)) @ box
    # In a skew cell the wrapped vector need not be the shortest: look at the neighbouring cells as well.
    cells = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ box
    images = inner[:, None] + cells[None]
    best = np.argmin(np.einsum("ncx,ncx->nc", images, images), axis=1)
    shortest: NDArray[np.float64] = images[np.arange(len(inner)), best]
    return shortest


def crosses_the_box(system: MolecularSystem, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the atom ``pairs``, shape ``(pairs, 2)``, are nearer through a face of the periodic box."""
    if system.box is None or len(pairs) == 0:
        return np.zeros(len(pairs), bool)
    vectors = system.positions[pairs[:, 1]] - system.positions[pairs[:, 0]]
    shortest = np.linalg.norm(shortest_vectors(vectors, system.box), axis=1)
    crossing: NDArray[np.bool_] = np.linalg.norm(vectors, axis=1) > shortest + 1e-6
    return crossing


def bonds_across(
    system: MolecularSystem, atoms: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Covalent bonds between two groups of atoms: pairs (atom, other), shape ``(bonds, 2)``.

    Those the system lists; for atoms without any listed bond, non-metals nearer than 1.2 times the sum
    of their covalent radii.
    """
    own, other = np.zeros((2, system.n_atoms), bool)
    own[atoms], other[others] = True, True
    pairs = np.vstack([system.bonds, system.bonds[:, ::-1]])
    listed = pairs[own[pairs[:, 0]] & other[pairs[:, 1]]]
    lonely = np.bincount(system.bonds.ravel(), minlength=system.n_atoms) == 0
    apart = np.linalg.norm(system.positions[atoms][:, None] - system.positions[others][None], axis=2)
    reach = _TABLE[system.numbers[atoms]][:, None] + _TABLE[system.numbers[others]][None]
    near = np.argwhere(apart / angstrom < _BONDED * reach)
    found = np.column_stack([atoms[near[:, 0]], others[near[:, 1]]])
    guessed = found[lonely[found].any(axis=1) & np.isin(system.numbers[found], _NONMETALS).all(axis=1)]
    return np.vstack([listed, guessed]).astype(np.int64)


def _near_pairs(system: MolecularSystem, qm: NDArray[np.int64]) -> list[tuple[int, int, float]]:
    """Pairs (QM atom, other atom, distance in angstrom) that may be too close or bonded."""
    points = system.positions / angstrom
    reach = _BONDED * 2 * float(_TABLE[system.numbers].max())
    inside = set(qm.tolist())
    pairs = []
    for i, near in zip(qm.tolist(), cKDTree(points).query_ball_point(points[qm], reach), strict=True):
        for j in near:
            if j != i and not (j in inside and j < i):
                pairs.append((i, j, float(np.linalg.norm(points[i] - points[j]))))
    return sorted(pairs, key=lambda pair: pair[2])
