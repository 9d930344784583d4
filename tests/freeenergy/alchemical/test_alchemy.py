import math
import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
from scipy.integrate import quad

from drupe.embedding.structures.masses import with_hydrogen_mass
from drupe.embedding.structures.structure import Structure, cut_out, locate, openmm_system, read_amber
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.freeenergy.alchemical.alchemy import Schedule, run_window
from drupe.freeenergy.alchemical.anchors import boresch_coordinates
from drupe.freeenergy.alchemical.decoupling import alchemical_system, reduced_potentials
from drupe.freeenergy.alchemical.restraints import BoreschRestraint
from drupe.freeenergy.estimation.chain import mbar
from drupe.freeenergy.simulation.dynamics import langevin_context, potential_kt
from drupe.freeenergy.simulation.sampling import SampleSpec
from drupe.records import pack, unpack
from drupe.units import kcal_per_mol, kj_per_mol, kt, nanometer

sys.path.insert(0, str(Path(__file__).parents[1]))
from bound_pair import bound_pair

TEMPERATURE = 300.0
KT = kt(TEMPERATURE) / kj_per_mol  # kJ/mol
DATA = "package:openmmtools/data/cb7-b2/"
COMPLEX = Schedule((0, 1, 1, 1, 1, 1), (1, 1, 0.5, 0, 0, 0), (1, 1, 1, 1, 0.5, 0))


@pytest.fixture(scope="module")
def host_guest():
    """Host and guest in implicit solvent, 156 atoms, and the indices of the guest."""
    files = (locate(DATA + name, Path()) for name in ("complex-vacuum.prmtop", "complex-vacuum.inpcrd"))
    structure = with_hydrogen_mass(read_amber(*files), 3.0)
    guest = [i for i, name in enumerate(structure.system.residue_names) if name == "B2"]
    return structure, guest


@pytest.fixture(scope="module")
def restraint(host_guest):
    """A restraint that the geometry does not fulfil, so that its energy shows."""
    structure, guest = host_guest
    heavy = [i for i in guest if structure.system.numbers[i] > 1]
    return BoreschRestraint(
        np.array([0, 5, 9]), np.array(heavy[:3]), 12.0, np.array([1.2, 1.8]), np.array([0.5, 1.0, -2.0]),
        0.002, np.full(2, 0.02), np.full(3, 0.01),
    )  # fmt: skip


def context_of(system, positions, groups=None, parameters=None, platform="CPU"):
    return langevin_context(
        system,
        positions,
        temperature_k=TEMPERATURE,
        step_fs=1.0,
        friction_per_ps=5.0,
        seed=1,
        groups=groups,
        parameters=parameters,
        platform=platform,
        threads=1,
    )


def test_the_first_state_is_the_unmodified_force_field(host_guest, restraint):
    structure, guest = host_guest
    window = alchemical_system(structure, guest, COMPLEX.state(0), restraint)
    context = context_of(window.system, structure.system.positions, window.dynamic_groups, window.parameters)
    plain = context_of(openmm_system(structure), structure.system.positions)
    want = potential_kt(plain, TEMPERATURE)
    # 2e-6 of the energy: single precision of the CPU platform.
    assert potential_kt(context, TEMPERATURE, window.dynamic_groups) == pytest.approx(want, rel=2e-6)
    f, g = forces(context, window.dynamic_groups), forces(plain)
    # 1e-5 of the largest force, for the same reason.
    assert np.abs(f - g).max() < 1e-5 * np.abs(g).max()


def test_the_last_state_is_receptor_in_solvent_and_uncharged_ligand_in_vacuum(host_guest):
    structure, guest = host_guest
    state = {"lambda_restraint": 0.0, "lambda_electrostatics": 0.0, "lambda_sterics": 0.0}
    x = structure.system.positions
    window = alchemical_system(structure, guest, state)
    context = context_of(window.system, x, window.dynamic_groups, window.parameters)
    host = [i for i in range(structure.system.n_atoms) if i not in set(guest)]
    receptor = context_of(openmm_system(cut_out(structure, host)), x[host])
    alone = context_of(uncharged_in_vacuum(cut_out(structure, guest)), x[guest])
    parts = potential_kt(receptor, TEMPERATURE) + potential_kt(alone, TEMPERATURE)
    (found,) = reduced_potentials(context, window, [state], TEMPERATURE)
    # 5e-3 kT: the inert ligand's constant, removed from a single precision sum.
    assert found == pytest.approx(parts, abs=5e-3)
    f = forces(context, window.dynamic_groups)
    scale = 1e-5 * np.abs(f).max()  # single precision
    assert np.abs(f[host] - forces(receptor)).max() < scale
    assert np.abs(f[guest] - forces(alone)).max() < scale


def test_a_decoupled_ligand_feels_nothing_wherever_it_is(host_guest):
    structure, guest = host_guest
    state = {"lambda_restraint": 0.0, "lambda_electrostatics": 0.0, "lambda_sterics": 0.0}
    window = alchemical_system(structure, guest, state)
    x = structure.system.positions.copy()
    context = context_of(window.system, x, window.dynamic_groups, window.parameters)
    energies = []
    for shift in (0.0, 0.2, 0.7):  # nm: through the wall of the host and out of it
        moved = x.copy()
        moved[guest, 2] += shift * nanometer
        context.setPositions(moved / nanometer)
        energies.extend(reduced_potentials(context, window, [state], TEMPERATURE))
    # 5e-3 kT: as above. The surface term of one buried methyl alone changes by more than 1 kT.
    assert np.ptp(energies) < 5e-3


@pytest.mark.parametrize("index", range(6))
def test_every_row_is_the_energy_of_the_state_built_by_itself(host_guest, restraint, index):
    structure, guest = host_guest
    x = structure.system.positions.copy()
    x[guest] += np.random.default_rng(4).normal(scale=0.05, size=(len(guest), 3))
    here = alchemical_system(structure, guest, COMPLEX.state(2), restraint)
    context = context_of(here.system, x, here.dynamic_groups, here.parameters)
    states = [COMPLEX.state(n) for n in range(6)]
    row = reduced_potentials(context, here, states, TEMPERATURE)
    again = reduced_potentials(context, here, states, TEMPERATURE)
    assert row.tolist() == again.tolist()  # evaluating leaves no parameter behind
    there = alchemical_system(structure, guest, COMPLEX.state(index), restraint)
    direct = context_of(there.system, x, there.dynamic_groups, there.parameters)
    want = potential_kt(direct, TEMPERATURE, there.dynamic_groups)
    if there.state["lambda_electrostatics"] == 0.0:
        want -= there.ghost.constant / KT
    assert row[index] == pytest.approx(want, abs=5e-3)  # single precision, as above


def test_forces_in_a_half_charged_window_are_the_gradient(host_guest, restraint):
    structure, guest = host_guest
    window = alchemical_system(structure, guest, COMPLEX.state(2), restraint)
    x = structure.system.positions
    context = context_of(window.system, x, window.dynamic_groups, window.parameters, platform="Reference")
    rng = np.random.default_rng(8)
    direction = np.zeros_like(x)
    direction[guest[:5]] = rng.normal(size=(5, 3))
    direction[:5] = rng.normal(size=(5, 3))
    slope = -(forces(context, window.dynamic_groups) * direction).sum()
    step = 1e-5  # nm
    energy = []
    for sign in (1, -1):
        context.setPositions(x / nanometer + sign * step * direction)
        energy.append(potential_kt(context, TEMPERATURE, window.dynamic_groups) * KT)
    # 1e-4: central differences of double precision energies.
    assert (energy[0] - energy[1]) / (2 * step) == pytest.approx(slope, rel=1e-4)


def test_a_window_is_sampled_and_its_frames_are_evaluated_everywhere(host_guest, restraint):
    structure, guest = host_guest
    spec = SampleSpec(step_fs=2.0, n_equilibration=10, n_frames=4, stride=10, minimise=5, seed=3)
    seen = []
    found = run_window(
        structure, guest, COMPLEX, 4, restraint, spec, structure.system.positions,
        platform="CPU", threads=1, on_done=seen.append,
    )  # fmt: skip
    assert found.u.shape == (6, 4)
    assert seen == [10, 20, 30, 40, 50]
    # What the restraint holds is kept for every frame; the last one is known whole.
    held = boresch_coordinates(found.last_positions[list(restraint.anchors)])
    assert found.restrained.shape == (4, 6)
    assert found.restrained[-1] == pytest.approx(held, abs=1e-9)
    there = alchemical_system(structure, guest, COMPLEX.state(2), restraint)
    direct = context_of(there.system, found.last_positions, there.dynamic_groups, there.parameters)
    assert found.u[2, -1] == pytest.approx(potential_kt(direct, TEMPERATURE, there.dynamic_groups), abs=5e-3)
    again = unpack(pack(found))
    assert again.u.tolist() == found.u.tolist()
    assert again.schedule == COMPLEX


def test_two_femtoseconds_keep_the_temperature_with_heavy_hydrogens(host_guest):
    structure, _ = host_guest
    system = openmm_system(structure)
    lightest = min(system.getParticleMass(i)._value for i in range(system.getNumParticles()))
    assert lightest == pytest.approx(3.0)
    context = langevin_context(
        system, structure.system.positions, temperature_k=TEMPERATURE, step_fs=2.0, friction_per_ps=5.0,
        seed=2, platform="CPU", threads=1,
    )  # fmt: skip
    context.getIntegrator().step(1000)
    kinetic = []
    for _ in range(100):
        context.getIntegrator().step(20)
        kinetic.append(context.getState(energy=True).getKineticEnergy()._value)
    # 3 N / 2 kT; 3 %: the step's own error is 1 %, the standard error of 100 frames at most 1 %.
    assert np.mean(kinetic) == pytest.approx(1.5 * 156 * KT, rel=0.03)


def test_discharging_an_ion_costs_its_born_energy():
    # -1/2 (1 - 1/eps) q^2 / (4 pi eps0 B) with B = radius - 0.009 nm for a lone atom, and its
    # surface term; 78.3 is OpenMM's default.
    radius, charge, gamma = 0.17, 1.0, 2.25936
    structure = lone_ion(radius, charge)
    schedule = Schedule((0, 0, 0), (1, 0.5, 0), (1, 1, 1))
    spec = SampleSpec(n_equilibration=5, n_frames=3, stride=5)
    start = structure.system.positions
    windows = [
        run_window(structure, [0], schedule, k, None, spec, start, platform="Reference") for k in range(3)
    ]
    born = radius - 0.009
    polar = -0.5 * 138.935456 * (1 - 1 / 78.3) * charge**2 / born
    surface = 4 * math.pi * gamma * (radius + 0.14) ** 2 * (radius / born) ** 6
    for window in windows:
        rise = (window.u[2] - window.u[0]) * KT
        # 1e-5: digits of the Coulomb constant inside OpenMM.
        assert rise == pytest.approx([-(polar + surface)] * 3, rel=1e-5)
        assert window.u[1] == pytest.approx(0.5 * (window.u[0] + window.u[2]), rel=1e-9)


@pytest.mark.reference
def test_decoupling_a_bound_pair_gives_the_exact_integral():
    # sigma 0.335 nm, epsilon 1 kcal/mol, held by a harmonic bond so that the pair cannot part; the free
    # energy of removing the Lennard-Jones term is an integral over the distance.
    sigma, epsilon, rest, k = 0.335, 1.0 * kcal_per_mol / kj_per_mol, 0.36, 800.0

    def weight(r, lj):
        pair = 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)
        return r * r * math.exp(-(0.5 * k * (r - rest) ** 2 + lj * pair) / KT)

    with_lj, without = (quad(weight, 0.1, 1.0, args=(lj,), points=[rest], limit=200)[0] for lj in (1.0, 0.0))
    exact = -math.log(without / with_lj)
    structure = bound_pair(sigma, epsilon, rest, k)
    strengths = (1.0, 0.6, 0.3, 0.1, 0.0)
    schedule = Schedule((0,) * 5, (0,) * 5, strengths)
    spec = SampleSpec(step_fs=5.0, friction_per_ps=20.0, n_equilibration=100, n_frames=200, stride=20)
    windows = [
        run_window(
            structure, [1], schedule, n, None, SampleSpec(**{**fields(spec), "seed": n}),
            structure.system.positions, platform="CPU", threads=1,
        )
        for n in range(5)
    ]  # fmt: skip
    got = mbar(np.concatenate([w.u for w in windows], axis=1), [200] * 5)
    assert got.errors[-1] < 0.1
    assert got.values[-1] == pytest.approx(exact, abs=4 * got.errors[-1])
    # The endpoint is no accident of a flat profile: an alchemical change with no effect would give 0.
    assert abs(exact) > 1.0


def test_the_solvent_leg_ends_in_vacuum_without_charges(host_guest):
    structure, guest = host_guest
    ligand = cut_out(structure, guest)
    inside = list(range(len(guest)))
    states = [Schedule((0, 0), (1, 0), (1, 0)).state(n) for n in range(2)]
    x = ligand.system.positions
    window = alchemical_system(ligand, inside, states[0])
    context = context_of(window.system, x, window.dynamic_groups, window.parameters)
    row = reduced_potentials(context, window, states, TEMPERATURE)
    want = [
        potential_kt(context_of(s, x), TEMPERATURE)
        for s in (openmm_system(ligand), uncharged_in_vacuum(ligand))
    ]
    assert row == pytest.approx(want, abs=2e-3)  # single precision


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (((0, 0), (1, 0), (1,)), "numbers"),
        (((), (), ()), "numbers"),
        (((0, 0), (1, 1.2), (1, 1)), "1.2"),
        (((0, 0), (1, float("nan")), (1, 1)), "nan"),
        (((0, 0), (1, 0.5), (1, 0.5)), "still has charges"),
    ],
)
def test_a_schedule_that_cannot_be_run_is_refused(lists, message):
    with pytest.raises(InputError, match=message):
        Schedule(*lists)


def test_a_window_outside_and_a_missing_restraint_are_refused(host_guest):
    structure, guest = host_guest
    for index, schedule, message in ((6, COMPLEX, "windows 0 to 5"), (1, COMPLEX, "restraint")):
        with pytest.raises(InputError, match=message):
            run_window(structure, guest, schedule, index, None, SampleSpec(), structure.system.positions)


def test_a_generalised_born_force_of_another_kind_is_refused(host_guest):
    structure, guest = host_guest
    system = openmm_system(structure)
    custom = openmm.CustomGBForce()
    for _ in range(system.getNumParticles()):
        custom.addParticle([])
    system.addForce(custom)
    other = Structure(structure.system, openmm.XmlSerializer.serialize(system), "OBC2")
    with pytest.raises(InputError, match="CustomGBForce"):
        alchemical_system(other, guest, COMPLEX.state(0), None)


def forces(context, groups=None):
    state = context.getState(forces=True, groups=-1 if groups is None else set(groups))
    return state.getForces(asNumpy=True)._value


def uncharged_in_vacuum(structure):
    system = openmm_system(structure)
    for n, force in reversed(list(enumerate(system.getForces()))):
        if isinstance(force, openmm.GBSAOBCForce):
            system.removeForce(n)
        elif isinstance(force, openmm.NonbondedForce):
            for i in range(force.getNumParticles()):
                _, sigma, epsilon = force.getParticleParameters(i)
                force.setParticleParameters(i, 0.0, sigma, epsilon)
            for n_exception, i, j in iterate_exceptions(force):
                _, _, _, sigma, epsilon = force.getExceptionParameters(n_exception)
                force.setExceptionParameters(n_exception, i, j, 0.0, sigma, epsilon)
    return system


def iterate_exceptions(force):
    return ((n, *force.getExceptionParameters(n)[:2]) for n in range(force.getNumExceptions()))


def lone_ion(radius, charge):
    system = openmm.System()
    system.addParticle(23.0)
    nonbonded = openmm.NonbondedForce()
    nonbonded.addParticle(charge, 0.2, 0.1)
    solvent = openmm.GBSAOBCForce()
    solvent.addParticle(charge, radius, 0.8)
    system.addForce(nonbonded)
    system.addForce(solvent)
    atoms = MolecularSystem.from_atoms([11], np.zeros((1, 3)), charges=[charge])
    return Structure(atoms, openmm.XmlSerializer.serialize(system), "OBC2")


def fields(spec):
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__}
