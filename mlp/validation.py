"""How well a committee reproduces labels it did not see: a `Dataset` in, errors in hartree(/bohr) out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.mlp.committee import Committee
from drupe.mlp.dataset import Dataset
from drupe.records import register

__all__ = ["Accuracy", "accuracy"]


@register(version=1)
@dataclass(frozen=True)
class Accuracy:
    """Errors (predicted minus label) of the committee mean; nan where no label has the quantity.

    ``energy_mean`` and ``energy_spread`` mean and standard deviation over frames, hartree: a constant
    offset cancels in free-energy differences between snapshots, the spread does not. ``force``,
    ``mm_force`` root mean squares over components, ``slope`` over directions, hartree/bohr. ``energies``,
    ``forces``, ``mm_forces``, ``slopes`` how many labels (for slopes: directions) there were.
    """

    energy_mean: float
    energy_spread: float
    force: float
    mm_force: float
    slope: float
    energies: int
    forces: int
    mm_forces: int
    slopes: int


def accuracy(committee: Committee, dataset: Dataset) -> Accuracy:
    """Compare a committee with labels.

    Parameters
    ----------
    committee
        The potential.
    dataset
        Labels, best of blocks that no fit saw (`Dataset.split`).
    """
    made = committee.predict_all(dataset)
    energy = np.array([one.energy for one in made]) - dataset.energy
    on_qm = np.array([one.forces_qm for one in made])
    slope = -np.einsum("fkix,fix->fk", dataset.directions, on_qm) - dataset.slopes
    shown = dataset.has_forces_mm & (dataset.mm_counts > 0)
    on_mm = [
        (made[i].forces_mm - dataset.forces_mm[i, : dataset.mm_counts[i]]).ravel()
        for i in np.flatnonzero(shown)
    ]
    there = energy[dataset.has_energy]
    return Accuracy(
        energy_mean=float(there.mean()) if there.size else float("nan"),
        energy_spread=float(there.std()) if there.size else float("nan"),
        force=_rms((on_qm - dataset.forces_qm)[dataset.has_forces_qm]),
        mm_force=_rms(np.concatenate(on_mm)) if on_mm else float("nan"),
        slope=_rms(slope[dataset.has_slopes]),
        energies=int(dataset.has_energy.sum()),
        forces=int(dataset.has_forces_qm.sum()),
        mm_forces=int(shown.sum()),
        slopes=int(dataset.has_slopes.sum()),
    )


def _rms(errors: NDArray[np.float64]) -> float:
    return float(np.sqrt((errors**2).mean())) if errors.size else float("nan")
