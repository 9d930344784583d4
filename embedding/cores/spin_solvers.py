"""An open-shell core ready for any solver: integrals of both spins in, energies out. Atomic units.

The counterpart of `drupe.embedding.cores.hamiltonian` for unequal spins, with a table of solvers of its own.
Every solver makes the mean-field orbitals canonical inside the occupied and inside the virtual space.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.hamiltonian import Solution, SolverOptions
from drupe.embedding.cores.unrestricted import (
    canonical_pair,
    determinant_energy,
    pair_correlation,
    unrestricted_hartree_fock,
)
from drupe.errors import ConvergenceError, InputError
from drupe.records import frozen

__all__ = ["UnrestrictedHamiltonian", "register_unrestricted_solver", "solve_unrestricted"]

Matrix = NDArray[np.float64]
Pair = tuple[Matrix, Matrix]

_LARGEST_FCI = 5_000_000  # determinants
_DECOUPLED = 1e4  # hartree; energy of orbitals that only fill up the smaller of two bases


@dataclass(frozen=True, eq=False)
class UnrestrictedHamiltonian:
    """Electrons of an open-shell core in the field of everything else.

    =============  =======================  ====================================================
    field          shape                    note
    =============  =======================  ====================================================
    h              two of ``(n, n)``        one-electron parts (alpha, beta), hartree,
                                            in orthonormal orbitals; n may differ between spins
    tensor         two of ``(aux, n, n)``   (ij|kl) = sum_P L_Pij L_Pkl, for aa, ab and bb
    n_alpha        scalar                   the first n_alpha alpha orbitals are the reference's
    n_beta         scalar                   likewise; at most n_alpha
    constant       scalar                   hartree, added to every energy
    =============  =======================  ====================================================
    """

    h: Pair
    tensor: Pair
    n_alpha: int
    n_beta: int
    constant: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "h", tuple(frozen(h, np.float64) for h in self.h))
        views = tuple(np.asarray(t, dtype=np.float64).view() for t in self.tensor)
        for view in views:
            view.flags.writeable = False
        object.__setattr__(self, "tensor", views)
        shapes = [h.shape for h in self.h], [t.shape for t in self.tensor]
        if any(three[1:] != one or one[0] != one[1] for one, three in zip(*shapes, strict=True)):
            raise InputError(
                f"h has the shapes {shapes[0]} and the tensor {shapes[1]}",
                remedy="give both in the same orbitals: (n, n) and (aux, n, n) for each spin",
            )
        sizes = self.sizes
        if not 0 <= self.n_beta <= self.n_alpha or not 0 < self.n_alpha <= sizes[0] or self.n_beta > sizes[1]:
            raise InputError(
                f"a core of {self.n_alpha} alpha and {self.n_beta} beta electrons in {sizes[0]} and "
                f"{sizes[1]} orbitals",
                remedy="cores need at least one electron, no more beta than alpha ones, and orbitals for all",
            )

    @property
    def counts(self) -> tuple[int, int]:
        """Alpha and beta electrons."""
        return self.n_alpha, self.n_beta

    @property
    def sizes(self) -> tuple[int, int]:
        """Alpha and beta orbitals."""
        return len(self.h[0]), len(self.h[1])

    @property
    def reference_energy(self) -> float:
        """Energy of the reference determinant, hartree, with the constant."""
        return determinant_energy(self.h, self.tensor, self.counts) + self.constant

    def canonical(self) -> tuple["UnrestrictedHamiltonian", Pair]:
        """Return the same core in canonical orbitals, and the orbital energies ``(n,)`` per spin."""
        turns, energies = canonical_pair(self.h, self.tensor, self.counts)
        h = [u.T @ h @ u for u, h in zip(turns, self.h, strict=True)]
        tensor = [u.T @ (t @ u) for u, t in zip(turns, self.tensor, strict=True)]
        turned = UnrestrictedHamiltonian(
            (h[0], h[1]), (tensor[0], tensor[1]), self.n_alpha, self.n_beta, self.constant
        )
        return turned, energies


UnrestrictedSolver = Callable[[UnrestrictedHamiltonian, SolverOptions], Solution]


def solve_unrestricted(
    hamiltonian: UnrestrictedHamiltonian, method: str, *, tolerance: float = 1e-8, max_cycles: int = 100
) -> Solution:
    """Energy of ``hamiltonian`` by the unrestricted solver called ``method``.

    Parameters
    ----------
    hamiltonian
        Its first orbitals span a converged unrestricted determinant (``"HF"`` and ``"FCI"`` do not need
        that).
    method
        ``"HF"``, ``"MP2"``, ``"CCSD"``, ``"CCSD(T)"``, ``"FCI"``, or a registered name.
    tolerance
        Energy change in hartree that ends iterations.
    max_cycles
        Iterations before it counts as not converged.

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
    return _SOLVERS[known_unrestricted_solver(method)](hamiltonian, SolverOptions(tolerance, max_cycles))


def known_unrestricted_solver(method: str) -> str:
    """Return ``method`` if there is such a solver for open shells, else raise `InputError`."""
    if method not in _SOLVERS:
        close = difflib.get_close_matches(method.upper(), _SOLVERS, n=1)
        raise InputError(
            f"no core solver for open shells is called {method!r}",
            remedy=(f"did you mean {close[0]!r}? " if close else "")
            + f"solvers of unrestricted cores: {', '.join(_SOLVERS)}",
        )
    return method


def register_unrestricted_solver(name: str, solver: UnrestrictedSolver) -> None:
    """Add a solver for the cores of open-shell regions; ``Level(core=name)`` finds it there.

    Parameters
    ----------
    name
        For ``Level.core``. Solvers for closed shells are registered apart, by `register_solver`.
    solver
        Function of (`UnrestrictedHamiltonian`, `SolverOptions`) that returns a `Solution` in hartree, with
        the constant of the Hamiltonian in its energies; it raises `ConvergenceError` where it stops short.

    Raises
    ------
    InputError
        If the name is taken.
    """
    if name in _SOLVERS:
        raise InputError(f"there is a solver called {name!r} already", remedy="choose another name")
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
    return Solution(reference + pair_correlation((mixed[0], mixed[1]), energies, turned.counts), reference)


def _ccsd(hamiltonian: UnrestrictedHamiltonian, options: SolverOptions) -> Solution:
    return _coupled_cluster(hamiltonian, options, triples=False)


def _ccsd_t(hamiltonian: UnrestrictedHamiltonian, options: SolverOptions) -> Solution:
    return _coupled_cluster(hamiltonian, options, triples=True)


def _coupled_cluster(
    hamiltonian: UnrestrictedHamiltonian, options: SolverOptions, *, triples: bool
) -> Solution:
    from drupe.embedding.cores.spin_integrals import coupled_cluster_engine

    electrons = sum(hamiltonian.counts)
    reference = hamiltonian.reference_energy
    if electrons == 1 or hamiltonian.counts == hamiltonian.sizes:
        return Solution(reference, reference, 0.0)  # nothing to correlate, or nowhere to go
    # The engine needs a virtual orbital of each spin.
    sizes = tuple(max(m, n + 1) for m, n in zip(hamiltonian.sizes, hamiltonian.counts, strict=True))
    turned, energies = _padded(hamiltonian, (sizes[0], sizes[1])).canonical()
    engine, integrals = coupled_cluster_engine(
        turned.tensor, energies, turned.counts, tolerance=options.tolerance, max_cycles=options.max_cycles
    )
    correlation, singles, _doubles = engine.kernel(eris=integrals)
    if not engine.converged or not np.isfinite(correlation):
        raise ConvergenceError(
            f"UCCSD of a core with {electrons} electrons in {hamiltonian.sizes[0]} orbitals "
            f"did not converge in {options.max_cycles} iterations (correlation energy {correlation})",
            remedy="one determinant may not describe this core: choose a larger one, or raise max_cycles",
        )
    if triples and electrons > 2:
        correlation += engine.ccsd_t(eris=integrals)
    t1 = float(np.sqrt(sum(np.vdot(t, t) for t in singles) / (2 * electrons)))
    return Solution(reference + float(correlation), reference, t1)


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
    padded = _padded(hamiltonian, (size, size))
    repulsion = [
        np.tensordot(padded.tensor[a], padded.tensor[b], axes=(0, 0)) for a, b in ((0, 0), (0, 1), (1, 1))
    ]
    solver = fci.direct_uhf.FCI()
    solver.conv_tol, solver.max_cycle = min(options.tolerance, 1e-9), max(options.max_cycles, 200)
    one = tuple(np.array(h) for h in padded.h)
    energy, _ = solver.kernel(one, repulsion, size, hamiltonian.counts)
    if not solver.converged:
        raise ConvergenceError("FCI of a core did not converge", remedy="raise max_cycles")
    return Solution(float(energy) + hamiltonian.constant, hamiltonian.reference_energy)


def _padded(hamiltonian: UnrestrictedHamiltonian, sizes: tuple[int, int]) -> UnrestrictedHamiltonian:
    """Fill the bases up to ``sizes`` with orbitals that couple to nothing, far above all others."""
    if sizes == hamiltonian.sizes:
        return hamiltonian
    h, tensor = [], []
    for one, three, size in zip(hamiltonian.h, hamiltonian.tensor, sizes, strict=True):
        extra = size - len(one)
        wide = np.pad(one, (0, extra))
        wide[len(one) :, len(one) :] = _DECOUPLED * np.eye(extra)
        h.append(wide)
        tensor.append(np.pad(three, ((0, 0), (0, extra), (0, extra))))
    return UnrestrictedHamiltonian(
        (h[0], h[1]), (tensor[0], tensor[1]), *hamiltonian.counts, hamiltonian.constant
    )


_SOLVERS: dict[str, UnrestrictedSolver] = {
    "HF": _hf,
    "MP2": _mp2,
    "CCSD": _ccsd,
    "CCSD(T)": _ccsd_t,
    "FCI": _fci,
}
