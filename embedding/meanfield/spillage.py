"""Electrons that leak onto MM charges: a converged mean field in, the worst leak out (electrons, bohr).

A positive charge has no electrons of its own that would push the QM density away, so diffuse functions put
electrons on it, and the SCF converges quietly. The measure is the number of electrons in a sphere of one
bohr around the charge, less what the free atoms of the region have there. Water that accepts a hydrogen
bond of 1.6 A from a charge of 0.45 e shows 0.006 to 0.01; +2 e at 0.3 A from a hydrogen 0.7.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.units import angstrom

__all__ = ["Spillage", "check_spillage", "measure_spillage"]

Matrix = NDArray[np.float64]

_SPHERE = 1.0  # bohr
_NEAR = 6.0  # bohr from a QM atom; beyond, the density is too thin to matter
_REFUSED = 0.2  # electrons
_ANGLES = 26
_SHELLS = 6


@dataclass(frozen=True)
class Spillage:
    """``electrons`` too many in the worst sphere; ``site`` its charge's index, -1 without near charges."""

    electrons: float
    site: int


def measure_spillage(engine: Any, density: Matrix, points: Matrix, charges: NDArray[np.float64]) -> Spillage:
    """Find the positive charge that took most electrons.

    Parameters
    ----------
    engine
        PySCF's SCF object.
    density
        Both spins together, ``(n_ao, n_ao)``.
    points, charges
        ``(mm, 3)`` bohr, ``(mm,)`` e.
    """
    from pyscf.dft.gen_grid import MakeAngularGrid

    mol = engine.mol
    atoms = mol.atom_coords()
    near = [
        site
        for site in np.flatnonzero(charges > 0)
        if ((atoms - points[site]) ** 2).sum(axis=1).min() < _NEAR**2
    ]
    free = np.asarray(engine.get_init_guess(mol, "minao"))
    excess = density - (free if free.ndim == 2 else free.sum(axis=0))
    nodes, heights = np.polynomial.legendre.leggauss(_SHELLS)
    shells = _SPHERE * (nodes + 1) / 2
    sphere = MakeAngularGrid(_ANGLES)
    offsets = (shells[:, None, None] * sphere[None, :, :3]).reshape(-1, 3)
    weights = np.outer(heights * _SPHERE / 2 * 4 * np.pi * shells**2, sphere[:, 3]).ravel()
    worst = Spillage(0.0, -1)
    for site in near:
        values = mol.eval_gto("GTOval", points[site] + offsets)
        found = float(weights @ np.einsum("gi,gi->g", values @ excess, values))
        if worst.site < 0 or found > worst.electrons:
            worst = Spillage(found, int(site))
    return worst


def check_spillage(found: Spillage, positions: Matrix, points: Matrix, charges: NDArray[np.float64]) -> None:
    """Refuse a density of which a charge took too much.

    Raises
    ------
    InputError
        Naming the charge, its place and the nearest QM atom.
    """
    if found.electrons < _REFUSED:
        return
    distance = np.linalg.norm(positions - points[found.site], axis=1)
    atom = int(distance.argmin())
    place = ", ".join(f"{x:.2f}" for x in points[found.site] / angstrom)
    raise InputError(
        f"{found.electrons:.2f} electrons spill onto the MM charge of {charges[found.site]:+.2f} e at "
        f"({place}) A, {distance[atom] / angstrom:.2f} A from atom {atom} of the QM region",
        remedy="smear the charges with Level(charge_radii=...), take that atom into the QM region, or use a "
        "basis without diffuse functions",
    )
