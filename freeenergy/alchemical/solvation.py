"""Implicit solvent along an alchemical path: two native OBC forces mixed linearly in lambda_electrostatics.

E(lambda) = lambda E_full + (1 - lambda) E_absent, where E_absent is the solvation of everything but
the ligand. Energies in kJ/mol, lengths in nm (OpenMM's units).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from drupe.errors import InputError

__all__ = ["GhostSolvent", "mixed_solvent", "take_solvent", "without_ligand"]

_probe_nm = 0.14
_offset_nm = 0.009
_margin_nm = 1.5
#: OpenMM wants a positive scale; this one makes the descreening radius zero in single precision.
_no_scale = 1e-12


@dataclass(frozen=True)
class GhostSolvent:
    """Solvation without the ligand.

    Fields: ``force`` an OBC force on all particles in which the ligand is inert; ``constant`` the
    energy (kJ/mol) that the inert ligand leaves in it, at any geometry, to be subtracted.
    """

    force: openmm.GBSAOBCForce
    constant: float


def without_ligand(
    full: openmm.GBSAOBCForce, ligand: Iterable[int], positions_nm: NDArray[np.float64]
) -> GhostSolvent:
    """OBC force in which the ligand neither screens, nor is screened, nor is charged.

    No charge and no descreening radius hide the ligand from the others. Its own surface-area term
    would still follow the surroundings through its Born radii; with a sphere that holds the
    whole system nothing descreens it, so the term is a constant, and its force exactly zero.

    Parameters
    ----------
    full
        OBC force of the interacting system.
    ligand
        Particles to make inert.
    positions_nm
        Any geometry of the system, shape ``(particles, 3)``: it sets the size of that sphere.
    """
    inert = sorted(ligand)
    reach = np.linalg.norm(positions_nm[:, None, :] - positions_nm[None, inert, :], axis=-1).max()
    radius = float(reach) + _margin_nm
    ghost = openmm.XmlSerializer.clone(full)
    for particle in inert:
        ghost.setParticleParameters(particle, 0.0, radius, _no_scale)
    gamma = full.getSurfaceAreaEnergy().value_in_unit(unit.kilojoule_per_mole / unit.nanometer**2)
    # E_SA = 4 pi gamma (r + probe)^2 (r / B)^6 with the bare Born radius B = r - offset.
    one = 4.0 * math.pi * gamma * (radius + _probe_nm) ** 2 * (radius / (radius - _offset_nm)) ** 6
    return GhostSolvent(ghost, one * len(inert))


def mixed_solvent(
    full: openmm.GBSAOBCForce, ghost: GhostSolvent | None, parameter: str = "lambda_electrostatics"
) -> openmm.CustomCVForce:
    """One force lambda E_full + (1 - lambda) E_absent; without a ghost, lambda E_full."""
    absent = "" if ghost is None else f"+(1-{parameter})*(absent-constant)"
    force = openmm.CustomCVForce(f"{parameter}*full{absent}")
    force.addGlobalParameter(parameter, 1.0)
    force.addCollectiveVariable("full", openmm.XmlSerializer.clone(full))
    if ghost is not None:
        force.addCollectiveVariable("absent", openmm.XmlSerializer.clone(ghost.force))
        force.addGlobalParameter("constant", ghost.constant)
    force.setName("MixedSolvent")
    return force


def take_solvent(system: openmm.System) -> openmm.GBSAOBCForce | None:
    """Remove the OBC force from ``system`` and return it, or None where there is none.

    Raises
    ------
    InputError
        If the solvent model is of another kind, has a cutoff, or is there twice.
    """
    found = [n for n, force in enumerate(system.getForces()) if isinstance(force, openmm.GBSAOBCForce)]
    kinds = (openmm.CustomGBForce, openmm.AmoebaGeneralizedKirkwoodForce)
    other = [type(force).__name__ for force in system.getForces() if isinstance(force, kinds)]
    if other or len(found) > 1:
        raise InputError(
            f"the implicit solvent is given by {', '.join(other) or f'{len(found)} OBC forces'}",
            remedy='use implicit_solvent="OBC2", once',
        )
    if not found:
        return None
    force = openmm.XmlSerializer.clone(system.getForce(found[0]))
    if force.getNonbondedMethod() != openmm.GBSAOBCForce.NoCutoff:
        raise InputError("the OBC force has a cutoff", remedy="build the system without cutoff")
    system.removeForce(found[0])
    return force
