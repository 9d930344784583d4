"""Active spaces of open-shell cores: integrals of both spins in, CASCI or CASSCF energy out. Atomic units.

Alpha and beta electrons have orbitals of their own, since they feel different potentials and are kept out of
different orbitals of the surroundings: PySCF's UCASCI and UCASSCF. The active ones are the UMP2 natural
orbitals of each spin that are furthest from occupied and from empty. Source: Jensen, Jorgensen, Agren and
Olsen, J. Chem. Phys. 88, 3834 (1988), for that choice.
"""

from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.solvers.active_space import LARGEST_SPACE, check_edges, lowest_energy
from drupe.embedding.solvers.hamiltonian import Solution, SolverOptions
from drupe.embedding.solvers.spin_active_integrals import active_integrals
from drupe.embedding.solvers.spin_hamiltonian import UnrestrictedHamiltonian, padded
from drupe.errors import ConvergenceError, InputError

__all__ = ["check_open_active_space", "unrestricted_casci", "unrestricted_casscf"]

Matrix = NDArray[np.float64]
Pair = tuple[Matrix, Matrix]


def unrestricted_casci(hamiltonian: UnrestrictedHamiltonian, options: SolverOptions) -> Solution:
    """Full CI of the active electrons in UMP2 natural orbitals.

    Raises
    ------
    InputError
        If there is no active space, it does not fit the core, or it splits orbitals of equal occupation.
    ConvergenceError
        If an iteration stops short.
    """
    from pyscf import mcscf

    return _active(mcscf.UCASCI, hamiltonian, options)


def unrestricted_casscf(hamiltonian: UnrestrictedHamiltonian, options: SolverOptions) -> Solution:
    """Return what `unrestricted_casci` does after the orbitals were optimised inside their spaces."""
    from pyscf import mcscf

    return _active(mcscf.UCASSCF, hamiltonian, options)


def check_open_active_space(
    active_space: tuple[int, int] | None, counts: tuple[int, int], sizes: tuple[int, int]
) -> tuple[int, int]:
    """Active alpha and beta electrons: all unpaired ones are active.

    Parameters
    ----------
    active_space
        (electrons, orbitals).
    counts, sizes
        Occupied orbitals and orbitals of the core, per spin.

    Raises
    ------
    InputError
        If a core of these orbitals does not hold such a space.
    """
    if active_space is None:
        raise InputError(
            "CASCI and CASSCF need an active space", remedy="give Level.active_space=(electrons, orbitals)"
        )
    electrons, orbitals = active_space
    unpaired = counts[0] - counts[1]
    alpha, beta = (electrons + unpaired) // 2, (electrons - unpaired) // 2
    inactive = counts[1] - beta
    room = min(sizes) - inactive - orbitals
    if (electrons - unpaired) % 2 or beta < 0 or alpha > orbitals or inactive < 0 or room < 0:
        raise InputError(
            f"an active space of {electrons} electrons in {orbitals} orbitals in a core of {counts[0]} alpha "
            f"and {counts[1]} beta electrons that may be correlated, in {sizes[0]} and {sizes[1]} orbitals",
            remedy=f"choose {unpaired} active electrons, or an even number more, and orbitals that hold them",
        )
    determinants = comb(orbitals, alpha) * comb(orbitals, beta)
    if determinants > LARGEST_SPACE:
        raise InputError(
            f"an active space of {determinants} determinants",
            remedy=f"choose one of at most {LARGEST_SPACE}, such as (12, 12)",
        )
    return alpha, beta


def _active(method: Any, hamiltonian: UnrestrictedHamiltonian, options: SolverOptions) -> Solution:
    from pyscf import mcscf

    counts = hamiltonian.counts
    active = check_open_active_space(options.active_space, counts, hamiltonian.sizes)
    assert options.active_space is not None
    _, orbitals = options.active_space
    n_inactive = counts[0] - active[0]
    mean_field, tensor = _reference(hamiltonian)
    solver = method(mean_field, orbitals, active, ncore=(n_inactive, n_inactive))
    solver.verbose = 0
    solver.fcisolver.conv_tol = min(options.tolerance, 1e-10)
    solver.fcisolver.max_cycle = max(options.max_cycles, 200)
    start, occupations = _natural_orbitals(mean_field, counts)
    if method is mcscf.UCASCI:
        for one, size in zip(occupations, hamiltonian.sizes, strict=True):
            check_edges(one[:size], n_inactive, n_inactive + orbitals, options.active_space)
    else:
        solver.ao2mo = lambda mo: active_integrals(_turned(tensor, mo), n_inactive, orbitals)
        solver.scale_restoration = 0.5  # CASSCF's; PySCF 2.14 reads it in UCASSCF too, where it is missing
        solver.conv_tol, solver.max_cycle_macro = options.tolerance, options.max_cycles
    energy = solver.kernel(start)[0] if method is mcscf.UCASCI else lowest_energy(solver, start)
    # Near the end of CASSCF the CI solver finds nothing to improve, which it does not call converged.
    converged = solver.fcisolver.converged if method is mcscf.UCASCI else solver.converged
    if not converged or not np.isfinite(energy):
        raise ConvergenceError(
            f"the active space {options.active_space} of a core did not converge in {options.max_cycles} "
            f"iterations (energy {energy})",
            remedy="choose another active space: orbitals that are full or empty make it ill defined",
        )
    return Solution(float(energy) + hamiltonian.constant, hamiltonian.reference_energy)


def _turned(tensor: Pair, orbitals: Pair) -> Pair:
    """Three-index integrals of each spin in orbitals that are given in the direct sum of both."""
    n = tensor[0].shape[1]
    own = (orbitals[0][:n], orbitals[1][n:])
    alpha, beta = (np.matmul(c.T, three @ c) for c, three in zip(own, tensor, strict=True))
    return alpha, beta


def _reference(hamiltonian: UnrestrictedHamiltonian) -> tuple[Any, Pair]:
    """PySCF mean field in the direct sum of alpha and beta orbitals; its energy lacks the constant.

    Also the three-index integrals of each spin, in canonical orbitals.

    The functions of one spin never mix with those of the other, so that one matrix holds both potentials.
    """
    from pyscf import gto, lib, scf

    n = max(hamiltonian.sizes)
    turned, energies = padded(hamiltonian, (n, n)).canonical()
    one_electron = np.zeros((2 * n, 2 * n))
    one_electron[:n, :n], one_electron[n:, n:] = turned.h
    row, column = np.tril_indices(2 * n)
    of_one_spin = np.flatnonzero((row < n) == (column < n))
    packed = np.hstack([lib.pack_tril(np.ascontiguousarray(three)) for three in turned.tensor])
    repulsion = np.zeros((len(row), len(row)))
    repulsion[np.ix_(of_one_spin, of_one_spin)] = packed.T @ packed
    mol = gto.M(verbose=0)
    mol.nelectron, mol.spin = sum(hamiltonian.counts), hamiltonian.n_alpha - hamiltonian.n_beta
    mol.incore_anyway = True
    mean_field = scf.UHF(mol)
    mean_field._chkfile.close()  # else an open file stays behind each core
    mean_field.chkfile = None
    mean_field.get_hcore = lambda *_args: one_electron
    mean_field.get_ovlp = lambda *_args: np.eye(2 * n)
    mean_field._eri = repulsion
    both = np.eye(2 * n)
    mean_field.mo_coeff = np.array([both[:, :n], both[:, n:]])
    mean_field.mo_energy = np.array(energies)
    mean_field.mo_occ = np.array([np.where(np.arange(n) < count, 1.0, 0.0) for count in hamiltonian.counts])
    mean_field.e_tot = hamiltonian.reference_energy - hamiltonian.constant
    mean_field.converged = True
    return mean_field, turned.tensor


def _natural_orbitals(
    mean_field: Any, counts: tuple[int, int]
) -> tuple[NDArray[np.float64], tuple[NDArray[np.float64], ...]]:
    """Occupied, then virtual UMP2 natural orbitals of each spin, each by falling occupation."""
    from pyscf import mp

    perturbation = mp.UMP2(mean_field)
    perturbation.verbose = 0
    perturbation.kernel()
    orbitals, occupations = [], []
    for coefficients, density, n in zip(mean_field.mo_coeff, perturbation.make_rdm1(), counts, strict=True):
        blocks, values = [], []
        for part in (slice(None, n), slice(n, None)):
            found, vectors = np.linalg.eigh(density[part, part])
            blocks.append(coefficients[:, part] @ vectors[:, ::-1])
            values.append(found[::-1])
        orbitals.append(np.hstack(blocks))
        occupations.append(np.concatenate(values))
    return np.array(orbitals), tuple(occupations)
