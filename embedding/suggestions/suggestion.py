"""What the search for cores found: ranked candidates, each with its numbers and its reason. Hartree, bohr."""

import dataclasses
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.level import Level
from drupe.embedding.regions.partition import Core, Partition
from drupe.errors import InputError
from drupe.records import frozen, register
from drupe.units import kcal_per_mol

__all__ = ["Candidate", "Suggestion"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class Candidate:
    """A core that could be chosen, and why it is or is not.

    ==============  ============  =======  ==============================================================
    field           shape         unit     note
    ==============  ============  =======  ==============================================================
    name            text                   its functional groups
    atoms           ``(core,)``            rising indices in the system
    contact         scalar        bohr     shortest distance to an MM atom, in the first frame
    field           scalar        a.u.     rms field of the MM charges on its atoms, in the first frame
    n_occupied      scalar                 occupied orbitals, the same in all frames
    spade_gap       scalar                 smallest over frames
    correction      scalar        hartree  MP2-in-DFT less DFT, in the first frame
    growth          scalar        hartree  relative spread of the change when it grows by its neighbours
    missing         scalar        hartree  relative spread of the change when it grows to the whole region
    reason          text                   why it stands where it stands
    ==============  ============  =======  ==============================================================
    """

    name: str
    atoms: NDArray[np.int64]
    contact: float
    field: float
    n_occupied: int
    spade_gap: float
    correction: float
    growth: float | None
    missing: float
    missing_error: float
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "atoms", frozen(self.atoms, np.int64))

    @property
    def surely_missing(self) -> float:
        """What it misses and one standard error, hartree: this has to be within the tolerance."""
        return self.missing + self.missing_error


@register(version=1)
@dataclass(frozen=True, eq=False)
class Suggestion:
    """Cores of a QM region, best first. Energies in hartree.

    Fields
    ------
    region
        The partition without cores.
    candidates
        Ranked: cores that miss at most ``tolerance``, one standard error included, come first, the
        smallest of them leading; then
        the others, by what they miss.
    refused
        Groups and cores that were not ranked, with the reason.
    compared
        What relative energies were taken between: ``"snapshots"``, or ``"field"`` for one geometry in
        and out of the field of the MM charges.
    n_frames
        Frames compared.
    uncorrected
        Relative spread of the correction of the whole region: what DFT without any core misses.
    tolerance
        What a core may miss.
    level
        Of the estimate.
    """

    region: Partition
    candidates: tuple[Candidate, ...]
    refused: tuple[str, ...]
    compared: str
    n_frames: int
    uncorrected: float
    tolerance: float
    level: Level

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", tuple(self.candidates))
        object.__setattr__(self, "refused", tuple(self.refused))

    def chosen(self, n: int = 1) -> tuple[Candidate, ...]:
        """Return the first ``n`` candidates that share no atoms.

        What several cores miss together is not estimated: the tolerance is for a single one.

        Raises
        ------
        InputError
            If the best single core misses more than the tolerance, or there are no ``n``.
        """
        best = self.candidates[0]
        if n == 1 and best.surely_missing > self.tolerance:
            raise InputError(
                f"the best core, {best.name}, misses {best.missing / kcal_per_mol:.2f} +- "
                f"{best.missing_error / kcal_per_mol:.2f} kcal/mol, "
                f"allowed are {self.tolerance / kcal_per_mol:.2f}",
                remedy="allow larger cores (largest_core), give more snapshots, or accept more (tolerance)",
            )
        for found in combinations(self.candidates, n) if n > 0 else ():
            atoms = np.concatenate([core.atoms for core in found])
            if len(np.unique(atoms)) == len(atoms):
                return found
        raise InputError(
            f"there are no {n} cores without common atoms among the {len(self.candidates)} candidates",
            remedy="ask for fewer cores, at least one",
        )

    def partition(self, n: int = 1) -> Partition:
        """Return the partition with the best ``n`` cores; see `chosen` for errors."""
        cores = tuple(Core(found.atoms, label=found.name) for found in self.chosen(n))
        return dataclasses.replace(self.region, cores=cores)

    def n_occupied(self, n: int = 1) -> tuple[int, ...]:
        """Occupied orbitals of these cores, to be fixed as ``Level.n_occupied`` along a trajectory."""
        return tuple(found.n_occupied for found in self.chosen(n))
