"""Solvers of open-shell cores: integrals of both spins in, energies out. Atomic units.

Every solver makes the mean-field orbitals canonical inside the occupied and inside the virtual space.
"""

import difflib
from collections.abc import Callable
from math import comb

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.kernels.unrestricted import pair_second_order, unrestricted_hartree_fock
from drupe.embedding.solvers.hamiltonian import Solution, SolverOptions, declare_correlation
from drupe.embedding.solvers.spin_active_space import unrestricted_casci, unrestricted_casscf
from drupe.embedding.solvers.spin_hamiltonian import UnrestrictedHamiltonian, freeze_pair, padded
from drupe.errors import ConvergenceError, InputError

__all__ = [
    "known_unrestricted_solver",
    "register_unrestricted_solver",
    "solve_unrestricted",
]

Matrix = NDArray[np.float64]
Pair = tuple[Matrix, Matrix]

_LARGEST_FCI = 5_000_000  # determinants


UnrestrictedSolver = Callable[[UnrestrictedHamiltonian, SolverOptions], Solution]


def solve_unrestricted(
    hamiltonian: UnrestrictedHamiltonian,
    method: str,
    *,
    tolerance: float = 1e-8,
    max_cycles: int = 100,
    active_space: tuple[int, int] | None = None,
    n_frozen: int = 0,
) -> Solution:
    """Energy of ``hamiltonian`` by the unrestricted solver called ``method``.

    Parameters
    ----------
    hamiltonian
        Its first orbitals span a converged unrestricted determinant (``"HF"`` and ``"FCI"`` do not need
        that).
    method
        ``"HF"``, ``"MP2"``, ``"CCSD"``, ``"CCSD(T)"``, ``"FCI"``, ``"CASCI"``, ``"CASSCF"``, or a
        registered name.
    tolerance
        Energy change in hartree that ends iterations.
    max_cycles
        Iterations before it counts as not converged.
    active_space
        (electrons, orbitals) for the methods that need one.
    n_frozen
        Occupied orbitals of each spin that stay occupied and are not correlated, see `freeze_pair`.

    Returns
    -------
    Solution
        ``t1`` is ``sqrt((|t_a|^2 + |t_b|^2) / (2 n))`` for n correlated electrons: for a closed shell the
        diagnostic of Lee and Taylor, Int. J. Quantum Chem. S23, 199 (1989).

    Raises
    ------
    InputError
        If nobody registered ``method`` for open shells.
    ConvergenceError
        If its iterations stop short.
    """
    solver = _SOLVERS[known_unrestricted_solver(method)]
    active = freeze_pair(hamiltonian, n_frozen) if n_frozen else hamiltonian
    return solver(active, SolverOptions(tolerance, max_cycles, active_space))


def known_unrestricted_solver(method: str) -> str:
    """Return ``method`` if there is such a solver for open shells, else raise `InputError`."""
    if method.endswith("NEVPT2"):
        raise InputError(
            f"{method} of an open shell: NEVPT2 needs one set of orbitals for both spins, which feel "
            "different potentials in a core of an open-shell QM region",
            remedy=f"use {method.removesuffix('+NEVPT2')} with a larger active space and virtual_shells, or "
            "CCSD(T)",
        )
    if method not in _SOLVERS:
        close = difflib.get_close_matches(method.upper(), _SOLVERS, n=1)
        raise InputError(
            f"no core solver for open shells is called {method!r}",
            remedy=(f"did you mean {close[0]!r}? " if close else "")
            + f"solvers of unrestricted cores: {', '.join(_SOLVERS)}",
        )
    return method


def register_unrestricted_solver(name: str, solver: UnrestrictedSolver, *, correlated: bool = True) -> None:
    """Add a solver for the cores of open-shell regions; ``Level(core=name)`` finds it there.

    Parameters
    ----------
    name
        For ``Level.core``. Solvers for closed shells are registered apart, by `register_solver`.
    solver
        Function of (`UnrestrictedHamiltonian`, `SolverOptions`) that returns a `Solution` in hartree, with
        the constant of the Hamiltonian in its energies; it raises `ConvergenceError` where it stops short.
    correlated
        As in `register_solver`: False keeps the MP2 correction for left-out virtual orbitals away.

    Raises
    ------
    InputError
        If the name is taken, or belongs to a solver for closed shells that says otherwise of ``correlated``.
    """
    if name in _SOLVERS:
        raise InputError(f"there is a solver called {name!r} already", remedy="choose another name")
    declare_correlation(name, correlated)
    _SOLVERS[name] = solver


def _hf(hamiltonian: UnrestrictedHamiltonian, options: SolverOptions) -> Solution:
    guess = tuple(np.eye(m)[:, :n] for m, n in zip(hamiltonian.sizes, hamiltonian.counts, strict=True))
    found = unrestricted_hartree_fock(
        hamiltonian.h,
        hamiltonian.tensor,
        (guess[0], guess[1]),
        gradient=options.tolerance**0.5 / 10,  # the energy error is quadratic in the gradient
        cycles=options.max_cycles,
    )
    energy = found.energy + hamiltonian.constant
    return Solution(energy, energy)


def _mp2(hamiltonian: UnrestrictedHamiltonian, _options: SolverOptions) -> Solution:
    turned, energies = hamiltonian.canonical()
    mixed = [t[:, :n, n:] for t, n in zip(turned.tensor, turned.counts, strict=True)]
    reference = turned.reference_energy
    found = pair_second_order((mixed[0], mixed[1]), energies, turned.counts)
    return Solution(reference + found.energy, reference, t2_max=found.amplitude)


def _ccsd(hamiltonian: UnrestrictedHamiltonian, options: SolverOptions) -> Solution:
    return _coupled_cluster(hamiltonian, options, triples=False)


def _ccsd_t(hamiltonian: UnrestrictedHamiltonian, options: SolverOptions) -> Solution:
    return _coupled_cluster(hamiltonian, options, triples=True)


def _coupled_cluster(
    hamiltonian: UnrestrictedHamiltonian, options: SolverOptions, *, triples: bool
) -> Solution:
    from drupe.embedding.solvers.spin_integrals import coupled_cluster_engine

    electrons = sum(hamiltonian.counts)
    reference = hamiltonian.reference_energy
    if electrons == 1 or hamiltonian.counts == hamiltonian.sizes:
        return Solution(reference, reference, 0.0)  # nothing to correlate, or nowhere to go
    # The engine needs a virtual orbital of each spin.
    sizes = tuple(max(m, n + 1) for m, n in zip(hamiltonian.sizes, hamiltonian.counts, strict=True))
    turned, energies = padded(hamiltonian, (sizes[0], sizes[1])).canonical()
    engine, integrals = coupled_cluster_engine(
        turned.tensor, energies, turned.counts, tolerance=options.tolerance, max_cycles=options.max_cycles
    )
    correlation, singles, doubles = engine.kernel(eris=integrals)
    if not engine.converged or not np.isfinite(correlation):
        raise ConvergenceError(
            f"UCCSD of a core with {electrons} electrons in {hamiltonian.sizes[0]} orbitals "
            f"did not converge in {options.max_cycles} iterations (correlation energy {correlation})",
            remedy="one determinant may not describe this core: choose a larger one, or raise max_cycles",
        )
    if triples and electrons > 2:
        correlation += engine.ccsd_t(eris=integrals)
    t1 = float(np.sqrt(sum(np.vdot(t, t) for t in singles) / (2 * electrons)))
    return Solution(
        reference + float(correlation),
        reference,
        t1=t1,
        d1=max(float(np.linalg.norm(t, 2)) if t.size else 0.0 for t in singles),
        t2_max=float(np.abs(doubles[1]).max(initial=0.0)),  # of an alpha and a beta electron
    )


def _fci(hamiltonian: UnrestrictedHamiltonian, options: SolverOptions) -> Solution:
    from pyscf import fci

    size = max(hamiltonian.sizes)
    determinants = comb(size, hamiltonian.n_alpha) * comb(size, hamiltonian.n_beta)
    if determinants > _LARGEST_FCI:
        raise InputError(
            f"FCI of {hamiltonian.n_alpha} alpha and {hamiltonian.n_beta} beta electrons in {size} orbitals "
            f"has {determinants} determinants",
            remedy=f"use CCSD(T), or a core with at most {_LARGEST_FCI} determinants",
        )
    whole = padded(hamiltonian, (size, size))
    repulsion = [
        np.tensordot(whole.tensor[a], whole.tensor[b], axes=(0, 0)) for a, b in ((0, 0), (0, 1), (1, 1))
    ]
    solver = fci.direct_uhf.FCI()
    solver.conv_tol, solver.max_cycle = min(options.tolerance, 1e-9), max(options.max_cycles, 200)
    one = tuple(np.array(h) for h in whole.h)
    energy, _ = solver.kernel(one, repulsion, size, hamiltonian.counts)
    if not solver.converged:
        raise ConvergenceError("FCI of a core did not converge", remedy="raise max_cycles")
    return Solution(float(energy) + hamiltonian.constant, hamiltonian.reference_energy)


_SOLVERS: dict[str, UnrestrictedSolver] = {
    "HF": _hf,
    "MP2": _mp2,
    "CCSD": _ccsd,
    "CCSD(T)": _ccsd_t,
    "FCI": _fci,
    "CASCI": unrestricted_casci,
    "CASSCF": unrestricted_casscf,
}
