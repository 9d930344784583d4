"""Decoupling a ligand: a structure and a state in, an OpenMM system out that can evaluate every state (kT).

lambda = 1 is "there", 0 is "not there": charges of the ligand are annihilated with
lambda_electrostatics (implicit solvent included), its Lennard-Jones coupling to the rest is switched off
with lambda_sterics through a soft core (alpha 0.5), lambda_restraint = 1 is the full restraint.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray

from drupe.embedding.structures.structure import Structure, openmm_system
from drupe.errors import InputError
from drupe.freeenergy.dynamics import potential_kt
from drupe.freeenergy.restraints import BoreschRestraint, restraint_force
from drupe.freeenergy.solvation import GhostSolvent, mixed_solvent, take_solvent, without_ligand
from drupe.units import kj_per_mol, kt, nanometer

__all__ = ["AlchemicalSystem", "alchemical_system", "reduced_potentials"]

# Force groups of an alchemical system. The two solvent forces are outside the dynamics unless their
# factor is 1; the mixture takes their place in between.
_FIXED, _STERICS, _ELECTROSTATICS, _RESTRAINT, _FULL, _ABSENT, _MIXED = range(7)


@dataclass(frozen=True, eq=False)
class AlchemicalSystem:
    """OpenMM system of one window with all that is needed to evaluate every window.

    Fields: ``system``; ``dynamic_groups`` the force groups that move the atoms; ``solvent`` whether
    there is any, ``ghost`` its force without the ligand; ``state`` the parameters of the window.
    """

    system: openmm.System
    dynamic_groups: frozenset[int]
    solvent: bool
    ghost: GhostSolvent | None
    state: Mapping[str, float]

    @property
    def parameters(self) -> dict[str, float]:
        """The parameters of ``state`` that some force of the system knows."""
        known = set(itertools.chain(*(_globals(force) for force in self.system.getForces())))
        return {name: value for name, value in self.state.items() if name in known}


def alchemical_system(
    structure: Structure,
    ligand: ArrayLike,
    state: Mapping[str, float],
    restraint: BoreschRestraint | None = None,
) -> AlchemicalSystem:
    """Build the system of one alchemical state.

    The nonbonded part is that of openmmtools' AbsoluteAlchemicalFactory, made without the implicit
    solvent; the solvent is a linear mixture of native forces (`solvation`).

    Parameters
    ----------
    structure
        Complex, or the ligand alone.
    ligand
        Indices of the ligand's atoms.
    state
        ``lambda_restraint``, ``lambda_electrostatics``, ``lambda_sterics``.
    restraint
        Needed where lambda_restraint is not 0.

    Raises
    ------
    InputError
        If the restraint is missing, or the force field is of a kind that cannot be treated.
    """
    from openmmtools.alchemy import AbsoluteAlchemicalFactory, AlchemicalRegion

    members = np.asarray(ligand, np.int64)
    if restraint is None and state["lambda_restraint"] != 0:
        raise InputError("a window has lambda_restraint > 0, but there is no restraint", remedy="pass one")
    bare = openmm_system(structure)
    full = take_solvent(bare)
    for n in reversed(range(bare.getNumForces())):
        if isinstance(bare.getForce(n), openmm.CMMotionRemover):
            bare.removeForce(n)
    factory = AbsoluteAlchemicalFactory(
        consistent_exceptions=False, disable_alchemical_dispersion_correction=True
    )
    region = AlchemicalRegion(
        alchemical_atoms=[int(i) for i in members],
        annihilate_electrostatics=True,
        annihilate_sterics=False,
        softcore_alpha=0.5,
        softcore_a=1,
        softcore_b=1,
        softcore_c=6,
    )
    system = factory.create_alchemical_system(bare, region)
    for force in system.getForces():
        force.setForceGroup(_group_of(force))
    if restraint is not None:
        _add(system, restraint_force(restraint), _RESTRAINT)
    dynamic = {_FIXED, _STERICS, _ELECTROSTATICS, _RESTRAINT}
    ghost = None
    if full is not None:
        if len(members) < structure.system.n_atoms:
            ghost = without_ligand(full, members.tolist(), structure.system.positions / nanometer)
            _add(system, ghost.force, _ABSENT)
        _add(system, full, _FULL)
        strength = state["lambda_electrostatics"]
        if strength not in (0.0, 1.0):
            _add(system, mixed_solvent(full, ghost), _MIXED)
        dynamic.add({0.0: _ABSENT, 1.0: _FULL}.get(strength, _MIXED))
    return AlchemicalSystem(system, frozenset(dynamic), full is not None, ghost, dict(state))


def reduced_potentials(
    context: openmm.Context,
    window: AlchemicalSystem,
    states: Sequence[Mapping[str, float]],
    temperature_k: float,
) -> NDArray[np.float64]:
    """Reduced potential of the context's geometry in every one of ``states``.

    Everything but the sterics is linear in its lambda, so each expensive part is evaluated once.

    Parameters
    ----------
    context
        Context of ``window.system``; its parameters are as before afterwards.
    window
        What the context was made of.
    states
        As for `alchemical_system`.
    temperature_k
        Kelvin.

    Returns
    -------
    NDArray
        Shape ``(states,)``, kT.
    """

    def energy(group: int) -> float:
        return potential_kt(context, temperature_k, frozenset({group}))

    here = dict(window.state)
    row = {name: np.array([state[name] for state in states]) for name in here}
    charges, sterics = row["lambda_electrostatics"], row["lambda_sterics"]
    total = np.full(len(states), energy(_FIXED))
    for group, name in ((_ELECTROSTATICS, "lambda_electrostatics"), (_RESTRAINT, "lambda_restraint")):
        if name in _present(window.system, group):
            context.setParameter(name, 1.0)
            total += row[name] * energy(group)
            context.setParameter(name, here[name])
    for value in np.unique(sterics):
        context.setParameter("lambda_sterics", float(value))
        total[sterics == value] += energy(_STERICS)
    context.setParameter("lambda_sterics", here["lambda_sterics"])
    if window.solvent:
        total += charges * energy(_FULL)
    if window.ghost is not None:
        constant = window.ghost.constant * kj_per_mol / kt(temperature_k)
        total += (1.0 - charges) * (energy(_ABSENT) - constant)
    return total


def _group_of(force: openmm.Force) -> int:
    names = _globals(force)
    for name, group in (("lambda_sterics", _STERICS), ("lambda_electrostatics", _ELECTROSTATICS)):
        if name in names:
            return group
    return _FIXED


def _globals(force: openmm.Force) -> set[str]:
    if not hasattr(force, "getNumGlobalParameters"):
        return set()
    return {force.getGlobalParameterName(n) for n in range(force.getNumGlobalParameters())}


def _present(system: openmm.System, group: int) -> set[str]:
    return set(itertools.chain(*(_globals(f) for f in system.getForces() if f.getForceGroup() == group)))


def _add(system: openmm.System, force: openmm.Force, group: int) -> None:
    force.setForceGroup(group)
    system.addForce(force)
