"""Which bonded MM terms belong to a molecule that may be cut out of a larger one: atom indices in and out.

OpenMM-ML's rule (`openmmml.embeddings.utilities.removeBonds`): what a link hydrogen carries is inside. An
angle is inside if its centre is, a torsion if its two middle atoms are, an improper torsion if the atom all
others are bonded to is. The cut bond itself, angles centred on its MM host and torsions about it are outside.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from drupe.errors import InputError

if TYPE_CHECKING:
    import openmm

__all__ = ["InsideTerms"]


class InsideTerms:
    """Places of atoms in the molecule; the MM host of a cut bond stands for its link atom, after the others.

    A link atom lies on the line between its hosts, so that angles and torsions with the MM host in them are
    those with the link atom.

    Parameters
    ----------
    system
        The MM system: its harmonic bonds say who is bonded.
    atoms
        Indices of the molecule, in the order of the labels.
    links
        Pairs (atom of the molecule, MM host), as in `Partition.links`.

    Raises
    ------
    InputError
        If a pair is no cut bond, a cut bond is no pair, or one MM host has two link atoms.
    """

    def __init__(
        self, system: "openmm.System", atoms: Sequence[int], links: Sequence[Sequence[int]] = ()
    ) -> None:
        #: Place of each atom of the molecule.
        self.own = {int(a): i for i, a in enumerate(atoms)}
        #: Number of link atoms.
        self.n_links = len(links)
        self._place = dict(self.own)
        pairs = sorted((self.own.get(int(q), -1), int(m)) for q, m in links)
        for k, (_, host) in enumerate(pairs):
            self._place[host] = len(self.own) + k
        if any(q < 0 for q, _ in pairs) or len(self._place) != len(self.own) + len(pairs):
            raise InputError(
                f"the links {[list(map(int, pair)) for pair in links]} do not lead from the molecule to "
                "one MM host each",
                remedy="pass links=partition.links, of bonds that are cut once",
            )
        self._bonds = _bonds(system)
        crossing = {
            (self.own[a], b)
            for one, other in self._bonds
            for a, b in ((one, other), (other, one))
            if a in self.own and b not in self.own
        }
        if crossing != set(pairs):
            q, m = sorted(crossing ^ set(pairs))[0]
            raise InputError(
                f"the bond between atoms {list(self.own)[q]} and {m} crosses the border of the molecule, "
                "or is named as a link and is no bond",
                remedy="take whole molecules, or pass links=partition.links for the bonds that are cut",
            )

    def bond(self, members: Sequence[int]) -> list[float] | None:
        """Places of a bond inside, None for one outside."""
        return self._places(members, all(int(a) in self.own for a in members))

    def angle(self, members: Sequence[int]) -> list[float] | None:
        """Places of an angle inside, None for one outside."""
        return self._places(members, int(members[1]) in self.own)

    def torsion(self, members: Sequence[int]) -> list[float] | None:
        """Places of a torsion inside, None for one outside."""
        a, b, c, d = (int(m) for m in members)
        if not any(m in self.own for m in (a, b, c, d)):
            return None
        if all(self._bonded(*pair) for pair in ((a, b), (b, c), (c, d))):
            return self._places(members, b in self.own and c in self.own)
        for centre in (a, b, c, d):
            if all(self._bonded(centre, other) for other in {a, b, c, d} - {centre}):
                return self._places(members, centre in self.own)
        return self._places(members, all(m in self.own for m in (a, b, c, d)))

    def _bonded(self, one: int, other: int) -> bool:
        return (one, other) in self._bonds or (other, one) in self._bonds

    def _places(self, members: Sequence[int], inside: bool) -> list[float] | None:
        named = [int(m) for m in members]
        own = [m in self.own for m in named]
        lost = inside and any(m not in self._place for m in named)
        if lost or (any(own) and not all(own) and not self.n_links):
            raise InputError(
                f"a bonded term on atoms {named} crosses the border of the molecule",
                remedy="take whole molecules, or pass links=partition.links for the bonds that are cut",
            )
        return [float(self._place[m]) for m in named] if inside else None


def _bonds(system: "openmm.System") -> set[tuple[int, int]]:
    import openmm

    return {
        tuple(force.getBondParameters(k)[:2])
        for force in system.getForces()
        if isinstance(force, openmm.HarmonicBondForce)
        for k in range(force.getNumBonds())
    }
