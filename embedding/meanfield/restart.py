"""What one SCF leaves for the next at a near geometry: density, grid correction, what they fit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.level import Level
from drupe.errors import InputError
from drupe.records import content_key

__all__ = ["Restart", "fitting_name"]


@dataclass(frozen=True, eq=False)
class Restart:
    """Start of an SCF; it changes the answer within the thresholds only.

    Fields: ``density`` of shape ``(n_ao, n_ao)``, or ``(2, n_ao, n_ao)`` for an open shell; ``shift`` of the
    same shape, hartree, the fine integration grid's potential less the coarse grid's; ``fits`` the name of
    atoms, electrons and basis it was made for.
    """

    density: NDArray[np.float64]
    shift: NDArray[np.float64]
    fits: str

    def check_fits(self, name: str) -> None:
        """Refuse another molecule.

        Raises
        ------
        InputError
            If ``name``, from `fitting_name`, is another one.
        """
        if name != self.fits:
            raise InputError(
                "the starting density is of another QM region, charge, functional or basis",
                remedy="chain labels of one partition at one level only, or start from none",
            )


def fitting_name(numbers: NDArray[np.int64], charge: int, multiplicity: int, level: Level) -> str:
    """Name of everything that decides what a density matrix means, positions left out."""
    asked = {
        "numbers": np.asarray(numbers, dtype=np.int64),
        "electrons": (charge, multiplicity),
        "level": (level.functional, level.basis, level.ecp, level.grid),
    }
    return content_key("Restart", asked)
