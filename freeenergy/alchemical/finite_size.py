"""Finite-size correction of one leg: its structure and the boxes it was sampled in go in, kT come out.

Sign rule: `charging_correction` is for giving the ligand its charge; decoupling takes it away.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.embedding.structures.structure import Structure, openmm_system
from drupe.embedding.structures.water import water_molecules
from drupe.errors import InputError
from drupe.freeenergy.alchemical.cavity import equal_sphere, lennard_jones_radii
from drupe.freeenergy.alchemical.net_charge import (
    ChargeCorrection,
    charging_correction,
    ligand_charge,
    net_charge_verdict,
    quadrupole_trace,
)
from drupe.freeenergy.estimation.results import FreeEnergy
from drupe.freeenergy.simulation.periodic import whole_start
from drupe.freeenergy.simulation.rigid_water import with_rigid_water
from drupe.records import frozen, register
from drupe.units import nanometer

__all__ = ["FiniteSize", "finite_size"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class FiniteSize:
    """Finite-size correction of a leg and what it was computed from.

    ================  ============  ========  ========================================================
    field             shape         unit      note
    ================  ============  ========  ========================================================
    charging          --            kT        terms to add to the free energy of giving the charge
    error             scalar        kT        standard error, from the mean boxes of the repeats; None
                                              for a single one
    charge            scalar        e         of the ligand
    receptor_charge   scalar        e         of everything else that stays in the box; None where
                                              there is water only
    box               ``(3, 3)``    bohr      mean box with the ligand fully there, rows
    n_waters          scalar        --        water molecules in it
    quadrupole        scalar        e bohr^2  `quadrupole_trace` of one of them
    radius            scalar        bohr      sphere of the ligand's van der Waals volume
    ================  ============  ========  ========================================================
    """

    charging: ChargeCorrection
    error: float | None
    charge: int
    receptor_charge: float | None
    box: NDArray[np.float64]
    n_waters: int
    quadrupole: float
    radius: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", frozen(self.box, np.float64))

    @property
    def decoupling(self) -> FreeEnergy:
        """What is added to the leg's decoupling free energy, kT."""
        judged = net_charge_verdict(self.charge, periodic=True, correction=self.charging)
        return FreeEnergy(
            -self.charging.total, judged, "analytic finite-size correction", sampling=self.error
        )


def finite_size(
    structure: Structure, ligand: ArrayLike, boxes: Sequence[NDArray[np.float64]], temperature_k: float
) -> FiniteSize:
    """Correction of a leg that takes away the charge of a ligand without a counter-ion.

    The receptor is everything but ligand and water, ions too. The radius is that of the sphere with the
    ligand's van der Waals volume; it enters the residual term (R^2) and that of the finite radius (R^5).

    Parameters
    ----------
    structure
        Complex or ligand in its box of water.
    ligand
        Indices of the ligand's atoms; the sum of their charges is a whole number.
    boxes
        Of each repeat, boxes with the ligand fully there, shape ``(frames, 3, 3)``, bohr.
    temperature_k
        Kelvin.

    Raises
    ------
    InputError
        If there is no box, no water of three sites in it, or no box was kept.
    """
    system, members = structure.system, np.asarray(ligand, np.int64)
    waters = water_molecules(system)
    waters = waters[~np.isin(waters, members).any(axis=1)]
    if system.box is None or not len(waters) or not boxes:
        raise InputError(
            f"a finite-size correction is asked for with {len(waters)} waters of three sites and boxes of "
            f"{0 if system.box is None else len(boxes)} repeats",
            remedy="give a ligand in a box of such water, and the boxes it was sampled in",
        )
    charge = ligand_charge(system, members)
    stays = np.ones(system.n_atoms, bool)
    stays[members] = stays[waters.ravel()] = False
    receptor_charge = float(system.charges[stays].sum()) if stays.any() else None
    place = whole_start(structure, system.positions, None)[members]
    radius = equal_sphere(place, lennard_jones_radii(structure, members))
    quadrupole = _quadrupole(structure, waters[0])

    def correction(box: NDArray[np.float64]) -> ChargeCorrection:
        return charging_correction(
            charge,
            box,
            temperature_k,
            n_waters=len(waters),
            quadrupole=quadrupole,
            radius=radius,
            receptor_charge=receptor_charge,
        )

    means = [np.mean(one, axis=0) for one in boxes]
    box = np.mean(means, axis=0)
    totals = [correction(one).total for one in means]
    error = float(np.std(totals, ddof=1)) / len(totals) ** 0.5 if len(totals) > 1 else None
    return FiniteSize(correction(box), error, charge, receptor_charge, box, len(waters), quadrupole, radius)


def _quadrupole(structure: Structure, water: NDArray[np.int64]) -> float:
    """Quadrupole trace of a water in the shape that the dynamics holds it in."""
    rigid = with_rigid_water(openmm_system(structure), structure.system)
    oxygen, first, second = water.tolist()
    ties = (rigid.getConstraintParameters(n) for n in range(rigid.getNumConstraints()))
    arms = {frozenset((i, j)): length._value * nanometer for i, j, length in ties if oxygen in (i, j)}
    # Only distances from the oxygen count, not the angle between them.
    shape = [[0, 0, 0], [arms[frozenset((oxygen, first))], 0, 0], [arms[frozenset((oxygen, second))], 0, 0]]
    return quadrupole_trace(structure.system.charges[water], shape)
