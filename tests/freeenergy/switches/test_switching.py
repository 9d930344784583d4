import math

import numpy as np
import openmm
import pytest

from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.estimation.bennett import one_sided
from drupe.freeenergy.estimation.estimators import bar
from drupe.freeenergy.switches import switching
from drupe.freeenergy.switches.switching import SwitchSpec, switch
from drupe.records import pack, unpack
from drupe.units import kj_per_mol, kt, nanometer

TEMPERATURE = 300.0
KT = kt(TEMPERATURE) / kj_per_mol  # kJ/mol
MASS = 1.0
K0, K1 = 1.0, 4.0  # in kT / SHIFT_UNIT^2
LENGTH = 0.1  # nm: thermal spread of the first oscillator


def oscillator(shift=1.5, group=7, derivative=True, expression=None, alone=True):
    """One particle: x goes from k = 1 to 4 and moves by ``shift``; y, z stay at 1 (units of kT, LENGTH)."""
    unit_k = KT / LENGTH**2
    system = openmm.System()
    system.addParticle(MASS)
    rest = openmm.CustomExternalForce(f"0.5*{unit_k}*(y^2+z^2)")
    rest.addParticle(0, [])
    rest.setForceGroup(0 if alone else group)
    system.addForce(rest)
    mixed = openmm.CustomCVForce(expression or "(1-lambda_interpolate)*first+lambda_interpolate*second")
    for name, k, x0 in (("first", K0, 0.0), ("second", K1, shift * LENGTH)):
        end = openmm.CustomExternalForce(f"0.5*{k * unit_k}*(x-{x0})^2")
        end.addParticle(0, [])
        mixed.addCollectiveVariable(name, end)
    mixed.addGlobalParameter("lambda_interpolate", 0.0)
    if derivative:
        mixed.addEnergyParameterDerivative("lambda_interpolate")
    mixed.setForceGroup(group)
    system.addForce(mixed)
    return system


def energy(x, end, shift=1.5):
    """Reduced energy of x (in LENGTH) at one end."""
    k, x0 = ((K0, 0.0), (K1, shift))[end]
    return 0.5 * k * (x - x0) ** 2


def start(x):
    """Positions in bohr with the particle at x (in LENGTH)."""
    return np.array([[x * LENGTH * nanometer, 0.0, 0.0]])


def spec(n_steps, direction="forward"):
    # omega dt = 0.9 in the stiffer well and a collision time shorter than a step: each step forgets
    # a good part of the last position, so that the order of increment and step matters.
    step_ps = 0.9 / math.sqrt(K1 * KT / LENGTH**2 / MASS)
    return SwitchSpec(n_steps, 1e3 * step_ps, TEMPERATURE, 3.0 / step_ps, direction)


def run(x, n_steps, seed, direction="forward", **change):
    return switch(oscillator(**change), start(x), spec(n_steps, direction), seed, platform="Reference")


def test_a_switch_of_one_step_is_the_energy_difference_at_the_start():
    for x in (-1.0, 0.3, 2.0):
        forward = run(x, 1, seed=3)
        # 1e-9: closed form in double precision; the length passes through bohr and back.
        assert forward.value == pytest.approx(energy(x, 1) - energy(x, 0), rel=1e-9)
        assert run(x, 1, seed=3, direction="reverse").value == pytest.approx(-forward.value, rel=1e-9)


def test_the_first_increment_is_taken_before_the_first_step():
    # Propagating first would make it depend on the noise.
    x, n = 0.7, 5
    first = [run(x, n, seed).profile[0] for seed in (1, 2, 3)]
    assert first == pytest.approx([(energy(x, 1) - energy(x, 0)) / n] * 3, rel=1e-9)
    later = [np.diff(run(x, n, seed).profile)[0] for seed in (1, 2, 3)]
    assert np.ptp(later) > 1e-3


def test_an_increment_taken_after_its_step_would_be_found(monkeypatch):
    honest = switching._slope

    def late(context, group):
        context.getIntegrator().step(1)
        return honest(context, group)

    monkeypatch.setattr(switching, "_slope", late)
    for x in (-1.0, 0.3, 2.0):
        # The test of one step above holds to 1e-9.
        assert abs(run(x, 1, seed=3).value - (energy(x, 1) - energy(x, 0))) > 1e-2


@pytest.mark.reference
@pytest.mark.parametrize(("n_steps", "after"), [(1, -0.07), (10, 0.31)])
def test_the_order_of_increment_and_step_decides(n_steps, after):
    # k 1 -> 4 with a shift of 1.5, exact propagation that keeps half of the last deviation: the rule
    # itself, and what the other order gives. 0.05 kT: five standard errors of 200,000 switches.
    def found(increment_first):
        rng = np.random.default_rng(1)
        x, work = rng.normal(size=200_000), np.zeros(200_000)
        for i in range(1, n_steps + 1):
            step = (energy(x, 1) - energy(x, 0)) / n_steps
            k = 1.0 + 3.0 * i / n_steps
            centre = 4.0 * (i / n_steps) * 1.5 / k
            moved = centre + 0.5 * (x - centre) + np.sqrt(0.75 / k) * rng.normal(size=len(x))
            work += step if increment_first else (energy(moved, 1) - energy(moved, 0)) / n_steps
            x = moved
        return one_sided(work)[0]

    assert found(True) == pytest.approx(0.5 * math.log(K1 / K0), abs=0.05)
    assert found(False) == pytest.approx(after, abs=0.05)


def test_equal_ends_cost_nothing():
    same = "first+0*second*lambda_interpolate"
    assert run(0.4, 20, seed=1, expression=same).value == 0.0


@pytest.mark.reference
@pytest.mark.parametrize("n_steps", [1, 3])
def test_works_in_both_directions_give_the_exact_free_energy(n_steps):
    # Exact: 0.5 ln(k1/k0) = 0.693147 kT for any number of steps. With the increment taken after the
    # step, one step gives 0.34 with these seeds, outside of the four standard errors allowed.
    rng = np.random.default_rng(11)
    count = 300
    w_f = [run(x, n_steps, seed).value for seed, x in enumerate(rng.normal(0.0, 1.0, count))]
    w_r = [
        run(x, n_steps, count + seed, "reverse").value
        for seed, x in enumerate(rng.normal(1.5, 1 / math.sqrt(K1), count))
    ]
    got = bar(np.array(w_f), np.array(w_r), seed=1)
    assert got.error is not None
    assert got.error < 0.15
    assert got.value == pytest.approx(0.5 * math.log(K1 / K0), abs=4 * got.error)


def test_the_same_seed_gives_the_same_work_and_another_seed_another():
    first, again, other = run(0.2, 8, 4), run(0.2, 8, 4), run(0.2, 8, 5)
    assert first.value == again.value
    assert first.value != other.value
    assert first.value == pytest.approx(first.profile[-1], rel=1e-12)
    assert unpack(pack(first)).profile.tolist() == first.profile.tolist()


#: Straight at both ends, with a rise of 1, and not between them.
BENT = "lambda_interpolate+8*(lambda_interpolate*(1-lambda_interpolate))^2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"derivative": False}, "derivative"),
        ({"alone": False}, "shares force group"),
        ({"expression": "first+lambda_interpolate^2*second"}, "not linear"),
        ({"expression": f"first+({BENT})*second"}, "not linear"),
    ],
)
def test_a_system_that_cannot_be_switched_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        run(0.5, 5, seed=1, **change)


def test_a_plain_system_is_refused():
    system = openmm.System()
    system.addParticle(1.0)
    with pytest.raises(InputError, match="interpolate=True"):
        switch(system, start(0.0), spec(2), 1, platform="Reference")


@pytest.mark.parametrize(
    ("mover", "name"),
    [
        (openmm.MonteCarloBarostat(1.0, 300.0), "MonteCarloBarostat"),
        (openmm.AndersenThermostat(900.0, 1.0), "AndersenThermostat"),
    ],
)
def test_what_would_move_the_box_or_heat_the_atoms_unseen_is_refused(mover, name):
    system = oscillator()
    system.addForce(mover)
    with pytest.raises(InputError, match=name):
        switch(system, start(0.1), spec(2), 1, platform="Reference")


def test_a_step_beyond_stability_is_an_error_not_a_work():
    wild = SwitchSpec(4000, 40 * spec(1).step_fs, TEMPERATURE, 0.001)
    with pytest.raises(ConvergenceError, match=r"blew up|became"):
        switch(oscillator(), start(0.1), wild, 1, platform="Reference")


def test_positions_that_are_not_finite_are_named():
    with pytest.raises(InputError, match="particle 0"):
        switch(oscillator(), np.array([[np.nan, 0.0, 0.0]]), spec(2), 1, platform="Reference")


def test_a_switch_without_steps_is_refused():
    with pytest.raises(InputError, match="0 steps"):
        SwitchSpec(0)
