"""Joining OpenMM systems: several in, one of all their particles out, without bonds between them."""

from collections.abc import Callable, Sequence

import openmm

from drupe.errors import InputError

__all__ = ["joined"]


def joined(parts: Sequence[openmm.System]) -> openmm.System:
    """Put systems side by side: particles, constraints and bonded terms of each, and one NonbondedForce.

    Parameters
    ----------
    parts
        Systems without box or virtual sites; one given many times is copied many times.

    Raises
    ------
    InputError
        If one holds a kind of force that has no rule here.
    """
    out = openmm.System()
    into = {
        "HarmonicBondForce": openmm.HarmonicBondForce(),
        "HarmonicAngleForce": openmm.HarmonicAngleForce(),
        "PeriodicTorsionForce": openmm.PeriodicTorsionForce(),
        "NonbondedForce": openmm.NonbondedForce(),
    }
    for part in parts:
        first = out.getNumParticles()
        for i in range(part.getNumParticles()):
            out.addParticle(part.getParticleMass(i))
        for n in range(part.getNumConstraints()):
            i, j, length = part.getConstraintParameters(n)
            out.addConstraint(first + i, first + j, length)
        for force in part.getForces():
            kind = type(force).__name__
            if kind == "CMMotionRemover":
                continue
            if kind not in _RULES:
                raise InputError(
                    f"the ligand's force field holds a {kind}, and there is no rule to put one beside water",
                    remedy=f"kinds with a rule: {', '.join(sorted(_RULES))}; or build the box elsewhere",
                )
            _RULES[kind](force, into[kind], first)
    for force in into.values():
        out.addForce(force)
    return out


def _bonds(force: openmm.HarmonicBondForce, into: openmm.HarmonicBondForce, first: int) -> None:
    for n in range(force.getNumBonds()):
        i, j, *values = force.getBondParameters(n)
        into.addBond(first + i, first + j, *values)


def _angles(force: openmm.HarmonicAngleForce, into: openmm.HarmonicAngleForce, first: int) -> None:
    for n in range(force.getNumAngles()):
        i, j, k, *values = force.getAngleParameters(n)
        into.addAngle(first + i, first + j, first + k, *values)


def _torsions(force: openmm.PeriodicTorsionForce, into: openmm.PeriodicTorsionForce, first: int) -> None:
    for n in range(force.getNumTorsions()):
        *four, periodicity, phase, k = force.getTorsionParameters(n)
        into.addTorsion(*(first + i for i in four), periodicity, phase, k)


def _pairs(force: openmm.NonbondedForce, into: openmm.NonbondedForce, first: int) -> None:
    for i in range(force.getNumParticles()):
        into.addParticle(*force.getParticleParameters(i))
    for n in range(force.getNumExceptions()):
        i, j, *values = force.getExceptionParameters(n)
        into.addException(first + i, first + j, *values)


_RULES: dict[str, Callable[[openmm.Force, openmm.Force, int], None]] = {
    "HarmonicAngleForce": _angles,
    "HarmonicBondForce": _bonds,
    "NonbondedForce": _pairs,
    "PeriodicTorsionForce": _torsions,
}
