"""One open-shell quantum core: UCCSD(T) and its kin, embedded in unrestricted DFT. Atomic units.

The correction to the DFT energy is dE = E_WF[h~; n_alpha, n_beta] - E_low[gamma_A] - sum_s Tr gamma_A^s
v_emb^s; see `open_embedded` for h~ and v_emb. The core's orbitals of each spin are kept out of the occupied
orbitals of that spin in the surroundings.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.chemical_core import chemical_core
from drupe.embedding.cores.core import CoreResult
from drupe.embedding.cores.doubts import check_stand_in
from drupe.embedding.cores.open_doubts import open_doubts
from drupe.embedding.cores.open_embedded import (
    EmbeddedPair,
    embed_pair,
    embedded_unrestricted_hartree_fock,
    functional_in_itself_pair,
)
from drupe.embedding.cores.open_occupied import LocalizedPair, localize_grown_core
from drupe.embedding.kernels.tensors import to_orbitals, to_pairs
from drupe.embedding.kernels.unrestricted import (
    ConvergedPair,
    pair_second_order,
    spin_square,
)
from drupe.embedding.kernels.virtuals import concentric_shells
from drupe.embedding.level import Level
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.embedding.regions.growth import grown_atoms
from drupe.embedding.solvers.hamiltonian import Solution, is_correlated
from drupe.embedding.solvers.spin_hamiltonian import UnrestrictedHamiltonian
from drupe.embedding.solvers.spin_memory import check_integrals
from drupe.embedding.solvers.spin_solvers import solve_unrestricted
from drupe.errors import InputError

__all__ = ["correct_open_core"]

Matrix = NDArray[np.float64]
Pair = tuple[Matrix, Matrix]


@dataclass(frozen=True, eq=False)
class _Correlated:
    """A converged core with its sorted virtual orbitals and its MP2 energies; pairs are (alpha, beta)."""

    embedded: EmbeddedPair
    mean_field: ConvergedPair
    orbitals: Pair
    kept: Pair
    counts: tuple[int, int]
    n_frozen: int
    mp2_full: float
    mp2_kept: float
    largest_amplitude: float

    @property
    def n_virtual(self) -> tuple[int, int]:
        return self.kept[0].shape[1], self.kept[1].shape[1]

    @property
    def n_virtual_full(self) -> tuple[int, int]:
        return len(self.kept[0]), len(self.kept[1])

    @property
    def mp2_correction(self) -> float:
        """Correction to the DFT energy at MP2 in all virtual orbitals, hartree."""
        return self.mean_field.energy + self.mp2_full - self.embedded.low_energy


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
        Names the solver, the projector and the virtual space; both spins keep the same number of shells.
    label, residual_overlap
        Passed on to the result.
    n_virtual
        Alpha and beta virtual orbitals of this core; None takes whole shells.
    check
        Also embed the functional in itself and refuse an error above 1e-8 hartree.

    Raises
    ------
    InputError
        If more orbitals are frozen, active or kept than the core has, or its integrals do not fit.
    ConvergenceError
        If the embedded SCF, the solver, or the check fails.
    """
    assert level.core is not None
    found = _correlate(field, atoms, localized, level, n_virtual)
    mean_field, counts = found.mean_field, found.counts
    error = functional_in_itself_pair(field, found.embedded, mean_field, level) if check else None
    check_stand_in(level.core, sum(found.n_virtual_full) - sum(found.n_virtual), found.largest_amplitude)
    solution = _solve(field, found, level)
    truncation = found.mp2_full - found.mp2_kept if is_correlated(level.core) else 0.0
    growth = _grow(field, atoms, found, level) if level.core_growth else None
    after = spin_square(field.overlap, *_occupied(found))
    gaps = (localized[0].gap, localized[1].gap)
    return CoreResult(
        label=label,
        method=level.core,
        # The dispersion between the core's own atoms is in its wavefunction now.
        correction=solution.energy + truncation - found.embedded.low_energy - field.core_dispersion(atoms),
        n_occupied=counts,
        n_virtual=found.n_virtual,
        n_virtual_full=found.n_virtual_full,
        spade_gap=min(gaps),
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
        spade_gaps=gaps,
        spin_square_low=spin_square(field.overlap, localized[0].core, localized[1].core),
        spin_square=after,
        warnings=open_doubts(field, atoms, localized, solution, after, residual_overlap),
    )


def _occupied(found: _Correlated) -> Pair:
    alpha, beta = (c[:, :n] for c, n in zip(found.orbitals, found.counts, strict=True))
    return alpha, beta


def _correlate(
    field: MeanField,
    atoms: NDArray[np.int64],
    localized: LocalizedPair,
    level: Level,
    n_virtual: tuple[int, int] | None,
) -> _Correlated:
    """Embedded Hartree-Fock, sorted virtual orbitals, and MP2 in all and in the kept ones."""
    embedded = embed_pair(field, localized, level)
    mean_field = embedded_unrestricted_hartree_fock(field, embedded, level)
    counts = (localized[0].core.shape[1], localized[1].core.shape[1])
    n_frozen = chemical_core(field, atoms, counts) if level.frozen_core else 0
    rows = field.core_rows(atoms)
    orbitals, kept, whole, part = [], [], [], []
    asked = n_virtual or (None, None)
    for number, spin in enumerate(embedded.spins):
        energies, n, wanted = mean_field.energies[number], counts[number], asked[number]
        c = spin.basis @ mean_field.orbitals[number]
        rotation = _shells(field, c[:, n:], energies[n:], rows, level, wanted)
        inside, mixed = np.linalg.eigh(rotation.T @ (energies[n:, None] * rotation))
        pairs = to_pairs(field.tensor, c[:, n_frozen:n], c[:, n:])
        orbitals.append(c)
        kept.append(rotation)
        whole.append((pairs, energies[n_frozen:]))
        part.append((pairs @ (rotation @ mixed), np.concatenate([energies[n_frozen:n], inside])))
    correlated = (counts[0] - n_frozen, counts[1] - n_frozen)
    full = pair_second_order(*_by_spin(whole), correlated)
    truncated = any(k.shape[1] < len(k) for k in kept)
    return _Correlated(
        embedded=embedded,
        mean_field=mean_field,
        orbitals=(orbitals[0], orbitals[1]),
        kept=(kept[0], kept[1]),
        counts=counts,
        n_frozen=n_frozen,
        mp2_full=full.energy,
        mp2_kept=pair_second_order(*_by_spin(part), correlated).energy if truncated else full.energy,
        largest_amplitude=full.amplitude,
    )


def _by_spin(found: list[tuple[Matrix, Matrix]]) -> tuple[Pair, Pair]:
    (alpha_pairs, alpha_energies), (beta_pairs, beta_energies) = found
    return (alpha_pairs, beta_pairs), (alpha_energies, beta_energies)


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


def _solve(field: MeanField, found: _Correlated, level: Level) -> Solution:
    """Energy of the core in the kept virtual orbitals."""
    assert level.core is not None
    reference = found.mean_field.energy
    if level.core == "HF":
        return Solution(reference, reference)
    if level.core == "MP2":
        return Solution(reference + found.mp2_kept, reference, t2_max=found.largest_amplitude)
    sizes = (found.counts[0] + found.n_virtual[0], found.counts[1] + found.n_virtual[1])
    check_integrals(level, sizes, found.counts, len(field.tensor))
    h, tensor = [], []
    for spin, turn, kept, n in zip(
        found.embedded.spins, found.mean_field.orbitals, found.kept, found.counts, strict=True
    ):
        columns = np.hstack([turn[:, :n], turn[:, n:] @ kept])
        h.append(columns.T @ spin.h @ columns)
        tensor.append(to_orbitals(field.tensor, spin.basis @ columns))
    return solve_unrestricted(
        UnrestrictedHamiltonian((h[0], h[1]), (tensor[0], tensor[1]), *found.counts),
        level.core,
        tolerance=level.cc_tolerance,
        max_cycles=level.max_cycles,
        active_space=level.active_space,
        n_frozen=found.n_frozen,
    )


def _grow(
    field: MeanField, atoms: NDArray[np.int64], found: _Correlated, level: Level
) -> tuple[float, tuple[int, int]] | None:
    """Change of the MP2 correction when the core takes in its neighbours, and the grown core's orbitals."""
    mol = field.engine.mol
    larger = grown_atoms(mol.atom_charges(), mol.atom_coords(), atoms)
    if len(larger) == len(atoms):
        return None
    localized = localize_grown_core(field, larger, level, unpaired=found.counts[0] - found.counts[1])
    grown = _correlate(field, larger, localized, replace(level, core="MP2"), None)
    dispersion = field.core_dispersion(larger) - field.core_dispersion(atoms)
    return grown.mp2_correction - found.mp2_correction - dispersion, grown.counts
