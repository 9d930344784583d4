"""Door to OpenMM's PythonForce: a committee as a callable that pickles (nm, kJ/mol outside).

The value is the label's energy without its fixed-charge Coulomb part and without the energy zero: that
part of the interaction stays in OpenMM's own forces, the zero is the same in every leg. In a periodic system
the box is read from the State at every call: a barostat changes it.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drupe.mlp.committee import Committee
from drupe.mlp.images import Images
from drupe.records import frozen
from drupe.units import kj_per_mol, nanometer

if TYPE_CHECKING:
    import openmm

__all__ = ["LearnedForce"]


class LearnedForce:
    """Energy and forces for one OpenMM State; a repeated call at the same positions and box costs nothing.

    Parameters
    ----------
    committee
        The potential.
    charges
        Charges of the particles after the committee's own atoms, shape ``(mm,)``, e.
    groups
        Residue of each of these particles, rising, ``(mm,)``; None for a potential without reach.
    tree
        In a periodic system the atom each of the committee's atoms is joined to, -1 for the first
        (`drupe.mlp.images.tree_of_bonds`); None without a box.
    """

    def __init__(
        self,
        committee: Committee,
        charges: NDArray[np.float64],
        groups: NDArray[np.int64] | None = None,
        tree: NDArray[np.int64] | None = None,
    ) -> None:
        self._committee, self._charges = committee, frozen(charges, np.float64)
        self._groups = None if groups is None else frozen(groups, np.int64)
        self._images: Images | None = None
        if tree is not None:
            known = np.zeros(0, np.int64) if self._groups is None else self._groups
            self._images = Images(tree, known, committee.header.reach)
        self._seen: bytes | None = None
        self._answer: tuple[float, NDArray[np.float64]] = (0.0, np.zeros((0, 3)))

    def __call__(self, state: "openmm.State") -> tuple[float, NDArray[np.float64]]:
        """Energy in kJ/mol and forces in kJ/mol/nm, shape ``(particles, 3)``."""
        from openmm import unit

        found = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        positions = np.ascontiguousarray(found, dtype=np.float64)
        seen, box = positions.tobytes(), None
        if self._images is not None:
            box = np.array(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer))
            seen += box.tobytes()
        if seen != self._seen:
            self._answer = self._compute(positions * nanometer, None if box is None else box * nanometer)
            self._seen = seen
        return self._answer

    def __reduce__(self) -> tuple[object, ...]:
        groups = None if self._groups is None else np.array(self._groups)
        tree = None if self._images is None else np.array(self._images.parents)
        return _rebuild, (self._committee.to_bytes(), np.array(self._charges), groups, tree)

    def _compute(
        self, positions: NDArray[np.float64], box: NDArray[np.float64] | None
    ) -> tuple[float, NDArray[np.float64]]:
        count = len(self._committee.header.numbers)
        if self._images is not None and box is not None:
            positions = self._images.place(positions, box)
        made = self._committee.evaluate(
            positions[:count], positions[count:], self._charges, self._groups, fixed_coulomb=False
        )
        forces = np.concatenate([made.forces_qm, made.forces_mm])
        return float(made.energies.mean()) / kj_per_mol, forces * (nanometer / kj_per_mol)


def _rebuild(
    model: bytes,
    charges: NDArray[np.float64],
    groups: NDArray[np.int64] | None = None,
    tree: NDArray[np.int64] | None = None,
) -> LearnedForce:
    return LearnedForce(Committee.from_bytes(model), charges, groups, tree)
