"""Alchemy in periodic boxes: a small salt for exact identities, ions and a host with its guest in water."""

import itertools
from pathlib import Path

import numpy as np
import openmm
import pytest

from drupe.embedding.structures.structure import Structure, cut_out, locate, openmm_system, read_amber
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.freeenergy.alchemical.alchemy import Schedule, run_window
from drupe.freeenergy.alchemical.counter_ion import CounterIons, choose_counter_ions
from drupe.freeenergy.alchemical.decoupling import alchemical_system, reduced_potentials
from drupe.freeenergy.alchemical.exchange_dynamics import AlchemicalMover
from drupe.freeenergy.alchemical.restraints import BoreschRestraint
from drupe.freeenergy.alchemical.solvent_box import in_water, tip3p_molecule
from drupe.freeenergy.simulation.dynamics import (
    advance,
    langevin_context,
    potential_kt,
    pressure_work_kt,
    read_box,
)
from drupe.freeenergy.simulation.periodic import (
    in_water_box,
    is_periodic,
    nearest_chain,
    shortest_vectors,
    whole_start,
)
from drupe.freeenergy.simulation.sampling import SampleSpec, sample
from drupe.freeenergy.simulation.system_parts import joined
from drupe.records import content_key, pack, unpack
from drupe.units import kj_per_mol, kt, nanometer

TEMPERATURE = 300.0
KT = kt(TEMPERATURE) / kj_per_mol  # kJ/mol
CUBE = 2.1 * np.eye(3)
SHEARED = np.array([[2.1, 0, 0], [0.7, 2.1, 0], [-0.6, 0.8, 2.1]])
LIGAND = [0, 1, 2, 3]


def salt(box=CUBE, *, method=openmm.NonbondedForce.PME, cutoff=0.8, net=0.0):
    """A bent chain of four charged atoms (with a 1-4 exception) in a jittered lattice of ions; box in nm."""
    rng = np.random.default_rng(2)
    grid = np.array(list(itertools.product(range(6), repeat=3)))
    x = (grid / 6) @ box + rng.normal(scale=0.01, size=(216, 3))
    x[:4] = x[0] + np.array([[0, 0, 0], [0.11, 0.03, 0], [0.15, 0.13, 0.02], [0.26, 0.14, 0.05]])
    kept = np.ones(216, bool)
    kept[4:] = np.linalg.norm(shortest_vectors(x[4:, None] - x[None, :4], box), axis=2).min(axis=1) > 0.26
    x, grid = x[kept], grid[kept]
    charges = 0.4 * (-1.0) ** grid.sum(axis=1)
    charges[:4] = (0.3, -0.5, 0.4, -0.2 + net)
    charges[4:] -= charges.sum() / (len(x) - 4)
    system = openmm.System()
    pairs, bonds = openmm.NonbondedForce(), openmm.HarmonicBondForce()
    for charge in charges:
        system.addParticle(20.0)
        pairs.addParticle(charge, 0.25, 0.6)
    chain = [(0, 1), (1, 2), (2, 3)]
    for i, j in chain:
        bonds.addBond(i, j, 0.12, 2e5)
    pairs.createExceptionsFromBonds(chain, 0.8333, 0.5)
    pairs.setNonbondedMethod(method)
    pairs.setCutoffDistance(cutoff)
    pairs.setPMEParameters(3.5, 32, 32, 32)  # the same mesh in every system that is compared
    system.addForce(pairs)
    system.addForce(bonds)
    system.setDefaultPeriodicBoxVectors(*box)
    atoms = MolecularSystem.from_atoms(np.full(len(x), 18), x * nanometer, charges, chain)
    return Structure(atoms.with_box(box * nanometer), openmm.XmlSerializer.serialize(system), None)


def state(restraint, electrostatics, sterics):
    return {
        "lambda_restraint": restraint,
        "lambda_electrostatics": electrostatics,
        "lambda_sterics": sterics,
    }


def context_of(system, positions, groups=None, parameters=None, platform=None):
    """Double precision in a cubic box; the Reference platform's neighbour list misses pairs in other ones."""
    a, b, c = system.getDefaultPeriodicBoxVectors()
    platform = platform or ("CPU" if b[0]._value or c[0]._value or c[1]._value else "Reference")
    return langevin_context(
        system, positions, temperature_k=TEMPERATURE, step_fs=1.0, friction_per_ps=5.0, seed=1, groups=groups,
        parameters=parameters, platform=platform, threads=1,
    )  # fmt: skip


def energy(structure, chosen, **more):
    """Energy of a window in its own state, kT, and all forces."""
    window = alchemical_system(structure, LIGAND, chosen, **more)
    context = context_of(window.system, structure.system.positions, window.dynamic_groups, window.parameters)
    return potential_kt(context, TEMPERATURE, window.dynamic_groups), forces(context, window.dynamic_groups)


def forces(context, groups=None):
    found = context.getState(forces=True, groups=-1 if groups is None else set(groups))
    return found.getForces(asNumpy=True)._value


def independent(structure, scale, members=LIGAND):
    """The physical system with charges of ``members`` scaled by hand, exceptions between them linearly."""
    system = openmm_system(structure)
    (pairs,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    for i in members:
        charge, sigma, epsilon = pairs.getParticleParameters(i)
        pairs.setParticleParameters(i, scale * charge, sigma, epsilon)
    for n in range(pairs.getNumExceptions()):
        i, j, product, sigma, epsilon = pairs.getExceptionParameters(n)
        pairs.setExceptionParameters(n, i, j, scale * product, sigma, epsilon)
    context = context_of(system, structure.system.positions)
    return potential_kt(context, TEMPERATURE), forces(context)


@pytest.mark.parametrize("box", [CUBE, SHEARED], ids=["cubic", "triclinic"])
@pytest.mark.parametrize("scale", [1.0, 0.5, 0.0])
def test_charges_in_a_lattice_sum_are_those_of_a_system_built_with_them(box, scale):
    structure = salt(box)
    found, moved = energy(structure, state(0.0, scale, 1.0))
    want, pulled = independent(structure, scale)
    # 2e-3 kT: the correction for dispersion beyond the cutoff is a numerical integral in the alchemical
    # forces and a formula in the native one. Left out, it would be off by 2 kT.
    assert found == pytest.approx(want, abs=2e-3)
    assert np.abs(moved - pulled).max() < 1e-6 * np.abs(pulled).max()


def test_without_its_dispersion_correction_the_first_state_would_be_another():
    system = openmm_system(salt())
    values = []
    for used in (True, False):
        (pairs,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
        pairs.setUseDispersionCorrection(used)
        values.append(potential_kt(context_of(system, salt().system.positions), TEMPERATURE))
    assert abs(values[0] - values[1]) > 1.0


def test_the_energy_is_quadratic_in_the_charges_and_not_linear():
    structure = salt(net=1.0)
    window = alchemical_system(structure, LIGAND, state(0.0, 0.3, 1.0))
    context = context_of(window.system, structure.system.positions, window.dynamic_groups, window.parameters)
    at = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    rows = reduced_potentials(context, window, [state(0.0, value, 1.0) for value in at], TEMPERATURE)
    cubic = np.polynomial.polynomial.polyfit(at, rows, 3)
    assert abs(cubic[3]) < 1e-6 * abs(rows[0])  # rounding of the Ewald sums
    assert abs(cubic[2]) > 5.0  # what a linear interpolation would get wrong, kT
    here = (rows[2] - rows[0]) / 0.5  # the derivative of a parabola at 1/4 is its difference over 0 and 1/2
    step = 1e-3
    near = [energy(structure, state(0.0, 0.25 + s, 1.0))[0] for s in (step, -step)]
    # 1e-5: rounding of energies of some thousand kT over the step.
    assert (near[0] - near[1]) / (2 * step) == pytest.approx(here, rel=1e-5)


@pytest.mark.parametrize("index", range(4))
def test_every_row_is_the_energy_of_the_state_built_by_itself(index):
    structure = salt()
    restraint = BoreschRestraint(
        np.array([10, 11, 17]), np.array([1, 2, 3]), 12.0, np.array([1.2, 1.8]), np.array([0.5, 1.0, -2.0]),
        0.002, np.full(2, 0.02), np.full(3, 0.01),
    )  # fmt: skip
    states = [state(0.0, 1.0, 1.0), state(1.0, 0.4, 1.0), state(1.0, 0.0, 0.5), state(0.3, 0.0, 0.0)]
    here = alchemical_system(structure, LIGAND, states[1], restraint)
    context = context_of(here.system, structure.system.positions, here.dynamic_groups, here.parameters)
    rows = reduced_potentials(context, here, states, TEMPERATURE)
    assert rows.tolist() == reduced_potentials(context, here, states, TEMPERATURE).tolist()
    assert rows[index] == pytest.approx(energy(structure, states[index], restraint=restraint)[0], abs=1e-6)


@pytest.mark.parametrize("box", [CUBE, SHEARED], ids=["cubic", "triclinic"])
def test_the_last_state_is_the_box_without_the_ligand_and_the_uncharged_ligand_in_vacuum(box):
    structure = salt(box)
    # Without the correction for dispersion both parts are exact: it is a mean over the pairs of one system.
    structure = without_dispersion_correction(structure)
    found, moved = energy(structure, state(0.0, 0.0, 0.0))
    rest = np.arange(4, structure.system.n_atoms)
    alone, pulled = independent(of_the_rest(structure), 1.0, members=[])
    ligand = without_box(structure, LIGAND)
    inside, torn = independent(ligand, 0.0)
    # Single precision in the triclinic box.
    assert found == pytest.approx(alone + inside, abs=1e-4)
    assert np.abs(moved[rest] - pulled).max() < 1e-6 * np.abs(pulled).max()
    assert np.abs(moved[LIGAND] - torn).max() < 1e-6 * np.abs(pulled).max()


def test_a_decoupled_ligand_feels_nothing_wherever_it_is():
    structure = salt(SHEARED)
    window = alchemical_system(structure, LIGAND, state(0.0, 0.0, 0.0))
    x = structure.system.positions
    context = context_of(window.system, x, window.dynamic_groups, window.parameters)
    seen = []
    for shift in ([0, 0, 0], [0.17, 0.3, -0.2], [1.9, -0.4, 5.0]):  # nm; into other ions, and out of the box
        moved = x.copy()
        moved[LIGAND] += np.array(shift) * nanometer
        context.setPositions(moved / nanometer)
        seen += reduced_potentials(context, window, [state(0.0, 0.0, 0.0)], TEMPERATURE).tolist()
    assert np.ptp(seen) < 1e-4  # single precision


def test_counter_ions_keep_the_charge_of_the_box():
    structure = salt(net=1.0)
    ions = CounterIons(
        np.array([100]), structure.system.charges[[100]], structure.system.charges[[100]] + 1.0,
        np.array([100]), 1, 0.1 * nanometer,
    )  # fmt: skip
    for scale in (1.0, 0.5, 0.0):
        window = alchemical_system(structure, LIGAND, state(0.0, scale, 1.0), counter_ions=ions)
        assert charge_at(window.system, scale) == pytest.approx(0.0, abs=1e-9)
    found = energy(structure, state(0.0, 0.0, 1.0), counter_ions=ions)[0]
    system = openmm_system(structure)
    (pairs,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    pairs.setParticleParameters(100, float(ions.gone[0]), 0.25, 0.6)
    other = Structure(structure.system, openmm.XmlSerializer.serialize(system), None)
    assert found == pytest.approx(independent(other, 0.0)[0], abs=2e-3)  # as above
    bare, kept = (energy(structure, state(0.0, 1.0, 1.0), **more)[0] for more in ({}, {"counter_ions": ions}))
    assert kept == pytest.approx(bare, abs=1e-6)  # beyond its distance the wall is not felt


def test_a_counter_ion_too_near_is_pushed_away_through_the_boundary():
    structure = salt(net=1.0)
    ligand_atom, ion = 1, structure.system.n_atoms - 1  # in opposite corners, neighbours across the boundary
    x, box = structure.system.positions, structure.system.box
    apart = np.linalg.norm(shortest_vectors(x[ion] - x[ligand_atom], box))
    assert apart < np.linalg.norm(x[ion] - x[ligand_atom])
    charge = structure.system.charges[[ion]]
    edge = apart + 0.1 * nanometer
    ions = CounterIons(np.array([ion]), charge, charge + 1.0, np.array([ion]), ligand_atom, edge)
    bare, pushed = (
        energy(structure, state(0.0, 1.0, 1.0), **more)[0] for more in ({}, {"counter_ions": ions})
    )
    # k/2 x^2 with 5 kcal/mol/A^2 at 1 A.
    assert pushed - bare == pytest.approx(0.5 * 5.0 * 4.184 / KT, rel=1e-6)


@pytest.fixture(scope="module")
def salted_water():
    """Na+ (the ligand), another Na+, two Cl- and water in a cube of 2 nm."""
    ion = tip3p_molecule("NA")
    forces = joined([openmm_system(ion)] * 2)
    atoms = MolecularSystem.from_atoms([11, 11], np.array([[0, 0, 0], [0.6, 0, 0]]) * nanometer, [1.0, 1.0])
    return in_water(Structure(atoms, openmm.XmlSerializer.serialize(forces), None), [0, 1], edge_nm=2.0)


def test_counter_ions_are_those_farthest_away_and_undo_the_ligands_charge(salted_water):
    structure = salted_water
    ligand = [0]
    ions = choose_counter_ions(structure, ligand)
    assert ions.there.tolist() == [-1.0]
    assert ions.gone.tolist() == [0.0]
    x, box = structure.system.positions, structure.system.box
    away = [np.linalg.norm(shortest_vectors(x[i] - x[0], box)) for i in (2, 3)]
    assert ions.atoms.tolist() == [2 + int(np.argmax(away))]
    waters = choose_counter_ions(structure, ligand, "water")
    assert (waters.there - waters.gone).sum() == pytest.approx(-1.0)
    assert waters.gone.tolist() == [1.0, 0.0, 0.0]
    oxygens = np.flatnonzero(structure.system.numbers == 8)
    far = np.linalg.norm(shortest_vectors(x[oxygens] - x[0], box), axis=1)
    assert waters.centres.tolist() == [oxygens[far.argmax()]]
    for chosen in (ions, waters):
        window = alchemical_system(structure, ligand, state(0.0, 0.0, 1.0), counter_ions=chosen)
        total = structure.system.charges.sum()
        assert charge_at(window.system, 0.0) == pytest.approx(total, abs=1e-6)
        again = unpack(pack(chosen))
        assert again.atoms.tolist() == chosen.atoms.tolist()


def test_counter_ions_that_cannot_be_are_refused(salted_water):
    structure = salted_water
    alone = in_water(tip3p_molecule("NA"), [0], edge_nm=1.9, neutralise=False)
    with pytest.raises(InputError, match="needs 1 ions"):
        choose_counter_ions(alone, [0])
    neutral = [int(i) for i in np.flatnonzero(structure.system.numbers == 8)[:1]]
    water = [*neutral, neutral[0] + 1, neutral[0] + 2]
    with pytest.raises(InputError, match="neutral"):
        choose_counter_ions(structure, water)
    with pytest.raises(InputError, match="add up to"):
        choose_counter_ions(structure, neutral)
    ions = choose_counter_ions(structure, [0])
    with pytest.raises(InputError, match="loses -1"):
        alchemical_system(structure, [2], state(0.0, 0.0, 1.0), counter_ions=ions)
    with pytest.raises(InputError, match="not in a periodic box"):
        alchemical_system(without_box(structure, [0, 1]), [0], state(0.0, 0.0, 1.0), counter_ions=ions)


def test_an_ideal_gas_under_the_barostat_has_its_exact_volume():
    # <V> = (N + 1) kT / p for N particles that do not see each other.
    n, edge = 40, 2.4
    pressure = (n + 1) * KT / edge**3 / (6.02214076e23 * 1e5 * 1e-27 * 1e-3)  # bar, for a mean of edge^3
    system, nothing = openmm.System(), openmm.CustomBondForce("0")
    for _ in range(n):
        system.addParticle(20.0)
    nothing.setUsesPeriodicBoundaryConditions(True)
    system.addForce(nothing)
    x = np.random.default_rng(5).uniform(0, edge, (n, 3)) * nanometer
    context = langevin_context(
        system, x, temperature_k=TEMPERATURE, step_fs=1.0, friction_per_ps=5.0, seed=1,
        box=edge * nanometer * np.eye(3), pressure_bar=pressure, platform="Reference",
    )  # fmt: skip
    assert system.getNumForces() == 1  # the barostat went into a copy
    volumes, works = [], []
    for _ in range(1200):
        advance(context, 50, TEMPERATURE)
        volumes.append(np.linalg.det(read_box(context) / nanometer))
        works.append(pressure_work_kt(context, pressure, TEMPERATURE))
    volumes = np.array(volumes)[100:]
    # 6 %: three standard errors of a relative width of 16 % over some hundred independent volumes.
    assert volumes.mean() == pytest.approx(edge**3, rel=0.06)
    assert volumes.std() / volumes.mean() == pytest.approx(1 / np.sqrt(n + 1), rel=0.25)
    assert works[100:] == pytest.approx((n + 1) * volumes / edge**3, rel=1e-9)


def test_a_window_in_water_runs_with_rigid_molecules_under_pressure(salted_water):
    structure = salted_water
    spec = SampleSpec(step_fs=2.0, n_equilibration=20, n_frames=3, stride=25, minimise=20, pressure_bar=1.0)
    schedule = Schedule((0, 0), (1, 0), (1, 1))
    start = structure.system.positions.copy()
    start[4:7] += structure.system.box[0]  # a start may come wrapped
    start[5] -= structure.system.box[0]
    found = run_window(structure, [0], schedule, 0, None, spec, start, platform="CPU", threads=1)
    assert found.u.shape == (2, 3)
    x = whole_start(structure, found.last_positions, found.last_box) / nanometer
    waters = np.flatnonzero(structure.system.numbers == 8)
    for k, length in ((1, 0.09572), (2, 0.09572)):
        arms = np.linalg.norm(x[waters + k] - x[waters], axis=1)
        assert arms == pytest.approx(length, abs=1e-4)  # the tolerance of the constraints
    again = unpack(pack(found))
    assert again.last_box.tolist() == found.last_box.tolist()


def test_a_wrapped_start_is_made_whole():
    structure = salt(SHEARED)
    x, box = structure.system.positions, structure.system.box
    torn = x.copy()
    torn[2] += box[2] - box[0]
    torn[100] += box[1]
    found = whole_start(structure, torn, None)
    chain = shortest_vectors(x[1:4] - x[0], box)
    assert found[1:4] - found[0] == pytest.approx(chain, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": openmm.NonbondedForce.CutoffPeriodic}, "PME"),
        ({"method": openmm.NonbondedForce.LJPME}, "PME"),
        ({"cutoff": 1.06}, "less than two cutoffs"),
    ],
)
def test_a_box_that_cannot_be_treated_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        alchemical_system(salt(**change), LIGAND, state(0.0, 1.0, 1.0))


def test_a_periodic_force_field_without_a_box_is_refused():
    structure = salt()
    bare = Structure(structure.system.with_box(None), structure.openmm_xml, None)
    with pytest.raises(InputError, match="no box"):
        alchemical_system(bare, LIGAND, state(0.0, 1.0, 1.0))


def test_a_ligand_that_would_meet_its_image_is_refused():
    structure = salt(cutoff=1.0)
    with pytest.raises(InputError, match="meet its own image"):
        alchemical_system(structure, [0, 3, 150, 205], state(0.0, 1.0, 1.0))


def test_a_pressure_without_a_box_is_refused():
    alone = without_box(salt(), LIGAND)
    spec = SampleSpec(n_equilibration=1, n_frames=1, stride=1, pressure_bar=1.0)
    with pytest.raises(InputError, match="not periodic"):
        sample(openmm_system(alone), alone.system.positions, spec, platform="Reference")
    with pytest.raises(InputError, match="pressure"):
        SampleSpec(pressure_bar=-1.0)


def test_a_spec_without_pressure_has_the_key_it_always_had():
    fields = {name: getattr(SampleSpec(), name) for name in SampleSpec.__dataclass_fields__}
    fields.pop("pressure_bar")
    old = {"record": "SampleSpec", "version": 1, "fields": fields}
    assert content_key("x", {"spec": SampleSpec()}) == content_key("x", {"spec": old})
    assert content_key("x", {"spec": SampleSpec(pressure_bar=1.0)}) != content_key("x", {"spec": old})


def test_the_nearest_image_of_a_vector_is_found_in_a_triclinic_box():
    rng = np.random.default_rng(1)
    vectors = rng.normal(scale=3.0, size=(200, 3))
    found = shortest_vectors(vectors, SHEARED)
    shifts = np.array(list(itertools.product(range(-1, 2), repeat=3))) @ SHEARED
    shortest = np.linalg.norm(found[:, None] + shifts, axis=2).min(axis=1)
    inside = shortest < 0.5 * 1.8  # half of the least distance between faces
    assert inside.any()
    assert np.linalg.norm(found, axis=1)[inside] == pytest.approx(shortest[inside])
    whole = (found - vectors) @ np.linalg.inv(SHEARED)
    assert whole == pytest.approx(np.rint(whole), abs=1e-9)


@pytest.mark.reference
def test_a_guest_in_its_host_in_water_starts_from_the_unmodified_force_field():
    folder = "package:openmmtools/data/cb7-b2/complex-explicit"
    files = (locate(folder + end, Path()) for end in (".prmtop", ".inpcrd"))
    structure = read_amber(*files, implicit_solvent=None)
    guest = [i for i, name in enumerate(structure.system.residue_names) if name == "B2"]
    assert is_periodic(structure)
    plain = in_water_box(structure, guest)
    assert plain.getNumConstraints() == 3 * structure.system.residue_names.count("HOH") // 3
    x = structure.system.positions
    want = potential_kt(context_of(plain, x, platform="CPU"), TEMPERATURE)
    window = alchemical_system(structure, guest, state(0.0, 1.0, 1.0))
    context = context_of(window.system, x, window.dynamic_groups, window.parameters, "CPU")
    # 1e-6 of the energy: single precision. The correction for dispersion of the guest is 2.2 kT, or 1e-4.
    assert potential_kt(context, TEMPERATURE, window.dynamic_groups) == pytest.approx(want, rel=1e-6)


def charge_at(system, scale):
    """Sum of all charges with lambda_electrostatics = scale."""
    (pairs,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    charges = [pairs.getParticleParameters(i)[0]._value for i in range(pairs.getNumParticles())]
    offsets = [pairs.getParticleParameterOffset(n) for n in range(pairs.getNumParticleParameterOffsets())]
    return sum(charges) + scale * sum(row[2] for row in offsets)


def without_dispersion_correction(structure):
    system = openmm_system(structure)
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setUseDispersionCorrection(False)
    return Structure(structure.system, openmm.XmlSerializer.serialize(system), None)


def without_box(structure, atoms):
    system = openmm_system(structure)
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setNonbondedMethod(openmm.NonbondedForce.NoCutoff)
    bare = Structure(structure.system.with_box(None), openmm.XmlSerializer.serialize(system), None)
    return cut_out(bare, atoms)


def of_the_rest(structure):
    """The box without the ligand, built anew."""
    system, atoms = openmm_system(structure), structure.system
    (pairs,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    rest = np.arange(4, atoms.n_atoms)
    out, kept = openmm.System(), openmm.NonbondedForce()
    for i in rest.tolist():
        out.addParticle(20.0)
        kept.addParticle(*pairs.getParticleParameters(i))
    kept.setNonbondedMethod(pairs.getNonbondedMethod())
    kept.setCutoffDistance(pairs.getCutoffDistance())
    kept.setPMEParameters(*pairs.getPMEParameters())
    kept.setUseDispersionCorrection(False)
    out.addForce(kept)
    out.setDefaultPeriodicBoxVectors(*(atoms.box / nanometer))
    return Structure(atoms.subset(rest), openmm.XmlSerializer.serialize(out), None)


def test_replicas_under_pressure_keep_their_boxes_and_count_them():
    structure = salt()
    schedule = Schedule((0.0,) * 3, (1.0, 0.5, 0.0), (1.0,) * 3)
    spec = SampleSpec(
        n_equilibration=0, n_frames=1, stride=50, step_fs=1.0, temperature_k=TEMPERATURE, seed=3,
        minimise=60, pressure_bar=2000.0,
    )  # fmt: skip
    mover = AlchemicalMover(
        structure, LIGAND, schedule, None, spec, structure.system.positions, platform="Reference"
    )
    first, u = mover.move(mover.begin(structure.system.positions, 1), 1, 75)
    box = structure.system.box
    assert np.abs(np.linalg.det(first.box) / np.linalg.det(box) - 1) > 1e-3
    for k in range(3):
        window = alchemical_system(structure, LIGAND, schedule.state(k))
        context = context_of(
            window.system, structure.system.positions, window.dynamic_groups, window.parameters
        )
        context.setPeriodicBoxVectors(*(first.box / nanometer))
        context.setPositions(first.positions / nanometer)
        want = potential_kt(context, TEMPERATURE, window.dynamic_groups)
        want += pressure_work_kt(context, 2000.0, TEMPERATURE)
        assert u[k] == pytest.approx(want, abs=1e-6)
    # The same state again, in the context that holds the box of the replica before.
    assert mover.begin(structure.system.positions, 1).box == pytest.approx(box, rel=1e-12)


def test_points_in_a_row_are_at_the_nearest_images():
    rng = np.random.default_rng(4)
    chain = np.cumsum(rng.uniform(-0.3, 0.3, size=(6, 3)), axis=0)
    wrapped = chain + rng.integers(-2, 3, size=(6, 3)) @ SHEARED
    found = nearest_chain(wrapped, SHEARED)
    assert found - found[0] == pytest.approx(chain - chain[0], abs=1e-12)
