"""What a committee says of one frame, with what its errors may be (hartree, bohr)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.mlp.calibration import Uncertainty

__all__ = ["Prediction"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The label's quantity for one frame.

    ``energy`` committee mean, hartree; ``forces_qm`` ``(qm, 3)`` and ``forces_mm`` ``(mm, 3)`` of the
    mean, hartree/bohr; ``member_energies`` ``(members,)``, hartree; ``energy_error`` standard errors of
    ``energy`` and their parts, hartree (nan for a single member); ``forces_qm_error``, ``forces_mm_error``
    the same of a component of the force on each atom, hartree/bohr, where they were asked for; ``novelty``
    distance from the training set, above 1 outside of it (`drupe.mlp.novelty`; nan if the model has no record
    of it); ``energies`` what the energies are, as in `PotentialHeader`: ``"total"``, ``"relative"``, or
    ``"none"`` where no label had an energy: only differences between frames mean something then, and
    ``energy_error`` is nan.
    """

    energy: float
    forces_qm: NDArray[np.float64]
    forces_mm: NDArray[np.float64]
    member_energies: NDArray[np.float64]
    energy_error: Uncertainty
    forces_qm_error: Uncertainty | None = None
    forces_mm_error: Uncertainty | None = None
    novelty: float = float("nan")
    energies: str = "total"

    @property
    def energy_sigma(self) -> float:
        """Calibrated standard error of the energy, hartree."""
        return float(self.energy_error.sigma)
