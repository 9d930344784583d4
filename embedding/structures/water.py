"""Which atoms are water: a `MolecularSystem` in, the indices of its three-site waters out."""

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.system import MolecularSystem

__all__ = ["water_molecules"]


def water_molecules(atoms: MolecularSystem) -> NDArray[np.int64]:
    """Find the three-site waters: one oxygen bonded to two hydrogens and to nothing else.

    Returns
    -------
    NDArray
        Indices of oxygen and both hydrogens, shape ``(waters, 3)``.
    """
    near: dict[int, set[int]] = {}
    for i, j in atoms.bonds.tolist():
        near.setdefault(i, set()).add(j)
        near.setdefault(j, set()).add(i)
    found = []
    for oxygen in np.flatnonzero(atoms.numbers == 8).tolist():
        ends = sorted(near.get(oxygen, ()))
        # Amber lists a bond between the hydrogens too.
        if len(ends) == 2 and all(atoms.numbers[h] == 1 and near[h] <= {oxygen, *ends} for h in ends):
            found.append((oxygen, *ends))
    return np.array(found, np.int64).reshape(-1, 3)
