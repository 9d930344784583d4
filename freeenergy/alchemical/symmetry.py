"""Equivalent orientations of a ligand: its bonds in, the number of ways to lay it onto itself out."""

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.system import MolecularSystem

__all__ = ["equivalent_orientations"]

_MOST = 10_000


def equivalent_orientations(molecule: MolecularSystem) -> int:
    """Count the automorphisms of the heavy-atom skeleton.

    An orientational restraint holds one of these orientations; dynamics that never exchanges them
    misses -RT ln n of the binding free energy (Mobley, Chodera and Dill, J. Chem. Phys. 125, 084902
    (2006)). Elements and bonds count, bond orders and handedness do not, so a chiral molecule may be
    given too many. Rotations of terminal groups that move hydrogens only do not count.

    Parameters
    ----------
    molecule
        One whole molecule.
    """
    from rdkit import Chem

    heavy: NDArray[np.int64] = np.flatnonzero(molecule.numbers > 1)
    place = {int(atom): index for index, atom in enumerate(heavy)}
    skeleton = Chem.RWMol()
    for atom in heavy:
        skeleton.AddAtom(Chem.Atom(int(molecule.numbers[atom])))
    for first, second in molecule.bonds.tolist():
        if first in place and second in place:
            skeleton.AddBond(place[first], place[second], Chem.BondType.SINGLE)
    return len(skeleton.GetSubstructMatches(skeleton, uniquify=False, maxMatches=_MOST))
