"""How many chemical core orbitals a quantum core has: atoms in, a number of orbitals out."""

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.meanfield.qmmm import MeanField
from drupe.errors import InputError

__all__ = ["chemical_core"]


def chemical_core(field: MeanField, atoms: NDArray[np.int64], counts: tuple[int, ...]) -> int:
    """Core orbitals of ``atoms``, counted by element, less those in an effective core potential.

    Parameters
    ----------
    field
        Mean field of the QM region.
    atoms
        The core's atoms, counted in the QM region.
    counts
        Occupied orbitals of the core, one number, or those of alpha and beta: both lose the same orbitals.

    Raises
    ------
    InputError
        If none would be left, or a spin has fewer than are frozen.
    """
    from pyscf.data.elements import charge, chemcore_atm

    mol, found = field.engine.mol, 0
    for atom in atoms.tolist():
        number = charge(mol.atom_pure_symbol(atom))
        found += max(chemcore_atm[number] - (number - int(mol.atom_charge(atom))) // 2, 0)
    if found >= max(counts) or found > min(counts):
        raise InputError(
            f"frozen_core leaves a core of {' and '.join(map(str, counts))} occupied orbitals without one: "
            f"{found} are frozen",
            remedy="choose a larger core, or set frozen_core=False",
        )
    return found
