"""Decoupling a ligand: a structure and a state in, an OpenMM system out that can evaluate every state (kT).

lambda = 1 is "there", 0 is "not there": charges of the ligand are annihilated with
lambda_electrostatics (implicit solvent included), its Lennard-Jones coupling to the rest is switched off
with lambda_sterics through a soft core (alpha 0.5), lambda_restraint = 1 is the full restraint.

In a periodic box the charges follow lambda_electrostatics in the whole lattice sum, reciprocal part
included, so that the energy is quadratic in it (exceptions inside the ligand follow linearly); the
long-range dispersion correction follows lambda_sterics; water is rigid.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray

from drupe.embedding.structures.structure import Structure, openmm_system
from drupe.errors import InputError
from drupe.freeenergy.alchemical.counter_ion import CounterIons, add_counter_ions
from drupe.freeenergy.alchemical.restraints import BoreschRestraint, restraint_force
from drupe.freeenergy.alchemical.solvation import GhostSolvent, mixed_solvent, take_solvent, without_ligand
from drupe.freeenergy.simulation.dynamics import potential_kt, pressure_work_kt
from drupe.freeenergy.simulation.periodic import in_water_box, is_periodic
from drupe.units import kj_per_mol, kt, nanometer

__all__ = ["AlchemicalSystem", "alchemical_system", "reduced_potentials"]

# Force groups of an alchemical system. The two solvent forces are outside the dynamics unless their
# factor is 1; the mixture takes their place in between.
_FIXED, _STERICS, _ELECTROSTATICS, _RESTRAINT, _FULL, _ABSENT, _MIXED = range(7)


@dataclass(frozen=True, eq=False)
class AlchemicalSystem:
    """OpenMM system of one window with all that is needed to evaluate every window.

    Fields: ``system``; ``dynamic_groups`` the force groups that move the atoms; ``solvent`` whether
    there is any implicit one, ``ghost`` its force without the ligand; ``state`` the parameters of the window;
    ``periodic`` whether it is in a box under PME.
    """

    system: openmm.System
    dynamic_groups: frozenset[int]
    solvent: bool
    ghost: GhostSolvent | None
    state: Mapping[str, float]
    periodic: bool = False

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
    counter_ions: CounterIons | None = None,
) -> AlchemicalSystem:
    """Build the system of one alchemical state.

    The nonbonded part is that of openmmtools' AbsoluteAlchemicalFactory, made without the implicit
    solvent; the solvent is a linear mixture of native forces (`solvation`). In a box it treats PME
    exactly, by offsets of the charges.

    Parameters
    ----------
    structure
        Complex, or the ligand alone; without cutoff, or in a box under PME.
    ligand
        Indices of the ligand's atoms.
    state
        ``lambda_restraint``, ``lambda_electrostatics``, ``lambda_sterics``.
    restraint
        Needed where lambda_restraint is not 0.
    counter_ions
        What keeps the charge of the box when the ligand loses its own; only in a box.

    Raises
    ------
    InputError
        If the restraint is missing, the box is missing or too small, the counter-ions do not fit, or the
        force field is of a kind that cannot be treated.
    """
    from openmmtools.alchemy import AbsoluteAlchemicalFactory, AlchemicalRegion

    members = np.asarray(ligand, np.int64)
    if restraint is None and state["lambda_restraint"] != 0:
        raise InputError("a window has lambda_restraint > 0, but there is no restraint", remedy="pass one")
    periodic = is_periodic(structure)
    if counter_ions is not None and not periodic:
        raise InputError(
            "counter-ions were given, but the system is not in a periodic box",
            remedy="leave them out: without a box a net charge has no images",
        )
    bare = in_water_box(structure, members) if periodic else openmm_system(structure)
    full = take_solvent(bare)
    for n in reversed(range(bare.getNumForces())):
        if isinstance(bare.getForce(n), openmm.CMMotionRemover):
            bare.removeForce(n)
    factory = AbsoluteAlchemicalFactory(
        consistent_exceptions=False,
        alchemical_pme_treatment="exact",
        disable_alchemical_dispersion_correction=not periodic,
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
    kept_away = None
    if counter_ions is not None:
        change = float(structure.system.charges[members].sum())
        kept_away = add_counter_ions(system, counter_ions, change)
    for force in system.getForces():
        force.setForceGroup(_group_of(force))
    if kept_away is not None:
        _add(system, kept_away, _FIXED)
    if restraint is not None:
        _add(system, restraint_force(restraint, periodic=periodic), _RESTRAINT)
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
    return AlchemicalSystem(system, frozenset(dynamic), full is not None, ghost, dict(state), periodic)


def reduced_potentials(
    context: openmm.Context,
    window: AlchemicalSystem,
    states: Sequence[Mapping[str, float]],
    temperature_k: float,
    pressure_bar: float | None = None,
) -> NDArray[np.float64]:
    """Reduced potential of the context's geometry in every one of ``states``.

    The restraint is linear in its lambda, and so are, without a box, the charges: these are evaluated
    once. Sterics, and charges in a lattice sum, are evaluated at every value.

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
    pressure_bar
        With one, the work of the volume belongs to each reduced potential.

    Returns
    -------
    NDArray
        Shape ``(states,)``, kT.
    """

    def energy(group: int) -> float:
        return potential_kt(context, temperature_k, frozenset({group}))

    here = dict(window.state)
    row = {name: np.array([state[name] for state in states]) for name in here}
    charges = row["lambda_electrostatics"]
    total = np.full(len(states), energy(_FIXED))
    linear = [(_RESTRAINT, "lambda_restraint")]
    at_every_value = [(_STERICS, "lambda_sterics")]
    (at_every_value if window.periodic else linear).insert(0, (_ELECTROSTATICS, "lambda_electrostatics"))
    for group, name in linear:
        if name in _present(window.system, group):
            context.setParameter(name, 1.0)
            total += row[name] * energy(group)
            context.setParameter(name, here[name])
    for group, name in at_every_value:
        for value in np.unique(row[name]):
            context.setParameter(name, float(value))
            total[row[name] == value] += energy(group)
        context.setParameter(name, here[name])
    if pressure_bar is not None:
        total += pressure_work_kt(context, pressure_bar, temperature_k)
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
