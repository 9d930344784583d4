"""Coupled cluster in local natural orbitals: an embedded Hamiltonian in, its energy out. Atomic units.

Every localised occupied orbital gets its own small space of MP2 natural orbitals, in which coupled cluster
gives that orbital's share of the correlation energy; MP2 stands in for what the spaces leave out. Sources:
Rolik and Kallay, J. Chem. Phys. 135, 104111 (2011); Ye and Berkelbach, J. Chem. Theory Comput. 20, 8948
(2024), whose implementation in pyscf-forge does the work; Edmiston and Ruedenberg, Rev. Mod. Phys. 35, 457
(1963), for the localised orbitals, which need nothing but integrals.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.kernels.localization import pipek_mezey
from drupe.embedding.kernels.perturbation import second_order
from drupe.embedding.solvers.active_space import reference_of
from drupe.embedding.solvers.hamiltonian import EmbeddedHamiltonian, Solution, SolverOptions
from drupe.errors import ConvergenceError, InputError

__all__ = ["LocalCorrelation", "check_installed", "correlate", "edmiston_ruedenberg", "solve_local"]

Matrix = NDArray[np.float64]

# Radians. Lone pairs and bonds of a symmetric molecule turn against each other for almost nothing, and settle
# slowly; such a turn changes the energy by less than 1e-9 hartree, a thousandth of what truncation does.
_SETTLED = 1e-5
_INSTALL = (
    "build it with `pip install --no-deps 'pyscf-forge>=1.1.1'`, which takes a C compiler and a BLAS "
    "development package (Debian and Ubuntu: `apt-get install gcc libopenblas-dev`); or use CCSD(T)"
)


@dataclass(frozen=True)
class LocalCorrelation:
    """Sums over the localised orbitals, in hartree, without MP2 for what their spaces leave out.

    Fields: ``mp2``, ``ccsd`` and ``triples`` correlation energies, the last without CCSD's; ``t1``, ``d1``
    and ``t2_max`` diagnostics, T1 from each orbital's own row of amplitudes and the other two the largest of
    all spaces; ``largest`` number of occupied and of virtual orbitals in the largest space.
    """

    mp2: float
    ccsd: float
    triples: float
    t1: float
    d1: float
    t2_max: float
    largest: tuple[int, int]


@dataclass(frozen=True)
class _Space:
    """Of one localised orbital: squared norm of its own singles, D1, largest double amplitude, orbitals."""

    row: float
    d1: float
    t2_max: float
    n_occupied: int
    n_virtual: int


def check_installed(method: str) -> None:
    """Refuse ``method`` where pyscf-forge or its compiled library is missing.

    Raises
    ------
    InputError
        With how to install it.
    """
    try:
        from pyscf.lno import lnoccsd_t
    except (ImportError, OSError) as error:
        raise InputError(f"{method} needs pyscf-forge ({error})", remedy=_INSTALL) from error
    del lnoccsd_t


def solve_local(hamiltonian: EmbeddedHamiltonian, options: SolverOptions, *, triples: bool) -> Solution:
    """Energy by CCSD, or CCSD(T) where ``triples``, in local natural orbitals, and MP2 for the rest.

    Raises
    ------
    InputError
        If pyscf-forge is missing, or a space needs more memory than ``options.max_memory_mb``.
    ConvergenceError
        If coupled cluster in one of the spaces, or the localisation, stops short.
    """
    check_installed("LNO-CCSD(T)" if triples else "LNO-CCSD")
    n = hamiltonian.n_occupied
    mean_field = reference_of(hamiltonian, fitted=True)
    reference = mean_field.e_tot + hamiltonian.constant
    if n == len(hamiltonian.h):
        return Solution(reference, reference, t1=0.0)
    orbitals, energies = mean_field.mo_coeff, mean_field.mo_energy
    found = correlate(mean_field, edmiston_ruedenberg(hamiltonian, orbitals[:, :n]), options, triples=triples)
    pairs = np.matmul(orbitals[:, :n].T, hamiltonian.tensor) @ orbitals[:, n:]
    rest = second_order(pairs, energies[:n], energies[n:]).energy - found.mp2
    occupied, virtual = options.lno_thresholds
    return Solution(
        reference + found.ccsd + found.triples + rest,
        reference,
        t1=found.t1,
        d1=found.d1,
        t2_max=found.t2_max,
        approximations=(
            f"local natural orbitals above {occupied:g} (occupied) and {virtual:g} (virtual), at most "
            f"{found.largest[0]} of {n} and {found.largest[1]} of {len(energies) - n} for one localised "
            f"orbital; MP2 for the others ({rest:+.6f} hartree)",
        ),
    )


def edmiston_ruedenberg(hamiltonian: EmbeddedHamiltonian, occupied: Matrix) -> Matrix:
    """Rotate occupied orbitals to the largest self-repulsion, the sum over i of (ii|ii).

    With (ii|ii) = sum_P (L_Pii)^2 this is Pipek and Mezey's sum of squared populations, one for each fitting
    function in place of each atom: no atoms have to be known.

    Parameters
    ----------
    hamiltonian
        Its three-index tensor gives the repulsion.
    occupied
        Orthonormal orbitals, shape ``(n, n_occ)``.

    Returns
    -------
    Matrix
        Shape ``(n, n_occ)``.

    Raises
    ------
    ConvergenceError
        If the rotations do not settle.
    """
    between = np.matmul(occupied.T, hamiltonian.tensor) @ occupied
    try:
        rotated: Matrix = occupied @ pipek_mezey(between, 2, _SETTLED)
    except ConvergenceError as error:
        raise ConvergenceError(
            error.found, remedy='use the method without "LNO-", which needs no localised orbitals'
        ) from error
    return rotated


def correlate(mean_field: Any, local: Matrix, options: SolverOptions, *, triples: bool) -> LocalCorrelation:
    """Correlate each localised orbital in its own space of natural orbitals.

    Parameters
    ----------
    mean_field
        From ``reference_of(..., fitted=True)``.
    local
        Localised orbitals in the basis of ``mean_field``, shape ``(n, n_occ)``; they span the occupied ones.
    options
        ``lno_thresholds`` are the smallest occupations (of holes, of electrons) of a natural orbital that a
        space takes in.
    triples
        Whether to add (T).

    Raises
    ------
    InputError
        If the integrals of a space need more than ``options.max_memory_mb``.
    ConvergenceError
        If coupled cluster stops short in a space.
    """
    from pyscf.lno import lnoccsd

    n_orbitals = len(mean_field.mo_occ)
    is_occupied = mean_field.mo_occ > 0
    engine = lnoccsd.LNOCCSD(
        mean_field, local, [[i] for i in range(local.shape[1])], lno_thresh=list(options.lno_thresholds)
    )
    engine.verbose = engine.verbose_imp = 0
    seen: list[_Space] = []

    def solve_space(_field: Any, orbitals: Matrix, on_local: Matrix, _eris: Any, frozen: Any) -> Any:
        frozen, active = lnoccsd.get_maskact(frozen, n_orbitals)
        n_virtual = int(np.count_nonzero(active & ~is_occupied))
        needed = (n_virtual * (n_virtual + 1) // 2) ** 2 * 8e-6
        if needed > options.max_memory_mb:
            raise InputError(
                f"the integrals of a localised orbital with {n_virtual} virtual orbitals need {needed:.0f} "
                f"MB, max_memory_mb is {options.max_memory_mb}",
                remedy="raise max_memory_mb or lno_thresholds, lower virtual_shells, or take a smaller core",
            )
        # The library's own choice may be a solver from disk that fails with numpy 2.
        solver = lnoccsd.MODIFIED_CCSD(mean_field, frozen, orbitals, mean_field.mo_occ)
        solver.conv_tol, solver.conv_tol_normt = options.tolerance, 100 * options.tolerance
        solver.max_cycle, solver.verbose = options.max_cycles, 0
        solver._s1e, solver._h1e, solver._vhf = engine.s1e, engine.h1e, engine._vhf
        energies, message = lnoccsd.impurity_solve(
            solver,
            orbitals,
            on_local,
            mean_field.mo_occ,
            active,
            None,
            ccsd_t=triples,
            log=None,
            verbose_imp=0,
            max_las_size_ccsd=n_orbitals,
            max_las_size_ccsd_t=n_orbitals,
        )
        if n_virtual:
            seen.append(_space(solver, on_local, energies, disconnected=not triples))
        return energies, message

    engine.impurity_solve = solve_space  # the library's own takes amplitudes that did not converge
    engine.ccsd_t = triples
    engine.kernel()
    return LocalCorrelation(
        mp2=float(engine.efrag_pt2.sum()),
        ccsd=float(engine.efrag_cc.sum()),
        triples=float(engine.efrag_cc_t.sum()),
        t1=float(np.sqrt(sum(space.row for space in seen) / (2 * local.shape[1]))),
        d1=max((space.d1 for space in seen), default=0.0),
        t2_max=max((space.t2_max for space in seen), default=0.0),
        largest=(
            max((space.n_occupied for space in seen), default=0),
            max((space.n_virtual for space in seen), default=0),
        ),
    )


def _space(solver: Any, on_local: Matrix, energies: tuple[Any, ...], *, disconnected: bool) -> _Space:
    """Diagnostics of a solved space; ``disconnected`` says that its doubles hold products of singles."""
    n_virtual = solver.nmo - solver.nocc
    if not solver.converged or not np.isfinite([float(energy) for energy in energies]).all():
        raise ConvergenceError(
            f"CCSD of a localised orbital with {solver.nocc} occupied and {n_virtual} virtual orbitals did "
            f"not converge in {solver.max_cycle} iterations",
            remedy="one determinant may not describe this core: choose a larger one, or raise max_cycles",
        )
    singles, doubles = solver.t1, solver.t2
    if disconnected:
        doubles = doubles - np.einsum("ia,jb->ijab", singles, singles)
    return _Space(
        row=float(np.sum((on_local.T @ singles) ** 2)),
        d1=float(np.linalg.norm(singles, 2)),
        t2_max=float(np.abs(doubles).max()),
        n_occupied=solver.nocc,
        n_virtual=n_virtual,
    )
