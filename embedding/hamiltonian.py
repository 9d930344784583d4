"""A core ready for any solver: one- and two-electron integrals in, energies out. Atomic units.

The solvers share one signature, so a new one is a function and a name. They make the mean-field
orbitals canonical inside the occupied and inside the virtual space first: the triples of CCSD(T) in
any other orbitals are wrong.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.hartree_fock import canonical, determinant_energy, hartree_fock
from drupe.errors import ConvergenceError, InputError
from drupe.records import frozen

__all__ = ["EmbeddedHamiltonian", "Solution", "register_solver", "solve"]

Matrix = NDArray[np.float64]

_LARGEST_FCI = 5_000_000  # determinants


@dataclass(frozen=True, eq=False)
class EmbeddedHamiltonian:
    """Electrons of a core in the field of everything else.

    =============  =====================  ==================================================
    field          shape                  note
    =============  =====================  ==================================================
    h              ``(n, n)``             one-electron part, hartree, orthonormal orbitals
    tensor         ``(aux, n, n)``        (ij|kl) = sum_P L_Pij L_Pkl
    n_electrons    scalar                 even; the first half of them are the reference's orbitals
    constant       scalar                 hartree, added to every energy
    =============  =====================  ==================================================
    """

    h: Matrix
    tensor: Matrix
    n_electrons: int
    constant: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "h", frozen(self.h, np.float64))
        view = np.asarray(self.tensor, dtype=np.float64).view()
        view.flags.writeable = False
        object.__setattr__(self, "tensor", view)
        n = len(self.h)
        if self.h.shape != (n, n) or self.tensor.shape[1:] != (n, n):
            raise InputError(
                f"h has shape {self.h.shape} and the tensor {self.tensor.shape}",
                remedy="give both in the same orbitals: (n, n) and (aux, n, n)",
            )
        if self.n_electrons % 2 or not 0 < self.n_electrons <= 2 * n:
            raise InputError(
                f"a core of {self.n_electrons} electrons in {n} orbitals",
                remedy="cores need an even number of electrons that fits; open shells are not available yet",
            )

    @property
    def n_occupied(self) -> int:
        """Doubly occupied orbitals of the reference determinant."""
        return self.n_electrons // 2

    def repulsion(self) -> NDArray[np.float64]:
        """Two-electron integrals (ij|kl), shape ``(n (n + 1) / 2,) * 2`` over pairs i >= j."""
        low = np.tril_indices(len(self.h))
        packed = np.ascontiguousarray(self.tensor[:, low[0], low[1]])
        return packed.T @ packed


@dataclass(frozen=True)
class Solution:
    """What a solver returns, in hartree.

    Fields: ``energy`` total with the constant; ``reference`` energy of the determinant, with the constant;
    ``t1`` diagnostic, or None where the method has no singles; ``state`` what a gradient starts from: of
    coupled cluster, PySCF's converged solver and its integrals.
    """

    energy: float
    reference: float
    t1: float | None = None
    state: Any = field(default=None, repr=False, compare=False)

    @property
    def correlation(self) -> float:
        """Energy beyond the reference determinant, hartree."""
        return self.energy - self.reference


Solver = Callable[[EmbeddedHamiltonian, float, int], Solution]


def solve(
    hamiltonian: EmbeddedHamiltonian, method: str, *, tolerance: float = 1e-8, max_cycles: int = 100
) -> Solution:
    """Energy of ``hamiltonian`` by the solver called ``method``.

    Parameters
    ----------
    hamiltonian
        Its first ``n_occupied`` orbitals span a converged mean-field determinant (``"HF"`` and ``"FCI"``
        do not need that).
    method
        ``"HF"``, ``"MP2"``, ``"CCSD"``, ``"CCSD(T)"``, ``"FCI"``, or a registered name.
    tolerance
        Energy change in hartree that ends iterations.
    max_cycles
        Iterations before it counts as not converged.

    Raises
    ------
    InputError
        If nobody registered ``method``.
    ConvergenceError
        If its iterations stop short.
    """
    return _SOLVERS[known_solver(method)](hamiltonian, tolerance, max_cycles)


def known_solver(method: str) -> str:
    """Return ``method`` if there is such a solver, else raise `InputError`."""
    if method not in _SOLVERS:
        close = difflib.get_close_matches(method.upper(), _SOLVERS, n=1)
        raise InputError(
            f"no core solver is called {method!r}",
            remedy=(f"did you mean {close[0]!r}? " if close else "") + f"solvers: {', '.join(_SOLVERS)}",
        )
    return method


def register_solver(name: str, solver: Solver) -> None:
    """Add a solver: a function of (hamiltonian, tolerance, max_cycles) that returns a `Solution`."""
    if name in _SOLVERS:
        raise InputError(f"there is a solver called {name!r} already", remedy="choose another name")
    _SOLVERS[name] = solver


def _hf(hamiltonian: EmbeddedHamiltonian, tolerance: float, max_cycles: int) -> Solution:
    n = hamiltonian.n_occupied
    guess = np.eye(len(hamiltonian.h))[:, :n]
    gradient = tolerance**0.5 / 10  # the energy error is quadratic in the gradient
    found = hartree_fock(hamiltonian.h, hamiltonian.tensor, guess, gradient=gradient, cycles=max_cycles)
    energy = found.energy + hamiltonian.constant
    return Solution(energy, energy)


def _mp2(hamiltonian: EmbeddedHamiltonian, _tolerance: float, _max_cycles: int) -> Solution:
    """MP2 of a closed shell: sum over ijab of (ia|jb) (2 (ia|jb) - (ib|ja)) / (e_i + e_j - e_a - e_b)."""
    n = hamiltonian.n_occupied
    orbitals, energies = canonical(hamiltonian.h, hamiltonian.tensor, n)
    tensor = np.einsum("pi,Xpa->Xia", orbitals[:, :n], hamiltonian.tensor @ orbitals[:, n:], optimize=True)
    total = 0.0
    gaps = energies[:n, None] - energies[None, n:]
    for i in range(n):
        for j in range(i + 1):
            pair = tensor[:, i].T @ tensor[:, j]
            weight = 1.0 if i == j else 2.0
            total += weight * float(np.sum(pair * (2 * pair - pair.T) / (gaps[i][:, None] + gaps[j][None])))
    reference = determinant_energy(hamiltonian.h, hamiltonian.tensor, n) + hamiltonian.constant
    return Solution(reference + total, reference)


def _ccsd(hamiltonian: EmbeddedHamiltonian, tolerance: float, max_cycles: int) -> Solution:
    return _coupled_cluster(hamiltonian, tolerance, max_cycles, triples=False)


def _ccsd_t(hamiltonian: EmbeddedHamiltonian, tolerance: float, max_cycles: int) -> Solution:
    return _coupled_cluster(hamiltonian, tolerance, max_cycles, triples=True)


def _coupled_cluster(
    hamiltonian: EmbeddedHamiltonian, tolerance: float, max_cycles: int, *, triples: bool
) -> Solution:
    from pyscf import cc

    n = hamiltonian.n_occupied
    reference = determinant_energy(hamiltonian.h, hamiltonian.tensor, n) + hamiltonian.constant
    if n == len(hamiltonian.h):
        return Solution(reference, reference, 0.0)
    solver = cc.CCSD(_reference(hamiltonian))
    solver.conv_tol, solver.conv_tol_normt, solver.max_cycle = tolerance, 100 * tolerance, max_cycles
    solver.verbose = 0
    integrals = solver.ao2mo()
    correlation, singles, _doubles = solver.kernel(eris=integrals)
    if not solver.converged or not np.isfinite(correlation):
        raise ConvergenceError(
            f"CCSD of a core with {hamiltonian.n_electrons} electrons in {len(hamiltonian.h)} orbitals "
            f"did not converge in {max_cycles} iterations (correlation energy {correlation})",
            remedy="one determinant may not describe this core: choose a larger one, or raise max_cycles",
        )
    if triples:
        correlation += solver.ccsd_t(eris=integrals)
    t1 = float(np.linalg.norm(singles) / np.sqrt(2 * n))
    return Solution(reference + float(correlation), reference, t1, state=(solver, integrals))


def _reference(hamiltonian: EmbeddedHamiltonian) -> Any:
    """PySCF mean field that holds these integrals and canonical orbitals."""
    from pyscf import gto, scf

    mol = gto.M(verbose=0)
    mol.nelectron = hamiltonian.n_electrons
    mol.incore_anyway = True
    mean_field = scf.RHF(mol)
    mean_field._chkfile.close()  # else an open file stays behind each core
    mean_field.chkfile = None
    one_electron = np.array(hamiltonian.h)
    mean_field.get_hcore = lambda *_args: one_electron
    mean_field.get_ovlp = lambda *_args: np.eye(len(one_electron))
    mean_field._eri = hamiltonian.repulsion()
    orbitals, energies = canonical(hamiltonian.h, hamiltonian.tensor, hamiltonian.n_occupied)
    mean_field.mo_coeff, mean_field.mo_energy = orbitals, energies
    mean_field.mo_occ = np.where(np.arange(len(energies)) < hamiltonian.n_occupied, 2.0, 0.0)
    mean_field.e_tot = determinant_energy(hamiltonian.h, hamiltonian.tensor, hamiltonian.n_occupied)
    mean_field.converged = True
    return mean_field


def _fci(hamiltonian: EmbeddedHamiltonian, tolerance: float, max_cycles: int) -> Solution:
    from math import comb

    from pyscf import fci

    n, size = hamiltonian.n_occupied, len(hamiltonian.h)
    if comb(size, n) ** 2 > _LARGEST_FCI:
        raise InputError(
            f"FCI of {2 * n} electrons in {size} orbitals has {comb(size, n) ** 2} determinants",
            remedy=f"use CCSD(T), or a core with at most {_LARGEST_FCI} determinants",
        )
    solver = fci.direct_spin0.FCI()
    solver.conv_tol, solver.max_cycle = min(tolerance, 1e-9), max(max_cycles, 200)
    energy, _ = solver.kernel(np.array(hamiltonian.h), hamiltonian.repulsion(), size, 2 * n)
    if not solver.converged:
        raise ConvergenceError("FCI of a core did not converge", remedy="raise max_cycles")
    reference = determinant_energy(hamiltonian.h, hamiltonian.tensor, n) + hamiltonian.constant
    return Solution(float(energy) + hamiltonian.constant, reference)


_SOLVERS: dict[str, Solver] = {"HF": _hf, "MP2": _mp2, "CCSD": _ccsd, "CCSD(T)": _ccsd_t, "FCI": _fci}
