"""Charged ligands, way two: what a periodic box of water adds to a charging free energy (bohr, e in, kT out).

Analytic terms of Rocklin, Mobley, Dill and Huenenberger, J. Chem. Phys. 139, 184103 (2013), for lattice sums
with a neutralising background; they are added to the free energy of charging as simulated.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfc

from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.freeenergy.estimation.diagnostics import Verdict
from drupe.records import register
from drupe.units import kt

__all__ = [
    "ChargeCorrection",
    "charging_correction",
    "ligand_charge",
    "net_charge_verdict",
    "quadrupole_trace",
    "self_potential",
]

#: Static relative permittivity of TIP3P water at 298 K (Hoechtl et al., J. Chem. Phys. 109, 4927 (1998)).
tip3p_permittivity: Final = 97.0


@register(version=1)
@dataclass(frozen=True)
class ChargeCorrection:
    """Terms to add to the free energy of giving a ligand its charge in a periodic box, kT each.

    ===================  ==========================================================================
    field                what it undoes
    ===================  ==========================================================================
    periodicity          interaction of the net charge with its images and the background (NET)
    undersolvation       solvent that the images have polarised already (USV)
    residual             potential that the ligand's own volume takes out of the mean (RIP), for a sphere
    finite_radius        next order of the sphere in the size of the box (EMP)
    discrete_solvent     offset of the mean potential by the quadrupole of the solvent molecules (DSC)
    receptor_left_out    whether a receptor's part of the residual term, which takes a Poisson-Boltzmann
                         solution, is missing
    ===================  ==========================================================================
    """

    periodicity: float
    undersolvation: float
    residual: float
    finite_radius: float
    discrete_solvent: float
    receptor_left_out: bool

    @property
    def total(self) -> float:
        """Sum of the terms, kT."""
        return (
            self.periodicity
            + self.undersolvation
            + self.residual
            + self.finite_radius
            + self.discrete_solvent
        )


def charging_correction(
    charge: float,
    box: ArrayLike,
    temperature_k: float,
    *,
    n_waters: int,
    quadrupole: float,
    radius: float,
    receptor_charge: float | None = None,
    permittivity: float = tip3p_permittivity,
) -> ChargeCorrection:
    """Correction of a charging free energy from PME in a box of water.

    With Q = charge, P = receptor charge, D = (P + Q)^2 - P^2, s = 1 - 1/permittivity, V the volume and w the
    `self_potential` of the box: NET = -D w / 2, USV = s D w / 2, RIP = (2 pi / 3) s R^2 Q (P + Q) / V,
    EMP = -(8 pi^2 / 45) s D R^5 / V^2, DSC = -(2 pi / 3) g Q N / V. RIP and EMP are exact for a sphere of
    radius R with the charge at its centre (an ion); a molecule is approximated by one. The part of RIP
    that comes from a receptor's shape and charges takes a Poisson-Boltzmann solution and is left out.

    Parameters
    ----------
    charge
        Of the ligand, e; for taking the charge away, change the sign of the result.
    box
        Mean periodic box, rows in bohr.
    temperature_k
        Kelvin.
    n_waters
        Solvent molecules in the box.
    quadrupole
        g, `quadrupole_trace` of one of them, e bohr^2.
    radius
        R of the cavity, bohr: such as the Born radius of the ion.
    receptor_charge
        Charge of everything else that stays, e; None where there is no receptor.
    permittivity
        Of the solvent model, not of real water.
    """
    vectors = np.asarray(box, np.float64)
    volume = abs(float(np.linalg.det(vectors)))
    if not (radius >= 0 and permittivity >= 1 and n_waters >= 0):
        raise InputError(
            f"radius {radius}, permittivity {permittivity} and {n_waters} waters describe no solvent",
            remedy="give a radius and a count of at least 0, and a permittivity of at least 1",
        )
    if not 0.0 < temperature_k < math.inf:
        raise InputError(f"the temperature is {temperature_k} K", remedy="give a positive one, in kelvin")
    numbers = {"charge": charge, "quadrupole": quadrupole, "receptor_charge": receptor_charge or 0.0}
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise InputError(f"{name} is {value}", remedy="give a number")
    other = receptor_charge or 0.0
    change = (other + charge) ** 2 - other**2
    screening = 1.0 - 1.0 / permittivity
    potential = self_potential(vectors)
    thermal = kt(temperature_k)
    return ChargeCorrection(
        periodicity=-0.5 * change * potential / thermal,
        undersolvation=0.5 * screening * change * potential / thermal,
        residual=2 * math.pi / 3 * screening * radius**2 * charge * (other + charge) / volume / thermal,
        finite_radius=-8 * math.pi**2 / 45 * screening * change * radius**5 / volume**2 / thermal,
        discrete_solvent=-2 * math.pi / 3 * quadrupole * charge * n_waters / volume / thermal,
        receptor_left_out=receptor_charge is not None,
    )


def net_charge_verdict(
    charge: int, *, periodic: bool, counter_ions: bool = False, correction: ChargeCorrection | None = None
) -> Verdict:
    """Judge a leg by what was done about the charge of its ligand.

    FAIL: the box changes its net charge and nothing undoes it. WARN: the correction leaves out the part of
    a receptor.

    Parameters
    ----------
    charge
        Of the ligand, e.
    periodic
        Whether the leg is in a periodic box; without one there are no images.
    counter_ions
        Whether counter-ions kept the charge of the box.
    correction
        The finite-size correction that was added, if one was.
    """
    if charge == 0 or not periodic or counter_ions:
        return Verdict("PASS")
    if correction is None:
        return Verdict(
            "FAIL",
            (
                f"the ligand has charge {charge:+d}, and in its periodic box neither a counter-ion takes its "
                "place nor was a finite-size correction added: the number depends on the size of the box",
            ),
        )
    if correction.receptor_left_out:
        return Verdict(
            "WARN",
            (
                f"the finite-size correction for a ligand of charge {charge:+d} leaves out the receptor's "
                "residual integrated potential, which takes a Poisson-Boltzmann solution",
            ),
        )
    return Verdict("PASS")


def ligand_charge(system: MolecularSystem, ligand: ArrayLike) -> int:
    """Net charge of the ligand, e.

    Raises
    ------
    InputError
        If the fixed charges do not add up to a whole number.
    """
    total = float(system.charges[np.asarray(ligand, np.int64)].sum())
    if abs(total - round(total)) > 1e-2:
        raise InputError(
            f"the charges of the ligand add up to {total:.4f} e",
            remedy="select a whole molecule, or correct its charges to a whole number",
        )
    return round(total)


def quadrupole_trace(charges: ArrayLike, positions: ArrayLike) -> float:
    """Sum of q r^2 about the first site (that of the Lennard-Jones sphere), e bohr^2.

    Parameters
    ----------
    charges
        Of one solvent molecule, shape ``(sites,)``, e; neutral in sum.
    positions
        Shape ``(sites, 3)``, bohr, the molecule in one piece.
    """
    place = np.asarray(positions, np.float64)
    return float(np.asarray(charges, np.float64) @ ((place - place[0]) ** 2).sum(axis=1))


def self_potential(box: ArrayLike) -> float:
    """Potential of a unit charge's images and of the uniform background at the charge, hartree/e.

    By Ewald summation in any box; -2.837297/L in a cube of edge L (bohr).

    Parameters
    ----------
    box
        Rows are box vectors, bohr.
    """
    rows = np.asarray(box, np.float64)
    volume = abs(float(np.linalg.det(rows)))
    if not volume > 0:
        raise InputError(f"the box {rows.tolist()} has no volume", remedy="give three independent vectors")
    # The splitting at which both sums converge alike; both reach far beyond 1e-12 of their first term.
    eta = math.sqrt(math.pi) / volume ** (1 / 3)
    real = np.linalg.norm(_lattice(rows, 6.5 / eta), axis=1)
    waves = _lattice(np.asarray(2 * math.pi * np.linalg.inv(rows).T, np.float64), 13.0 * eta)
    square = (waves**2).sum(axis=1)
    near = float((erfc(eta * real) / real).sum())
    far = 4 * math.pi / volume * float((np.exp(-square / (4 * eta**2)) / square).sum())
    return float(near + far - 2 * eta / math.sqrt(math.pi) - math.pi / (eta**2 * volume))


def _lattice(rows: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """Lattice vectors other than 0 that are shorter than ``reach``, shape ``(vectors, 3)``."""
    most = np.ceil(reach * np.linalg.norm(np.linalg.inv(rows), axis=0)).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = grid @ rows
    length = np.linalg.norm(vectors, axis=1)
    return np.asarray(vectors[(length > 0) & (length < reach)])
