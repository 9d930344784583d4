"""The QM region as the engine sees it: partition and level in; link atoms and charge sites out (bohr, e).

A cut bond Q-M1 is capped by a hydrogen on the line from Q to M1 at r_cov(Q) + r_cov(H). The charge of M1
is too near to it, so a scheme moves it. Every charge becomes a *site*: a charge at a fixed linear
combination of MM atoms, so forces on sites go to atoms by the same weights. With q the original charge of
M1 and n its MM neighbours M2 that are no M1 themselves, q0 = q / n:

* ``z1``: deleted. Loses q.
* ``rc``: q0 at the middle of each bond M1-M2. Conserves the charge.
* ``rcd``: 2 q0 at the middle of each bond and -q0 on each M2. Conserves charge and dipole about M1.

Redistributed charges: Lin and Truhlar, J. Phys. Chem. A 109, 3991 (2005).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.elementwise import for_element
from drupe.embedding.level import Level
from drupe.embedding.regions.caps import place_links, scatter_forces
from drupe.embedding.regions.geometry import covalent_radii
from drupe.embedding.regions.links import unusual_cuts
from drupe.embedding.regions.partition import Partition
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError

__all__ = ["MovedCharges", "QuantumRegion", "link_atoms", "quantum_region", "site_radii"]

Matrix = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MovedCharges:
    """What a boundary scheme adds to the fixed MM charges, as sites.

    ===========  ==============  ====  =============================================
    field        shape           unit  note
    ===========  ==============  ====  =============================================
    charges      ``(moved,)``    e     added to what is there; M1 itself gets -q
    hosts        ``(moved, 2)``  --    rows among the MM atoms
    weights      ``(moved, 2)``  --    position = sum of weight times host position
    ===========  ==============  ====  =============================================
    """

    charges: NDArray[np.float64]
    hosts: Indices
    weights: Matrix


@dataclass(frozen=True, eq=False)
class QuantumRegion:
    """QM atoms, then link hydrogens, in charge sites; and the way back to forces on atoms.

    ==============  ======================  ====  ====================================================
    field           shape                   unit  note
    ==============  ======================  ====  ====================================================
    numbers         ``(qm + links,)``       --    link atoms are hydrogens, last
    positions       ``(qm + links, 3)``     bohr
    points          ``(sites, 3)``          bohr  only sites with a charge
    charges         ``(sites,)``            e
    radii           ``(sites,)`` or None    bohr  Gaussian radii (what M1 gives away keeps its own)
    link_hosts      ``(links, 2)``          --    row among the QM atoms, row among the MM atoms
    link_slopes     ``(links, 3, 3)``       --    d(link position) / d(MM host position)
    site_hosts      ``(sites, 2)``          --    rows among the MM atoms
    site_weights    ``(sites, 2)``          --    they add up to one
    moved           record                        the part of the sites that the boundary makes
    n_mm            scalar                  --    MM atoms
    charge_change   scalar                  e     total charge here less that of the force field
    caveats         texts                         what is unusual about this boundary
    ==============  ======================  ====  ====================================================
    """

    numbers: Indices
    positions: Matrix
    points: Matrix
    charges: NDArray[np.float64]
    radii: NDArray[np.float64] | None
    link_hosts: Indices
    link_slopes: Matrix
    site_hosts: Indices
    site_weights: Matrix
    moved: MovedCharges
    n_mm: int
    charge_change: float
    caveats: tuple[str, ...]

    @property
    def n_links(self) -> int:
        """Number of link atoms."""
        return len(self.link_hosts)

    def scatter(self, on_region: Matrix, on_points: Matrix) -> tuple[Matrix, Matrix]:
        """Forces on QM and MM atoms from those on the region and the sites, by the chain rule.

        Parameters
        ----------
        on_region
            Shape ``(qm + links, 3)``.
        on_points
            Shape ``(sites, 3)``.

        Returns
        -------
        forces_qm, forces_mm
            Shapes ``(qm, 3)`` and ``(mm, 3)``, in the unit given. Their sum is the sum given, and so is
            their torque up to that of the link atoms, which is conserved as well.
        """
        return scatter_forces(
            on_region,
            on_points,
            n_mm=self.n_mm,
            link_hosts=self.link_hosts,
            link_slopes=self.link_slopes,
            site_hosts=self.site_hosts,
            site_weights=self.site_weights,
        )


def quantum_region(system: MolecularSystem, partition: Partition, level: Level) -> QuantumRegion:
    """Cap the cut bonds and turn the MM charges into sites.

    Parameters
    ----------
    system
        All atoms, bohr.
    partition
        QM atoms and the hosts of its link atoms.
    level
        Names the boundary scheme.

    Raises
    ------
    InputError
        If M1 carries a charge and has no neighbour that could take it.
    """
    qm, mm = partition.qm, partition.mm_atoms
    hosts = np.stack(
        [np.searchsorted(qm, partition.links[:, 0]), np.searchsorted(mm, partition.links[:, 1])], axis=1
    )
    links, slopes = link_atoms(system, partition.links)
    moved = _move(system, partition, level.boundary)
    alone = (moved.weights == [1.0, 0.0]).all(axis=1)
    own = np.array(system.charges[mm])
    np.add.at(own, moved.hosts[alone, 0], moved.charges[alone])
    atoms = np.flatnonzero(own)
    site_hosts = np.vstack([np.stack([atoms, atoms], axis=1), moved.hosts[~alone]])
    site_weights = np.vstack([np.tile([1.0, 0.0], (len(atoms), 1)), moved.weights[~alone]])
    return QuantumRegion(
        numbers=np.concatenate([system.numbers[qm], np.ones(len(links), np.int64)]),
        positions=np.vstack([system.positions[qm], links]),
        points=np.einsum("sh,shx->sx", site_weights, system.positions[mm][site_hosts]),
        charges=np.concatenate([own[atoms], moved.charges[~alone]]),
        radii=site_radii(system.numbers[mm][site_hosts[:, 0]], level),
        link_hosts=hosts,
        link_slopes=slopes,
        site_hosts=site_hosts,
        site_weights=site_weights,
        moved=moved,
        n_mm=len(mm),
        charge_change=_charge_change(system, partition, moved),
        caveats=tuple(
            f"boundary: {system.describe(i)} and {system.describe(j)} were cut apart by request: {why}"
            for (i, j), why in unusual_cuts(system, partition.links).items()
        ),
    )


def _charge_change(system: MolecularSystem, partition: Partition, moved: MovedCharges) -> float:
    # Atoms without any charge have no force field to compare with.
    own = system.charges[partition.qm]
    lost = float(moved.charges.sum())
    return lost + partition.charge - float(own.sum()) if own.any() else lost


def link_atoms(system: MolecularSystem, links: Indices) -> tuple[Matrix, Matrix]:
    """Link hydrogens of cut bonds.

    Parameters
    ----------
    system
        Positions in bohr.
    links
        QM and MM host of each, shape ``(links, 2)``.

    Returns
    -------
    positions, slopes
        ``(links, 3)`` bohr, and ``(links, 3, 3)`` d(link position) / d(MM host position); the QM host
        gets what is left of one.
    """
    reach = covalent_radii(system.numbers[links[:, 0]]) + covalent_radii(np.array([1]))
    return place_links(system.positions[links[:, 0]], system.positions[links[:, 1]], reach)


def _move(system: MolecularSystem, partition: Partition, scheme: str) -> MovedCharges:
    mm = partition.mm_atoms
    first = np.unique(partition.links[:, 1])
    charges: list[float] = []
    hosts: list[tuple[int, int]] = []
    weights: list[tuple[float, float]] = []
    for m1 in first.tolist():
        charge = float(system.charges[m1])
        place = int(np.searchsorted(mm, m1))
        charges.append(-charge)
        hosts.append((place, place))
        weights.append((1.0, 0.0))
        if scheme == "z1" or charge == 0.0:
            continue
        takers = np.searchsorted(mm, _takers(system, partition, m1, scheme)).tolist()
        share = charge / len(takers)
        for m2 in takers:
            charges.append(2 * share if scheme == "rcd" else share)
            hosts.append((place, m2))
            weights.append((0.5, 0.5))
            if scheme == "rcd":
                charges.append(-share)
                hosts.append((m2, m2))
                weights.append((1.0, 0.0))
    return MovedCharges(
        np.array(charges),
        np.array(hosts, np.int64).reshape(-1, 2),
        np.array(weights, np.float64).reshape(-1, 2),
    )


def _takers(system: MolecularSystem, partition: Partition, m1: int, scheme: str) -> Indices:
    """Neighbours of ``m1`` in the MM region that are no link host: never one M1's charge on another."""
    bonds = system.bonds[(system.bonds == m1).any(axis=1)]
    near = np.setdiff1d(bonds.ravel(), [m1])
    taken = np.union1d(partition.qm, partition.links[:, 1])
    found: Indices = np.setdiff1d(near[system.numbers[near] > 0], taken)
    if len(found) == 0:
        raise InputError(
            f"the charge {system.charges[m1]:+.3f} of {system.describe(m1)} at a cut bond cannot be moved "
            f"by {scheme!r}: it has no MM neighbour away from the boundary",
            remedy='move the boundary, or set boundary="z1", which deletes the charge',
        )
    return found


def site_radii(numbers: NDArray[np.int64], level: Level) -> NDArray[np.float64] | None:
    """Width of each charge by its element, bohr; None where the level takes points.

    Parameters
    ----------
    numbers
        Atomic numbers of the charges, shape ``(points,)``; 0 (no nucleus) takes the default.
    level
        Its ``charge_radii``.

    Raises
    ------
    InputError
        If an element has no width and there is no default.
    """
    from pyscf.data.elements import ELEMENTS

    if level.charge_radii is None:
        return None
    symbols = ["default" if number == 0 else ELEMENTS[int(number)] for number in numbers]
    found = {symbol: for_element(level.charge_radii, symbol) for symbol in set(symbols)}
    missing = sorted(symbol for symbol, width in found.items() if width is None)
    if missing:
        raise InputError(
            f"charge_radii has no width for {', '.join(missing)}", remedy='add it, or a "default", in bohr'
        )
    return np.array([found[symbol] for symbol in symbols], dtype=np.float64)
