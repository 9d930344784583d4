"""How occupied orbitals are shared out: a door to PySCF's populations. Orbitals of one spin in and out.

Intrinsic bond orbitals: Knizia, J. Chem. Theory Comput. 9, 4834 (2013). Pipek-Mezey orbitals use
meta-Loewdin populations, which are never negative.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.kernels.localization import Localized, assign, pipek_mezey, spade
from drupe.errors import InputError

__all__ = ["split_occupied"]

Matrix = NDArray[np.float64]


def split_occupied(
    mol: Any,
    overlap: Matrix,
    occupied: Matrix,
    atoms: NDArray[np.int64],
    n_core: int | None = None,
    method: str = "spade",
    *,
    root: Matrix | None = None,
) -> Localized:
    """Occupied orbitals of the core on ``atoms``, and the others.

    Parameters
    ----------
    mol
        PySCF molecule of the QM region.
    overlap, occupied
        AO overlap ``(n_ao, n_ao)`` and occupied orbitals of one spin ``(n_ao, n_occ)``.
    atoms
        The core's atoms, counted in ``mol``.
    n_core
        Number of the core's orbitals; None takes the largest gap of their weights on the core.
    method
        ``"spade"``, ``"ibo"`` or ``"pipek-mezey"``.
    root
        S^1/2 where it is known already.

    Raises
    ------
    InputError
        If more orbitals are asked for than are occupied.
    ConvergenceError
        If localised orbitals do not settle.
    """
    n_occ = occupied.shape[1]
    if n_core is not None and n_core > n_occ:
        raise InputError(
            f"the level gives a core {n_core} occupied orbitals, the QM region has {n_occ}",
            remedy="lower n_occupied",
        )
    if method == "spade":
        bounds = mol.aoslice_by_atom()[:, 2:]
        rows = np.concatenate([np.arange(*bounds[atom]) for atom in atoms])
        return spade(overlap, occupied, rows, n_core, root=root)
    from pyscf import lo

    # Cholesky orbitals are the same for every rotation of the occupied ones: a start that is smooth
    # along a path, where canonical orbitals cross.
    start = np.asarray(lo.cholesky_mos(occupied))
    functions, owners = _intrinsic(mol, occupied, overlap) if method == "ibo" else _meta_loewdin(mol)
    parts = functions.T @ overlap @ start
    slices = [parts[owners == atom] for atom in range(mol.natm)]
    overlaps = np.array([part.T @ part for part in slices])
    rotation = pipek_mezey(overlaps, power=4 if method == "ibo" else 2)
    populations = np.array([np.sum((part @ rotation) ** 2, axis=0) for part in slices])
    return assign(start @ rotation, populations, atoms, n_core)


def _intrinsic(mol: Any, occupied: Matrix, overlap: Matrix) -> tuple[Matrix, NDArray[np.int64]]:
    """Orthonormal intrinsic atomic orbitals, and the atom of each."""
    from pyscf import lo

    functions = lo.orth.vec_lowdin(lo.iao.iao(mol, occupied), overlap)
    bounds = lo.iao.reference_mol(mol).aoslice_by_atom()[:, 2:]
    return np.asarray(functions), np.repeat(np.arange(mol.natm), bounds[:, 1] - bounds[:, 0])


def _meta_loewdin(mol: Any) -> tuple[Matrix, NDArray[np.int64]]:
    from pyscf import lo

    bounds = mol.aoslice_by_atom()[:, 2:]
    owners = np.repeat(np.arange(mol.natm), bounds[:, 1] - bounds[:, 0])
    return np.asarray(lo.orth_ao(mol, "meta_lowdin")), owners
