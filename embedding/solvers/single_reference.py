"""Single-reference solvers: an embedded Hamiltonian in, its energy out; a door to PySCF. Atomic units.

They make the mean-field orbitals canonical inside the occupied and inside the virtual space first: the
triples of CCSD(T) in any other orbitals are wrong.
"""

from dataclasses import replace
from math import comb

import numpy as np

from drupe.embedding.kernels.hartree_fock import canonical, determinant_energy, hartree_fock
from drupe.embedding.kernels.perturbation import natural_virtuals, second_order
from drupe.embedding.solvers.active_space import casci, casscf, reference_of
from drupe.embedding.solvers.hamiltonian import EmbeddedHamiltonian, Solution, Solver, SolverOptions
from drupe.embedding.solvers.local_correlation import solve_local
from drupe.errors import ConvergenceError, InputError

__all__ = ["BUILT_IN"]

_LARGEST_FCI = 5_000_000  # determinants


def _hf(hamiltonian: EmbeddedHamiltonian, options: SolverOptions) -> Solution:
    n = hamiltonian.n_occupied
    guess = np.eye(len(hamiltonian.h))[:, :n]
    gradient = options.tolerance**0.5 / 10  # the energy error is quadratic in the gradient
    found = hartree_fock(
        hamiltonian.h, hamiltonian.tensor, guess, gradient=gradient, cycles=options.max_cycles
    )
    energy = found.energy + hamiltonian.constant
    return Solution(energy, energy)


def _mp2(hamiltonian: EmbeddedHamiltonian, _options: SolverOptions) -> Solution:
    n = hamiltonian.n_occupied
    orbitals, energies = canonical(hamiltonian.h, hamiltonian.tensor, n)
    half = np.matmul(orbitals[:, :n].T, hamiltonian.tensor)
    reference = determinant_energy(hamiltonian.h, hamiltonian.tensor, n) + hamiltonian.constant
    correlation = second_order(half @ orbitals[:, n:], energies[:n], energies[n:]).energy
    return Solution(reference + correlation, reference)


def _ccsd(hamiltonian: EmbeddedHamiltonian, options: SolverOptions) -> Solution:
    return _coupled_cluster(hamiltonian, options, triples=False)


def _ccsd_t(hamiltonian: EmbeddedHamiltonian, options: SolverOptions) -> Solution:
    return _coupled_cluster(hamiltonian, options, triples=True)


def _natural(solver: Solver, hamiltonian: EmbeddedHamiltonian, options: SolverOptions) -> Solution:
    """Energy by ``solver`` in the better half of the MP2 natural virtual orbitals, and MP2 for the rest."""
    n = hamiltonian.n_occupied
    orbitals, energies = canonical(hamiltonian.h, hamiltonian.tensor, n)
    tensor = np.matmul(orbitals[:, :n].T, hamiltonian.tensor) @ orbitals[:, n:]
    # A count, not an occupation, so that it is the same in every frame; the valence shell is never cut.
    n_virtual = len(energies) - n
    n_kept = min(max((n_virtual + 1) // 2, n), n_virtual)
    kept = natural_virtuals(tensor, energies[:n], energies[n:])[:, :n_kept]
    inside, turn = np.linalg.eigh(kept.T @ (energies[n:, None] * kept))
    kept = kept @ turn
    columns = np.hstack([orbitals[:, :n], orbitals[:, n:] @ kept])
    small = EmbeddedHamiltonian(
        columns.T @ hamiltonian.h @ columns,
        np.matmul(columns.T, hamiltonian.tensor) @ columns,
        hamiltonian.n_electrons,
        hamiltonian.constant,
    )
    found = solver(small, options)
    whole = second_order(tensor, energies[:n], energies[n:]).energy
    rest = whole - second_order(tensor @ kept, energies[:n], inside).energy
    said = f"{n_kept} of {n_virtual} natural virtual orbitals correlated; MP2 of the rest {rest:.6f} hartree"
    return replace(found, energy=found.energy + rest, state=None, approximations=(said,))


def _coupled_cluster(hamiltonian: EmbeddedHamiltonian, options: SolverOptions, *, triples: bool) -> Solution:
    from pyscf import cc

    n = hamiltonian.n_occupied
    mean_field = reference_of(hamiltonian)
    reference = mean_field.e_tot + hamiltonian.constant
    if n == len(hamiltonian.h):
        return Solution(reference, reference, t1=0.0)
    solver = cc.CCSD(mean_field)
    solver.conv_tol, solver.conv_tol_normt = options.tolerance, 100 * options.tolerance
    solver.max_cycle, solver.verbose = options.max_cycles, 0
    integrals = solver.ao2mo()
    correlation, singles, doubles = solver.kernel(eris=integrals)
    if not solver.converged or not np.isfinite(correlation):
        raise ConvergenceError(
            f"CCSD of a core with {hamiltonian.n_electrons} electrons in {len(hamiltonian.h)} orbitals "
            f"did not converge in {options.max_cycles} iterations (correlation energy {correlation})",
            remedy="one determinant may not describe this core: choose a larger one, or raise max_cycles",
        )
    if triples:
        correlation += solver.ccsd_t(eris=integrals)
    return Solution(
        reference + float(correlation),
        reference,
        t1=float(np.linalg.norm(singles) / np.sqrt(2 * n)),
        d1=float(np.linalg.norm(singles, 2)),
        t2_max=float(np.abs(doubles).max()),
        state=(solver, integrals),
    )


def _fci(hamiltonian: EmbeddedHamiltonian, options: SolverOptions) -> Solution:
    from pyscf import fci

    n, size = hamiltonian.n_occupied, len(hamiltonian.h)
    if comb(size, n) ** 2 > _LARGEST_FCI:
        raise InputError(
            f"FCI of {2 * n} electrons in {size} orbitals has {comb(size, n) ** 2} determinants",
            remedy=f"use CCSD(T), or a core with at most {_LARGEST_FCI} determinants",
        )
    solver = fci.direct_spin0.FCI()
    solver.conv_tol, solver.max_cycle = min(options.tolerance, 1e-9), max(options.max_cycles, 200)
    energy, _ = solver.kernel(np.array(hamiltonian.h), hamiltonian.repulsion(), size, 2 * n)
    if not solver.converged:
        raise ConvergenceError("FCI of a core did not converge", remedy="raise max_cycles")
    reference = determinant_energy(hamiltonian.h, hamiltonian.tensor, n) + hamiltonian.constant
    return Solution(float(energy) + hamiltonian.constant, reference)


BUILT_IN: dict[str, Solver] = {
    "HF": _hf,
    "MP2": _mp2,
    "CCSD": _ccsd,
    "FNO-CCSD": lambda hamiltonian, options: _natural(_ccsd, hamiltonian, options),
    "FNO-CCSD(T)": lambda hamiltonian, options: _natural(_ccsd_t, hamiltonian, options),
    "CCSD(T)": _ccsd_t,
    "LNO-CCSD": lambda hamiltonian, options: solve_local(hamiltonian, options, triples=False),
    "LNO-CCSD(T)": lambda hamiltonian, options: solve_local(hamiltonian, options, triples=True),
    "FCI": _fci,
    "CASCI": lambda hamiltonian, options: casci(hamiltonian, options, perturbed=False),
    "CASCI+NEVPT2": lambda hamiltonian, options: casci(hamiltonian, options, perturbed=True),
    "CASSCF": lambda hamiltonian, options: casscf(hamiltonian, options, perturbed=False),
    "CASSCF+NEVPT2": lambda hamiltonian, options: casscf(hamiltonian, options, perturbed=True),
}
