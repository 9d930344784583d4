"""The cavity of a ligand in water as a sphere: a structure and its atoms in, radii in bohr out.

The van der Waals volume is that of the union of the atoms' Lennard-Jones spheres, each out to the minimum
of the potential between two of its kind.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.embedding.structures.structure import Structure, openmm_system
from drupe.errors import InputError
from drupe.units import nanometer

__all__ = ["equal_sphere", "lennard_jones_radii"]

#: Half the distance of the minimum, 2^(1/6) / 2 of sigma, with the digits of OpenMM's Modeller.
_part_of_sigma: Final = 0.5612
#: Points on the sphere of each atom: the volume of a molecule is then good to 0.1 %.
_points: Final = 2000


def lennard_jones_radii(structure: Structure, atoms: ArrayLike) -> NDArray[np.float64]:
    """Radius of each of ``atoms``, bohr; none where it has no Lennard-Jones sphere."""
    import openmm

    system = openmm_system(structure)  # has to outlive its forces
    (pairs,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    rows = [pairs.getParticleParameters(i) for i in np.asarray(atoms, np.int64).tolist()]
    held = [sigma._value if epsilon._value else 0.0 for _, sigma, epsilon in rows]
    return _part_of_sigma * nanometer * np.array(held)


def equal_sphere(positions: ArrayLike, radii: ArrayLike) -> float:
    """Radius of the sphere that has the volume of a union of spheres, in the unit of the input.

    By the divergence theorem, from points spread evenly over the part of each sphere that lies in no other.

    Parameters
    ----------
    positions
        Centres, shape ``(atoms, 3)``, the molecule in one piece.
    radii
        Shape ``(atoms,)``, 0 or more.

    Raises
    ------
    InputError
        If the shapes differ or a radius is negative.
    """
    centres, sizes = np.asarray(positions, np.float64), np.asarray(radii, np.float64)
    if centres.shape != (len(sizes), 3) or not (sizes >= 0).all():
        raise InputError(
            f"{len(sizes)} radii, the smallest {sizes.min(initial=0.0):g}, come with centres {centres.shape}",
            remedy="give one radius of 0 or more for each centre",
        )
    centres, sizes = centres[sizes > 0], sizes[sizes > 0]
    normals = _even_directions(_points)
    middle = centres.mean(axis=0) if len(centres) else np.zeros(3)
    volume = 0.0
    for k, (centre, size) in enumerate(zip(centres, sizes, strict=True)):
        others = np.arange(len(sizes)) != k
        points = centre + size * normals
        apart = np.linalg.norm(points[:, None] - centres[None, others], axis=2)
        outside = (apart >= sizes[others]).all(axis=1)
        flux = ((points - middle) * normals).sum(axis=1)
        volume += 4 * math.pi * size**2 / _points * float(flux[outside].sum()) / 3
    return float((3 * volume / (4 * math.pi)) ** (1 / 3))


def _even_directions(count: int) -> NDArray[np.float64]:
    """Unit vectors along a golden spiral, shape ``(count, 3)``."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn = math.pi * (1 + math.sqrt(5)) * np.arange(count)
    wide = np.sqrt(1 - height**2)
    return np.stack([wide * np.cos(turn), wide * np.sin(turn), height], axis=1)
