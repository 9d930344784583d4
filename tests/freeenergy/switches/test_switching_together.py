"""Switches of learned potentials, alone and several at a time: the same works from fewer network calls."""

import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit
from openmmml import MLPotential

from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.switches.end_states import between
from drupe.freeenergy.switches.switching import SwitchSpec, Work, switch
from drupe.freeenergy.switches.switching_together import switch_together
from drupe.mlp import passes
from drupe.mlp.force import Memory, learned_forces
from drupe.mlp.potential import Potential
from drupe.units import nanometer

sys.path.insert(0, str(Path(__file__).parents[1]))
from learned_molecule import committee, force_field, mixed, molecule

SPEC = SwitchSpec(12, 0.5)
HERE = {"platform": "CPU"}


@pytest.fixture(scope="module")
def model():
    return committee()


@pytest.fixture(scope="module")
def to_learned(model):
    return mixed(model, interpolate=True)


@pytest.fixture(scope="module")
def low_to_high(model):
    return between(mixed(model, interpolate=False), mixed(committee((5, 6)), interpolate=False))


@pytest.fixture(scope="module")
def starts():
    rng = np.random.default_rng(0)
    return [molecule().positions + 0.02 * rng.normal(size=(6, 3)) for _ in range(5)]


@pytest.fixture(autouse=True)
def as_written(monkeypatch):
    """Never from a frozen graph, which makes no calls that can be counted."""
    monkeypatch.setattr(passes, "_WORTH_IT", 10**9)


@pytest.fixture
def calls(monkeypatch):
    """Frames of each network call."""
    found = []
    honest = Potential.learned

    def counted(self, positions, *rest):
        found.append(len(positions))
        return honest(self, positions, *rest)

    monkeypatch.setattr(Potential, "learned", counted)
    return found


def energy_of(system, positions):
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(positions / nanometer)
    return context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


THERMAL = (unit.MOLAR_GAS_CONSTANT_R * 300 * unit.kelvin).value_in_unit(unit.kilojoule_per_mole)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_a_switch_calls_the_network_exactly_once_per_increment(to_learned, starts, calls, direction):
    switch(to_learned, starts[0], SwitchSpec(30, 0.5, direction=direction), 1, threads=1, **HERE)
    assert calls == [1] * 30


def test_between_two_potentials_each_is_called_once_per_increment(low_to_high, starts, calls):
    switch(low_to_high, starts[0], SwitchSpec(30, 0.5), 1, threads=1, **HERE)
    assert calls == [1] * 60


def test_between_two_potentials_the_mm_part_is_there_once(low_to_high):
    names = sorted(type(force).__name__ for force in low_to_high.getForces())
    assert names.count("NonbondedForce") == names.count("CustomCVForce") == 1
    (inside,) = [force for force in low_to_high.getForces() if isinstance(force, openmm.CustomCVForce)]
    kinds = [
        type(inside.getCollectiveVariable(k)).__name__ for k in range(inside.getNumCollectiveVariables())
    ]
    assert kinds == ["PythonForce", "PythonForce"]


def test_a_switch_of_one_step_is_the_difference_of_the_ends(model, to_learned, low_to_high, starts):
    low, high = mixed(model, interpolate=False), mixed(committee((5, 6)), interpolate=False)
    for system, first, second in ((to_learned, force_field(), low), (low_to_high, low, high)):
        work = switch(system, starts[1], SwitchSpec(1), 1, threads=1, **HERE).value
        want = (energy_of(second, starts[1]) - energy_of(first, starts[1])) / THERMAL
        # 1e-4 kT: the CPU platform's bonded terms of single precision.
        assert work == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize(("at_once", "side_by_side"), [(2, 1), (2, 2), (5, 2)])
def test_switches_together_give_the_works_of_switches_alone(to_learned, starts, calls, at_once, side_by_side):
    alone = [switch(to_learned, x, SPEC, k, threads=1, **HERE) for k, x in enumerate(starts)]
    calls.clear()
    found = switch_together(
        to_learned, starts, SPEC, range(5), at_once=at_once, side_by_side=side_by_side, **HERE
    )
    # 1e-8 kT: rounding of 1e-15, and what twelve steps make of it.
    assert [w.value for w in found] == pytest.approx([w.value for w in alone], abs=1e-8)
    assert [w.protocol for w in found] == [w.protocol for w in alone]
    # The first energy is asked for while a context is made, one by one; no frame is seen twice.
    shared = calls[5:]
    assert calls[:5] == [1] * 5
    assert shared == [at_once] * (-(-5 // at_once) * (SPEC.n_steps - 1))


def test_it_is_so_from_a_frozen_graph_too(starts, monkeypatch):
    system = mixed(committee((7,)), interpolate=True)
    alone = [switch(system, x, SPEC, k, threads=1, **HERE).value for k, x in enumerate(starts)]
    monkeypatch.setattr(passes, "_WORTH_IT", 10)
    found = switch_together(system, starts, SPEC, range(5), at_once=3, side_by_side=2, **HERE)
    (memory, _), *_ = learned_forces(system)
    assert memory.committee.network(3).frozen
    assert [w.value for w in found] == pytest.approx(alone, abs=1e-8)


def test_two_potentials_can_meet_without_waiting_for_each_other(low_to_high, starts):
    found = switch_together(low_to_high, starts, SPEC, range(5), at_once=2, **HERE)
    alone = [switch(low_to_high, x, SPEC, k, threads=1, **HERE).value for k, x in enumerate(starts)]
    assert [w.value for w in found] == pytest.approx(alone, abs=1e-8)


def test_reverse_switches_in_single_precision(starts):
    system = mixed(committee((8,)), interpolate=True, precision="single")
    spec = SwitchSpec(6, 0.5, direction="reverse")
    alone = [switch(system, x, spec, k, threads=1, **HERE).value for k, x in enumerate(starts)]
    found = switch_together(system, starts, spec, range(5), **HERE)
    # 1e-4 kT: single precision sums several frames in another order than one.
    assert [w.value for w in found] == pytest.approx(alone, abs=1e-4)


def test_on_the_reference_platform_all_seeds_together_fix_all_works(to_learned, starts, calls):
    here = {"platform": "Reference"}
    first, again = (switch_together(to_learned, starts, SPEC, range(5), **here) for _ in range(2))
    assert calls == ([1] * 5 + [4] * 2 * (SPEC.n_steps - 1)) * 2
    assert [w.value for w in first] == [w.value for w in again]
    # Contexts share one stream of noise there: alone a switch has other noise, but not other energies.
    found = switch_together(to_learned, starts, SwitchSpec(1), range(5), **here)
    alone = [switch(to_learned, x, SwitchSpec(1), k, **here).value for k, x in enumerate(starts)]
    assert [w.value for w in found] == pytest.approx(alone, abs=1e-8)


IONS = np.array([[0.75, 0.7, 0.05], [-0.1, 0.8, 0.75]]) * nanometer


def in_a_box(edge_nm, reach_nm=0.5):
    """Methanol with two ions in a periodic box; its charges feel all images, the potential near ions."""
    plain, topology = force_field(), molecule().topology
    chain = topology.addChain()
    for element, charge in (("Na", 1.0), ("Cl", -1.0)):
        plain.addParticle(23.0)
        topology.addAtom(element, app.Element.getBySymbol(element), topology.addResidue("ION", chain))
        for force in plain.getForces():
            if isinstance(force, openmm.NonbondedForce):
                force.addParticle(charge, 0.3, 0.4)
                force.setNonbondedMethod(openmm.NonbondedForce.PME)
                force.setCutoffDistance(0.5)
    plain.setDefaultPeriodicBoxVectors(*(edge_nm * np.eye(3)))
    topology.setPeriodicBoxVectors(edge_nm * np.eye(3))
    model = committee((9,), reach=reach_nm * nanometer)
    return MLPotential("drupe", model=model).createMixedSystem(
        topology, plain, list(range(6)), embedding="electrostatic", interpolate=True, forceGroup=7
    )


def test_in_a_periodic_system_each_switch_keeps_the_box_of_its_start(starts):
    system, starts = in_a_box(1.8), [np.concatenate([x, IONS]) for x in starts]
    boxes = [edge * nanometer * np.eye(3) for edge in (1.7, 1.8, 2.0)]
    alone = [
        switch(system, x, SPEC, k, box=box, threads=1, **HERE).value
        for k, (x, box) in enumerate(zip(starts, boxes, strict=False))
    ]
    found = switch_together(system, starts[:3], SPEC, range(3), boxes=boxes, **HERE)
    assert [w.value for w in found] == pytest.approx(alone, abs=1e-8)
    in_one_box = [switch(system, x, SPEC, k, threads=1, **HERE).value for k, x in enumerate(starts[:3])]
    assert in_one_box[1] == pytest.approx(alone[1], abs=1e-8)
    assert abs(in_one_box[0] - alone[0]) > 1e-7  # the box is felt
    assert abs(in_one_box[2] - alone[2]) > 1e-7
    for wrong in (None, boxes[:2]):
        with pytest.raises(InputError, match=r"[02] boxes for 3 starts"):
            switch_together(system, starts[:3], SPEC, range(3), boxes=wrong, **HERE)


def test_a_frame_that_the_potential_refuses_stops_its_own_switch_only(starts):
    # Methanol is 0.2 nm long that way; stretched to 0.5 nm it has images of an ion within reach of both ends.
    system, starts = in_a_box(1.8, reach_nm=0.7), [np.concatenate([x, IONS]) for x in starts]
    long = starts[1].copy()
    long[:6, 0] *= 2.5
    boxes = [1.8 * nanometer * np.eye(3)] * 2
    found = switch_together(system, [starts[0], long], SPEC, range(2), boxes=boxes, **HERE)
    assert isinstance(found[0], Work)
    assert isinstance(found[1], InputError)
    assert "box is too small" in str(found[1])
    with pytest.raises(InputError, match="box is too small"):
        switch(system, long, SPEC, 0, box=boxes[0], **HERE)


def test_a_switch_that_fails_does_not_stop_the_others(to_learned, starts):
    broken = [starts[0], np.full((6, 3), np.nan), starts[2]]
    found = switch_together(to_learned, broken, SPEC, range(3), at_once=3, **HERE)
    assert isinstance(found[0], Work)
    assert isinstance(found[1], InputError)
    assert isinstance(found[2], Work)


def test_a_potential_that_breaks_on_the_way_stops_its_own_switch_only(to_learned, starts):
    # Atoms on top of each other: OpenMM's energy of the start is finite, the dynamics is not.
    squeezed = starts[1].copy()
    squeezed[5] = squeezed[1] + [0.02, 0.0, 0.0]
    found = switch_together(to_learned, [starts[0], squeezed], SwitchSpec(40, 0.5), range(2), **HERE)
    assert isinstance(found[0], Work)
    assert isinstance(found[1], ConvergenceError)


def test_afterwards_a_switch_alone_runs_as_before(to_learned, starts, calls):
    switch_together(to_learned, starts[:2], SwitchSpec(2, 0.5), range(2), **HERE)
    calls.clear()
    switch(to_learned, starts[3], SPEC, 0, threads=1, **HERE)
    assert calls == [1] * SPEC.n_steps


def test_a_platform_that_shares_nothing_is_told_of(to_learned, starts, monkeypatch, caplog):
    switch_together(to_learned, starts, SPEC, range(5), **HERE)
    assert not caplog.records
    monkeypatch.setattr(Memory, "answer_together", lambda *_: None)
    switch_together(to_learned, starts, SPEC, range(5), **HERE)
    (told,) = caplog.records
    assert f"{5 * (SPEC.n_steps - 1)} times for single frames" in told.getMessage()


def test_a_system_without_a_learned_force_is_refused(starts):
    system = between(force_field(), force_field(barrier=3.0))
    with pytest.raises(InputError, match="no learned force"):
        switch_together(system, starts, SPEC, range(5))
    with pytest.raises(InputError, match="5 starts, 2 seeds"):
        switch_together(system, starts, SPEC, range(2))


def test_an_error_of_a_shared_call_is_not_kept_back(to_learned, starts, monkeypatch):
    honest = Potential.learned

    def broken(self, positions, *rest):
        if len(positions) > 1:
            raise ArithmeticError("broken")
        return honest(self, positions, *rest)

    monkeypatch.setattr(Potential, "learned", broken)
    with pytest.raises(ArithmeticError, match="broken"):
        switch_together(to_learned, starts, SPEC, range(5), **HERE)
