"""What the figures of a report are drawn of, as records.

Energies in hartree, positions in bohr, forces in hartree / bohr, unless a field says otherwise.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.records import frozen, register

__all__ = ["LearningCurve", "Parity", "RegionGeometry", "Trace"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class RegionGeometry:
    """One snapshot of the complex with its regions, for drawing.

    ==============  ==================  =====================================================
    field           shape               meaning
    ==============  ==================  =====================================================
    numbers         ``(atoms,)``        atomic numbers
    positions       ``(atoms, 3)``      bohr
    bonds           ``(bonds, 2)``      atom indices
    atom_names      ``(atoms,)``        strings
    residue_names   ``(atoms,)``        strings
    residue_ids     ``(atoms,)``        integers
    chain_ids       ``(atoms,)``        integers
    qm              ``(qm atoms,)``     indices of the QM region
    cores           tuple of arrays     indices of each quantum core
    core_labels     tuple               what each core is called
    anchors         ``(0 or 6,)``       restraint anchors, three of receptor then three of ligand
    ==============  ==================  =====================================================
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    bonds: NDArray[np.int64]
    atom_names: tuple[str, ...]
    residue_names: tuple[str, ...]
    residue_ids: NDArray[np.int64]
    chain_ids: NDArray[np.int64]
    qm: NDArray[np.int64]
    cores: tuple[NDArray[np.int64], ...]
    core_labels: tuple[str, ...]
    anchors: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        for name in ("numbers", "residue_ids", "chain_ids", "qm", "anchors"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.int64))
        object.__setattr__(self, "bonds", frozen(np.reshape(self.bonds, (-1, 2)), np.int64))
        object.__setattr__(self, "positions", frozen(self.positions, np.float64))
        object.__setattr__(self, "cores", tuple(frozen(core, np.int64) for core in self.cores))
        for name in ("atom_names", "residue_names", "core_labels"):
            object.__setattr__(self, name, tuple(str(text) for text in getattr(self, name)))
        atoms = len(self.numbers)
        per_atom = (self.positions, self.atom_names, self.residue_names, self.residue_ids, self.chain_ids)
        if any(len(item) != atoms for item in per_atom) or self.positions.shape != (atoms, 3):
            raise InputError(
                f"{atoms} atomic numbers come with {[len(item) for item in per_atom]} positions, atom names, "
                "residue names, residue numbers and chain numbers",
                remedy="give each of them one entry per atom",
            )
        if len(self.cores) != len(self.core_labels):
            raise InputError(
                f"{len(self.cores)} cores have {len(self.core_labels)} labels", remedy="label each core once"
            )


@register(version=1)
@dataclass(frozen=True, eq=False)
class Parity:
    """Reference against prediction of one quantity; atomic units, any shape, flattened.

    ``quantity`` is "energy" or "correction" (hartree; the latter left out of the transfer that
    predicts it), "force_qm" or "force_mm" (hartree / bohr). ``group`` has
    one entry per value ("complex, training"), or one for all. ``sigma`` is the committee's.
    """

    level: str  # "low" or "core"
    quantity: str
    reference: NDArray[np.float64]
    predicted: NDArray[np.float64]
    group: tuple[str, ...]
    sigma: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name in ("reference", "predicted"):
            object.__setattr__(self, name, frozen(np.ravel(getattr(self, name)), np.float64))
        if self.sigma is not None:
            object.__setattr__(self, "sigma", frozen(np.ravel(self.sigma), np.float64))
        if self.quantity not in ("energy", "correction", "force_qm", "force_mm"):
            raise InputError(
                f"there is no parity plot of {self.quantity!r}",
                remedy="use energy, correction, force_qm or force_mm",
            )
        values = len(self.reference)
        if len(self.predicted) != values or len(self.group) not in (1, values):
            raise InputError(
                f"{values} reference values have {len(self.predicted)} predictions, {len(self.group)} groups",
                remedy="give one prediction per value, and one group per value or one for all",
            )


@register(version=1)
@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Validation error of one member against the training step; nan where not measured."""

    stage: str  # "low" or "core", or a longer name of the fit
    member: int
    step: NDArray[np.int64]
    energy_rmse: NDArray[np.float64]  # hartree
    force_rmse: NDArray[np.float64]  # hartree / bohr

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", frozen(self.step, np.int64))
        for name in ("energy_rmse", "force_rmse"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
            if getattr(self, name).shape != self.step.shape:
                raise InputError(
                    f"a learning curve of {len(self.step)} steps has another number of {name}",
                    remedy="give one value per step, nan where it was not measured",
                )


@register(version=1)
@dataclass(frozen=True, eq=False)
class Trace:
    """Potential energy along one trajectory: time in ps, energy in kT."""

    name: str
    time_ps: NDArray[np.float64]
    potential: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("time_ps", "potential"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
