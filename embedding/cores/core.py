"""One quantum core: a wavefunction method embedded in the DFT of its surroundings. Atomic units.

With gamma_A the core's density and v_emb the potential of its surroundings, the correction to the DFT
energy is dE = E_WF[h + v_emb; n_A] - E_low[gamma_A] - Tr gamma_A v_emb; see `embedded`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.chemical_core import chemical_core
from drupe.embedding.cores.doubts import check_stand_in, doubts
from drupe.embedding.cores.embedded import EmbeddedCore, embed, embedded_hartree_fock, functional_in_itself
from drupe.embedding.cores.occupied import split_occupied
from drupe.embedding.cores.solved import SolvedCore
from drupe.embedding.kernels.hartree_fock import Converged
from drupe.embedding.kernels.localization import Localized
from drupe.embedding.kernels.perturbation import second_order
from drupe.embedding.kernels.tensors import to_orbitals, to_pairs
from drupe.embedding.kernels.virtuals import concentric_shells
from drupe.embedding.level import Level
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.embedding.regions.growth import grown_atoms
from drupe.embedding.solvers.hamiltonian import EmbeddedHamiltonian, Solution, is_correlated, is_local, solve
from drupe.errors import ConvergenceError, InputError
from drupe.records import register

__all__ = ["CoreResult", "correct_core", "localize_core"]

Matrix = NDArray[np.float64]


Counts = int | tuple[int, int]


def _without_later_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 ends with ``dft_in_dft_error``; what version 2 adds has defaults."""
    return fields


@register(version=2, upgrades={1: _without_later_fields})
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
        Orbitals of the core: occupied, virtual ones the solver saw, all virtual ones there are; pairs
        (alpha, beta) for an unrestricted core.
    spade_gap
        Fall of the orbitals' weights on the core after its last orbital (singular values of SPADE, or
        square roots of populations); near 0 the core is ill defined.
    residual_overlap
        Largest overlap of this core's occupied space with another core's; 0 for a single core.
    t1
        T1 diagnostic, None without singles.
    e_hf
        Embedded Hartree-Fock energy of the core.
    e_corr
        Correlation energy in the truncated virtual space.
    mp2_truncation
        MP2 correlation in all virtual orbitals less that in the kept ones; 0 for methods without dynamic
        correlation.
    dft_in_dft_error
        Energy of the same functional in the core less the DFT energy; None if not asked for.
    d1, t2_max
        D1 diagnostic and largest double amplitude in canonical orbitals (rotations of degenerate ones
        change it); None without such amplitudes.
    n_frozen
        Occupied orbitals that are left out of the correlation.
    growth
        MP2 correction of the core grown by its neighbours, less its own; None if not asked for, or if it
        has none. One value says little: its spread over snapshots is the estimate of what a larger core
        would change.
    grown_occupied
        Occupied orbitals of that grown core, which its largest gap decides; a pair for an open shell.
    spade_gaps
        Alpha and beta gap of an unrestricted core, ``spade_gap`` the smaller one; else empty.
    spin_square_low, spin_square
        <S^2> of the core's orbitals in the DFT and of the embedded Hartree-Fock determinant; None for a
        restricted core.
    ``warnings``
        What a reader of the number must know, in words.
    approximations
        What its method left out of this core, in words.
    """

    label: str
    method: str
    correction: float
    n_occupied: Counts
    n_virtual: Counts
    n_virtual_full: Counts
    spade_gap: float
    residual_overlap: float
    t1: float | None
    e_hf: float
    e_corr: float
    mp2_truncation: float
    dft_in_dft_error: float | None
    d1: float | None = None
    t2_max: float | None = None
    n_frozen: int = 0
    growth: float | None = None
    grown_occupied: Counts | None = None
    warnings: tuple[str, ...] = ()
    spade_gaps: tuple[float, ...] = ()
    spin_square_low: float | None = None
    spin_square: float | None = None
    approximations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "warnings", tuple(self.warnings))
        object.__setattr__(self, "approximations", tuple(self.approximations))
        if not np.isfinite([self.correction, self.e_hf, self.e_corr, self.mp2_truncation]).all():
            raise ConvergenceError(
                f"the correction of {self.label!r} is not a finite number", remedy="look at its geometry"
            )


@dataclass(frozen=True, eq=False)
class _Correlated:
    """A converged core with its sorted virtual orbitals and its MP2 energies."""

    embedded: EmbeddedCore
    mean_field: Converged
    kept: Matrix
    n_core: int
    n_frozen: int
    mp2_full: float
    mp2_kept: float
    largest_amplitude: float

    @property
    def n_virtual_full(self) -> int:
        return len(self.mean_field.energies) - self.n_core

    @property
    def mp2_correction(self) -> float:
        """Correction to the DFT energy at MP2 in all virtual orbitals, hartree."""
        return self.mean_field.energy + self.mp2_full - self.embedded.low_energy


def localize_core(
    field: MeanField,
    atoms: NDArray[np.int64],
    n_occupied: int | None,
    level: Level | None = None,
    *,
    root: Matrix | None = None,
) -> Localized:
    """Occupied orbitals of the core on ``atoms`` (counted in the QM region), and the others.

    Parameters
    ----------
    field, atoms
        As in `correct_core`.
    n_occupied
        Orbitals of the core; None takes the largest gap of their weights on it.
    level
        Names the localisation; None takes SPADE.
    root
        Square root of the overlap where it is known already.

    Raises
    ------
    InputError
        If more orbitals are asked for than are occupied.
    ConvergenceError
        If localised orbitals do not settle.
    """
    method = "spade" if level is None else level.localization
    return split_occupied(
        field.engine.mol, field.overlap, field.occupied, atoms, n_occupied, method, root=root
    )


def correct_core(
    field: MeanField,
    atoms: NDArray[np.int64],
    localized: Localized,
    level: Level,
    *,
    label: str = "core",
    residual_overlap: float = 0.0,
    n_virtual: int | None = None,
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
        Names the solver, the projector and the virtual space.
    label, residual_overlap
        Passed on to the result.
    n_virtual
        Virtual orbitals of this core; None takes whole shells.
    check
        Also embed the functional in itself and refuse an error above 1e-8 hartree.
    keep
        Called with the solved core, for those who go on from there.

    Raises
    ------
    InputError
        If more orbitals are frozen, active or kept than the core has.
    ConvergenceError
        If the embedded SCF, the solver, or the check fails.
    """
    assert level.core is not None
    found = _correlate(field, atoms, localized, level, n_virtual)
    embedded, mean_field = found.embedded, found.mean_field
    error = functional_in_itself(field, embedded, mean_field, level) if check else None
    left_out = found.n_virtual_full - found.kept.shape[1]
    check_stand_in(level.core, left_out, found.largest_amplitude)
    solution = _solve(field, found, level)
    if level.core == "MP2":
        solution = replace(solution, t2_max=found.largest_amplitude)
    truncation = found.mp2_full - found.mp2_kept if is_correlated(level.core) else 0.0
    growth = _grow(field, atoms, found, level) if level.core_growth else None
    if keep is not None:
        orbitals = embedded.basis @ mean_field.orbitals
        virtuals = orbitals[:, found.n_core :] @ found.kept
        keep(
            SolvedCore(
                localized=localized,
                atoms=atoms,
                rows=field.core_rows(atoms),
                h=embedded.h_ao,
                orbitals=orbitals,
                energies=mean_field.energies,
                kept=np.hstack([orbitals[:, : found.n_core], virtuals]),
                state=solution.state,
            )
        )
    return CoreResult(
        label=label,
        method=level.core,
        # The dispersion between the core's own atoms is in its wavefunction now.
        correction=solution.energy + truncation - embedded.low_energy - field.core_dispersion(atoms),
        n_occupied=found.n_core,
        n_virtual=found.kept.shape[1],
        n_virtual_full=found.n_virtual_full,
        spade_gap=localized.gap,
        residual_overlap=residual_overlap,
        t1=solution.t1,
        e_hf=mean_field.energy,
        e_corr=solution.correlation,
        mp2_truncation=truncation,
        dft_in_dft_error=error,
        d1=solution.d1,
        t2_max=solution.t2_max,
        n_frozen=found.n_frozen,
        growth=None if growth is None else growth[0],
        grown_occupied=None if growth is None else growth[1],
        warnings=doubts(localized, solution, residual_overlap),
        approximations=solution.approximations,
    )


def _correlate(
    field: MeanField, atoms: NDArray[np.int64], localized: Localized, level: Level, n_virtual: int | None
) -> _Correlated:
    """Embedded Hartree-Fock, sorted virtual orbitals, and MP2 in all and in the kept ones."""
    embedded = embed(field, localized, level)
    mean_field = embedded_hartree_fock(field, embedded, level)
    n_core = localized.core.shape[1]
    n_frozen = chemical_core(field, atoms, (n_core,)) if level.frozen_core else 0
    orbitals = embedded.basis @ mean_field.orbitals
    virtuals, energies = orbitals[:, n_core:], mean_field.energies[n_core:]
    rotation, ends = concentric_shells(field.overlap, virtuals, energies, field.core_rows(atoms))
    kept = rotation[:, : _n_kept(ends, level.virtual_shells, n_virtual)]
    pairs = to_pairs(field.tensor, orbitals[:, n_frozen:n_core], virtuals)
    occupied = mean_field.energies[n_frozen:n_core]
    full = second_order(pairs, occupied, energies)
    part = full.energy
    if kept.shape[1] < len(energies):
        inside, turn = np.linalg.eigh(kept.T @ (energies[:, None] * kept))
        part = second_order(pairs @ (kept @ turn), occupied, inside).energy
    return _Correlated(embedded, mean_field, kept, n_core, n_frozen, full.energy, part, full.amplitude)


def _n_kept(ends: list[int], shells: int | None, n_virtual: int | None) -> int:
    n_full = ends[-1]
    if n_virtual is None:
        return n_full if shells is None else ends[min(shells, len(ends) - 1)]
    if n_virtual > n_full:
        raise InputError(
            f"the level gives a core {n_virtual} virtual orbitals, it has {n_full}", remedy="lower n_virtual"
        )
    return n_virtual


def _solve(field: MeanField, found: _Correlated, level: Level) -> Solution:
    """Energy of the core in the kept virtual orbitals."""
    assert level.core is not None
    mean_field, n = found.mean_field, found.n_core
    reference = mean_field.energy
    if level.core == "HF":
        return Solution(reference, reference)
    if level.core == "MP2":
        return Solution(reference + found.mp2_kept, reference)
    n_kept = n + found.kept.shape[1]
    needed = (n_kept * (n_kept + 1) // 2) ** 2 * 8e-6
    if needed > level.max_memory_mb and not is_local(level.core):
        raise InputError(
            f"the integrals of a core with {n_kept} orbitals need {needed:.0f} MB, max_memory_mb is "
            f"{level.max_memory_mb}",
            remedy="raise max_memory_mb, lower virtual_shells, or take a smaller core or basis",
        )
    orbitals = mean_field.orbitals
    small = np.hstack([orbitals[:, :n], orbitals[:, n:] @ found.kept])
    hamiltonian = EmbeddedHamiltonian(
        small.T @ found.embedded.h @ small, to_orbitals(field.tensor, found.embedded.basis @ small), 2 * n
    )
    return solve(
        hamiltonian,
        level.core,
        tolerance=level.cc_tolerance,
        max_cycles=level.max_cycles,
        active_space=level.active_space,
        lno_thresholds=level.lno_thresholds,
        max_memory_mb=level.max_memory_mb,
        n_frozen=found.n_frozen,
    )


def _grow(
    field: MeanField, atoms: NDArray[np.int64], found: _Correlated, level: Level
) -> tuple[float, int] | None:
    """Change of the MP2 correction when the core takes in its neighbours, and the grown core's orbitals."""
    mol = field.engine.mol
    larger = grown_atoms(mol.atom_charges(), mol.atom_coords(), atoms)
    if len(larger) == len(atoms):
        return None
    localized = localize_core(field, larger, None, level)
    grown = _correlate(field, larger, localized, replace(level, core="MP2"), None)
    dispersion = field.core_dispersion(larger) - field.core_dispersion(atoms)
    return grown.mp2_correction - found.mp2_correction - dispersion, grown.n_core
