"""Analytic gradient of the core corrections: solved cores in, one vector per nucleus out (hartree/bohr).

E = E_DFT + sum_I dE_I with closed shells, SPADE orbitals in fixed number and all virtual orbitals; the
derivation is in docs/gradients.md. The right-hand sides of all cores add, so there is one set of
coupled-perturbed Kohn-Sham equations; point charges feel one effective density.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.solved import SolvedCore
from drupe.embedding.gradients.cc_density import coupled_cluster_correlation
from drupe.embedding.gradients.integral_gradient import (
    Pair,
    fitted_gradient,
    four_index_gradient,
    hcore_gradient,
    overlap_gradient,
)
from drupe.embedding.gradients.relaxed_density import (
    Correlation,
    RelaxedCore,
    mp2_correlation,
    relax,
    uncorrelated,
)
from drupe.embedding.gradients.response import localization_response, root_adjoint, weight_operator
from drupe.embedding.gradients.xc_gradient import CoreTerms, xc_gradient
from drupe.embedding.kernels.localization import symmetric_root
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.errors import ConvergenceError, InputError

__all__ = ["CorrectionGradient", "check_functional", "correction_gradient"]

Matrix = NDArray[np.float64]

_ITERATIONS = 100
_FALL = 1e-3  # of the residual in one solution on the coarse grid; it agrees with the full one to about that


@dataclass(frozen=True, eq=False)
class CorrectionGradient:
    """Slope of the core corrections, and of the part of the DFT energy that moves with the grid.

    Fields: ``on_nuclei`` ``(atoms, 3)`` hartree/bohr without point charges; ``density`` ``(n_ao, n_ao)``
    what the corrections add to the density that the point charges feel.
    """

    on_nuclei: Matrix
    density: Matrix


@dataclass(frozen=True, eq=False)
class _Core:
    """A core with its relaxed density: ``own`` of DFT, ``difference`` to it, ``change`` by correlation."""

    solved: SolvedCore
    orbitals: Matrix
    relaxed: RelaxedCore
    correlation: Correlation
    own: Matrix
    difference: Matrix


def correction_gradient(
    field: MeanField, cores: Sequence[SolvedCore], method: str, *, tolerance: float = 1e-7
) -> CorrectionGradient:
    """Gradient of sum_I dE_I, computed with the same integrals and the same grid as the energies.

    Parameters
    ----------
    field
        Converged closed-shell DFT of the QM region.
    cores
        What `correct_core` solved; all virtual orbitals kept for coupled cluster.
    method
        ``"HF"``, ``"MP2"``, ``"CCSD"`` or ``"CCSD(T)"``: the method of the cores, or MP2 in its place.
    tolerance
        Residual of the response and of the lambda equations.

    Raises
    ------
    InputError
        If the functional has no second derivatives here.
    ConvergenceError
        If response or lambda equations do not converge, or a core is not separate from its surroundings.
    """
    engine, overlap = field.engine, field.overlap
    check_functional(engine.xc)
    hybrid = float(engine._numint.hybrid_coeff(engine.xc))
    root = symmetric_root(overlap)
    virtual, occupied = engine.mo_coeff[:, engine.mo_occ == 0], field.occupied
    relaxed = [_relaxed(field, core, method, tolerance) for core in cores]
    kernel = engine.gen_response(hermi=1)
    held = overlap @ engine.mo_coeff
    fock = (held * engine.mo_energy) @ held.T
    right = np.zeros((virtual.shape[1], occupied.shape[1]))
    metric = np.zeros_like(overlap)
    for core in relaxed:
        own, rest = core.solved.localized.core, core.solved.localized.rest
        all_felt = np.asarray(kernel(core.difference))
        own_felt = np.asarray(_kernel_of(engine, own)(core.difference))
        apart, apart_metric = _separation(overlap, core)
        rows = core.solved.rows
        slopes = localization_response(
            own,
            rest,
            4 * (all_felt - own_felt - fock) @ own,
            4 * all_felt @ rest + apart,
            weight_operator(root, rows),
            virtual,
        )
        right += slopes.right @ (occupied.T @ overlap @ np.hstack([own, rest])).T
        metric += slopes.metric + root_adjoint(overlap, slopes.weight, rows)
        inner = 0.5 * (core.relaxed.inner + core.relaxed.inner.T)
        metric += apart_metric - core.orbitals @ inner @ core.orbitals.T
    z = _solve(engine, kernel, right, virtual, occupied, tolerance)
    response = 0.5 * virtual @ z @ occupied.T
    response = response + response.T
    crossed = virtual @ (z * engine.mo_energy[engine.mo_occ > 0]) @ occupied.T
    metric += 0.5 * (crossed + crossed.T)
    metric += 2 * occupied @ (occupied.T @ np.asarray(kernel(response)) @ occupied) @ occupied.T
    density = sum((core.difference for core in relaxed), np.zeros_like(overlap)) - response
    return CorrectionGradient(
        on_nuclei=hcore_gradient(engine, density)
        + overlap_gradient(engine.mol, metric)
        + xc_gradient(engine, field.density, density, [CoreTerms(c.own, c.difference) for c in relaxed])
        + _two_electron(field, relaxed, density, hybrid),
        density=density,
    )


def check_functional(functional: str) -> None:
    """Refuse functionals whose second derivatives are not coded here.

    Raises
    ------
    InputError
        If it is a meta-GGA, range-separated, or has non-local correlation.
    """
    from pyscf.dft import libxc

    ranged, nonlocal_part = bool(libxc.rsh_coeff(functional)[0]), libxc.is_nlc(functional)
    kind = libxc.xc_type(functional)
    if ranged or nonlocal_part or kind not in ("HF", "LDA", "GGA"):
        raise InputError(
            f"no gradient of core corrections in {functional}: it is "
            + ("range-separated" if ranged else "non-local" if nonlocal_part else kind),
            remedy='use HF, an LDA, a GGA or a global hybrid of them, or forces="directional" or "low"',
        )


def _relaxed(field: MeanField, core: SolvedCore, method: str, tolerance: float) -> _Core:
    rest, o = core.localized.rest, core.localized.core.shape[1]
    triples = method == "CCSD(T)"
    orbitals = core.orbitals
    if method not in ("HF", "MP2") and core.state is not None:
        solver, integrals = core.state
        orbitals = core.kept @ solver.mo_coeff
    tensor = _between(field.tensor, np.hstack([orbitals, rest]), orbitals)
    n = orbitals.shape[1]
    four_index = getattr(field.engine, "with_df", None) is None
    if method == "HF" or n == o:
        correlation = uncorrelated(n)
    elif method == "MP2":
        correlation = mp2_correlation(tensor[:, :n], core.energies, o, four_index=four_index)
    else:
        correlation = coupled_cluster_correlation(
            solver,
            integrals,
            tensor[:, :n],
            triples=triples,
            tolerance=tolerance,
            four_index=four_index,
        )
    h_ao = core.h
    if core.shift is not None:
        covered = field.overlap @ rest
        h_ao = h_ao + core.shift * covered @ covered.T
    h = np.hstack([orbitals, rest]).T @ h_ao @ orbitals
    relaxed = relax(h, tensor, o, correlation)
    own = 2 * core.localized.core @ core.localized.core.T
    return _Core(core, orbitals, relaxed, correlation, own, orbitals @ relaxed.density @ orbitals.T - own)


def _separation(overlap: Matrix, core: _Core) -> tuple[Matrix, Matrix]:
    """What keeps a core out of the surroundings' orbitals: slope by these, and factor of S^x."""
    rest = core.solved.localized.rest
    if core.solved.shift is not None:
        covered = core.solved.shift * overlap @ rest
        density = core.difference + core.own
        crossed = density @ covered @ rest.T
        return 2 * overlap @ density @ covered, crossed + crossed.T
    crossed = rest @ core.relaxed.outer @ core.orbitals.T
    return -2 * overlap @ core.orbitals @ core.relaxed.outer.T, -crossed - crossed.T


def _between(packed: Matrix, left: Matrix, right: Matrix) -> Matrix:
    """Three-index tensor between two sets of orbitals, shape ``(n_aux, n_left, n_right)``."""
    from pyscf import lib

    result = np.empty((len(packed), left.shape[1], right.shape[1]))
    step = max(1, int(1e8 // (8 * len(left) ** 2)))
    for first in range(0, len(packed), step):
        full = lib.unpack_tril(np.ascontiguousarray(packed[first : first + step]))
        half = full.reshape(-1, len(right)) @ right
        result[first : first + step] = left.T @ half.reshape(-1, len(left), right.shape[1])
    return result


def _kernel_of(engine: Any, orbitals: Matrix) -> Any:
    """Response kernel at the density 2 C C^T."""
    return engine.gen_response(mo_coeff=orbitals, mo_occ=np.full(orbitals.shape[1], 2.0), hermi=1)


def _solve(
    engine: Any, kernel: Any, right: Matrix, virtual: Matrix, occupied: Matrix, tolerance: float
) -> Matrix:
    """Solve the coupled-perturbed Kohn-Sham equations, shape ``(n_vir, n_occ)``.

    The kernel of a coarse grid brings each correction near; the residual is that of the full grid alone.
    """
    from pyscf import lib

    energies = engine.mo_energy
    gaps = energies[engine.mo_occ == 0][:, None] - energies[engine.mo_occ > 0]
    near = _coarse(engine).gen_response(hermi=1)

    def coupling(felt_by: Any, z: Matrix) -> Matrix:
        half = 2 * virtual @ z @ occupied.T
        found: Matrix = virtual.T @ np.asarray(felt_by(half + half.T)) @ occupied
        return found

    def on_coarse(vectors: Matrix) -> Matrix:
        return np.array([(coupling(near, v.reshape(gaps.shape)) / gaps).ravel() for v in vectors])

    z, left = np.zeros_like(right), right
    size, before = float(np.linalg.norm(right)), np.inf
    # Rounding ends the fall somewhat above the finest thresholds; what counts is tested below.
    while tolerance < size < 0.5 * before:
        before, inner = size, max(_FALL * size, 0.1 * tolerance)
        start = (left / gaps).ravel()[None]
        step = lib.krylov(on_coarse, start, tol=inner, max_cycle=_ITERATIONS, lindep=1e-20)
        z = z + step.reshape(z.shape)
        left = right - gaps * z - coupling(kernel, z)
        size = float(np.linalg.norm(left))
    if size < 100 * tolerance:
        return z
    raise ConvergenceError(
        f"the response of the DFT density is converged to {size:.1e} only, wanted {tolerance:.1e}",
        remedy="the DFT solution may be unstable: look at the geometry, charge and spin of the QM region",
    )


def _coarse(engine: Any) -> Any:
    """Return the same solution on a small grid; Hartree-Fock has none."""
    other = engine.copy()
    if engine._numint._xc_type(engine.xc) != "HF" and engine.grids.level > 0:
        other.grids = type(engine.grids)(engine.mol)
        other.grids.level = 0
        other.grids.build()
    return other


def _two_electron(field: MeanField, cores: Sequence[_Core], density: Matrix, hybrid: float) -> Matrix:
    pairs = [Pair(field.occupied, density, -0.5 * hybrid * density)]
    for core in cores:
        own, o = core.own, core.solved.localized.core.shape[1]
        pairs.append(
            Pair(
                core.solved.localized.core,
                -0.5 * own - core.difference,
                0.5 * hybrid * (0.5 * own + core.difference),
            )
        )
        occupied = core.orbitals[:, :o]
        change = core.orbitals @ core.relaxed.correction @ core.orbitals.T
        determinant = 2 * occupied @ occupied.T
        pairs.append(Pair(occupied, 0.5 * determinant + change, -0.25 * determinant - 0.5 * change))
    if getattr(field.engine, "with_df", None) is not None:
        fitted = [(c.orbitals, c.correlation.fitted) for c in cores if c.correlation.fitted is not None]
        return fitted_gradient(field.engine, field.tensor, pairs, fitted)
    two = [(c.orbitals, c.correlation.two) for c in cores if c.correlation.two is not None]
    return four_index_gradient(field.engine.mol, pairs, two)
