"""A structure in a periodic box on its way into alchemy: checked, whole, with rigid water (bohr)."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.embedding.regions.periodic import heights, make_whole
from drupe.embedding.structures.openmm_objects import check_box
from drupe.embedding.structures.structure import Structure, openmm_system
from drupe.errors import InputError
from drupe.freeenergy.simulation.rigid_water import with_rigid_water
from drupe.units import angstrom, nanometer

if TYPE_CHECKING:
    import openmm

__all__ = ["in_water_box", "is_periodic", "nearest_chain", "shortest_vectors", "whole_start"]


def is_periodic(structure: Structure) -> bool:
    """Whether the force field of ``structure`` is that of a periodic box."""
    return bool(openmm_system(structure).usesPeriodicBoundaryConditions())


def in_water_box(structure: Structure, ligand: ArrayLike) -> "openmm.System":
    """System of a periodic structure as dynamics and alchemy need it.

    Water is rigid, barostats and removers of the centre's motion are gone, the box is the structure's.

    Parameters
    ----------
    structure
        Structure under PME.
    ligand
        Indices of the ligand's atoms, shape ``(ligand,)``.

    Raises
    ------
    InputError
        If there is no box, it is too small for the cutoff or for the ligand, or the nonbonded
        interactions are not those of one NonbondedForce with PME.
    """
    import openmm

    box = structure.system.box
    system = openmm_system(structure)
    if box is None:
        raise InputError(
            "the force field is periodic, but the structure has no box",
            remedy="read it with the coordinates that hold the box, or without cutoff",
        )
    found = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    if len(found) != 1 or found[0].getNonbondedMethod() != openmm.NonbondedForce.PME:
        raise InputError(
            "the nonbonded interactions in the box are not those of one NonbondedForce with PME",
            remedy="build the system with nonbondedMethod=PME: reaction fields and LJPME have other "
            "free energies of charging, and no correction here",
        )
    # A reciprocal part in a force group of its own would be left out of the dynamics.
    found[0].setReciprocalSpaceForceGroup(-1)
    cutoff_nm = float(found[0].getCutoffDistance()._value)
    check_box(box, cutoff_nm)
    _refuse_wide_ligand(structure, np.asarray(ligand, np.int64), cutoff_nm)
    outside = (
        openmm.CMMotionRemover,
        openmm.MonteCarloBarostat,
        openmm.MonteCarloAnisotropicBarostat,
        openmm.MonteCarloMembraneBarostat,
        openmm.MonteCarloFlexibleBarostat,
    )
    for n in reversed(range(system.getNumForces())):
        if isinstance(system.getForce(n), outside):
            system.removeForce(n)
    system.setDefaultPeriodicBoxVectors(*(box / nanometer))
    return with_rigid_water(system, structure.system)


def whole_start(structure: Structure, positions: ArrayLike, box: ArrayLike | None) -> NDArray[np.float64]:
    """Positions with every molecule in one piece, shape ``(atoms, 3)``, bohr: bonds see no images.

    Parameters
    ----------
    structure
        Structure with a box and bonds.
    positions
        Shape ``(atoms, 3)``, bohr, in any image.
    box
        Box of these positions, rows in bohr; None takes that of the structure.
    """
    here = structure.system.with_positions(np.asarray(positions, np.float64))
    if box is not None:
        here = here.with_box(box)
    assert here.box is not None
    return np.asarray(here.positions + make_whole(here)[1] @ here.box)


def shortest_vectors(vectors: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nearest image of each vector in a reduced box, shapes ``(..., 3)`` and ``(..., 3, 3)``, any one unit.

    Exact for vectors that are then shorter than half the distance between opposite faces.
    """
    found = np.array(vectors, np.float64)
    rows = np.asarray(box, np.float64)
    for k in (2, 1, 0):  # the box is lower triangular: c before b before a
        turns = np.rint(found[..., k] / rows[..., k, k])
        found -= turns[..., None] * rows[..., k, :]
    return found


def nearest_chain(points: ArrayLike, box: ArrayLike) -> NDArray[np.float64]:
    """Points in a row, each at the image nearest to the one before; shapes ``(..., n, 3)`` and ``(3, 3)``."""
    place = np.asarray(points, np.float64)
    steps = shortest_vectors(np.diff(place, axis=-2), np.asarray(box, np.float64))
    first = place[..., :1, :]
    return np.concatenate([first, first + np.cumsum(steps, axis=-2)], axis=-2)


def _refuse_wide_ligand(structure: Structure, ligand: NDArray[np.int64], cutoff_nm: float) -> None:
    """A decoupled ligand must not meet its own image: its Lennard-Jones terms have one image and a cutoff."""
    system = structure.system
    assert system.box is not None
    place = whole_start(structure, system.positions, None)[ligand]
    extent = float(np.ptp(place @ np.linalg.inv(system.box), axis=0).max() * heights(system.box).max())
    room = float(heights(system.box).min())
    if extent + cutoff_nm * nanometer > room:
        raise InputError(
            f"the ligand is {extent / angstrom:.1f} A long and the cutoff {10 * cutoff_nm:.1f} A, but "
            f"opposite faces of the box are only {room / angstrom:.1f} A apart: it would meet its own image",
            remedy="use a larger box",
        )
