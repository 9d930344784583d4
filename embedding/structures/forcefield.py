"""Cutting an OpenMM System: a System and atom indices in, the System of those atoms out (OpenMM units).

Also the rule which bonded terms stay classical where a QM region cuts bonds.
"""

from collections.abc import Callable, Collection, Sequence

import numpy as np
import openmm
from numpy.typing import NDArray

from drupe.errors import InputError

__all__ = ["cut_forces", "stays_classical"]

_Map = dict[int, int]


def cut_forces(forces: openmm.System, atoms: NDArray[np.int64]) -> openmm.System:
    """Copy the terms that live wholly among ``atoms`` into a System of its own.

    Parameters
    ----------
    forces
        System to cut; it is not changed.
    atoms
        Indices to keep, shape ``(kept,)``; their order is the order of the new particles.

    Raises
    ------
    InputError
        If there is a virtual site among the atoms, or a kind of force with no rule here.
    """
    place = {int(old): new for new, old in enumerate(atoms)}
    out = openmm.System()
    for old in place:
        if forces.isVirtualSite(old):
            raise InputError(
                f"particle {old} is a virtual site", remedy="cut out molecules without virtual sites"
            )
        out.addParticle(forces.getParticleMass(old))
    for index in range(forces.getNumConstraints()):
        i, j, distance = forces.getConstraintParameters(index)
        if i in place and j in place:
            out.addConstraint(place[i], place[j], distance)
    for force in forces.getForces():
        kind = type(force).__name__
        if kind not in _RULES:
            raise InputError(
                f"the force field holds a {kind}, and there is no rule to cut one",
                remedy=f"cut before adding it; kinds with a rule: {', '.join(sorted(_RULES))}",
            )
        piece = _RULES[kind](force, place)
        piece.setName(force.getName())
        piece.setForceGroup(force.getForceGroup())
        out.addForce(piece)
    return out


def stays_classical(atoms: Sequence[int], qm: Collection[int]) -> bool:
    """Whether a bond, angle or torsion stays in the force field beside a QM region.

    Terms among MM atoms stay, terms among QM atoms go. Of those that cross a cut bond Q-M stay: the bond
    itself, angles centred on an MM atom, and torsions whose central bond is not between two QM atoms;
    the link atom carries the others (the rule of OpenMM-ML).

    Parameters
    ----------
    atoms
        The two, three or four atoms of the term, in the order of the chain.
    qm
        Indices of the QM atoms.

    Raises
    ------
    InputError
        If the term has another number of atoms.
    """
    inside = [atom in qm for atom in atoms]
    if not 2 <= len(inside) <= 4:
        raise InputError(
            f"a bonded term of {len(inside)} atoms", remedy="the rule knows bonds, angles and torsions"
        )
    if all(inside):
        return False
    # Without its ends a chain is what the rule asks about: the centre of an angle, the middle of a torsion.
    centre = inside[1:-1]
    return not centre or not all(centre)


def _bonds(force: openmm.HarmonicBondForce, place: _Map) -> openmm.Force:
    out = openmm.HarmonicBondForce()
    for index in range(force.getNumBonds()):
        i, j, *values = force.getBondParameters(index)
        if i in place and j in place:
            out.addBond(place[i], place[j], *values)
    return out


def _angles(force: openmm.HarmonicAngleForce, place: _Map) -> openmm.Force:
    out = openmm.HarmonicAngleForce()
    for index in range(force.getNumAngles()):
        i, j, k, *values = force.getAngleParameters(index)
        if all(atom in place for atom in (i, j, k)):
            out.addAngle(place[i], place[j], place[k], *values)
    return out


def _torsions(force: openmm.PeriodicTorsionForce, place: _Map) -> openmm.Force:
    out = openmm.PeriodicTorsionForce()
    for index in range(force.getNumTorsions()):
        *four, periodicity, phase, k = force.getTorsionParameters(index)
        if all(atom in place for atom in four):
            out.addTorsion(*(place[atom] for atom in four), periodicity, phase, k)
    return out


def _nonbonded(force: openmm.NonbondedForce, place: _Map) -> openmm.Force:
    if (
        force.getNonbondedMethod() != openmm.NonbondedForce.NoCutoff
        or force.getNumParticleParameterOffsets()
        or force.getNumExceptionParameterOffsets()
    ):
        raise InputError(
            "the NonbondedForce has a cutoff, a lattice sum or parameter offsets",
            remedy="cut the unmodified force field without cutoff",
        )
    out = openmm.NonbondedForce()
    out.setNonbondedMethod(openmm.NonbondedForce.NoCutoff)
    for atom in place:
        out.addParticle(*force.getParticleParameters(atom))
    for index in range(force.getNumExceptions()):
        i, j, *values = force.getExceptionParameters(index)
        if i in place and j in place:
            out.addException(place[i], place[j], *values)
    return out


def _born(force: openmm.GBSAOBCForce, place: _Map) -> openmm.Force:
    if force.getNonbondedMethod() != openmm.GBSAOBCForce.NoCutoff:
        raise InputError("the GBSAOBCForce has a cutoff", remedy="cut the force field without cutoff")
    out = openmm.GBSAOBCForce()
    out.setNonbondedMethod(openmm.GBSAOBCForce.NoCutoff)
    out.setSoluteDielectric(force.getSoluteDielectric())
    out.setSolventDielectric(force.getSolventDielectric())
    out.setSurfaceAreaEnergy(force.getSurfaceAreaEnergy())
    for atom in place:
        out.addParticle(*force.getParticleParameters(atom))
    return out


def _centre(force: openmm.CMMotionRemover, _place: _Map) -> openmm.Force:
    return openmm.CMMotionRemover(force.getFrequency())


_RULES: dict[str, Callable[[openmm.Force, _Map], openmm.Force]] = {
    "CMMotionRemover": _centre,
    "GBSAOBCForce": _born,
    "HarmonicAngleForce": _angles,
    "HarmonicBondForce": _bonds,
    "NonbondedForce": _nonbonded,
    "PeriodicTorsionForce": _torsions,
}
