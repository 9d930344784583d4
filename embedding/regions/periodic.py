"""A periodic system and a QM region in, a cluster of whole molecules around that region out (bohr, e).

The cluster keeps every molecule of which one atom lies within a radius of any QM atom, at that image,
and drops all others. Within the radius each atom then acts through one image: a radius for which that
could fail is refused with the largest one allowed.
"""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from drupe.embedding.level import Level
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.units import angstrom

__all__ = ["Cluster", "cut_cluster", "gather", "heights", "make_whole", "surrounding_cluster"]

#: A region and its image touch within this distance, bohr: two heavy atoms in van der Waals contact. Boxes
#: that were filled by a program and not equilibrated leave up to 3.4 A between the waters of two images.
_IMAGE_GAP = 4.0 * angstrom

Indices = NDArray[np.int64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cluster:
    """Whole molecules around a QM region, taken out of a periodic system.

    ==========  ==============  =====  =============================================================
    field       shape           unit   note
    ==========  ==============  =====  =============================================================
    whole       --              --     all atoms in their old order without a box: those of the
                                       cluster at their image, charges of all others zero
    atoms       ``(kept,)``     --     rising indices of the atoms in the cluster
    shifts      ``(atoms, 3)``  --     box vectors added to each atom of the periodic system
    origin      ``(3,)``        bohr   centre of the QM region, taken off the positions
    radius      scalar          bohr   around each QM atom
    ==========  ==============  =====  =============================================================

    Only translations by box vectors and by ``origin`` were made, so that forces on the atoms of
    ``whole`` are forces on those of the periodic system.
    """

    whole: MolecularSystem
    atoms: Indices
    shifts: Indices
    origin: Matrix
    radius: float

    @cached_property
    def system(self) -> MolecularSystem:
        """The atoms of the cluster alone, in the order of ``atoms``."""
        return self.whole.subset(self.atoms)

    @property
    def charge(self) -> float:
        """Sum of the fixed charges in the cluster, QM atoms included; e."""
        return float(self.whole.charges[self.atoms].sum())

    @property
    def diagnostics(self) -> dict[str, float]:
        """Radius in bohr, number of atoms and net charge in e, for a label."""
        return {
            "cluster_radius": self.radius,
            "cluster_atoms": float(len(self.atoms)),
            "cluster_charge": self.charge,
        }

    @property
    def caveat(self) -> str:
        """What a label in this cluster leaves out."""
        return (
            f"surroundings: a cluster of {len(self.atoms)} atoms of net charge {self.charge:+.3f} e, whole "
            f"molecules with an atom within {self.radius:.2f} bohr of the QM region; nothing beyond acts"
        )

    def scatter(self, forces: Matrix) -> Matrix:
        """Forces on ``system``, ``(kept, 3)``, as forces on the periodic system, ``(atoms, 3)``."""
        out = np.zeros((self.whole.n_atoms, 3))
        out[self.atoms] = forces
        return out


def cut_cluster(system: MolecularSystem, qm: Indices, radius: float) -> Cluster:
    """Take the molecules around a QM region out of a periodic system, whole.

    Parameters
    ----------
    system
        Atoms with bonds and a box, orthorhombic or triclinic; wrapped or not, in any image.
    qm
        Indices of the QM atoms, shape ``(qm,)``.
    radius
        Distance in bohr from any QM atom within which a molecule is kept.

    Raises
    ------
    InputError
        If there is no box or it is flat, the region reaches through it, there are no bonds, the radius is
        not positive or too large
        for the box (``2 radius + extent of the QM region`` must not exceed the distance between
        opposite faces), or a molecule reaches the region through two images.
    """
    box = _checked_box(system)
    if not (np.isfinite(radius) and radius > 0):
        raise InputError(
            f"the radius of the cluster is {radius}", remedy="give a positive number of bohr, such as 20"
        )
    if len(system.bonds) == 0:
        raise InputError(
            "the periodic system lists no bonds, so its molecules are not known",
            remedy="read it from a topology with bonds (water included), or pass bonds=",
        )
    _check_finite(system, qm)
    group, shifts = make_whole(system)
    shifts = _join_qm(system, qm, group, shifts)
    region = (system.positions + shifts @ box)[qm]
    _check_radius(box, region, radius)
    distance, image = _nearest(system, region)
    shifts = _approach(shifts, group, qm, distance, image)
    inside = distance <= radius
    _check_images(system, inside, shifts, image)
    kept = np.isin(group, group[inside])
    origin = region.mean(axis=0)
    whole = dataclasses.replace(
        system,
        positions=system.positions + shifts @ box - origin,
        charges=np.where(kept, system.charges, 0.0),
        box=None,
    )
    return Cluster(whole, np.flatnonzero(kept), shifts, origin, radius)


def surrounding_cluster(system: MolecularSystem, qm: Indices, level: Level) -> Cluster | None:
    """Cut the cluster that ``level`` asks for; None for another kind of surroundings. See `cut_cluster`."""
    if level.environment != "cluster":
        return None
    assert level.cluster_radius is not None
    return cut_cluster(system, qm, level.cluster_radius)


def gather(system: MolecularSystem, qm: Indices) -> MolecularSystem:
    """Move whole molecules by box vectors to where they are nearest to a QM region, itself made whole.

    Parameters
    ----------
    system
        Atoms with a box; atoms without bonds move one by one.
    qm
        Indices of the QM atoms, shape ``(qm,)``.

    Returns
    -------
    MolecularSystem
        The same atoms in the same box; the first molecule of the region keeps its first atom in place.

    Raises
    ------
    InputError
        If there is no box, the region reaches through it, or a molecule is bonded to its own image.
    """
    box = _checked_box(system)
    _check_finite(system, qm)
    group, shifts = make_whole(system)
    shifts = _join_qm(system, qm, group, shifts)
    distance, image = _nearest(system, (system.positions + shifts @ box)[qm])
    return system.with_positions(system.positions + _approach(shifts, group, qm, distance, image) @ box)


def heights(box: Matrix) -> Matrix:
    """Distances between opposite faces of a box with rows as vectors, shape ``(3,)``, bohr."""
    areas = np.linalg.norm([np.cross(box[k - 2], box[k - 1]) for k in range(3)], axis=1)
    volume = abs(float(np.linalg.det(box)))
    found: Matrix = volume / areas
    return found


def make_whole(system: MolecularSystem) -> tuple[Indices, Indices]:
    """Find the molecules of a periodic system and the shifts that join their atoms along bonds.

    Returns
    -------
    group
        Number of the molecule of each atom, shape ``(atoms,)``. A site without a nucleus and without
        bonds belongs to the molecule of its residue.
    shifts
        Box vectors to add to each atom, shape ``(atoms, 3)``; none for one atom of each molecule.

    Raises
    ------
    InputError
        If there is no box, or a molecule is bonded to its own image.
    """
    box = _checked_box(system)
    links = _links(system)
    n = system.n_atoms
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n, n))
    _, group = connected_components(graph, directed=False)
    first = np.unique(group, return_index=True)[1]
    # One root above the first atom of every molecule makes a single search reach them all.
    above = np.column_stack([np.full(len(first), n), first])
    edges = np.concatenate([links, above])
    forest = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n + 1, n + 1)).tocsr()
    _, parent = breadth_first_order(forest, n, directed=False)
    parent[n] = n
    shifts = np.zeros((n + 1, 3), np.int64)
    child = np.setdiff1d(np.arange(n), first)
    shifts[child] = _back(system.positions[child] - system.positions[parent[child]], box)
    while (parent[:n] != n).any():  # each round doubles the length of path that is summed up
        shifts[:n] += shifts[parent[:n]]
        parent = parent[parent]
    whole = shifts[:n]
    straight = system.positions + whole @ box
    torn = _back(straight[links[:, 0]] - straight[links[:, 1]], box).any(axis=1)
    if torn.any():
        i, j = links[torn][0].tolist()
        raise InputError(
            f"the molecule of {system.describe(i)} and {system.describe(j)} is bonded to its own image",
            remedy="a cluster needs finite molecules: check the bonds, or that the box is not too small",
        )
    return np.asarray(group, np.int64), whole


def _checked_box(system: MolecularSystem) -> Matrix:
    if system.box is None:
        raise InputError(
            "a cluster of whole molecules was asked for, but the system has no box",
            remedy='without a box every charge acts: use environment="all"',
        )
    if not abs(np.linalg.det(system.box)) > 1e-6 * np.prod(np.linalg.norm(system.box, axis=1)):
        raise InputError(
            f"the box vectors {system.box.tolist()} span no volume",
            remedy="give three box vectors that are not in one plane, as rows, in bohr",
        )
    return system.box


def _check_finite(system: MolecularSystem, qm: Indices) -> None:
    """Refuse a region that reaches through the box before anything slow: it touches its own image.

    Whatever the images of its atoms, it is at least as long along a box vector as the box is high, less the
    widest gap between its atoms there.
    """
    box = _checked_box(system)
    place = np.sort((system.positions[qm] @ np.linalg.inv(box)) % 1.0, axis=0)
    gaps = np.diff(place, axis=0, append=place[:1] + 1.0).max(axis=0) * heights(box)
    k = int(gaps.argmin())
    if gaps[k] < _IMAGE_GAP:
        raise InputError(
            f"the QM region of {len(qm)} atoms reaches through the periodic box along {'abc'[k]}: "
            f"{gaps[k] / angstrom:.2f} A are left to its own image",
            remedy="take a finite region, such as a ligand and the residues around it (the rest of the box "
            "acts by its charges), or a larger box",
        )


def _links(system: MolecularSystem) -> Indices:
    """Bonds, and one link from each bare site without bonds to its residue."""
    bonded = np.zeros(system.n_atoms, bool)
    bonded[system.bonds] = True
    sites = np.flatnonzero(~bonded & (system.numbers == 0)).tolist()
    hosts: dict[tuple[int, int, str], int] = {}
    for atom in np.flatnonzero(bonded & (system.numbers > 0)).tolist() if sites else []:
        hosts.setdefault(_residue(system, atom), atom)
    extra = []
    for site in sites:
        host = hosts.get(_residue(system, site))
        if host is not None:
            extra.append((site, host))
    return np.concatenate([system.bonds, np.array(extra, np.int64).reshape(-1, 2)])


def _residue(system: MolecularSystem, atom: int) -> tuple[int, int, str]:
    return int(system.chain_ids[atom]), int(system.residue_ids[atom]), system.residue_names[atom]


def _back(vectors: Matrix, box: Matrix) -> Indices:
    """Box vectors to add to each of ``vectors`` for its nearest image.

    Rounding finds the nearest image of every vector that is then shorter than half the distance
    between opposite faces, in any box; only such vectors are used here.
    """
    return -np.rint(vectors @ np.linalg.inv(box)).astype(np.int64)


def _join_qm(system: MolecularSystem, qm: Indices, group: Indices, shifts: Indices) -> Indices:
    """Move the molecules of the QM region next to each other; the first one stays."""
    box = _checked_box(system)
    joined = shifts.copy()
    numbers = group[qm]
    placed = numbers == numbers[0]
    while not placed.all():
        here = system.positions[qm] + joined[qm] @ box
        apart = here[~placed][:, None] - here[placed][None]
        back = _back(apart.reshape(-1, 3), box).reshape(apart.shape)
        length = np.linalg.norm(apart + back @ box, axis=2)
        i, j = np.unravel_index(int(length.argmin()), length.shape)
        number = numbers[~placed][i]
        joined[group == number] += back[i, j]
        placed |= numbers == number
    return joined


def _approach(shifts: Indices, group: Indices, qm: Indices, distance: Matrix, image: Indices) -> Indices:
    """Shift every molecule outside the QM region as its atom nearest to the region is shifted."""
    order = np.argsort(distance, kind="stable")
    numbers, first = np.unique(group[order], return_index=True)
    nearest = order[first]
    moves = image[nearest] - shifts[nearest]
    moves[np.isin(numbers, group[qm])] = 0
    return shifts + moves[np.searchsorted(numbers, group)]


def _check_radius(box: Matrix, region: Matrix, radius: float) -> None:
    tall = heights(box)
    extent = np.ptp(region @ np.linalg.inv(box), axis=0) * tall
    largest = float(((tall - extent) / 2).min())
    if radius > largest:
        k = int((tall - extent).argmin())
        remedy = f"use at most {max(largest, 0.0):.2f} bohr here, or a larger box"
        raise InputError(
            f"a cluster radius of {radius:.2f} bohr ({radius / angstrom:.2f} A) is too large for the box: "
            f"its faces are {tall[k]:.2f} bohr apart and the QM region is {extent[k]:.2f} bohr long "
            "that way, so that atoms would act through two images",
            remedy=remedy if largest > 0 else "take a smaller QM region, or a larger box",
        )


def _nearest(system: MolecularSystem, region: Matrix) -> tuple[Matrix, Indices]:
    """Distance of every atom to the nearest QM atom, and the image that is at that distance."""
    box = _checked_box(system)
    distance = np.full(system.n_atoms, np.inf)
    image = np.zeros((system.n_atoms, 3), np.int64)
    for centre in region:
        apart = system.positions - centre
        back = _back(apart, box)
        length = np.linalg.norm(apart + back @ box, axis=1)
        closer = length < distance
        distance[closer], image[closer] = length[closer], back[closer]
    return distance, image


def _check_images(
    system: MolecularSystem, inside: NDArray[np.bool_], shifts: Indices, image: Indices
) -> None:
    twice = np.flatnonzero(inside & (shifts != image).any(axis=1))
    if len(twice):
        raise InputError(
            f"the molecule of {system.describe(int(twice[0]))} reaches the QM region through two images "
            f"({len(twice)} such atoms)",
            remedy="use a smaller cluster radius, or a larger box",
        )
