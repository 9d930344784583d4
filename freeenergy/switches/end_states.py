"""Two potentials of the same atoms in one System: E = (1 - lambda) E_0 + lambda E_1.

Forces that are the same on both sides stand in the System once, outside of the interpolation; the others are
variables of one CustomCVForce, which gives dU/dlambda. A step costs the shared forces once, and what differs
once per side, a whole force being the smallest piece: two torsion refits share their nonbonded force, two
sets of charges do not.
"""

import copy
import hashlib
from collections import Counter
from typing import Final

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from drupe.errors import InputError
from drupe.records import content_key

__all__ = ["LAMBDA", "MOVERS", "between", "check_same_atoms", "system_key"]

#: Global parameter that goes from 0 (first potential) to 1 (second); OpenMM-ML's name.
LAMBDA: Final = "lambda_interpolate"

#: What moves atoms or boxes without being an energy: it cannot be interpolated.
MOVERS: Final = (
    openmm.CMMotionRemover,
    openmm.AndersenThermostat,
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloMembraneBarostat,
    openmm.MonteCarloFlexibleBarostat,
)


def between(first: openmm.System, second: openmm.System, group: int = 7) -> openmm.System:
    """Interpolate linearly between two potentials of the same atoms, for `switching.switch`.

    Both may be of any kind: two force fields, or two mixed systems (``createMixedSystem``) of two learned
    potentials, whose MM part is then shared and whose networks are each called once a step. From MM to a
    learned potential ``createMixedSystem(..., interpolate=True)`` does better: it takes the nonbonded force
    apart, and all but the molecule's own energy is shared.

    Parameters
    ----------
    first, second
        The systems at lambda 0 and 1; neither is changed.
    group
        Force group of what differs, for itself.

    Returns
    -------
    openmm.System
        Its CustomCVForce has the parameter ``lambda_interpolate``, its derivative, and ``group`` for its own.

    Raises
    ------
    InputError
        If the systems are not of the same atoms, constraints and box, have other thermostats or barostats, or
        a shared force is in ``group``.
    """
    check_same_atoms(first, second)
    ours, theirs = ([(_print_of(force), force) for force in one.getForces()] for one in (first, second))
    shared = Counter(name for name, _ in ours) & Counter(name for name, _ in theirs)
    own = [_left_over(side, Counter(shared), number, group) for number, side in enumerate((ours, theirs))]
    made = copy.deepcopy(first)
    for index in reversed(own[0]):
        made.removeForce(index)
    ends = [[side[k][1] for k in found] for side, found in zip((ours, theirs), own, strict=True)]
    made.addForce(_interpolated(ends, group))
    return made


def system_key(system: openmm.System) -> str:
    """Content name of a System: particles, constraints, box and forces, whatever their order.

    A learned force counts with the name it was given, which is the content key of its potential and charges.
    """
    forces = sorted(_print_of(force) for force in system.getForces())
    box = _box(system) if system.usesPeriodicBoundaryConditions() else None
    fields = {"masses": _masses(system), "constraints": _constraints(system), "box": box, "forces": forces}
    return content_key("System", fields)


def _left_over(
    side: list[tuple[str, openmm.Force]], shared: Counter[str], number: int, group: int
) -> list[int]:
    """Indices of the forces of one side that the other one has not."""
    found = []
    for index, (name, force) in enumerate(side):
        if shared[name]:
            shared[name] -= 1
            if force.getForceGroup() == group:
                raise InputError(
                    f"{force.getName()}, which both potentials have, is in the force group {group}",
                    remedy="pass a group that none of the shared forces has",
                )
        elif isinstance(force, MOVERS):
            raise InputError(
                f"the {force.getName()} of the {_side(number)} potential is not in the other one",
                remedy="give both systems the same thermostat, barostat and removal of motion, or none",
            )
        else:
            found.append(index)
    return found


def _interpolated(ends: list[list[openmm.Force]], group: int) -> openmm.CustomCVForce:
    names = [[f"{end}{k}" for k in range(len(forces))] for end, forces in zip("ab", ends, strict=True)]
    first, second = (" + ".join(one) or "0" for one in names)
    made = openmm.CustomCVForce(f"(1 - {LAMBDA}) * ({first}) + {LAMBDA} * ({second})")
    for called, forces in zip(names, ends, strict=True):
        for name, force in zip(called, forces, strict=True):
            made.addCollectiveVariable(name, copy.deepcopy(force))
    made.addGlobalParameter(LAMBDA, 0.0)
    made.addEnergyParameterDerivative(LAMBDA)
    made.setForceGroup(group)
    made.setName("interpolation")
    return made


def _print_of(force: openmm.Force) -> str:
    """Fingerprint of what a force computes: its name and its group do not matter."""
    if isinstance(force, openmm.PythonForce):
        learned = force.getName().startswith("LearnedForce-")
        told = f"{force.usesPeriodicBoundaryConditions()} {sorted(dict(force.getGlobalParameters()).items())}"
        whole = [
            force.getName().encode() if learned else force.getPickledFunction(),
            np.array(force.getParticles(), np.int64).tobytes(),
            told.encode(),
        ]
    elif isinstance(force, openmm.CustomCVForce):
        inner = [
            f"{force.getCollectiveVariableName(k)} {_print_of(force.getCollectiveVariable(k))}"
            for k in range(force.getNumCollectiveVariables())
        ]
        parameters = [
            f"{force.getGlobalParameterName(k)} {force.getGlobalParameterDefaultValue(k)}"
            for k in range(force.getNumGlobalParameters())
        ]
        whole = [part.encode() for part in (force.getEnergyFunction(), *inner, *parameters)]
    else:
        same = copy.deepcopy(force)
        same.setName("")
        same.setForceGroup(0)
        if isinstance(same, openmm.NonbondedForce):
            same.setReciprocalSpaceForceGroup(-1)
        whole = [openmm.XmlSerializer.serialize(same).encode()]
    digest = hashlib.sha256()
    for part in whole:
        digest.update(len(part).to_bytes(8, "little") + part)
    return f"{type(force).__name__} {digest.hexdigest()}"


def check_same_atoms(first: openmm.System, second: openmm.System) -> None:
    """Refuse two systems between which there is no free energy difference.

    Raises
    ------
    InputError
        If particles, masses, virtual sites, constraints or boxes differ; which and where is said.
    """
    counts = first.getNumParticles(), second.getNumParticles()
    if counts[0] != counts[1]:
        raise InputError(
            f"the two potentials have {counts[0]} and {counts[1]} particles",
            remedy="build both systems from one topology, extra particles included",
        )
    masses = _masses(first), _masses(second)
    other = np.flatnonzero(np.abs(masses[0] - masses[1]) > 1e-6)
    if len(other):
        i = int(other[0])
        raise InputError(
            f"particle {i} weighs {masses[0][i]:g} and {masses[1][i]:g} amu ({len(other)} particles differ)",
            remedy="give both systems the same hydrogenMass",
        )
    sites = [_sites(one) for one in (first, second)]
    if sites[0] != sites[1]:
        raise InputError(
            "the virtual sites of the two potentials differ",
            remedy="build both systems with the same water model and the same link atoms",
        )
    bonds = [_constraints(one) for one in (first, second)]
    if bonds[0].shape != bonds[1].shape or np.abs(bonds[0] - bonds[1]).max(initial=0.0) > 1e-6:
        raise InputError(
            f"the two potentials have {len(bonds[0])} and {len(bonds[1])} constraints, not the same ones: "
            "the two ends live in different spaces",
            remedy="build both systems with constraints=None: a mixed system has none in its molecule",
        )
    periodic = [one.usesPeriodicBoundaryConditions() for one in (first, second)]
    if periodic[0] != periodic[1]:
        raise InputError(
            f"the {_side(periodic.index(True))} potential is periodic and the other one is not",
            remedy="use one nonbonded method for both",
        )
    apart = float(np.abs(_box(first) - _box(second)).max()) if periodic[0] else 0.0
    if apart > 1e-6:
        raise InputError(
            f"the boxes of the two potentials differ by {apart:.6f} nm",
            remedy="set the same default box vectors on both systems",
        )


def _side(number: int) -> str:
    return ("first", "second")[number]


def _masses(system: openmm.System) -> NDArray[np.float64]:
    count = system.getNumParticles()
    return np.array([system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(count)], np.float64)


def _constraints(system: openmm.System) -> NDArray[np.float64]:
    """Rows (i, j, length in nm) with i < j, sorted, shape ``(constraints, 3)``."""
    found = []
    for k in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(k)
        found.append((min(i, j), max(i, j), float(length.value_in_unit(unit.nanometer))))
    return np.array(sorted(found), np.float64).reshape(-1, 3)


def _sites(system: openmm.System) -> list[str]:
    """Virtual sites as XML has them; particles without one say nothing."""
    if not any(system.isVirtualSite(i) for i in range(system.getNumParticles())):
        return []
    bare = copy.deepcopy(system)
    while bare.getNumForces():
        bare.removeForce(0)
    return [line.strip() for line in openmm.XmlSerializer.serialize(bare).splitlines() if "Site" in line]


def _box(system: openmm.System) -> NDArray[np.float64]:
    vectors = system.getDefaultPeriodicBoxVectors()
    return np.array([list(v.value_in_unit(unit.nanometer)) for v in vectors], np.float64)
