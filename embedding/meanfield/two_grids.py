"""SCF on two grids: PySCF's engine and a starting density in, the fine grid's answer out. Atomic units.

Nearly all of what a fine grid adds to a Fock matrix does not depend on the last digits of the density. So
the SCF runs on a coarse grid with the difference of the two potentials, taken at the last density, held
fixed:

    E~[D] = E_coarse[D] + (E_fine - E_coarse)[D_k] + Tr (v_fine - v_coarse)[D_k] (D - D_k)

Its minimum D_{k+1} is exact on the fine grid up to second order in D_{k+1} - D_k. A few builds on the fine
grid replace a dozen, and the answer is tested on the fine grid alone.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.level import Level

__all__ = ["converge"]

Matrix = NDArray[np.float64]

_COARSE_GRID = 0
_MIDDLE_GRID = 1  # of the first correction, which need not be exact
_BUILDS = 8  # corrections; three are usual
_FALL = 1e-3  # the gradient that is left after a correction, from the one before: a few times this was seen
_TIGHTER = 0.3  # inner thresholds against the outer ones
_LOOSE = 1e-6  # hartree; the first SCF only brings the density near


def converge(engine: Any, start: Matrix, level: Level, shift: Matrix | None = None) -> tuple[int, Matrix]:
    """Bring ``engine`` to self-consistency; its own flag says whether that came about.

    Parameters
    ----------
    engine
        PySCF's Kohn-Sham object with its grid, integrals and thresholds set.
    start
        Density matrix, ``(n_ao, n_ao)`` or ``(2, n_ao, n_ao)``.
    level
        Its thresholds.
    shift
        What an earlier call at a near geometry returned, of the shape of ``start``.

    Returns
    -------
    iterations, shift
        SCF iterations on all grids together; the fine grid's potential less the coarse grid's.
    """
    from pyscf import dft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PySCF warns of is checked by the caller
        gridless = dft.libxc.xc_type(engine.xc) == "HF"
        found = None
        if engine.grids.level > _COARSE_GRID and not gridless:
            found = _two_grids(engine, start, level, shift)
        if found is None:
            engine.kernel(dm0=start)
            found = int(engine.cycles), np.zeros_like(start)
    return found


def _two_grids(engine: Any, start: Matrix, level: Level, shift: Matrix | None) -> tuple[int, Matrix] | None:
    """Iterations and shift if it converged; None if an ordinary SCF has to do it."""
    mol, hcore, overlap = engine.mol, engine.get_hcore(), engine.get_ovlp()
    rough = _on_grid(engine, _COARSE_GRID)
    plain = rough.get_veff
    finer = [engine] * _BUILDS
    if shift is not None:
        rough.get_veff = _corrected(plain, shift, start, 0.0)
    elif engine.grids.level > _MIDDLE_GRID:
        finer[0] = _on_grid(engine, _MIDDLE_GRID)
    rough.conv_tol, rough.conv_tol_grad = _LOOSE, _LOOSE**0.5
    rough.kernel(dm0=start)
    rough.conv_tol = _TIGHTER * level.scf_tolerance
    iterations, promised = int(rough.cycles), np.inf
    for build in finer:
        if not rough.converged:
            return None
        density = rough.make_rdm1()
        fine = build.get_veff(mol, density)
        energy = float(build.energy_tot(density, hcore, fine))
        fock = build.get_fock(hcore, overlap, fine, density)
        slope = float(np.linalg.norm(engine.get_grad(rough.mo_coeff, rough.mo_occ, fock)))
        coarse = plain(mol, density)
        shift = np.asarray(fine) - np.asarray(coarse)
        small = slope < level.gradient_tolerance and abs(energy - promised) < level.scf_tolerance
        if small and build is engine:
            engine.mo_energy, engine.mo_coeff = engine.canonicalize(rough.mo_coeff, rough.mo_occ, fock)
            engine.mo_occ, engine.e_tot, engine.converged = rough.mo_occ, energy, True
            return iterations, shift
        offset = float((fine.ecoul + fine.exc - coarse.ecoul - coarse.exc).real)
        rough.get_veff = _corrected(plain, shift, density, offset)
        # PySCF's measure is the root mean square of the gradient, ours its norm.
        rough.conv_tol_grad = max(_TIGHTER * level.gradient_tolerance, _FALL * slope) / len(overlap)
        promised = float(rough.kernel(dm0=density))
        iterations += int(rough.cycles)
    return None


def _on_grid(engine: Any, grid: int) -> Any:
    other = engine.copy()
    other.grids = type(engine.grids)(engine.mol)
    other.grids.level = grid
    if engine.do_nlc():
        other.nlcgrids = type(engine.nlcgrids)(engine.mol)
        other.nlcgrids.level = min(grid, engine.nlcgrids.level)
    return other


def _corrected(plain: Callable[..., Any], shift: Matrix, anchor: Matrix, offset: float) -> Callable[..., Any]:
    """Coarse potential plus ``shift``, which adds the energy ``offset`` at the density ``anchor``."""
    from pyscf import lib

    def build(mol: Any, density: Matrix, *_last: object, **_more: object) -> Any:
        found = plain(mol, density)
        more = offset + float(np.vdot(shift, np.asarray(density) - anchor))
        return lib.tag_array(np.asarray(found) + shift, ecoul=found.ecoul, exc=found.exc + more)

    return build
