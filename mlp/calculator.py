"""Door to ASE: a committee as a calculator (angstrom, eV, e outside), alone or in point charges.

The energy is the label's quantity: the QM energy of the molecule with its interaction with the charges. It
also serves ASE's ``EIQMMM`` as the QM side (`embed`).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.mlp.committee import Committee, load
from drupe.mlp.evaluation import points_of
from drupe.mlp.whole_numbers import whole_numbers
from drupe.units import angstrom, ev

__all__ = ["DrupeCalculator"]

Matrix = NDArray[np.float64]
_Rows = NDArray[np.int64] | None
_Surroundings = tuple[Matrix, Matrix, _Rows, _Rows]


class DrupeCalculator(Calculator):  # type: ignore[misc]  # ase has no types here
    """Energy and forces of one molecule.

    After a calculation ``results`` has ``energy`` (eV), ``forces`` (eV/A), ``forces_mm`` (eV/A, on the point
    charges), ``energy_sigma`` (eV, calibrated standard error; nan for one member), ``member_energies`` and
    ``novelty`` (distance from the training set, above 1 outside of it; nan if the model has no record of it).

    Parameters
    ----------
    model
        Path of a file written by `Committee.save`, or a committee.

    Raises
    ------
    InputError
        If the model cannot be read; in a calculation, if the atoms are not the model's, or are periodic.
    """

    implemented_properties = ("energy", "forces")

    def __init__(self, model: Committee | str | Path) -> None:
        super().__init__()
        self.committee = model if isinstance(model, Committee) else load(model)
        self._mm: _Surroundings = (np.zeros((0, 3)), np.zeros(0), None, None)

    def set_surroundings(
        self,
        positions: Matrix,
        charges: Matrix,
        groups: NDArray[np.int64] | None = None,
        border_atoms: NDArray[np.int64] | None = None,
    ) -> None:
        """Put the molecule into point charges.

        Parameters
        ----------
        positions, charges
            ``(mm, 3)`` angstrom and ``(mm,)`` e; empty for none.
        groups
            Residue of each charge, ``(mm,)``; needed where the model has a reach.
        border_atoms
            Rows of the border atoms among the charges; needed where the model has link atoms.
        """
        rows = [
            None if given is None else whole_numbers(name, given)
            for name, given in (("mm_groups", groups), ("border_atoms", border_atoms))
        ]
        self._mm = points_of(positions), np.array(charges, np.float64), rows[0], rows[1]
        self.reset()

    def embed(self, charges: Sequence[float], sites: int | None = None) -> "_PointCharges":
        """Point charges whose positions follow, as ASE's ``EIQMMM`` asks for them.

        Parameters
        ----------
        charges
            e.
        sites
            Charges of each MM molecule, for a model with a reach: ``Embedding(sites=3)``.
        """
        groups = None if sites is None else np.arange(len(charges)) // sites
        return _PointCharges(self, np.array(charges, np.float64), groups)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate the committee; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        found, wanted = self.atoms.numbers.tolist(), self.committee.header.numbers.tolist()
        if found != wanted:
            raise InputError(
                f"the atoms have the atomic numbers {found}, the model was trained on {wanted} in this order",
                remedy="give the molecule's atoms in the order of its labels",
            )
        if self.atoms.pbc.any():
            raise InputError(
                "the atoms are periodic, and this calculator knows one molecule in given point charges",
                remedy='set atoms.pbc = False; periodic boxes are for OpenMM, MLPotential("drupe", ...)',
            )
        points, charges, groups, border_atoms = self._mm
        made = self.committee.predict(
            self.atoms.positions * angstrom, points * angstrom, charges, groups, border_atoms
        )
        force = angstrom / ev
        self.results = {
            "energy": made.energy / ev,
            "forces": made.forces_qm * force,
            "forces_mm": made.forces_mm * force,
            "energy_sigma": made.energy_sigma / ev,
            "novelty": made.novelty,
            "member_energies": made.member_energies / ev,
        }


class _PointCharges:
    """The charges of ``EIQMMM``, in the shape its embedding asks for."""

    def __init__(
        self, calculator: DrupeCalculator, charges: Matrix, groups: NDArray[np.int64] | None
    ) -> None:
        self._calculator, self._charges, self._groups = calculator, charges, groups

    def set_positions(self, positions: Matrix) -> None:
        self._calculator.set_surroundings(positions, self._charges, self._groups)

    def get_forces(self, calculator: DrupeCalculator) -> Matrix:
        return np.array(calculator.results["forces_mm"])
