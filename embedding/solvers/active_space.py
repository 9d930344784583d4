"""Active-space solvers: an embedded Hamiltonian in, its CASCI, CASSCF or NEVPT2 energy out. Atomic units.

The active orbitals are the MP2 natural orbitals that are furthest from doubly occupied and from empty,
taken in the occupied and in the virtual space apart. Sources: Jensen, Jorgensen, Agren and Olsen,
J. Chem. Phys. 88, 3834 (1988), for that choice; Angeli, Cimiraglia, Evangelisti, Leininger and Malrieu,
J. Chem. Phys. 114, 10252 (2001), for NEVPT2, here the strongly contracted one.

A core keeps few virtual orbitals: CASSCF turns its orbitals inside that space only, and what lies
outside enters through the MP2 difference of NEVPT2, or with more shells.
"""

from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from drupe.embedding.kernels.hartree_fock import canonical, determinant_energy
from drupe.embedding.solvers.hamiltonian import EmbeddedHamiltonian, Solution, SolverOptions
from drupe.errors import ConvergenceError, InputError

__all__ = [
    "LARGEST_SPACE",
    "casci",
    "casscf",
    "check_active_space",
    "check_edges",
    "lowest_energy",
    "reference_of",
]

Matrix = NDArray[np.float64]

_TURNS, _ANGLE, _SEED = 3, 0.1, 7  # searches without a better end, radian, of their random numbers
_LOOSE, _SEARCH = 1e-6, 12  # hartree and iterations of the searches
_LOWER = 2e-5  # hartree; the same solution found again differs by what a loose convergence leaves
_UNCORRELATED = 1e-12
_EQUAL = 1e-5  # occupation; those of symmetric pairs differ by what the SCF leaves, about 1e-8
#: Determinants; NEVPT2 holds their three-particle density too.
LARGEST_SPACE = 1_000_000


def casci(hamiltonian: EmbeddedHamiltonian, options: SolverOptions, *, perturbed: bool) -> Solution:
    """Full CI of the active electrons in MP2 natural orbitals, with NEVPT2 where ``perturbed``.

    Raises
    ------
    InputError
        If there is no active space, or it does not fit the core.
    ConvergenceError
        If an iteration stops short.
    """
    from pyscf import mcscf

    return _active(mcscf.CASCI, hamiltonian, options, perturbed=perturbed)


def casscf(hamiltonian: EmbeddedHamiltonian, options: SolverOptions, *, perturbed: bool) -> Solution:
    """Return what `casci` does after the orbitals were optimised inside the Hamiltonian's space."""
    from pyscf import mcscf

    return _active(mcscf.CASSCF, hamiltonian, options, perturbed=perturbed)


def check_active_space(active_space: tuple[int, int] | None, n_occupied: int, n_orbitals: int) -> None:
    """Refuse an active space that a core of these orbitals does not hold.

    Raises
    ------
    InputError
        With the numbers that would fit.
    """
    if active_space is None:
        raise InputError(
            "CASCI and CASSCF need an active space", remedy="give Level.active_space=(electrons, orbitals)"
        )
    electrons, orbitals = active_space
    empty = orbitals - electrons // 2
    if electrons % 2 or not 0 < electrons // 2 <= n_occupied or not 0 <= empty <= n_orbitals - n_occupied:
        raise InputError(
            f"an active space of {electrons} electrons in {orbitals} orbitals in a core of {n_occupied} "
            f"occupied and {n_orbitals - n_occupied} virtual orbitals that may be correlated",
            remedy="choose an even number of electrons and orbitals that fit, or a larger core",
        )
    if comb(orbitals, electrons // 2) ** 2 > LARGEST_SPACE:
        raise InputError(
            f"an active space of {comb(orbitals, electrons // 2) ** 2} determinants",
            remedy=f"choose one of at most {LARGEST_SPACE}, such as (12, 12)",
        )


def reference_of(hamiltonian: EmbeddedHamiltonian, *, fitted: bool = False) -> Any:
    """PySCF mean field that holds these integrals and canonical orbitals; its energy lacks the constant.

    Where ``fitted`` it holds the three-index tensor, for methods that never need all four-index integrals.
    """
    from pyscf import df, gto, scf

    mol = gto.M(verbose=0)
    mol.nelectron = hamiltonian.n_electrons
    mol.incore_anyway = True
    mean_field = scf.RHF(mol)
    mean_field._chkfile.close()  # else an open file stays behind each core
    mean_field.chkfile = None
    one_electron = np.array(hamiltonian.h)
    mean_field.get_hcore = lambda *_args: one_electron
    mean_field.get_ovlp = lambda *_args: np.eye(len(one_electron))
    if fitted:
        mean_field.with_df = df.DF(mol)
        mean_field.with_df._cderi = hamiltonian.packed()
    else:
        mean_field._eri = hamiltonian.repulsion()
    orbitals, energies = canonical(hamiltonian.h, hamiltonian.tensor, hamiltonian.n_occupied)
    mean_field.mo_coeff, mean_field.mo_energy = orbitals, energies
    mean_field.mo_occ = np.where(np.arange(len(energies)) < hamiltonian.n_occupied, 2.0, 0.0)
    mean_field.e_tot = determinant_energy(hamiltonian.h, hamiltonian.tensor, hamiltonian.n_occupied)
    mean_field.converged = True
    return mean_field


def _active(
    method: Any, hamiltonian: EmbeddedHamiltonian, options: SolverOptions, *, perturbed: bool
) -> Solution:
    from pyscf import mcscf, mrpt

    n = hamiltonian.n_occupied
    check_active_space(options.active_space, n, len(hamiltonian.h))
    assert options.active_space is not None
    electrons, orbitals = options.active_space
    mean_field = reference_of(hamiltonian)
    solver = method(mean_field, orbitals, electrons)
    solver.verbose = 0
    solver.fix_spin_(ss=0)  # else a state of higher spin may come out of a stretched bond
    solver.fcisolver.conv_tol = min(options.tolerance, 1e-10)
    solver.fcisolver.max_cycle = max(options.max_cycles, 200)
    if hasattr(solver, "max_cycle_macro"):
        solver.conv_tol, solver.max_cycle_macro = options.tolerance, options.max_cycles
    start, occupations = _natural_orbitals(mean_field, n)
    if method is mcscf.CASCI:
        check_edges(occupations, n - electrons // 2, n - electrons // 2 + orbitals, options.active_space)
    energy = solver.kernel(start)[0] if method is mcscf.CASCI else lowest_energy(solver, start)
    if not solver.converged or not np.isfinite(energy):
        raise ConvergenceError(
            f"the active space ({electrons}, {orbitals}) of a core did not converge in {options.max_cycles} "
            f"iterations (energy {energy})",
            remedy="choose another active space: orbitals that are full or empty make it ill defined",
        )
    if perturbed:
        energy += mrpt.NEVPT(solver).kernel()
    if not np.isfinite(energy):
        raise ConvergenceError(
            f"NEVPT2 on the active space ({electrons}, {orbitals}) of a core is not a finite number",
            remedy="choose another active space",
        )
    return Solution(float(energy) + hamiltonian.constant, mean_field.e_tot + hamiltonian.constant)


def _natural_orbitals(mean_field: Any, n_occupied: int) -> tuple[Matrix, NDArray[np.float64]]:
    """Occupied, then virtual MP2 natural orbitals, each by falling occupation: active ones in the middle."""
    from pyscf import mp

    perturbation = mp.MP2(mean_field)
    perturbation.verbose = 0
    perturbation.kernel()
    density = perturbation.make_rdm1()
    blocks, occupations = [], []
    for part in (slice(None, n_occupied), slice(n_occupied, None)):
        values, vectors = np.linalg.eigh(density[part, part])
        blocks.append(mean_field.mo_coeff[:, part] @ vectors[:, ::-1])
        occupations.append(values[::-1])
    return np.hstack(blocks), np.concatenate(occupations)


def lowest_energy(solver: Any, start: Matrix) -> float:
    """Optimise orbitals from a start, then from random turns of the best ones, until none leads lower.

    CASSCF has many stationary points, and the one next to a start changes with the geometry.

    Parameters
    ----------
    solver
        CASSCF object of PySCF; it holds the lowest solution afterwards.
    start
        Orbitals as columns, ``(n, n)``, or ``(2, n, n)`` for both spins.

    Returns
    -------
    float
        Energy in hartree, without the constant of the Hamiltonian; ``solver.converged`` belongs to it.
    """
    random, tight, cycles = np.random.default_rng(_SEED), solver.conv_tol, solver.max_cycle_macro
    solver.conv_tol, solver.max_cycle_macro = max(tight, _LOOSE), min(cycles, _SEARCH)
    best, orbitals, vector = solver.kernel(start)[0], solver.mo_coeff, solver.ci
    settled, missed = solver.converged, 0
    while missed < _TURNS:
        solver.ci = None  # else the search goes on from the state it is to leave
        energy = solver.kernel(_turned(np.asarray(orbitals), random))[0]
        if solver.converged and (not settled or energy < best - _LOWER):
            best, orbitals, vector, settled, missed = energy, solver.mo_coeff, solver.ci, True, 0
        else:
            missed += 1
    solver.conv_tol, solver.max_cycle_macro = tight, cycles
    found: float = solver.kernel(orbitals, vector)[0]
    return found


def _turned(orbitals: Matrix, random: np.random.Generator) -> Matrix:
    """Orbitals after a random rotation of each spin's among themselves."""
    angles = random.normal(scale=_ANGLE, size=(*orbitals.shape[:-2], *orbitals.shape[-1:] * 2))
    turns: Matrix = expm((angles - np.swapaxes(angles, -1, -2)) / 2)
    turned: Matrix = orbitals @ turns
    return turned


def check_edges(
    occupations: NDArray[np.float64], first: int, end: int, active_space: tuple[int, int]
) -> None:
    """Refuse active orbitals that are one part of a set of equal occupation: which part is arbitrary."""
    if np.abs(occupations - np.round(occupations)).max(initial=0.0) < _UNCORRELATED:
        return  # one electron: nothing to be equal in
    for edge in (first, end):
        if 0 < edge < len(occupations) and abs(occupations[edge - 1] - occupations[edge]) < _EQUAL:
            raise InputError(
                f"the active space {active_space} of a core splits natural orbitals of equal occupation "
                f"({occupations[edge]:.6f}): the CASCI energy would depend on how they happen to be turned",
                remedy="take all of them in, or none; or optimise the orbitals with CASSCF",
            )
