"""A core ready for any solver: one- and two-electron integrals in, energies out. Atomic units.

The solvers share one signature, so a new one is a function and a name: `register_solver`.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.kernels.hartree_fock import canonical, determinant_energy, fock
from drupe.errors import InputError
from drupe.records import frozen

__all__ = [
    "EmbeddedHamiltonian",
    "Solution",
    "SolverOptions",
    "declare_correlation",
    "freeze",
    "is_correlated",
    "is_local",
    "known_solver",
    "register_solver",
    "solve",
]

Matrix = NDArray[np.float64]


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

    def packed(self) -> NDArray[np.float64]:
        """Three-index tensor, shape ``(aux, n (n + 1) / 2)`` over pairs i >= j."""
        low = np.tril_indices(len(self.h))
        return np.ascontiguousarray(self.tensor[:, low[0], low[1]])

    def repulsion(self) -> NDArray[np.float64]:
        """Two-electron integrals (ij|kl), shape ``(n (n + 1) / 2,) * 2`` over pairs i >= j."""
        packed = self.packed()
        return packed.T @ packed


@dataclass(frozen=True)
class Solution:
    """What a solver returns, in hartree.

    Fields: ``energy`` total with the constant; ``reference`` energy of the determinant, with the constant;
    ``t1`` and ``d1`` diagnostics and ``t2_max``, the largest double amplitude, or None where the method has
    no such amplitudes; ``state`` what a gradient starts from: of coupled cluster, PySCF's converged solver
    and its integrals; ``approximations`` what the method left out of this core, in words.
    """

    energy: float
    reference: float
    t1: float | None = None
    d1: float | None = None
    t2_max: float | None = None
    state: Any = field(default=None, repr=False, compare=False)
    approximations: tuple[str, ...] = ()

    @property
    def correlation(self) -> float:
        """Energy beyond the reference determinant, hartree."""
        return self.energy - self.reference


@dataclass(frozen=True)
class SolverOptions:
    """What a solver is told beside the Hamiltonian.

    Fields: ``tolerance`` energy change in hartree that ends iterations; ``max_cycles`` iterations before it
    counts as not converged; ``active_space`` (electrons, orbitals) or None; ``lno_thresholds`` smallest
    occupations of local natural orbitals (occupied, virtual); ``max_memory_mb`` what its integrals may take.
    """

    tolerance: float = 1e-8
    max_cycles: int = 100
    active_space: tuple[int, int] | None = None
    lno_thresholds: tuple[float, float] = (1e-5, 1e-6)
    max_memory_mb: float = 2000


Solver = Callable[[EmbeddedHamiltonian, SolverOptions], Solution]

# Methods without dynamic correlation: MP2 of the virtual orbitals left out would not belong to them.
_declared = dict.fromkeys(("HF", "CASCI", "CASSCF"), False)  # whether methods have dynamic correlation
_registered: dict[str, Solver] = {}


def solve(
    hamiltonian: EmbeddedHamiltonian,
    method: str,
    *,
    tolerance: float = 1e-8,
    max_cycles: int = 100,
    active_space: tuple[int, int] | None = None,
    lno_thresholds: tuple[float, float] = (1e-5, 1e-6),
    max_memory_mb: float = 2000,
    n_frozen: int = 0,
) -> Solution:
    """Energy of ``hamiltonian`` by the solver called ``method``.

    Parameters
    ----------
    hamiltonian
        Its first ``n_occupied`` orbitals span a converged mean-field determinant (``"HF"`` and ``"FCI"``
        do not need that).
    method
        ``"HF"``, ``"MP2"``, ``"CCSD"``, ``"CCSD(T)"``, the latter two also with ``"FNO-"`` or ``"LNO-"``
        before them, ``"FCI"``, ``"CASCI"``, ``"CASSCF"``, these two also with ``"+NEVPT2"``, or a
        registered name.
    tolerance
        Energy change in hartree that ends iterations.
    max_cycles
        Iterations before it counts as not converged.
    active_space
        (electrons, orbitals) for the methods that need one.
    lno_thresholds
        For ``"LNO-..."``: smallest occupations of the natural orbitals that the space of a localised orbital
        takes in, of holes in the occupied and of electrons in the virtual orbitals.
    max_memory_mb
        For ``"LNO-..."``: what the integrals of one such space may take.
    n_frozen
        Occupied orbitals of the lowest energy that stay doubly occupied and are not correlated, see `freeze`.

    Raises
    ------
    InputError
        If nobody registered ``method``, a package it needs is missing, or the options do not fit it.
    ConvergenceError
        If its iterations stop short.
    """
    solver = _solvers()[known_solver(method)]
    # Gradients go on from a solver's state in the orbitals that were given: only freezing changes those.
    active = freeze(hamiltonian, n_frozen) if n_frozen else hamiltonian
    return solver(active, SolverOptions(tolerance, max_cycles, active_space, lno_thresholds, max_memory_mb))


def freeze(hamiltonian: EmbeddedHamiltonian, n_frozen: int) -> EmbeddedHamiltonian:
    """Fold the occupied orbitals of the lowest energy into the one-electron part and the constant.

    Every solver sees the electrons that are left in the field of the frozen ones, which is the frozen-core
    approximation of each method: the Fock matrix of the others does not change. The orbitals that are left
    are canonical, in the order of their energies within the occupied and within the virtual space.

    Raises
    ------
    InputError
        If no occupied orbital would be left.
    """
    n = hamiltonian.n_occupied
    if not 0 <= n_frozen < n:
        raise InputError(
            f"{n_frozen} frozen orbitals in a core of {n} occupied ones",
            remedy="choose a larger core, or leave frozen_core out",
        )
    orbitals, _ = canonical(hamiltonian.h, hamiltonian.tensor, n)
    rotated = np.matmul(orbitals.T, hamiltonian.tensor @ orbitals)
    h = orbitals.T @ hamiltonian.h @ orbitals
    dressed = fock(h, rotated, np.eye(len(h))[:, :n_frozen])
    return EmbeddedHamiltonian(
        dressed[n_frozen:, n_frozen:] if n_frozen else h,
        rotated[:, n_frozen:, n_frozen:],
        hamiltonian.n_electrons - 2 * n_frozen,
        hamiltonian.constant + (determinant_energy(h, rotated, n_frozen) if n_frozen else 0.0),
    )


def known_solver(method: str) -> str:
    """Return ``method`` if there is such a solver and what it needs is installed, else raise `InputError`."""
    from drupe.embedding.solvers.local_correlation import (
        check_installed,  # it needs the records of this module
    )

    solvers = _solvers()
    if method not in solvers:
        close = difflib.get_close_matches(method.upper(), solvers, n=1)
        raise InputError(
            f"no core solver is called {method!r}",
            remedy=(f"did you mean {close[0]!r}? " if close else "") + f"solvers: {', '.join(solvers)}",
        )
    if is_local(method):
        check_installed(method)
    return method


def register_solver(name: str, solver: Solver, *, correlated: bool = True) -> None:
    """Add a solver: a function of (`EmbeddedHamiltonian`, `SolverOptions`) that returns a `Solution`.

    Parameters
    ----------
    name
        What `Level.core` calls it.
    solver
        Raises `ConvergenceError` rather than return an energy that is not converged.
    correlated
        Whether it has dynamic correlation, so that MP2 may stand in for the virtual orbitals left out.

    Raises
    ------
    InputError
        If there is a solver of that name, or one for open shells says otherwise of ``correlated``.
    """
    if name in _solvers():
        raise InputError(f"there is a solver called {name!r} already", remedy="choose another name")
    declare_correlation(name, correlated)
    _registered[name] = solver


def declare_correlation(name: str, correlated: bool) -> None:
    """Note whether a registered method has dynamic correlation: one answer for closed and for open shells.

    Raises
    ------
    InputError
        If the other solver of that name said otherwise.
    """
    if _declared.setdefault(name, correlated) != correlated:
        raise InputError(
            f"the solvers for closed and for open shells called {name!r} disagree: one was registered with "
            f"correlated={not correlated}, the other with correlated={correlated}",
            remedy="give both the same, or two names",
        )


def is_correlated(method: str) -> bool:
    """Whether ``method`` has dynamic correlation."""
    return _declared.get(method, True)


def is_local(method: str) -> bool:
    """Whether ``method`` correlates localised orbitals one by one and never holds all integrals."""
    return method in ("LNO-CCSD", "LNO-CCSD(T)")


def _solvers() -> dict[str, Solver]:
    from drupe.embedding.solvers.single_reference import BUILT_IN  # it needs the records of this module

    return {**BUILT_IN, **_registered}
