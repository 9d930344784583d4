"""Slope of the exchange-correlation energy from the occupied orbitals: an SCF in, hartree/bohr out.

PySCF sums the slope of every product of two basis functions, then contracts them with the density. The
density has far fewer occupied orbitals than basis functions, so contracting first costs less. With psi_i
the occupied orbitals at the points and v_0, v_k the functional's derivatives by rho and by its gradient
(times weights), the functions mu of atom A move with it and give

    -2 sum_{mu in A} sum_i C_mu,i sum_r [ d_x mu (v_0 psi_i + v_k d_k psi_i) + d_x d_k mu v_k psi_i ]
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["kohn_sham_gradient"]

Matrix = NDArray[np.float64]

_OWN = ("LDA", "GGA")
_SECOND = ((4, 5, 6), (5, 7, 8), (6, 8, 9))  # where PySCF keeps d_x d_k of a basis function


def kohn_sham_gradient(engine: Any) -> Matrix:
    """Slope of a Kohn-Sham energy by the nuclei, the grid's points held fixed.

    Parameters
    ----------
    engine
        Converged restricted or unrestricted Kohn-Sham object of PySCF.

    Returns
    -------
    Matrix
        Shape ``(atoms, 3)``, hartree/bohr. What `nuc_grad_method` of PySCF gives, with less work for LDA and
        GGA parts; those of kinetic energy densities and nonlocal correlation are PySCF's.
    """
    if engine._numint._xc_type(engine.xc) not in _OWN:
        return np.asarray(engine.nuc_grad_method().kernel())
    rest = engine.copy()
    rest._numint = engine._numint.copy()
    rest._numint._xc_type = lambda *_args: "HF"  # nothing to integrate; exchange and nonlocal parts stay
    return np.asarray(rest.nuc_grad_method().kernel()) + _semilocal(engine)


def _semilocal(engine: Any) -> Matrix:
    mol, integrator = engine.mol, engine._numint
    kind = integrator._xc_type(engine.xc)
    components = 1 if kind == "LDA" else 4
    spins = _occupied(engine)
    slopes = [np.zeros((3, mol.nao, spin.shape[1])) for spin in spins]
    blocks = integrator.block_loop(mol, engine.grids, mol.nao, deriv=1 if kind == "LDA" else 2)
    for basis, _mask, weights, _points in blocks:
        columns = [np.stack([spin.T @ part.T for part in basis[:components]]) for spin in spins]
        density = np.array([np.einsum("ir,xir->xr", psi[0], psi) for psi in columns])
        density[:, 1:] *= 2
        argument = np.squeeze(density, axis=1) if kind == "LDA" else density
        argument = argument if len(spins) == 2 else argument[0]
        felt = integrator.eval_xc_eff(engine.xc, argument, 1, xctype=kind)[1]
        for psi, slope, first in zip(columns, slopes, felt.reshape(density.shape) * weights, strict=True):
            pulled = np.einsum("xr,xir->ir", first, psi)
            for x in range(3):
                slope[x] += basis[1 + x].T @ pulled.T
                for k in range(components - 1):
                    slope[x] += basis[_SECOND[x][k]].T @ (first[1 + k] * psi[0]).T
    by_function = -2 * sum(
        np.einsum("xmi,mi->mx", slope, spin) for slope, spin in zip(slopes, spins, strict=True)
    )
    bounds = mol.aoslice_by_atom()[:, 2:]
    return np.array([by_function[first:last].sum(axis=0) for first, last in bounds])


def _occupied(engine: Any) -> list[Matrix]:
    """Occupied orbitals times the root of their occupation, ``(n_ao, n_occ)``, for each spin that differs."""
    orbitals, occupations = np.asarray(engine.mo_coeff), np.asarray(engine.mo_occ)
    if occupations.ndim == 1:
        orbitals, occupations = orbitals[None], occupations[None]
    return [c[:, n > 0] * np.sqrt(n[n > 0]) for c, n in zip(orbitals, occupations, strict=True)]
