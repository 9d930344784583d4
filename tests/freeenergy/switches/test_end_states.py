"""Two potentials of the same atoms in one System: what is shared, what is mixed, and what is refused."""

import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import unit

from drupe.errors import InputError
from drupe.freeenergy.estimation.estimators import bar
from drupe.freeenergy.switches.end_states import LAMBDA, between, system_key
from drupe.freeenergy.switches.switching import SwitchSpec, switch
from drupe.units import nanometer

sys.path.insert(0, str(Path(__file__).parents[1]))
from learned_molecule import force_field, molecule

GROUP = 7


def state_of(system, value=None):
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(molecule().positions / nanometer)
    if value is not None:
        context.setParameter(LAMBDA, value)
    state = context.getState(energy=True, forces=True, parameterDerivatives=value is not None)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    slope = state.getEnergyParameterDerivatives()[LAMBDA] if value is not None else None
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole), np.array(forces), slope


@pytest.mark.parametrize("change", [{"barrier": 4.0}, {"charge": 1.3}, {"barrier": 4.0, "angle": 0.8}])
def test_energy_and_forces_are_linear_between_the_ends(change):
    first, second = force_field(), force_field(**change)
    (start, at_start, _), (end, at_end, _) = state_of(first), state_of(second)
    assert abs(end - start) > 0.1
    for value in (0.0, 0.35, 1.0):
        energy, forces, slope = state_of(between(first, second), value)
        # 1e-9: the same terms in another order.
        assert energy == pytest.approx((1 - value) * start + value * end, abs=1e-9)
        assert forces == pytest.approx((1 - value) * at_start + value * at_end, abs=1e-7)
        assert slope == pytest.approx(end - start, abs=1e-9)


def test_what_both_ends_have_is_evaluated_once():
    made = between(force_field(), force_field(barrier=4.0))
    (mixed,) = [force for force in made.getForces() if isinstance(force, openmm.CustomCVForce)]
    assert mixed.getForceGroup() == GROUP
    inside = [mixed.getCollectiveVariable(k) for k in range(mixed.getNumCollectiveVariables())]
    assert [type(force).__name__ for force in inside] == ["PeriodicTorsionForce"] * 2
    outside = [type(force).__name__ for force in made.getForces() if force is not mixed]
    assert sorted(outside) == ["CustomCVForce", "HarmonicAngleForce", "HarmonicBondForce", "NonbondedForce"]


def test_a_switch_to_the_same_force_field_costs_nothing():
    work = switch(between(force_field(), force_field()), molecule().positions, SwitchSpec(30, 0.5), 1)
    assert work.value == 0.0
    assert not work.profile.any()


def test_switching_from_a_force_field_to_itself_is_exactly_nothing_for_twenty_seeds():
    system = between(force_field(), force_field())
    for seed in range(20):
        works = [
            [
                switch(
                    system, molecule().positions, SwitchSpec(6, direction=way), 100 * seed + k,
                    platform="Reference",
                ).value
                for k in range(10)
            ]
            for way in ("forward", "reverse")
        ]  # fmt: skip
        got = bar(*works, seed=seed)
        assert (got.value, got.sampling, got.verdict.level) == (0.0, None, "PASS")


def test_a_switch_of_one_step_is_the_difference_of_the_two_energies():
    first, second = force_field(), force_field(barrier=4.0, charge=1.2)
    work = switch(between(first, second), molecule().positions, SwitchSpec(1), 1, platform="Reference")
    thermal = (unit.MOLAR_GAS_CONSTANT_R * 300 * unit.kelvin).value_in_unit(unit.kilojoule_per_mole)
    # 1e-6: two values of the gas constant.
    assert work.value == pytest.approx((state_of(second)[0] - state_of(first)[0]) / thermal, rel=1e-6)


def heavier(**_):
    return force_field(hydrogen_mass=3.0)


def shorter():
    system = openmm.System()
    system.addParticle(1.0)
    return system


def constrained():
    system = force_field()
    system.addConstraint(0, 2, 0.109)
    return system


def boxed():
    system = force_field()
    force = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(0.9)
    return system


def under_pressure():
    system = force_field()
    system.addForce(openmm.CMMotionRemover())
    return system


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (heavier, r"particle 2 weighs 1.008 and 3 amu \(4 particles differ\)"),
        (shorter, "6 and 1 particles"),
        (constrained, "0 and 1 constraints"),
        (boxed, "second potential is periodic"),
        (under_pressure, "CMMotionRemover of the second potential"),
    ],
)
def test_ends_that_do_not_match_are_refused_by_name(other, message):
    with pytest.raises(InputError, match=message):
        between(force_field(), other())


def test_boxes_of_two_sizes_are_refused():
    first, second = boxed(), boxed()
    second.setDefaultPeriodicBoxVectors([2.1, 0, 0], [0, 2, 0], [0, 0, 2])
    with pytest.raises(InputError, match="boxes of the two potentials differ by 0.1"):
        between(first, second)


def test_a_group_that_a_shared_force_has_is_refused():
    first, second = force_field(), force_field(barrier=4.0)
    for system in (first, second):
        system.getForce(0).setForceGroup(GROUP)
    with pytest.raises(InputError, match="force group 7"):
        between(first, second)
    assert between(first, second, group=8).getNumForces() == 4


def test_the_key_of_a_system_is_of_what_it_computes():
    key = system_key(force_field())
    renamed = force_field()
    renamed.getForce(1).setName("something else")
    renamed.getForce(1).setForceGroup(3)
    assert system_key(renamed) == key
    assert system_key(force_field(barrier=1.0)) != key
    assert system_key(heavier()) != key
    assert system_key(constrained()) != key
