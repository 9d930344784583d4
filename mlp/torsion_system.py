"""Door to OpenMM for a torsion refit: a System and a molecule in it in, a copy with other torsions out."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drupe.mlp.baseline import LigandForceField
from drupe.mlp.torsion_refit import TorsionRefit
from drupe.units import kj_per_mol

if TYPE_CHECKING:
    import openmm

__all__ = ["refitted_system"]


def refitted_system(
    system: "openmm.System",
    atoms: Sequence[int] | NDArray[np.int64],
    numbers: NDArray[np.int64],
    refit: TorsionRefit,
) -> "openmm.System":
    """Put a refit into an MM system.

    The change of each constant stands beside the force field's own term, as a torsion of phase 0 with a
    height of either sign: the energy is that of the system plus ``refit.predict``, constants included.

    Parameters
    ----------
    system
        The MM system; it is not changed.
    atoms
        Indices of the molecule, in the order of the labels.
    numbers
        Their atomic numbers.
    refit
        What to put in.

    Returns
    -------
    openmm.System
        An ordinary System, of which only the PeriodicTorsionForce differs.

    Raises
    ------
    InputError
        As `LigandForceField.from_system` and `TorsionRefit.torsions` do.
    """
    import openmm

    terms = LigandForceField.from_system(system, atoms)
    torsions = refit.torsions(np.asarray(numbers), terms.bond_atoms)
    made = copy.deepcopy(system)
    forces = [force for force in made.getForces() if isinstance(force, openmm.PeriodicTorsionForce)]
    if forces:
        force = forces[0]
    else:
        force = openmm.PeriodicTorsionForce()
        force.setUsesPeriodicBoundaryConditions(system.usesPeriodicBoundaryConditions())
        made.addForce(force)
    place = [int(atom) for atom in atoms]
    for four, kind in zip(torsions.atoms.tolist(), torsions.kinds, strict=True):
        for n, height in enumerate(refit.change[refit.kinds.index(kind)], start=1):
            force.addTorsion(*(place[a] for a in four), n, 0.0, float(height) / kj_per_mol)
    return made
