"""The border of a molecule that is cut out of a larger one: atoms in, what the network sees out (bohr, e).

The rules are those of the labels (`drupe.embedding.regions.boundary`): a link hydrogen on each cut bond at a
fixed distance from its QM host, and the charge of each MM host deleted or moved to its neighbours. These MM
hosts and neighbours are the *border atoms*. A border is the same for all frames; which rows of the MM arrays
its atoms are is said beside each frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.regions.caps import place_links, scatter_forces
from drupe.errors import InputError
from drupe.records import frozen, register

__all__ = ["Border", "Capped", "border_of", "common_border", "same_border"]

Matrix = NDArray[np.float64]
Indices = NDArray[np.int64]

_SAME = 1e-6  # bohr and e; labels are made in float64
_DIGITS = 10  # of lengths in bohr: rounding must not make two borders of one
_SHARE_DIGITS = 15


@register(version=1)
@dataclass(frozen=True, eq=False)
class Border:
    """Cut bonds of a molecule and the charges beside them.

    ================  ==============  ====  ========================================================
    field             shape           unit  note
    ================  ==============  ====  ========================================================
    total_charge      scalar          e     of QM atoms and link atoms together, whole
    link_hosts        ``(links, 2)``  --    QM atom; MM host as number among the border atoms
    link_lengths      ``(links,)``    bohr  distance of the link atom from its QM host
    shares            ``(moved,)``    --    of the charge of ``sources``, added at a site; -1 takes it away
    sources           ``(moved,)``    --    border atom
    site_hosts        ``(moved, 2)``  --    border atoms
    site_weights      ``(moved, 2)``  --    what each counts in the position of the site; they add to one
    ================  ==============  ====  ========================================================
    """

    total_charge: int
    link_hosts: Indices
    link_lengths: Matrix
    shares: Matrix
    sources: Indices
    site_hosts: Indices
    site_weights: Matrix

    def __post_init__(self) -> None:
        links, moved = len(self.link_lengths), len(self.shares)
        shapes = {
            "link_hosts": (links, 2),
            "link_lengths": (links,),
            "shares": (moved,),
            "sources": (moved,),
            "site_hosts": (moved, 2),
            "site_weights": (moved, 2),
        }
        for name, shape in shapes.items():
            whole = name in ("link_hosts", "sources", "site_hosts")
            value = frozen(getattr(self, name), np.int64 if whole else np.float64)
            object.__setattr__(self, name, value)
            if value.shape != shape or not np.isfinite(value).all() or not links:
                raise InputError(
                    f"{name} of a border has shape {value.shape}, wanted {shape}, or is not finite",
                    remedy="build data sets with Dataset.from_labels, from labels with link atoms",
                )

    @property
    def n_links(self) -> int:
        """Number of link atoms."""
        return len(self.link_lengths)

    @property
    def n_atoms(self) -> int:
        """Number of border atoms."""
        return int(max(self.link_hosts[:, 1].max(), self.site_hosts.max(initial=0))) + 1

    @property
    def ties(self) -> Indices:
        """Pairs (QM atom, border atom) at most two bonds apart: they belong to one image of a box."""
        of_host = {int(m): int(q) for q, m in self.link_hosts}
        found = {
            (of_host[int(source)], int(atom))
            for source, hosts in zip(self.sources, self.site_hosts, strict=True)
            for atom in hosts
        }
        return np.array(sorted(found), np.int64)

    @property
    def in_words(self) -> str:
        """Which QM atoms have link atoms, and how many charges are moved."""
        hosts = ", ".join(map(str, self.link_hosts[:, 0].tolist()))
        return (
            f"{self.n_links} link atom(s) on QM atom(s) {hosts}, region of charge {self.total_charge:+d}, "
            f"{len(self.shares)} change(s) of charge"
        )

    def takers(self, host: int) -> list[int]:
        """Border atoms that get the charge of the border atom ``host``; none where it is deleted."""
        rows = self.site_hosts[self.sources == host]
        return sorted({int(atom) for atom in rows.ravel()} - {host})

    def cap(
        self, qm: Matrix, mm: Matrix, charges: Matrix, groups: Indices | None, atoms: Indices
    ) -> "Capped":
        """Make what the network sees of one frame.

        Parameters
        ----------
        qm, mm, charges
            Shapes ``(qm, 3)`` and ``(mm, 3)`` in bohr, ``(mm,)`` in e: charges of the force field.
        groups
            Residue of each MM atom, ``(mm,)``, or None.
        atoms
            Rows of the border atoms in ``mm``, shape ``(border atoms,)``.

        Raises
        ------
        InputError
            If ``atoms`` are not as many, or not rows of ``mm``.
        """
        if atoms.shape != (self.n_atoms,) or (atoms < 0).any() or (atoms >= len(mm)).any():
            raise InputError(
                f"the rows {atoms.tolist()} of {len(mm)} MM atoms are not the {self.n_atoms} border atoms "
                "of this potential",
                remedy="name the MM hosts of the link atoms and the neighbours that take their charge, in "
                "the order of the labels",
            )
        hosts = np.column_stack([self.link_hosts[:, 0], atoms[self.link_hosts[:, 1]]])
        places, slopes = place_links(qm[hosts[:, 0]], mm[hosts[:, 1]], self.link_lengths)
        amounts = self.shares * charges[atoms[self.sources]]
        on_atom = self.site_weights[:, 0] == 1.0
        own = np.zeros(len(charges))
        np.add.at(own, atoms[self.site_hosts[on_atom, 0]], amounts[on_atom])
        between, weights = atoms[self.site_hosts[~on_atom]], self.site_weights[~on_atom]
        sources = atoms[self.sources[~on_atom]]
        moved = np.concatenate([own, amounts[~on_atom]])
        return Capped(
            positions=np.vstack([qm, places]),
            points=np.vstack([mm, np.einsum("sh,shx->sx", weights, mm[between])]),
            charges=np.concatenate([charges, np.zeros(len(between))]) + moved,
            moved=moved,
            groups=None if groups is None else np.concatenate([groups, groups[sources]]),
            link_hosts=hosts,
            link_slopes=slopes,
            site_hosts=between,
            site_weights=weights,
        )


class Capped(NamedTuple):
    """One frame with link atoms and moved charges, and the way back to forces on atoms.

    ===============  ====================  ====  =======================================================
    field            shape                 unit  note
    ===============  ====================  ====  =======================================================
    positions        ``(qm + links, 3)``   bohr  link atoms last
    points           ``(mm + sites, 3)``   bohr  MM atoms, then sites between two of them
    charges          ``(mm + sites,)``     e     zero at the MM hosts
    moved            ``(mm + sites,)``     e     what of that the border made
    groups           ``(mm + sites,)``     --    a site belongs to the residue its charge is from; or None
    link_hosts       ``(links, 2)``        --    rows among QM and MM atoms
    link_slopes      ``(links, 3, 3)``     --    d(link position) / d(MM host position)
    site_hosts       ``(sites, 2)``        --    rows among the MM atoms
    site_weights     ``(sites, 2)``        --
    ===============  ====================  ====  =======================================================
    """

    positions: Matrix
    points: Matrix
    charges: Matrix
    moved: Matrix
    groups: Indices | None
    link_hosts: Indices
    link_slopes: Matrix
    site_hosts: Indices
    site_weights: Matrix

    @property
    def n_mm(self) -> int:
        """Number of MM atoms."""
        return len(self.points) - len(self.site_hosts)

    def scatter(self, on_region: Matrix, on_points: Matrix) -> tuple[Matrix, Matrix]:
        """Forces on QM and MM atoms, ``(qm, 3)`` and ``(mm, 3)``, from those on positions and points."""
        on_qm, on_mm = scatter_forces(
            on_region,
            on_points[self.n_mm :],
            n_mm=self.n_mm,
            link_hosts=self.link_hosts,
            link_slopes=self.link_slopes,
            site_hosts=self.site_hosts,
            site_weights=self.site_weights,
        )
        return on_qm, on_mm + on_points[: self.n_mm]

    def spread_variance(self, on_points: Matrix) -> Matrix:
        """Variances ``(mm,)`` of MM atoms from those of independent ``points``; link atoms are left out."""
        found = np.array(on_points[: self.n_mm])
        for side in range(2):
            np.add.at(
                found, self.site_hosts[:, side], self.site_weights[:, side] ** 2 * on_points[self.n_mm :]
            )
        return found


def border_of(label: Any) -> tuple[Border | None, Indices]:
    """Border of a label, and the rows of its border atoms among the label's MM atoms.

    Parameters
    ----------
    label
        A label, or anything with a label's fields; without ``links`` it has no border.

    Raises
    ------
    InputError
        If the link atoms are not where this version puts them.
    """
    links = np.asarray(getattr(label, "links", np.zeros((0, 2))), np.int64)
    if not len(links):
        return None, np.zeros(0, np.int64)
    start, end = label.qm_positions[links[:, 0]], label.mm_positions[links[:, 1]]
    lengths = np.linalg.norm(label.link_positions - start, axis=1)
    off = np.abs(place_links(start, end, lengths)[0] - label.link_positions).max()
    if not off <= _SAME:
        raise InputError(
            f"a link atom of the label is {off:.1e} bohr away from the line between its hosts",
            remedy="label again with this version",
        )
    first = np.unique(links[:, 1])
    sources: list[int] = []
    shares: list[float] = []
    for (one, other), charge in zip(label.moved_hosts.tolist(), label.moved_charges.tolist(), strict=True):
        own = one == other and one in first
        # The record begins the part of each MM host with the charge that is taken from it.
        sources.append(one if own else sources[-1])
        shares.append(-1.0 if own else charge / float(label.mm_charges[sources[-1]]))
    rows = np.concatenate([first, np.setdiff1d(label.moved_hosts, first)]).astype(np.int64)
    number = {int(row): k for k, row in enumerate(rows)}

    def numbered(values: Any) -> Indices:
        return np.array([number[int(row)] for row in np.ravel(values)], np.int64).reshape(np.shape(values))

    total = float(label.charges_qm.sum() + label.link_charges.sum())
    border = Border(
        total_charge=round(total),
        link_hosts=np.column_stack([links[:, 0], numbered(links[:, 1])]),
        link_lengths=np.round(lengths, _DIGITS),
        shares=np.round(shares, _SHARE_DIGITS),
        sources=numbered(sources),
        site_hosts=numbered(label.moved_hosts),
        site_weights=label.moved_weights,
    )
    return border, rows


def common_border(labels: Sequence[Any]) -> tuple[Border | None, Indices]:
    """The one border of labels, and the rows of its border atoms in each, ``(labels, border atoms)``.

    Raises
    ------
    InputError
        With the number of the label whose border is another.
    """
    found = [border_of(label) for label in labels]
    first = found[0][0]
    for i, (border, _) in enumerate(found):
        if not same_border(border, first):
            told = ["no cut bond" if one is None else one.in_words for one in (border, first)]
            raise InputError(
                f"label {i} has {told[0]}, label 0 has {told[1]}",
                remedy="use labels of one partition and one Level(boundary=...)",
            )
    return first, np.array([rows for _, rows in found])


def same_border(one: Border | None, other: Border | None) -> bool:
    """Whether two borders are one but for rounding."""
    if one is None or other is None:
        return one is other
    return all(
        np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=0, atol=_SAME)
        for a, b in ((getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)
    )
