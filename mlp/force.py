"""Door to OpenMM's PythonForce: a committee as a callable that pickles (nm, kJ/mol outside).

The value is the label's energy without its fixed-charge Coulomb part and without the energy zero: that
part of the interaction stays in OpenMM's own forces, the zero is the same in every leg.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drupe.mlp.committee import Committee
from drupe.records import frozen
from drupe.units import kj_per_mol, nanometer

if TYPE_CHECKING:
    import openmm

__all__ = ["LearnedForce"]


class LearnedForce:
    """Energy and forces for one OpenMM State; a repeated call at the same positions costs nothing.

    Parameters
    ----------
    committee
        The potential.
    charges
        Charges of the particles after the committee's own atoms, shape ``(mm,)``, e.
    """

    def __init__(self, committee: Committee, charges: NDArray[np.float64]) -> None:
        self._committee, self._charges = committee, frozen(charges, np.float64)
        self._seen: bytes | None = None
        self._answer: tuple[float, NDArray[np.float64]] = (0.0, np.zeros((0, 3)))

    def __call__(self, state: "openmm.State") -> tuple[float, NDArray[np.float64]]:
        """Energy in kJ/mol and forces in kJ/mol/nm, shape ``(particles, 3)``."""
        from openmm import unit

        found = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        positions = np.ascontiguousarray(found, dtype=np.float64)
        seen = positions.tobytes()
        if seen != self._seen:
            self._answer = self._compute(positions * nanometer)
            self._seen = seen
        return self._answer

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self._committee.to_bytes(), np.array(self._charges))

    def _compute(self, positions: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        count = len(self._committee.header.numbers)
        made = self._committee.evaluate(
            positions[:count], positions[count:], self._charges, fixed_coulomb=False
        )
        forces = np.concatenate([made.forces_qm, made.forces_mm])
        return float(made.energies.mean()) / kj_per_mol, forces * (nanometer / kj_per_mol)


def _rebuild(model: bytes, charges: NDArray[np.float64]) -> LearnedForce:
    return LearnedForce(Committee.from_bytes(model), charges)
