"""Derivatives of AO integrals, contracted: densities in, one vector per nucleus out (hartree/bohr).

Door to PySCF's derivative integrals. All densities are held fixed. The two-electron energy is either
that of density-fitted integrals (ij|kl) = sum_P L_Pij L_Pkl, differentiated through the three-index
integrals and the metric of the fit, or that of exact four-index integrals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from drupe.errors import InputError

__all__ = ["Pair", "fitted_gradient", "four_index_gradient", "hcore_gradient", "overlap_gradient"]

Matrix = NDArray[np.float64]

_BLOCK = 2e8  # bytes


@dataclass(frozen=True, eq=False)
class Pair:
    """Tr ``coulomb`` J[g] + Tr ``exchange`` K[g] of the density g = 2 C C^T.

    Fields: ``orbitals`` C ``(n_ao, n)``; ``coulomb``, ``exchange`` symmetric ``(n_ao, n_ao)``.
    """

    orbitals: Matrix
    coulomb: Matrix
    exchange: Matrix


def overlap_gradient(mol: Any, weight: Matrix) -> Matrix:
    """Tr ``weight`` S^x for a symmetric ``weight``, shape ``(atoms, 3)``."""
    slopes = mol.intor("int1e_ipovlp", comp=3)
    return _by_atom(mol, -2 * np.einsum("xij,ij->ix", slopes, weight))


def hcore_gradient(engine: Any, density: Matrix) -> Matrix:
    """Tr ``density`` h^x without the point charges, shape ``(atoms, 3)``."""
    slopes = engine.nuc_grad_method().hcore_generator(engine.mol)
    return np.array([np.einsum("xij,ij->x", slopes(a), density) for a in range(engine.mol.natm)])


def fitted_gradient(
    engine: Any, tensor: Matrix, pairs: Sequence[Pair], fitted: Sequence[tuple[Matrix, Matrix]]
) -> Matrix:
    """Gradient of a two-electron energy with density-fitted integrals.

    Parameters
    ----------
    engine
        PySCF mean field with ``with_df``.
    tensor
        L over packed AO pairs, shape ``(n_aux, n_ao (n_ao + 1) / 2)``.
    pairs
        Separable terms.
    fitted
        Other terms: orbitals ``(n_ao, n)`` and the density ``(n_aux, n, n)`` X_Ppq whose energy is
        sum X_Ppq L_Ppq / 2.

    Returns
    -------
    Matrix
        Shape ``(atoms, 3)``, hartree/bohr.

    Raises
    ------
    InputError
        If the fitting basis is linearly dependent.
    """
    from pyscf import df, lib

    mol = engine.mol
    auxmol = engine.with_df.auxmol or df.addons.make_auxmol(mol, engine.with_df.auxbasis)
    metric = auxmol.intor("int2c2e", hermi=1)
    try:
        low = np.linalg.cholesky(metric)
    except np.linalg.LinAlgError as error:
        raise InputError(
            "the fitting basis is linearly dependent for this geometry: its fit has no smooth gradient",
            remedy="use a smaller auxbasis, or None for exact integrals",
        ) from error
    bare = np.empty_like(tensor)
    step = max(1, int(_BLOCK // (8 * 3 * mol.nao**2)))
    for first in range(0, len(tensor), step):
        part = slice(first, min(first + step, len(tensor)))
        density = _density_of(lib.unpack_tril(np.ascontiguousarray(tensor[part])), pairs)
        for orbitals, inner in fitted:
            density += (orbitals @ inner[part]) @ orbitals.T
        bare[part] = lib.pack_tril(density)
    # From the normalised to the bare functions: (P|ij) has the density N X with N = low^-T.
    diagonal = np.arange(mol.nao) * (np.arange(mol.nao) + 3) // 2
    doubled = 2 * bare
    doubled[:, diagonal] /= 2
    inner = tensor @ doubled.T
    inner = solve_triangular(low, inner, lower=True, trans="T", overwrite_b=True)
    inner = solve_triangular(low, inner.T, lower=True, trans="T", overwrite_b=True)
    bare = solve_triangular(low, bare, lower=True, trans="T", overwrite_b=True)
    return _three_index(mol, auxmol, bare) + _metric(mol, auxmol, 0.5 * (inner + inner.T))


def four_index_gradient(mol: Any, pairs: Sequence[Pair], two: Sequence[tuple[Matrix, Matrix]]) -> Matrix:
    """Gradient of a two-electron energy with exact integrals.

    Parameters
    ----------
    mol
        PySCF molecule.
    pairs
        Separable terms.
    two
        Other terms: orbitals ``(n_ao, n)`` and the symmetric density over their pairs p >= q,
        ``(n (n + 1) / 2,) * 2``, whose energy is half its sum with (pq|rs) over all p, q, r, s.

    Returns
    -------
    Matrix
        Shape ``(atoms, 3)``, hartree/bohr.
    """
    from pyscf import lib

    n = mol.nao
    whole = np.zeros((n * (n + 1) // 2,) * 2)
    for orbitals, density in two:
        whole += _transform_pairs(density, orbitals)
    densities = [2 * pair.orbitals @ pair.orbitals.T for pair in pairs]
    packed = [(lib.pack_tril(g), lib.pack_tril(p.coulomb)) for g, p in zip(densities, pairs, strict=True)]
    diagonal = np.arange(n) * (np.arange(n) + 3) // 2
    bounds, felt = mol.ao_loc_nr(), np.zeros((n, 3))
    place = np.zeros((n, n), np.int64)
    place[np.tril_indices(n)] = np.arange(len(whole))
    place = np.maximum(place, place.T)
    for shell in range(mol.nbas):
        rows = slice(bounds[shell], bounds[shell + 1])
        slopes = mol.intor(
            "int2e_ip1", comp=3, aosym="s2kl", shls_slice=(shell, shell + 1, *(0, mol.nbas) * 3)
        )
        density = whole[place[rows]]
        for pair, g, (packed_g, packed_a) in zip(pairs, densities, packed, strict=True):
            density += np.multiply.outer(pair.coulomb[rows], packed_g)
            density += np.multiply.outer(g[rows], packed_a)
            for one, other in ((pair.exchange, g), (g, pair.exchange)):
                crossed = np.einsum("ik,jl->ijkl", one[rows], other, optimize=False)
                crossed = crossed + crossed.transpose(0, 1, 3, 2)
                density += 0.5 * lib.pack_tril(crossed.reshape(-1, n, n)).reshape(density.shape)
        density *= 2.0
        density[:, :, diagonal] /= 2
        width = density.shape[0]
        felt[rows] -= 2 * np.einsum(
            "xik,ik->ix", slopes.reshape(3, width, -1), density.reshape(width, -1), optimize=False
        )
    return _by_atom(mol, felt)


def _density_of(slices: Matrix, pairs: Sequence[Pair]) -> Matrix:
    """Three-index density X_P of the separable terms for some functions P."""
    result = np.zeros_like(slices)
    for pair in pairs:
        own = 2 * pair.orbitals @ pair.orbitals.T
        of_own = np.tensordot(slices, own, axes=([1, 2], [0, 1]))
        of_other = np.tensordot(slices, pair.coulomb, axes=([1, 2], [0, 1]))
        result += np.multiply.outer(of_own, pair.coulomb) + np.multiply.outer(of_other, own)
        if pair.exchange.any():
            half = pair.exchange @ (slices @ pair.orbitals)
            crossed = 2 * half @ pair.orbitals.T
            result += crossed + crossed.transpose(0, 2, 1)
    return result


def _three_index(mol: Any, auxmol: Any, density: Matrix) -> Matrix:
    from pyscf import lib

    both = mol + auxmol
    shells, n = mol.nbas, mol.nao
    bounds = auxmol.ao_loc_nr()
    felt, felt_aux = np.zeros((n, 3)), np.zeros((auxmol.nao, 3))
    diagonal = np.arange(n) * (np.arange(n) + 3) // 2
    first = 0
    while first < auxmol.nbas:
        last = first + 1
        while last < auxmol.nbas and 8 * 3 * n**2 * (bounds[last + 1] - bounds[first]) < _BLOCK:
            last += 1
        window = (0, shells, 0, shells, shells + first, shells + last)
        part = slice(bounds[first], bounds[last])
        packed = np.ascontiguousarray(density[part])
        slopes = both.intor("int3c2e_ip1", comp=3, aosym="s1", shls_slice=window)
        felt -= 2 * np.einsum("xijp,pij->ix", slopes, lib.unpack_tril(packed), optimize=True)
        slopes = both.intor("int3c2e_ip2", comp=3, aosym="s2ij", shls_slice=window)
        packed = 2 * packed
        packed[:, diagonal] /= 2
        felt_aux[part] -= np.einsum("xip,pi->px", slopes, packed, optimize=False)
        first = last
    return _by_atom(mol, felt) + _by_atom(auxmol, felt_aux)


def _metric(mol: Any, auxmol: Any, weight: Matrix) -> Matrix:
    slopes = auxmol.intor("int2c2e_ip1", comp=3)
    return _by_atom(auxmol, np.einsum("xpq,pq->px", slopes, weight))


def _by_atom(mol: Any, felt: Matrix) -> Matrix:
    bounds = mol.aoslice_by_atom()[:, 2:]
    return np.array([felt[first:last].sum(axis=0) for first, last in bounds])


def _transform_pairs(density: Matrix, orbitals: Matrix) -> Matrix:
    """Density over pairs of orbitals to one over pairs of AOs."""
    return _transform_rows(_transform_rows(density, orbitals).T, orbitals)


def _transform_rows(density: Matrix, orbitals: Matrix) -> Matrix:
    from pyscf import lib

    n = len(orbitals)
    result = np.empty((len(density), n * (n + 1) // 2))
    step = max(1, int(_BLOCK // (8 * n**2)))
    for first in range(0, len(density), step):
        full = lib.unpack_tril(np.ascontiguousarray(density[first : first + step]))
        result[first : first + step] = lib.pack_tril((orbitals @ full) @ orbitals.T)
    return result
