"""One open-shell quantum core: UCCSD(T) and its kin, embedded in unrestricted DFT. Atomic units.

Every spin s has its own orbitals, its own partition, and its own potential
v_emb^s = g^s[gamma] - g^s[gamma_A]; h~^s = h + v_emb^s. The correction to the DFT energy is
dE = E_WF[h~; n_alpha, n_beta] - E_low[gamma_A] - sum_s Tr gamma_A^s v_emb^s. The core's orbitals of
each spin live in the complement of the occupied orbitals of that spin in the surroundings.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.core import CoreResult
from drupe.embedding.cores.doubts import NARROW_GAP, shared_orbitals
from drupe.embedding.cores.hamiltonian import is_correlated
from drupe.embedding.cores.open_occupied import LocalizedPair, occupied_pair
from drupe.embedding.cores.projection import complement_basis
from drupe.embedding.cores.spin_solvers import UnrestrictedHamiltonian, solve_unrestricted
from drupe.embedding.cores.tensors import to_orbitals
from drupe.embedding.cores.unrestricted import (
    ConvergedPair,
    self_consistent_pair,
    spin_square,
    unrestricted_hartree_fock,
)
from drupe.embedding.cores.virtuals import concentric_shells
from drupe.embedding.level import Level
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.errors import ConvergenceError, InputError

__all__ = ["correct_open_core", "two_electron_pair"]

Matrix = NDArray[np.float64]
Pair = tuple[Matrix, Matrix]

_EXACTNESS = 1e-8  # hartree; DFT in DFT must give DFT
_EMBEDDED_GRADIENT = 0.01  # of the outer SCF's gradient threshold
_AWAY = 0.05  # of the way to the Hartree-Fock orbitals, where the exactness check starts
_CONTAMINATED = 0.1  # of <S^2> beyond s (s + 1)
# T1 beyond which one determinant is in doubt: 0.02 for closed shells (Lee and Taylor 1989), 0.044 for
# open ones (Rienstra-Kiracofe et al., J. Phys. Chem. A 104, 9823 (2000)), 0.05 with 3d metals (Jiang,
# DeYonker and Wilson, J. Chem. Theory Comput. 8, 460 (2012)).
_T1_CLOSED, _T1_OPEN, _T1_METAL = 0.02, 0.044, 0.05


@dataclass(frozen=True, eq=False)
class _Embedded:
    """A core in its embedding potential.

    Per spin: ``basis`` ``(n_ao, n)``, ``h`` ``(n, n)`` and ``h_ao`` with the potential, ``tensor``
    ``(aux, n, n)``, ``guess`` ``(n, n_core)``; ``low_energy`` of the guess in h~, hartree.
    """

    basis: Pair
    h: Pair
    h_ao: Pair
    tensor: Pair
    guess: Pair
    low_energy: float


def correct_open_core(
    field: MeanField,
    atoms: NDArray[np.int64],
    localized: LocalizedPair,
    level: Level,
    *,
    label: str = "core",
    residual_overlap: float = 0.0,
    n_virtual: tuple[int, int] | None = None,
    check: bool = False,
) -> CoreResult:
    """Correction of one core of an open-shell QM region; the core itself may be a closed shell.

    Parameters
    ----------
    field
        Converged unrestricted DFT of the QM region in the MM charges.
    atoms
        The core's atoms, counted in the QM region.
    localized
        Orbitals from `drupe.embedding.cores.open_occupied`.
    level
        Names the solver and the virtual space; both spins keep the same number of shells.
    label, residual_overlap
        Passed on to the result.
    n_virtual
        Alpha and beta virtual orbitals of this core; None takes whole shells.
    check
        Also embed the functional in itself and refuse an error above 1e-8 hartree.

    Raises
    ------
    ConvergenceError
        If the embedded SCF, the solver, or the check fails.
    """
    assert level.core is not None
    embedded = _embed(field, localized)
    mean_field = unrestricted_hartree_fock(
        embedded.h,
        embedded.tensor,
        embedded.guess,
        gradient=_EMBEDDED_GRADIENT * level.gradient_tolerance,
        cycles=level.max_cycles,
    )
    error = _exactness(field, embedded, mean_field, level) if check else None
    counts = (localized[0].core.shape[1], localized[1].core.shape[1])
    rows = field.core_rows(atoms)
    kept: list[Matrix] = []
    full: list[int] = []
    for basis, orbitals, energies, n, wanted in zip(
        embedded.basis,
        mean_field.orbitals,
        mean_field.energies,
        counts,
        n_virtual or (None, None),
        strict=True,
    ):
        virtuals = basis @ orbitals[:, n:]
        full.append(virtuals.shape[1])
        kept.append(_shells(field, virtuals, energies[n:], rows, level, wanted))
    solution, truncation = _solve(embedded, mean_field, (kept[0], kept[1]), counts, level)
    occupied = [b @ c[:, :n] for b, c, n in zip(embedded.basis, mean_field.orbitals, counts, strict=True)]
    after = spin_square(field.overlap, occupied[0], occupied[1])
    before = spin_square(field.overlap, localized[0].core, localized[1].core)
    gaps = (localized[0].gap, localized[1].gap)
    return CoreResult(
        label=label,
        method=level.core,
        # The dispersion between the core's own atoms is in its wavefunction now.
        correction=solution.energy + truncation - embedded.low_energy - field.core_dispersion(atoms),
        n_occupied=counts,
        n_virtual=(kept[0].shape[1], kept[1].shape[1]),
        n_virtual_full=(full[0], full[1]),
        spade_gap=min(gaps),
        residual_overlap=residual_overlap,
        t1=solution.t1,
        e_hf=mean_field.energy,
        e_corr=solution.correlation,
        mp2_truncation=truncation,
        dft_in_dft_error=error,
        spade_gaps=gaps,
        spin_square_low=before,
        spin_square=after,
        warnings=_warnings(field, atoms, counts, solution.t1, after)
        + shared_orbitals(residual_overlap)
        + _mixed(localized),
    )


def two_electron_pair(field: MeanField, orbitals: Pair) -> tuple[float, Pair]:
    """Energy and potentials g of singly occupied orbitals: Coulomb, exchange, correlation.

    Parameters
    ----------
    field
        Unrestricted mean field.
    orbitals
        Alpha and beta orbitals, ``(n_ao, n)`` each; a spin may be empty.

    Returns
    -------
    energy, potentials
        Hartree; two of shape ``(n_ao, n_ao)``.
    """
    from pyscf import lib

    widest = max(c.shape[1] for c in orbitals)
    if widest == 0:
        return 0.0, (np.zeros_like(field.hcore), np.zeros_like(field.hcore))
    # Both spins get the same number of columns: the engine stacks them.
    columns = np.array([np.pad(c, ((0, 0), (0, widest - c.shape[1]))) for c in orbitals])
    occupations = np.array([np.where(np.arange(widest) < c.shape[1], 1.0, 0.0) for c in orbitals])
    # Always (2, n, n): the engine takes a single matrix for both spins together and halves it.
    density = lib.tag_array(columns @ columns.transpose(0, 2, 1), mo_coeff=columns, mo_occ=occupations)
    potential = field.engine.get_veff(field.engine.mol, density)
    both = np.asarray(potential)
    return float((potential.ecoul + potential.exc).real), (both[0], both[1])


def _embed(field: MeanField, localized: LocalizedPair) -> _Embedded:
    cores = (localized[0].core, localized[1].core)
    _, whole = two_electron_pair(field, occupied_pair(field))
    energy, own = two_electron_pair(field, cores)
    h_ao = (field.hcore + whole[0] - own[0], field.hcore + whole[1] - own[1])
    basis = tuple(complement_basis(field.overlap, one.rest) for one in localized)
    projected = [b.T @ h @ b for b, h in zip(basis, h_ao, strict=True)]
    tensor = [to_orbitals(field.tensor, b) for b in basis]
    guess = [b.T @ field.overlap @ c for b, c in zip(basis, cores, strict=True)]
    one_electron = sum(float(np.sum(c * (h @ c))) for c, h in zip(cores, h_ao, strict=True))
    return _Embedded(
        basis=(basis[0], basis[1]),
        h=(projected[0], projected[1]),
        h_ao=h_ao,
        tensor=(tensor[0], tensor[1]),
        guess=(guess[0], guess[1]),
        low_energy=one_electron + energy,
    )


def _shells(
    field: MeanField,
    virtuals: Matrix,
    energies: NDArray[np.float64],
    rows: NDArray[np.int64],
    level: Level,
    wanted: int | None,
) -> Matrix:
    """Rotation to the kept virtual orbitals of one spin."""
    n_full = virtuals.shape[1]
    if wanted is not None and wanted > n_full:
        raise InputError(
            f"the level gives a core {wanted} virtual orbitals of one spin, it has {n_full}",
            remedy="lower n_virtual",
        )
    if n_full == 0 or (wanted is None and level.virtual_shells is None):
        return np.eye(n_full)
    rotation, ends = concentric_shells(field.overlap, virtuals, energies, rows)
    if wanted is None and level.virtual_shells is not None:
        wanted = ends[min(level.virtual_shells, len(ends) - 1)]
    return rotation[:, :wanted]


def _solve(
    embedded: _Embedded, mean_field: ConvergedPair, kept: Pair, counts: tuple[int, int], level: Level
) -> tuple[Any, float]:
    """Solution in the kept virtual orbitals, and the MP2 energy of those left out."""
    assert level.core is not None
    columns = [
        np.hstack([c[:, :n], c[:, n:] @ k]) for c, n, k in zip(mean_field.orbitals, counts, kept, strict=True)
    ]
    small = _hamiltonian(embedded, (columns[0], columns[1]), counts)
    options: dict[str, Any] = {"tolerance": level.cc_tolerance, "max_cycles": level.max_cycles}
    solution = solve_unrestricted(small, level.core, **options)
    if not is_correlated(level.core) or all(k.shape[0] == k.shape[1] for k in kept):
        return solution, 0.0
    whole = solve_unrestricted(_hamiltonian(embedded, mean_field.orbitals, counts), "MP2", **options)
    part = solve_unrestricted(small, "MP2", **options)
    return solution, whole.correlation - part.correlation


def _hamiltonian(embedded: _Embedded, columns: Pair, counts: tuple[int, int]) -> UnrestrictedHamiltonian:
    h = [c.T @ one @ c for c, one in zip(columns, embedded.h, strict=True)]
    tensor = [np.matmul(c.T, three @ c) for c, three in zip(columns, embedded.tensor, strict=True)]
    return UnrestrictedHamiltonian((h[0], h[1]), (tensor[0], tensor[1]), *counts)


def _exactness(field: MeanField, embedded: _Embedded, start: ConvergedPair, level: Level) -> float:
    """Embed the functional in itself, started away from the answer, and compare with the DFT energy.

    Not far away: an open shell has several solutions, and this is about the one that was embedded.
    """

    def build(occupied: Pair) -> tuple[float, Pair]:
        orbitals = (embedded.basis[0] @ occupied[0], embedded.basis[1] @ occupied[1])
        energy, potentials = two_electron_pair(field, orbitals)
        one = sum(float(np.sum(c * (h @ c))) for c, h in zip(orbitals, embedded.h_ao, strict=True))
        focks = [b.T @ (h + v) @ b for b, h, v in zip(embedded.basis, embedded.h_ao, potentials, strict=True)]
        return one + energy, (focks[0], focks[1])

    first = []
    for orbitals, guess in zip(start.orbitals, embedded.guess, strict=True):
        other = orbitals[:, : guess.shape[1]]
        first.append(np.linalg.qr(guess + _AWAY * (other @ (other.T @ guess) - guess))[0])
    found = self_consistent_pair(
        build,
        (first[0], first[1]),
        gradient=level.gradient_tolerance,
        cycles=level.max_cycles,
        what=f"{level.functional} embedded in itself",
    )
    error = found.energy - embedded.low_energy
    if abs(error) > _EXACTNESS:
        raise ConvergenceError(
            f"{level.functional} embedded in itself misses the full energy by {error:.1e} hartree",
            remedy="the DFT solution may not be the lowest one of its spin, or is not tight enough: tighten "
            f"scf_tolerance and gradient_tolerance; allowed are {_EXACTNESS:.0e}",
        )
    return error


def _mixed(localized: LocalizedPair) -> tuple[str, ...]:
    return tuple(
        f"the gap after the core's {own.core.shape[1]} {spin} orbitals is {own.gap:.3f}, below {NARROW_GAP}: "
        "they mix with the surroundings"
        for spin, own in zip(("alpha", "beta"), localized, strict=True)
        if own.gap < NARROW_GAP and own.rest.shape[1]
    )


def _warnings(
    field: MeanField, atoms: NDArray[np.int64], counts: tuple[int, int], t1: float | None, square: float
) -> tuple[str, ...]:
    """Signs that one determinant does not describe the core."""
    from pyscf.data.elements import charge

    numbers = np.array([charge(field.engine.mol.atom_symbol(int(atom))) for atom in atoms])
    is_metal = bool(((numbers >= 21) & (numbers <= 29)).any())  # Sc to Cu
    limit = _T1_METAL if is_metal else _T1_CLOSED if counts[0] == counts[1] else _T1_OPEN
    found = []
    if t1 is not None and t1 > limit:
        found.append(
            f"T1 is {t1:.3f}, above {limit}: one determinant may not describe this core; compare with a "
            "larger core or a multireference solver"
        )
    s = (counts[0] - counts[1]) / 2
    if square - s * (s + 1) > _CONTAMINATED:
        found.append(
            f"<S^2> of the embedded determinant is {square:.3f}, {s * (s + 1):.2f} for a pure spin state: "
            "the core may need a multireference solver"
        )
    return tuple(found)
