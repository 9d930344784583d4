"""Boresch restraints: a free trajectory (bohr) in, a restraint and its free energy of release (kT) out.

Energy convention: E = k/2 x^2 for each of one distance, two angles and three dihedrals.
"Release" goes from the restrained, non-interacting ligand to the ligand free in the standard
volume (1 mol/l): a negative number. Boresch et al., J. Phys. Chem. B 107, 9535 (2003).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import quad

from drupe.embedding.structures.structure import Structure
from drupe.errors import InputError
from drupe.freeenergy.alchemical.anchors import search
from drupe.freeenergy.estimation.diagnostics import Verdict, standard_state_verdict
from drupe.records import frozen, register
from drupe.units import kj_per_mol, kt, nanometer, standard_volume_nm3

if TYPE_CHECKING:
    import openmm

__all__ = ["BoreschRestraint", "StandardState", "choose", "release_free_energy", "restraint_force"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class BoreschRestraint:
    """Six anchors with the rest values and force constants of their relative coordinates.

    ================  ========  ===============  ==================================================
    field             shape     unit             note
    ================  ========  ===============  ==================================================
    receptor          ``(3,)``  --               atoms R1, R2, R3; R1 carries the distance
    ligand            ``(3,)``  --               atoms L1, L2, L3; L1 carries the distance
    distance          scalar    bohr             R1-L1
    angles            ``(2,)``  rad              R2-R1-L1 and R1-L1-L2
    dihedrals         ``(3,)``  rad              R3-R2-R1-L1, R2-R1-L1-L2 and R1-L1-L2-L3
    k_distance        scalar    hartree/bohr^2   E = k/2 x^2
    k_angles          ``(2,)``  hartree/rad^2    E = k/2 x^2
    k_dihedrals       ``(3,)``  hartree/rad^2    E = k/2 x^2, x the smallest difference
    ================  ========  ===============  ==================================================
    """

    receptor: NDArray[np.int64]
    ligand: NDArray[np.int64]
    distance: float
    angles: NDArray[np.float64]
    dihedrals: NDArray[np.float64]
    k_distance: float
    k_angles: NDArray[np.float64]
    k_dihedrals: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("receptor", "ligand"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.int64))
        for name in ("angles", "dihedrals", "k_angles", "k_dihedrals"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
        names = ("receptor", "ligand", "angles", "dihedrals", "k_angles", "k_dihedrals")
        shapes = [getattr(self, name).shape for name in names]
        if shapes != [(3,), (3,), (2,), (3,), (2,), (3,)]:
            raise InputError(
                f"a Boresch restraint has shapes {shapes}", remedy="pass 3, 3, 2, 3, 2 and 3 numbers"
            )
        if len(set(self.anchors)) != 6:
            raise InputError(
                f"the anchors {self.anchors} are not six different atoms",
                remedy="name three atoms on each side",
            )
        if min(self.anchors) < 0:
            raise InputError(f"the anchors are {self.anchors}", remedy="count atoms from 0")
        if not (np.isfinite(self.dihedrals).all() and (np.abs(self.dihedrals) <= 2 * np.pi).all()):
            raise InputError(
                f"the rest values of the dihedrals are {self.dihedrals.tolist()} rad",
                remedy="give three angles within a turn, in radians",
            )
        if not (0 < self.distance < np.inf and (self.angles > 0).all() and (self.angles < np.pi).all()):
            raise InputError(
                f"the rest values are {self.distance} bohr and {np.degrees(self.angles).tolist()} degrees",
                remedy="take a positive distance and angles between 0 and 180 degrees",
            )
        constants = np.array([self.k_distance, *self.k_angles, *self.k_dihedrals])
        if not (np.isfinite(constants).all() and (constants > 0).all()):
            raise InputError(
                f"the force constants are {constants.tolist()}", remedy="give six positive, finite numbers"
            )

    @property
    def anchors(self) -> tuple[int, ...]:
        """Atoms in the order R3, R2, R1, L1, L2, L3."""
        return (*(int(i) for i in self.receptor[::-1]), *(int(i) for i in self.ligand))


@register(version=1)
@dataclass(frozen=True)
class StandardState:
    """Free energy of releasing a restraint to the standard volume, in kT: the integral is the one to use."""

    analytic: float
    numerical: float
    verdict: Verdict


def choose(
    structure: Structure,
    ligand: ArrayLike,
    trajectory_positions: ArrayLike,
    temperature_k: float,
    *,
    boxes: ArrayLike | None = None,
) -> BoreschRestraint:
    """Pick anchors, rest values and force constants from unrestrained motion.

    Candidates are scored by r0^2 sin A sin B (2 pi kT)^3 / sqrt(prod k), smallest first, after
    dropping sets with an angle within 10 kT or 45 degrees of 0 or pi. Rest values are (circular) means; force
    constants are kT over the variance, the variance drawn towards a typical one by ten
    pseudo-frames, within 2-25 kcal/mol/A^2 and 10-100 kcal/mol/rad^2.

    Parameters
    ----------
    structure
        The complex.
    ligand
        Indices of the ligand's atoms.
    trajectory_positions
        Frames of the complex, shape ``(frames, atoms, 3)``, bohr; one run or several in a row.
    temperature_k
        Kelvin, of the trajectory and of the restraint.
    boxes
        Periodic box of each frame, shape ``(frames, 3, 3)``, bohr, where there is one: receptor and
        ligand, each in one piece, may then be in any images.

    Raises
    ------
    InputError
        If shapes disagree, or no set of anchors is safe.
    """
    frames = np.asarray(trajectory_positions, np.float64)
    cells = None if boxes is None else np.asarray(boxes, np.float64)
    found = search(structure.system, np.asarray(ligand, np.int64), frames, temperature_k, cells)
    return BoreschRestraint(
        receptor=found.atoms[:3][::-1],
        ligand=found.atoms[3:],
        distance=float(found.center[0]),
        angles=found.center[1:3],
        dihedrals=found.center[3:],
        k_distance=float(found.k[0]),
        k_angles=found.k[1:3],
        k_dihedrals=found.k[3:],
    )


def release_free_energy(restraint: BoreschRestraint, temperature_k: float) -> StandardState:
    """Free energy of release by the closed formula and by the exact integral, kT.

    The formula is -ln[8 pi^2 V0 sqrt(prod k) / (r0^2 sin A sin B (2 pi kT)^3)]; the integral takes
    the true Jacobian r^2 sin A sin B and the finite ranges of angles and dihedrals.

    Parameters
    ----------
    restraint
        Restraint with E = k/2 x^2.
    temperature_k
        Kelvin.

    Returns
    -------
    StandardState
        Both numbers, and a WARN or FAIL when they disagree.

    Raises
    ------
    InputError
        If the temperature is not positive.
    """
    if not 0.0 < temperature_k < math.inf:
        raise InputError(f"the temperature is {temperature_k} K", remedy="give a positive one, in kelvin")
    thermal = kt(temperature_k)
    volume = standard_volume_nm3 * nanometer**3
    constants = np.array([restraint.k_distance, *restraint.k_angles, *restraint.k_dihedrals])
    jacobian = restraint.distance**2 * float(np.prod(np.sin(restraint.angles)))
    stiffness = 0.5 * float(np.log(constants).sum())
    log_formula = stiffness - 3.0 * math.log(2.0 * math.pi * thermal) - math.log(jacobian)
    inverse = constants / thermal
    width = 10.0 / math.sqrt(inverse[0])
    low = max(0.0, restraint.distance - width)
    log_integral = math.log(
        _weight(lambda r: r * r, restraint.distance, inverse[0], low, restraint.distance + width)
    )
    for angle, k in zip(restraint.angles, inverse[1:3], strict=True):
        log_integral += math.log(_weight(math.sin, float(angle), k, 0.0, math.pi))
    for k in inverse[3:]:
        log_integral += math.log(_weight(lambda _: 1.0, 0.0, k, -math.pi, math.pi))
    free = math.log(8.0 * math.pi**2 * volume)
    analytic, numerical = -(free + log_formula), -(free - log_integral)
    return StandardState(analytic, numerical, standard_state_verdict(analytic, numerical, temperature_k))


def restraint_force(
    restraint: BoreschRestraint, parameter: str = "lambda_restraint", *, periodic: bool = False
) -> "openmm.Force":
    """OpenMM force of the restraint, scaled by the global ``parameter`` (1 at the start of a context).

    In a periodic box it acts between nearest images: neighbouring anchors must be closer than half the box.
    """
    import openmm

    names = ["r0", "a1", "a2", "t1", "t2", "t3", "kr", "ka1", "ka2", "kt1", "kt2", "kt3"]
    values = [restraint.distance / nanometer, *restraint.angles, *restraint.dihedrals]
    values += [restraint.k_distance / kj_per_mol * nanometer**2]
    values += [float(k) / kj_per_mol for k in (*restraint.k_angles, *restraint.k_dihedrals)]
    turn = "-{t}-2*pi*floor(({d}-{t}+pi)/(2*pi))"
    four = ("dihedral(p1,p2,p3,p4)", "dihedral(p2,p3,p4,p5)", "dihedral(p3,p4,p5,p6)")
    terms = ["kr*(distance(p3,p4)-r0)^2", "ka1*(angle(p2,p3,p4)-a1)^2", "ka2*(angle(p3,p4,p5)-a2)^2"]
    terms += [f"kt{n}*({d}{turn.format(t=f't{n}', d=d)})^2" for n, d in enumerate(four, start=1)]
    force = openmm.CustomCompoundBondForce(6, f"{parameter}*0.5*({'+'.join(terms)}); pi={math.pi!r}")
    force.addGlobalParameter(parameter, 1.0)
    for name in names:
        force.addPerBondParameter(name)
    force.addBond(list(restraint.anchors), values)
    force.setUsesPeriodicBoundaryConditions(periodic)
    force.setName("BoreschRestraint")
    return force


def _weight(jacobian: Callable[[float], float], center: float, k: float, low: float, high: float) -> float:
    """Integral of jacobian(x) exp(-k/2 (x - center)^2) over [low, high]."""
    sigma = 1.0 / math.sqrt(k)
    marks = sorted({min(max(center + n * sigma, low), high) for n in (-6, -2, 0, 2, 6)})
    got = quad(
        lambda x: jacobian(x) * math.exp(-0.5 * k * (x - center) ** 2), low, high, points=marks, limit=400
    )
    return float(got[0])
