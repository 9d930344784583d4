"""The correction of a leg: a sodium ion in boxes of TIP3P, alone and with a chloride that stays."""

import math
from dataclasses import replace

import numpy as np
import openmm
import pytest

from drupe.embedding.structures.structure import Structure
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.freeenergy.alchemical.alchemy import Schedule, run_window
from drupe.freeenergy.alchemical.decoupling import alchemical_system, reduced_potentials
from drupe.freeenergy.alchemical.finite_size import FiniteSize, finite_size
from drupe.freeenergy.alchemical.leg_run import leg_run
from drupe.freeenergy.alchemical.leg_tables import Tables
from drupe.freeenergy.alchemical.net_charge import charging_correction
from drupe.freeenergy.alchemical.replicas import Replicas
from drupe.freeenergy.alchemical.solvent_box import in_water, tip3p_molecule
from drupe.freeenergy.alchemical.stretch import ExchangeStretch
from drupe.freeenergy.simulation.dynamics import langevin_context
from drupe.freeenergy.simulation.sampling import SampleSpec
from drupe.records import pack, unpack
from drupe.units import angstrom, kt, nanometer

T = 300.0
EDGE = 2.0 * nanometer
SCHEDULE = Schedule((0, 0), (1, 0), (1, 1))
SPEC = SampleSpec(temperature_k=T, step_fs=1.0, n_equilibration=20, n_frames=3, stride=40, pressure_bar=1.0)


@pytest.fixture(scope="module")
def sodium():
    return in_water(tip3p_molecule("NA"), [0], edge_nm=2.0, neutralise=False)


def cubes(*edges):
    return np.array([edge * np.eye(3) for edge in edges])


def test_a_lone_ion_that_loses_its_charge_costs_nothing_once_corrected():
    """OpenMM gives the energy of the lattice; the truth is that of an ion in a vacuum, 0."""
    box, charge = 2.4 * np.eye(3), -2.0
    system, pairs = openmm.System(), openmm.NonbondedForce()
    system.addParticle(20.0)
    pairs.addParticle(charge, 0.25, 0.5)
    pairs.setNonbondedMethod(openmm.NonbondedForce.PME)
    pairs.setPMEParameters(3.5, 40, 40, 40)
    system.addForce(pairs)
    system.setDefaultPeriodicBoxVectors(*box)
    atom = MolecularSystem.from_atoms([11], [[3.0, 4.0, 5.0]], [charge]).with_box(box * nanometer)
    ion = Structure(atom, openmm.XmlSerializer.serialize(system), None)
    states = [SCHEDULE.state(k) for k in range(2)]
    window = alchemical_system(ion, [0], states[0])
    context = langevin_context(
        window.system, atom.positions, temperature_k=T, step_fs=1.0, friction_per_ps=1.0, seed=1,
        groups=window.dynamic_groups, parameters=window.parameters, platform="Reference",
    )  # fmt: skip
    there, gone = reduced_potentials(context, window, states, T)
    nothing = {"n_waters": 0, "quadrupole": 0.0, "radius": 0.0, "permittivity": 1.0}
    terms = charging_correction(charge, box * nanometer, T, **nothing)
    found = FiniteSize(terms, None, -2, None, box * nanometer, 0, 0.0, 0.0).decoupling
    assert gone - there > 100  # kT: the wrong sign would double it
    assert found.value == pytest.approx(-(gone - there), rel=1e-4)  # 1e-4: the mesh


@pytest.mark.reference
def test_the_correction_of_an_ion_is_the_formula_with_its_own_box_waters_and_radius(sodium):
    waters = (sodium.system.n_atoms - 1) // 3
    for edge in (2.0, 2.1):
        found = finite_size(sodium, [0], [cubes(edge * nanometer)], T)
        assert (found.charge, found.receptor_charge, found.n_waters) == (1, None, waters)
        # 1.369 A: Joung and Cheatham; 0.00764 e nm^2: Rocklin and others; -2.837297: a cubic lattice.
        volume, radius, screening = edge**3, 0.1369, 1 - 1 / 97.0
        per_charge = 2.837297 / (2 * 97.0 * edge)
        per_charge += 2 * math.pi / 3 * screening * radius**2 / volume
        per_charge -= 8 * math.pi**2 / 45 * screening * radius**5 / volume**2
        per_charge -= 2 * math.pi / 3 * 0.00764 * waters / volume
        wanted = -per_charge / nanometer / kt(T)
        assert found.decoupling.value == pytest.approx(wanted, rel=5e-4)  # the digits of the quadrupole
        assert found.decoupling.value > 20  # discharging a cation in real water costs more than simulated


def test_two_boxes_of_one_density_differ_by_what_the_dielectric_does_not_screen(sodium):
    small, large = (
        finite_size(in_water(tip3p_molecule("NA"), [0], edge_nm=edge, neutralise=False), [0], [box], T)
        for edge, box in ((2.0, cubes(EDGE)), (2.5, cubes(1.25 * EDGE)))
    )
    apart = small.charging.periodicity + small.charging.undersolvation
    apart -= large.charging.periodicity + large.charging.undersolvation
    assert apart == pytest.approx(2.837297 / (2 * 97.0) * (1 - 1 / 1.25) / EDGE / kt(T), rel=1e-5)
    rest = [
        one.decoupling.value + one.charging.periodicity + one.charging.undersolvation + one.charging.residual
        for one in (small, large)
    ]
    density = [one.n_waters / np.linalg.det(one.box) for one in (small, large)]
    assert rest[0] / rest[1] == pytest.approx(density[0] / density[1], rel=1e-4)  # finite_radius


def test_what_stays_in_the_box_is_the_receptor_and_its_residual_term_a_warning(sodium):
    salted = in_water(tip3p_molecule("NA"), [0], edge_nm=2.0)
    alone, beside = (finite_size(one, [0], [cubes(EDGE)], T) for one in (sodium, salted))
    assert beside.receptor_charge == pytest.approx(-1.0)
    assert beside.charging.periodicity == pytest.approx(-alone.charging.periodicity)
    assert alone.decoupling.verdict.level == "PASS"
    assert beside.decoupling.verdict.level == "WARN"
    assert "Poisson-Boltzmann" in beside.decoupling.verdict.reasons[0]


def test_the_water_has_the_shape_of_the_dynamics_not_of_the_input(sodium):
    bent = sodium.system.positions.copy()
    bent[2::3] += 0.2 * angstrom  # the first hydrogen of every water
    other = replace(sodium, system=sodium.system.with_positions(bent))
    first, second = (finite_size(one, [0], [cubes(EDGE)], T).quadrupole for one in (sodium, other))
    assert second == pytest.approx(first, rel=1e-12)


def test_repeats_in_different_boxes_give_an_error_and_one_repeat_gives_none(sodium):
    apart = [cubes(0.99 * EDGE, 1.01 * EDGE), cubes(1.0 * EDGE, 1.02 * EDGE)]
    both = finite_size(sodium, [0], apart, T)
    each = [finite_size(sodium, [0], [one], T) for one in apart]
    assert both.box[0, 0] == pytest.approx(1.005 * EDGE)
    # Standard error of the mean of two: half their difference.
    assert both.error == pytest.approx(abs(each[0].charging.total - each[1].charging.total) / 2)
    assert both.decoupling.sampling == both.error > 0
    assert each[0].error is None


def test_the_boxes_of_a_repeat_are_those_of_its_fully_coupled_window(sodium):
    spec = replace(SPEC, minimise=20)
    first = run_window(
        sodium, [0], SCHEDULE, 0, None, spec, sodium.system.positions, platform="CPU", threads=1
    )
    last = replace(first, index=1, last_box=2 * first.last_box)
    boxes = leg_run("solvent", windows=[last, first]).coupled_boxes
    assert boxes.shape == (3, 3, 3)
    assert boxes[-1] == pytest.approx(first.last_box, rel=1e-12)
    assert np.linalg.det(boxes) == pytest.approx(first.volumes, rel=1e-12)
    assert len(set(first.volumes)) > 1
    assert boxes[:, 0, 1].tolist() == [0.0] * 3


def test_the_boxes_of_an_exchange_are_those_of_the_replica_that_is_fully_coupled():
    stretches = []
    for age, states in ((1, [0, 1]), (2, [1, 0])):
        replicas = Replicas(
            np.zeros((2, 1, 3)), np.zeros((2, 1, 3)), cubes(10.0 + age, 20.0 + age), np.array(states), age
        )
        tables = Tables(np.zeros((2, 2, 1)), np.array([[0, 1]]))
        stretches.append(ExchangeStretch(tables, replicas, SCHEDULE, SPEC, {}))
    boxes = leg_run("solvent", stretches=stretches).coupled_boxes
    assert boxes[:, 0, 0].tolist() == [11.0, 22.0]
    bare = [replace(one, replicas=replace(one.replicas, box=None)) for one in stretches]
    assert leg_run("solvent", stretches=bare).coupled_boxes is None


def test_a_correction_survives_storage(sodium):
    found = finite_size(sodium, [0], [cubes(EDGE)], T)
    again = unpack(pack(found))
    assert again.decoupling == found.decoupling
    assert again.charging == found.charging
    assert again.receptor_charge is None
    assert (again.box == found.box).all()


def test_no_water_and_no_boxes_are_refused(sodium):
    with pytest.raises(InputError, match="0 waters"):
        finite_size(tip3p_molecule("NA"), [0], [cubes(EDGE)], T)
    with pytest.raises(InputError, match="boxes of 0 repeats"):
        finite_size(sodium, [0], [], T)
