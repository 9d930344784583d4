"""Refitted torsion constants of MM molecules and what they say about a molecule: hartree, bohr."""

import dataclasses
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.settings import plain_value
from drupe.errors import InputError
from drupe.mlp.torsion_design import Design, torsion_design
from drupe.mlp.torsion_kinds import Torsions, torsions_of
from drupe.records import frozen, record_key, register
from drupe.units import kcal_per_mol

__all__ = ["Change", "TorsionRefit", "TorsionSpec"]


@register(version=1)
@dataclass(frozen=True)
class TorsionSpec:
    """Everything that fixes a refit except the data.

    Parameters
    ----------
    highest
        Constants k_1 to k_highest for each kind of torsion, 1 to 6.
    width
        hartree: standard deviation of the prior of each constant about the force field's own; constants of
        one torsion are of the size of the default.
    rotors
        Whether bonds to CH3 and the like are refitted, see `drupe.mlp.torsion_kinds`.
    """

    highest: int = 4
    width: float = 0.25 * kcal_per_mol
    rotors: bool = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = plain_value(field.name, field.type, getattr(self, field.name), "the torsion refit")
            object.__setattr__(self, field.name, value)
        if not 1 <= self.highest <= 6:
            raise InputError(f"highest = {self.highest} in the torsion refit", remedy="give 1 to 6")
        if not (math.isfinite(self.width) and self.width > 0):
            raise InputError(f"width = {self.width} in the torsion refit", remedy="give a positive number")


class Change(NamedTuple):
    """What a refit adds to the MM energy: hartree, hartree/bohr; ``sigma`` its error from the posterior."""

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    sigma: NDArray[np.float64]


@register(version=1)
@dataclass(frozen=True, eq=False)
class TorsionRefit:
    """Refitted torsion constants of V = sum k_n (1 + cos n phi), and how well the labels know them.

    ============  ======================  ===========================================================
    field         shape                   meaning
    ============  ======================  ===========================================================
    spec          --                      what was asked for
    kinds         ``(kinds,)``            names, see `drupe.mlp.torsion_kinds`
    own           ``(kinds, highest)``    the force field's constants, the mean over torsions of a kind
    change        ``(kinds, highest)``    what the refit adds to each, hartree
    covariance    ``(p, p)``              of ``change`` row by row, hartree^2
    noise_energy  scalar                  hartree; nan where no label has an energy
    noise_turn    scalar                  hartree/bohr, of forces that turn bonds; nan likewise
    noise_force   scalar                  hartree/bohr, of all other components of forces
    n_energies    scalar                  labels with an energy
    n_forces      scalar                  labels with forces
    level         string                  of the labels
    ============  ======================  ===========================================================
    """

    spec: TorsionSpec
    kinds: tuple[str, ...]
    own: NDArray[np.float64]
    change: NDArray[np.float64]
    covariance: NDArray[np.float64]
    noise_energy: float
    noise_turn: float
    noise_force: float
    n_energies: int
    n_forces: int
    level: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.kinds))
        shape = (len(self.kinds), self.spec.highest)
        shapes = {"own": shape, "change": shape, "covariance": (math.prod(shape),) * 2}
        for name, wanted in shapes.items():
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
            if getattr(self, name).shape != wanted or not np.isfinite(getattr(self, name)).all():
                raise InputError(
                    f"{name} of a torsion refit has shape {getattr(self, name).shape}, expected {wanted}, or "
                    "is not finite",
                    remedy="make refits with refit_torsions",
                )

    @property
    def key(self) -> str:
        """Content name."""
        return record_key(self)

    @property
    def constants(self) -> NDArray[np.float64]:
        """Refitted k_n, signed, hartree, ``(kinds, highest)``."""
        made: NDArray[np.float64] = self.own + self.change
        return made

    @property
    def errors(self) -> NDArray[np.float64]:
        """Standard errors of the constants, hartree, ``(kinds, highest)``."""
        made: NDArray[np.float64] = np.sqrt(np.diag(self.covariance)).reshape(self.change.shape)
        return made

    def torsions(self, numbers: NDArray[np.int64], bonds: NDArray[np.int64]) -> Torsions:
        """Torsions of a molecule that this refit is about.

        Raises
        ------
        InputError
            If it has none, or some of a kind that was not refitted.
        """
        found = torsions_of(numbers, bonds, rotors=self.spec.rotors)
        strange = sorted(set(found.kinds) - set(self.kinds))
        if strange or not found.kinds:
            raise InputError(
                f"the refit knows the torsions {', '.join(self.kinds)}, this molecule has "
                + (", ".join(strange) or "none that turn"),
                remedy="refit with labels of this molecule among the others",
            )
        return found

    def design(
        self, numbers: NDArray[np.int64], bonds: NDArray[np.int64], positions: NDArray[np.float64]
    ) -> Design:
        """Energies and forces of all constants at frames of a molecule, ``positions (frames, atoms, 3)``."""
        found = self.torsions(numbers, bonds)
        numbered = np.array([self.kinds.index(kind) for kind in found.kinds], np.int64)
        return torsion_design(positions, found.atoms, numbered, len(self.kinds), self.spec.highest)

    def predict(
        self, numbers: NDArray[np.int64], bonds: NDArray[np.int64], positions: NDArray[np.float64]
    ) -> Change:
        """Energies and forces that the refit adds to the MM energy, with the error of the energies.

        Parameters
        ----------
        numbers, bonds
            Atomic numbers ``(atoms,)`` and pairs of bonded atoms ``(bonds, 2)`` of the molecule.
        positions
            Shape ``(frames, atoms, 3)``, bohr.
        """
        made = self.design(numbers, bonds, positions)
        variance = np.einsum("fp,pq,fq->f", made.energy, self.covariance, made.energy)
        change = self.change.ravel()
        return Change(made.energy @ change, made.forces @ change, np.sqrt(np.maximum(variance, 0.0)))

    def draws(self, count: int, seed: int) -> NDArray[np.float64]:
        """Changes drawn from the posterior, ``(count, kinds * highest)``, hartree."""
        rng = np.random.default_rng(seed)
        return rng.multivariate_normal(self.change.ravel(), self.covariance, size=count, method="eigh")
