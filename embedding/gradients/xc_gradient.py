"""Gradients of exchange-correlation energies and potentials on PySCF's moving grid (hartree/bohr).

Door to PySCF's grids and functionals (LDA and GGA). The quadrature is differentiated as it stands: its
points move with their atoms and its weights change, so the result is the slope of the energy on
that same grid, whatever its level, and the forces on all atoms add up to zero.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.errors import MachineError

__all__ = ["CoreTerms", "xc_gradient"]

Matrix = NDArray[np.float64]

_POINTS = 4000
_SAME_GRID = 1e-8


@dataclass(frozen=True, eq=False)
class CoreTerms:
    """Terms of one core: -E_xc[``own``] - Tr ``difference`` v_xc[``own``]; both ``(n_ao, n_ao)``."""

    own: Matrix
    difference: Matrix


def xc_gradient(engine: Any, density: Matrix, change: Matrix, cores: Sequence[CoreTerms]) -> Matrix:
    """Tr ``change`` v_xc[``density``]^x, the terms of the cores, and the grid's part of E_xc[``density``]^x.

    Parameters
    ----------
    engine
        PySCF restricted Kohn-Sham object.
    density
        Its density, both spins, shape ``(n_ao, n_ao)``.
    change
        Symmetric, shape ``(n_ao, n_ao)``.
    cores
        See `CoreTerms`.

    Returns
    -------
    Matrix
        Shape ``(atoms, 3)``. Gradients of PySCF leave out how the grid of E_xc moves, so this part
        completes them; zero for Hartree-Fock.
    """
    mol, kind = engine.mol, engine._numint._xc_type(engine.xc)
    result = np.zeros((mol.natm, 3))
    if kind == "HF":
        return result
    bounds = mol.aoslice_by_atom()[:, 2:]
    matrices = [density, change] + [matrix for core in cores for matrix in (core.own, core.difference)]
    for atom, (points, weights, weights_slope) in enumerate(_moving_grid(engine)):
        for part in _chunks(len(points)):
            orbitals = engine._numint.eval_ao(mol, points[part], deriv=1 if kind == "LDA" else 2)
            seen = [_density(orbitals, matrix, kind) for matrix in matrices]
            values, potentials = _evaluate(engine, [rho for rho, _ in seen], kind)
            result += np.einsum("r,axr->ax", values, weights_slope[:, :, part])
            # The orbitals move with their atoms, the points all with this one.
            along = np.zeros((mol.nao, 3))
            moving = np.zeros((mol.nao, 3))
            for index, (matrix, (_, half), potential) in enumerate(
                zip(matrices, seen, potentials, strict=True)
            ):
                slope = _slopes(orbitals, matrix, half, potential[0] * weights[part])
                moving += slope
                along += slope
                if index == 0:
                    moving += _slopes(orbitals, matrix, half, potential[1] * weights[part])
            result += np.array([along[first:last].sum(axis=0) for first, last in bounds])
            result[atom] -= moving.sum(axis=0)
    return result


def _moving_grid(engine: Any) -> Iterator[tuple[Matrix, Matrix, Matrix]]:
    """Points, weights and slopes of the weights ``(atoms, 3, points)`` of each atom's part of the grid."""
    from pyscf import gto
    from pyscf.grad.rks import grids_response_cc

    mol, grids = engine.mol, engine.grids.copy()
    # PySCF 2.14.0 takes the atomic radii of the partition from the nuclear charges here, which effective core
    # potentials lower, and from the elements where it builds the grid: give it the bare elements.
    grids.mol = gto.Mole()
    symbols = [mol.atom_pure_symbol(atom) for atom in range(mol.natm)]
    grids.mol.build(
        dump_input=False,
        parse_arg=False,
        verbose=0,
        atom=list(zip(symbols, mol.atom_coords().tolist(), strict=True)),
        unit="Bohr",
        basis={symbol: [[0, [1.0, 1.0]]] for symbol in symbols},  # any; the grid does not depend on it
        spin=None,
    )
    total = 0.0
    for points, weights, slopes in grids_response_cc(grids):
        total += float(weights.sum())
        yield points, weights, slopes
    missed = total / float(engine.grids.weights.sum()) - 1
    if abs(missed) > _SAME_GRID:
        raise MachineError(
            f"the grid whose slope was taken is not that of the energy: their volumes differ by {missed:.1e}",
            remedy='use PySCF 2.14 with its default grids, or forces="low"',
        )


def _chunks(count: int) -> Iterator[slice]:
    for first in range(0, count, _POINTS):
        yield slice(first, min(first + _POINTS, count))


def _density(orbitals: Matrix, matrix: Matrix, kind: str) -> tuple[Matrix, Matrix]:
    """Density (and its gradient) at the points, and orbitals times matrix."""
    half = orbitals[0] @ matrix
    if kind == "LDA":
        return np.einsum("ri,ri->r", orbitals[0], half)[None], half
    rho = np.einsum("xri,ri->xr", orbitals[:4], half)
    rho[1:] *= 2
    return rho, half


def _evaluate(engine: Any, rho: list[Matrix], kind: str) -> tuple[Matrix, list[tuple[Matrix, Matrix]]]:
    """Energy per volume of all terms, and its derivative by each density; for the first also that of E_xc."""

    def of(density: Matrix) -> tuple[Matrix, Matrix, Matrix]:
        argument = density[0] if kind == "LDA" else density
        value, first, second, _ = engine._numint.eval_xc_eff(engine.xc, argument, deriv=2, xctype=kind)
        return value * density[0], first, second

    total, potential, kernel = of(rho[0])
    values = total + np.einsum("kr,kr->r", potential, rho[1])
    none = np.zeros_like(potential)
    potentials = [(np.einsum("klr,lr->kr", kernel, rho[1]), potential), (potential, none)]
    for own, difference in zip(rho[2::2], rho[3::2], strict=True):
        part, slope, curvature = of(own)
        values -= part + np.einsum("kr,kr->r", slope, difference)
        potentials.append((-slope - np.einsum("klr,lr->kr", curvature, difference), none))
        potentials.append((-slope, none))
    return values, potentials


def _slopes(orbitals: Matrix, matrix: Matrix, half: Matrix, potential: Matrix) -> Matrix:
    """Change of sum_r potential rho when each orbital moves, shape ``(n_ao, 3)``."""
    if len(potential) == 1:
        felt = half * potential[0][:, None]
        change: Matrix = -2 * np.einsum("xri,ri->ix", orbitals[1:4], felt)
        return change
    weighted = np.einsum("kr,kri->ri", potential, orbitals[:4], optimize=True)
    result: Matrix = np.einsum("xri,ri->ix", orbitals[1:4], weighted @ matrix)
    second = np.array([[4, 5, 6], [5, 7, 8], [6, 8, 9]])
    for x in range(3):
        bent = np.einsum("kr,kri->ri", potential[1:], orbitals[second[x]], optimize=True)
        result[:, x] += np.einsum("ri,ri->i", bent, half)
    return -2 * result
