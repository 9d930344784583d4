"""One quantum core: a wavefunction method embedded in the DFT of its surroundings. Atomic units.

With gamma_A the core's density and g the two-electron potential of the low level,
v_emb = g[gamma] - g[gamma_A], h~ = h + v_emb, and the correction to the DFT energy is
dE = E_WF[h~; n_A] - E_low[gamma_A] - Tr gamma_A v_emb. The core's orbitals live in the complement of
the surroundings' occupied orbitals, which is the projected Fock operator without a shift parameter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.hamiltonian import EmbeddedHamiltonian, Solution, solve
from drupe.embedding.hartree_fock import Converged, hartree_fock, self_consistent
from drupe.embedding.level import Level
from drupe.embedding.localization import Localized, spade
from drupe.embedding.projection import complement_basis
from drupe.embedding.qmmm import MeanField
from drupe.embedding.solved import SolvedCore
from drupe.embedding.virtuals import concentric_shells
from drupe.errors import ConvergenceError, InputError
from drupe.records import register

__all__ = ["CoreResult", "EmbeddedCore", "correct_core", "localize_core"]

Matrix = NDArray[np.float64]

_EXACTNESS = 1e-8  # hartree; DFT in DFT must give DFT
_EMBEDDED_GRADIENT = 0.01  # of the outer SCF's gradient threshold


@register(version=1)
@dataclass(frozen=True)
class CoreResult:
    """What one core adds to the DFT energy. Energies in hartree.

    Fields
    ------
    label, method
        Name of the core and of its solver.
    correction
        Total to add to the DFT energy, the MP2 truncation correction included.
    n_occupied, n_virtual, n_virtual_full
        Orbitals of the core: occupied, virtual ones the solver saw, all virtual ones there are.
    spade_gap
        Fall of the singular values after the last core orbital; near 0 the core is ill defined.
    residual_overlap
        Largest overlap of this core's occupied space with another core's; 0 for a single core.
    t1
        T1 diagnostic, None without singles.
    e_hf
        Embedded Hartree-Fock energy of the core.
    e_corr
        Correlation energy in the truncated virtual space.
    mp2_truncation
        MP2 correlation in all virtual orbitals less that in the kept ones.
    dft_in_dft_error
        Energy of the same functional in the core less the DFT energy; None if not asked for.
    """

    label: str
    method: str
    correction: float
    n_occupied: int
    n_virtual: int
    n_virtual_full: int
    spade_gap: float
    residual_overlap: float
    t1: float | None
    e_hf: float
    e_corr: float
    mp2_truncation: float
    dft_in_dft_error: float | None

    def __post_init__(self) -> None:
        if not np.isfinite([self.correction, self.e_hf, self.e_corr, self.mp2_truncation]).all():
            raise ConvergenceError(
                f"the correction of {self.label!r} is not a finite number", remedy="look at its geometry"
            )


@dataclass(frozen=True, eq=False)
class EmbeddedCore:
    """A core with its embedding potential in an orthonormal basis of ``n`` functions.

    Fields: ``basis`` ``(n_ao, n)``; ``h`` ``(n, n)`` hartree, potential included; ``tensor``
    ``(aux, n, n)``; ``guess`` ``(n, n_core)`` the low level's core orbitals; ``low_energy`` hartree, their
    energy at the low level in h~.
    """

    basis: Matrix
    h: Matrix
    tensor: Matrix
    guess: Matrix
    low_energy: float
    h_ao: Matrix


def localize_core(field: MeanField, atoms: NDArray[np.int64], n_occupied: int | None) -> Localized:
    """Occupied orbitals of the core on ``atoms`` (counted in the QM region), and the others.

    Raises
    ------
    InputError
        If more orbitals are asked for than are occupied.
    """
    n_occ = field.occupied.shape[1]
    if n_occupied is not None and n_occupied > n_occ:
        raise InputError(
            f"the level gives a core {n_occupied} occupied orbitals, the QM region has {n_occ}",
            remedy="lower n_occupied",
        )
    return spade(field.overlap, field.occupied, field.core_rows(atoms), n_occupied)


def correct_core(
    field: MeanField,
    atoms: NDArray[np.int64],
    localized: Localized,
    level: Level,
    *,
    label: str = "core",
    residual_overlap: float = 0.0,
    check: bool = False,
    keep: Callable[[SolvedCore], None] | None = None,
) -> CoreResult:
    """Correction of one core.

    Parameters
    ----------
    field
        Converged closed-shell DFT of the QM region in the MM charges.
    atoms
        The core's atoms, counted in the QM region.
    localized
        Orbitals from `localize_core`.
    level
        Names the solver and the virtual space.
    label, residual_overlap
        Passed on to the result.
    check
        Also embed the functional in itself and refuse an error above 1e-8 hartree.
    keep
        Called with the solved core, for those who go on from there.

    Raises
    ------
    ConvergenceError
        If the embedded SCF, the solver, or the check fails.
    """
    assert level.core is not None
    embedded = _embed(field, localized)
    mean_field = hartree_fock(
        embedded.h,
        embedded.tensor,
        embedded.guess,
        gradient=_EMBEDDED_GRADIENT * level.gradient_tolerance,
        cycles=level.max_cycles,
    )
    error = _exactness(field, embedded, mean_field, level) if check else None
    n_core = localized.core.shape[1]
    virtuals = embedded.basis @ mean_field.orbitals[:, n_core:]
    rotation, ends = concentric_shells(
        field.overlap, virtuals, mean_field.energies[n_core:], field.core_rows(atoms)
    )
    n_full = virtuals.shape[1]
    n_kept = n_full if level.virtual_shells is None else ends[min(level.virtual_shells, len(ends) - 1)]
    solution, truncation = _solve(embedded, mean_field, rotation[:, :n_kept], n_core, level)
    if keep is not None:
        inner = np.hstack(
            [mean_field.orbitals[:, :n_core], mean_field.orbitals[:, n_core:] @ rotation[:, :n_kept]]
        )
        keep(
            SolvedCore(
                localized=localized,
                atoms=atoms,
                rows=field.core_rows(atoms),
                h=embedded.h_ao,
                orbitals=embedded.basis @ mean_field.orbitals,
                energies=mean_field.energies,
                kept=embedded.basis @ inner,
                state=solution.state,
            )
        )
    return CoreResult(
        label=label,
        method=level.core,
        # The dispersion between the core's own atoms is in its wavefunction now.
        correction=solution.energy + truncation - embedded.low_energy - field.core_dispersion(atoms),
        n_occupied=n_core,
        n_virtual=n_kept,
        n_virtual_full=n_full,
        spade_gap=localized.gap,
        residual_overlap=residual_overlap,
        t1=solution.t1,
        e_hf=mean_field.energy,
        e_corr=solution.correlation,
        mp2_truncation=truncation,
        dft_in_dft_error=error,
    )


def _embed(field: MeanField, localized: Localized) -> EmbeddedCore:
    _, potential = field.two_electron(field.occupied)
    energy, own = field.two_electron(localized.core)
    h_ao = field.hcore + potential - own
    basis = complement_basis(field.overlap, localized.rest)
    return EmbeddedCore(
        basis=basis,
        h=basis.T @ h_ao @ basis,
        tensor=_transform(field.tensor, basis),
        guess=basis.T @ field.overlap @ localized.core,
        low_energy=2 * float(np.sum(localized.core * (h_ao @ localized.core))) + energy,
        h_ao=h_ao,
    )


def _transform(packed: Matrix, basis: Matrix) -> Matrix:
    """Three-index tensor over packed AO pairs to full pairs of ``basis``, in slices."""
    from pyscf import lib

    n = basis.shape[1]
    out = np.empty((len(packed), n, n))
    step = max(1, int(5e7 // (8 * len(basis) ** 2)))
    for first in range(0, len(packed), step):
        full = lib.unpack_tril(np.ascontiguousarray(packed[first : first + step]))
        out[first : first + step] = _both_sides(full, basis)
    return out


def _both_sides(tensor: Matrix, columns: Matrix) -> Matrix:
    """Return U^T L_P U for every P, with two matrix products."""
    n_aux, n_in, _ = tensor.shape
    n_out = columns.shape[1]
    half = (tensor.reshape(-1, n_in) @ columns).reshape(n_aux, n_in, n_out).transpose(0, 2, 1)
    result: Matrix = (np.ascontiguousarray(half).reshape(-1, n_in) @ columns).reshape(n_aux, n_out, n_out)
    return result


def _solve(
    embedded: EmbeddedCore, mean_field: Converged, kept: Matrix, n_core: int, level: Level
) -> tuple[Solution, float]:
    """Solution in the kept virtual orbitals, and the MP2 energy of those left out."""
    assert level.core is not None
    occupied, virtual = mean_field.orbitals[:, :n_core], mean_field.orbitals[:, n_core:]
    small = _hamiltonian(embedded, np.hstack([occupied, virtual @ kept]), n_core)
    options: dict[str, Any] = {"tolerance": level.cc_tolerance, "max_cycles": level.max_cycles}
    solution = solve(small, level.core, **options)
    if level.core == "HF" or kept.shape[1] == virtual.shape[1]:
        return solution, 0.0
    whole = solve(_hamiltonian(embedded, mean_field.orbitals, n_core), "MP2", **options)
    part = solve(small, "MP2", **options)
    return solution, whole.correlation - part.correlation


def _hamiltonian(embedded: EmbeddedCore, columns: Matrix, n_core: int) -> EmbeddedHamiltonian:
    h = columns.T @ embedded.h @ columns
    return EmbeddedHamiltonian(h, _both_sides(embedded.tensor, columns), 2 * n_core)


def _exactness(field: MeanField, embedded: EmbeddedCore, start: Converged, level: Level) -> float:
    """Embed the functional in itself, started away from the answer, and compare with the DFT energy."""
    basis = embedded.basis

    def build(occupied: Matrix) -> tuple[float, Matrix]:
        orbitals = basis @ occupied
        energy, potential = field.two_electron(orbitals)
        one = 2 * float(np.sum(orbitals * (embedded.h_ao @ orbitals)))
        return one + energy, basis.T @ (embedded.h_ao + potential) @ basis

    n_core = embedded.guess.shape[1]
    found = self_consistent(
        build,
        start.orbitals[:, :n_core],
        gradient=level.gradient_tolerance,
        cycles=level.max_cycles,
        what=f"{level.functional} embedded in itself",
    )
    error = found.energy - embedded.low_energy
    if abs(error) > _EXACTNESS:
        raise ConvergenceError(
            f"{level.functional} embedded in itself misses the full energy by {error:.1e} hartree",
            remedy=f"tighten scf_tolerance and gradient_tolerance; allowed are {_EXACTNESS:.0e}",
        )
    return error
