"""Spread of a committee in a running simulation: read without another evaluation, collected, stopped."""

import copy

import numpy as np
import openmm
import pytest
from openmm import app, unit
from openmmml import MLPotential

from drupe.errors import ConvergenceError, InputError
from drupe.mlp import Committee
from drupe.mlp.monitor import Monitor, MonitorSpec, read_candidates, uncertainty
from drupe.mlp.potential import Potential
from drupe.records import pack
from drupe.units import nanometer

EVERYTHING = MonitorSpec(collect_force=1e-9, stop_force=1e3, every=5)


@pytest.fixture(scope="module")
def start(low_fits, low_data):
    return Committee.from_fits(low_fits, low_data)


def simulation_of(ligand, committee, positions, **options):
    given = {"embedding": "electrostatic", **options}
    system = MLPotential("drupe", model=committee).createMixedSystem(
        ligand.topology, ligand.system, range(18), **given
    )
    integrator = openmm.LangevinMiddleIntegrator(300, 1.0 / unit.picosecond, 0.0005)
    integrator.setRandomNumberSeed(6)
    platform = openmm.Platform.getPlatformByName("Reference")
    made = app.Simulation(ligand.topology, system, integrator, platform)
    made.context.setPositions(positions / nanometer)
    made.context.setVelocitiesToTemperature(300, 3)
    return made


def places_of(simulation):
    state = simulation.context.getState(positions=True)
    return np.array(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)) * nanometer


@pytest.fixture
def calls(monkeypatch):
    found = []
    honest = Potential.learned
    monkeypatch.setattr(Potential, "learned", lambda self, *a: (found.append(1), honest(self, *a))[1])
    return found


@pytest.mark.parametrize("interpolate", [False, True])
def test_the_spread_is_that_of_the_members_one_by_one(ligand, start, frames, interpolate, calls):
    simulation = simulation_of(ligand, start, frames[1], interpolate=interpolate)
    simulation.step(3)
    calls.clear()
    found = uncertainty(simulation)
    # The positions are new; OpenMM asks for them before the next step anyway. Then one run for all members.
    assert len(calls) == 2
    simulation.step(1)
    assert len(calls) == 2
    simulation.step(1)
    simulation.context.setPositions(frames[1] / nanometer)
    found = uncertainty(simulation)
    nothing = np.zeros((0, 3)), np.zeros(0)
    single = [Committee((one,)).predict(frames[1], *nothing) for one in start.members]
    forces = np.linalg.norm(np.std([one.forces_qm for one in single], axis=0, ddof=1), axis=1)
    forces *= start.calibration.forces_qm.epistemic
    assert start.calibration.forces_qm.epistemic != 1.0
    assert found.forces == pytest.approx(forces, rel=1e-6)
    assert found.energy == pytest.approx(start.predict(frames[1], *nothing).energy_sigma, rel=1e-6)


def test_the_network_is_run_once_a_step_beside_those_who_look(ligand, start, frames, tmp_path, calls):
    simulation = simulation_of(ligand, start, frames[0])
    simulation.reporters.append(Monitor(tmp_path, EVERYTHING))
    calls.clear()
    simulation.step(20)
    # One per step, the end point of the last one, which the next step will use, and one for each look.
    assert len(calls) <= 21 + 4
    assert len(read_candidates(tmp_path)) == 4


def test_frames_above_the_limit_are_collected_whole(ligand, start, frames, tmp_path):
    simulation = simulation_of(ligand, start, frames[0])
    monitor = Monitor(tmp_path / "new" / "folder", EVERYTHING)
    simulation.reporters.append(monitor)
    simulation.step(10)
    assert not read_candidates(tmp_path / "new" / "folder")[0].positions.flags.writeable
    (*_, last) = read_candidates(tmp_path / "new" / "folder")
    assert last.step == 10
    assert last.positions == pytest.approx(places_of(simulation), abs=1e-9)
    assert last.force == pytest.approx(monitor.last.forces.max())
    assert last.model == start.key
    assert last.box is None
    files = list((tmp_path / "new" / "folder").iterdir())
    assert len(files) == 2
    files[0].write_bytes(files[0].read_bytes()[:-40])
    with pytest.raises(InputError, match="not a stored record"):
        read_candidates(tmp_path / "new" / "folder")
    files[0].write_bytes(pack(start))
    with pytest.raises(InputError, match="holds a Committee"):
        read_candidates(tmp_path / "new" / "folder")


def test_quiet_frames_and_frames_with_clashes_are_left(ligand, start, frames, tmp_path):
    simulation = simulation_of(ligand, start, frames[0])
    quiet = Monitor(tmp_path, MonitorSpec(collect_force=10.0, stop_force=20.0, every=5))
    simulation.reporters += [quiet, Monitor(tmp_path, MonitorSpec(1e-9, 1e3, every=5, closest=2.5))]
    simulation.step(10)
    assert quiet.last is not None
    assert read_candidates(tmp_path) == ()


def test_a_runaway_is_stopped_and_its_frame_kept(ligand, start, frames, tmp_path):
    simulation = simulation_of(ligand, start, frames[0])
    simulation.reporters.append(Monitor(tmp_path, MonitorSpec(1e-9, 2e-9, every=5)))
    with pytest.raises(ConvergenceError, match="at step 5: the members disagree by"):
        simulation.step(100)
    assert simulation.currentStep == 5
    assert [one.step for one in read_candidates(tmp_path)] == [5]
    by_energy = MonitorSpec(1e2, 1e3, collect_energy=1e-12, stop_energy=1e-11, every=5)
    simulation.reporters[:] = [Monitor(tmp_path, by_energy)]
    with pytest.raises(ConvergenceError, match="at step 10"):
        simulation.step(100)


def test_a_limit_to_stop_acts_without_one_to_collect(ligand, start, frames, tmp_path):
    simulation = simulation_of(ligand, start, frames[0])
    alone = MonitorSpec(collect_force=10.0, stop_force=20.0, stop_energy=1e-12, every=5)
    simulation.reporters.append(Monitor(tmp_path, alone))
    with pytest.raises(ConvergenceError, match="at step 5"):
        simulation.step(5)
    assert [one.step for one in read_candidates(tmp_path)] == [5]


def test_a_runaway_with_a_clash_is_stopped_and_said_not_to_be_kept(ligand, start, frames, tmp_path):
    simulation = simulation_of(ligand, start, frames[0])
    simulation.reporters.append(Monitor(tmp_path, MonitorSpec(1e-9, 2e-9, every=5, closest=2.5)))
    with pytest.raises(ConvergenceError, match="this frame was not collected") as found:
        simulation.step(5)
    assert found.value.remedy.startswith("go back to an earlier frame")
    assert read_candidates(tmp_path) == ()


def test_a_hot_run_is_flagged_where_the_cold_one_is_not(ligand, start, frames, tmp_path):
    """The spread grows away from the data: an 1,800 K run has the larger one."""
    largest = []
    for temperature in (100, 1800):
        simulation = simulation_of(ligand, start, frames[0])
        simulation.integrator.setTemperature(temperature)
        simulation.context.setVelocitiesToTemperature(temperature, 3)
        found = []
        for _ in range(8):
            simulation.step(10)
            found.append(uncertainty(simulation).forces.max())
        largest.append(np.median(found))
    assert largest[1] > 1.5 * largest[0]


def test_copies_of_a_system_share_what_was_worked_out(ligand, start, frames, tmp_path, calls):
    simulation = simulation_of(ligand, start, frames[0])
    copied = app.Simulation(
        ligand.topology,
        copy.deepcopy(simulation.system),
        openmm.VerletIntegrator(0.0005),
        openmm.Platform.getPlatformByName("Reference"),
    )
    copied.context.setPositions(frames[2] / nanometer)
    calls.clear()
    assert uncertainty(copied).forces.shape == (18,)
    assert len(calls) == 2  # the force's own, and one for the forces of the members


def test_refuses_what_has_no_spread(ligand, start, frames, tmp_path):
    single = simulation_of(ligand, Committee(start.members[:1]), frames[0])
    with pytest.raises(InputError, match="one potential has no spread"):
        uncertainty(single)
    plain = app.Simulation(ligand.topology, ligand.system, openmm.VerletIntegrator(0.0005))
    plain.context.setPositions(frames[0] / nanometer)
    with pytest.raises(InputError, match="holds 0 learned forces"):
        uncertainty(plain)
    with pytest.raises(InputError, match="limits to collect and to stop"):
        MonitorSpec(collect_force=0.1, stop_force=0.05)
    for wrong in ({"stop_energy": -1.0}, {"collect_novelty": np.inf}, {"stop_novelty": np.nan}):
        with pytest.raises(InputError, match="limits to collect and to stop"):
            MonitorSpec(collect_force=0.1, stop_force=0.5, **wrong)
    with pytest.raises(InputError, match="every 2 steps"):
        MonitorSpec(collect_force=0.1, stop_force=0.5, every=2)
    with pytest.raises(InputError, match="no folder"):
        read_candidates(tmp_path / "nowhere")
