"""The mixed system in a periodic box: phenol in TIP3P water with PME, constraints and a barostat."""

import dataclasses
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit
from openmmml import MLPotential

from drupe.embedding import MolecularSystem
from drupe.embedding.regions.periodic import gather
from drupe.errors import InputError
from drupe.mlp import Committee
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.baseline_energy import BaselineEnergy
from drupe.mlp.potential import Potential
from drupe.mlp.reach import fade_groups
from drupe.units import kj_per_mol, nanometer

HERE = Path(__file__).parents[2] / "examples" / "pocket-labels"
GROUP = 7
REACH = 12.0  # bohr; 0.635 nm
ATOMS = list(range(13))


@dataclasses.dataclass(frozen=True, eq=False)
class Box:
    """Phenol in water: everything an ordinary script has."""

    force_field: app.ForceField
    topology: app.Topology
    positions: np.ndarray  # bohr

    def system(self, **options):
        given = {
            "nonbondedMethod": app.PME,
            "nonbondedCutoff": 0.8 * unit.nanometer,
            "switchDistance": 0.7
            * unit.nanometer,  # a pair at the cutoff would make a step in finite differences
            "constraints": None,
            "rigidWater": True,
            "ewaldErrorTolerance": 1e-6,
        }
        return self.force_field.createSystem(self.topology, **{**given, **options})


@pytest.fixture(scope="module")
def box():
    field = app.ForceField(str(HERE / "phenol.xml"), "amber14/tip3p.xml")
    pdb = app.PDBFile(str(HERE / "phenol.pdb"))
    made = app.Modeller(pdb.topology, pdb.positions)
    made.addSolvent(field, boxSize=openmm.Vec3(2.2, 2.2, 2.2) * unit.nanometer)
    found = Box(field, made.topology, np.array(made.positions.value_in_unit(unit.nanometer)) * nanometer)
    context = context_of(found.system(ewaldErrorTolerance=1e-4), found.positions, platform="CPU")
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=40)
    place = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    return dataclasses.replace(found, positions=np.array(place) * nanometer)


@pytest.fixture(scope="module")
def committee(box, random_members):
    system = box.system(rigidWater=False)
    force_field = LigandForceField.from_system(system, ATOMS)
    elements = [a.element.atomic_number for a in box.topology.atoms()][:13]
    header = dataclasses.replace(
        random_members[0].header,
        numbers=np.array(elements),
        fixed_charges=force_field.charges,
        baseline=force_field,
        reach=REACH,
    )
    made = []
    for seed in range(2):
        one = Potential(header, seed=seed)
        draw = torch.Generator().manual_seed(seed)
        torch.nn.init.normal_(one.readout.last.weight, std=0.1, generator=draw)
        made.append(one.stored())
    return Committee(tuple(made))


def mixed(box, committee, system=None, **options):
    given = {"embedding": "electrostatic", "forceGroup": GROUP, **options}
    return MLPotential("drupe", model=committee).createMixedSystem(
        box.topology, box.system() if system is None else system, ATOMS, **given
    )


def context_of(system, positions, step_ps=0.001, platform="Reference"):
    integrator = openmm.LangevinMiddleIntegrator(300, 1.0 / unit.picosecond, step_ps)
    integrator.setRandomNumberSeed(5)
    made = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
    made.setPositions(positions / nanometer)
    return made


def energy_of(context, **options):
    state = context.getState(energy=True, **options)
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * kj_per_mol


def forces_of(context, **options):
    found = context.getState(forces=True, **options).getForces(asNumpy=True)
    value = found.value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return np.array(value) * kj_per_mol / nanometer


def test_energy_at_five_lambdas_is_that_of_the_formula(box, committee):
    """E = E_MM - l (own MM energy) + l E_ML, images found by the code that cuts clusters for labels."""
    system = box.system()
    full = energy_of(context_of(system, box.positions))
    whole = gather(
        MolecularSystem.from_openmm(box.topology, system, box.positions / nanometer), np.array(ATOMS)
    )
    place, charges, residues = whole.positions, whole.charges, whole.residue_runs
    own = float(BaselineEnergy(committee.header.baseline)(torch.tensor(place[ATOMS][None])))
    made = committee.predict(place[ATOMS], place[13:], charges[13:], residues[13:])
    apart = np.linalg.norm(place[ATOMS][:, None] - place[13:], axis=2)
    fixed = float((charges[ATOMS][:, None] * charges[13:] / apart).sum())
    learned = made.energy - fixed - committee.header.energy_zero
    context = context_of(mixed(box, committee, interpolate=True), box.positions)
    assert abs(learned - own) > 1e-3
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        context.setParameter("lambda_interpolate", value)
        # 2e-6 hartree: OpenMM's Coulomb constant in nine digits over some hartree of Coulomb terms.
        assert energy_of(context) == pytest.approx(full + value * (learned - own), abs=2e-6)
    assert energy_of(context_of(mixed(box, committee), box.positions)) == pytest.approx(
        full + learned - own, abs=2e-6
    )
    context.setParameter("lambda_interpolate", 0.0)
    # The same over the forces: they are those of the MM system.
    assert forces_of(context) == pytest.approx(forces_of(context_of(system, box.positions)), abs=2e-6)


def test_forces_are_finite_differences_also_on_the_rim(box, committee):
    context = context_of(mixed(box, committee), box.positions)
    forces = forces_of(context)
    system = box.system()
    whole = gather(
        MolecularSystem.from_openmm(box.topology, system, box.positions / nanometer), np.array(ATOMS)
    )
    runs = np.unique(whole.residue_runs[13:], return_inverse=True)[1]
    weight = fade_groups(
        torch.tensor(whole.positions[ATOMS]), torch.tensor(whole.positions[13:]), torch.tensor(runs), REACH
    ).per_charge.numpy()
    rim = 13 + int(np.argmin(abs(weight - 0.5)))
    step = 2e-3
    for atom, axis in ((0, 0), (6, 2), (12, 1), (rim, 0), (rim, 1)):
        ends = []
        for sign in (1, -1):
            moved = box.positions.copy()
            moved[atom, axis] += sign * step
            context.setPositions(moved / nanometer)
            ends.append(energy_of(context))
        # 1e-5 hartree/bohr: h^2/6 of third derivatives near 5 hartree/bohr^3 (constrained water bonds are not
        # stretched by springs), and the mesh of PME.
        assert forces[atom, axis] == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=1e-5)


def test_a_huge_box_gives_the_value_without_a_box(box, committee):
    """All charges on the plateau: a reach of 100 bohr in a box of 20 nm, against no box and no reach."""
    whole = gather(
        MolecularSystem.from_openmm(box.topology, box.system(), box.positions / nanometer), np.array(ATOMS)
    ).positions

    def of(reach):
        header = dataclasses.replace(committee.header, reach=reach)
        return Committee(tuple(dataclasses.replace(one, header=header) for one in committee.members))

    huge = box.system()
    huge.setDefaultPeriodicBoxVectors(*(20.0 * np.eye(3)))
    inside = context_of(mixed(box, of(100.0), huge), whole)
    open_system = box.system(nonbondedMethod=app.NoCutoff)
    outside = context_of(mixed(box, of(None), open_system), whole)
    assert energy_of(inside, groups={GROUP}) == pytest.approx(energy_of(outside, groups={GROUP}), abs=1e-11)
    got, want = forces_of(inside, groups={GROUP}), forces_of(outside, groups={GROUP})
    assert got == pytest.approx(want, abs=1e-11)
    assert np.abs(want[13:]).max() > 1e-4


def test_molecules_and_atoms_may_lie_in_any_image(box, committee):
    system = mixed(box, committee)
    context = context_of(system, box.positions)
    vectors = np.array(box.topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer)) * nanometer
    rng = np.random.default_rng(4)
    residues = np.array([atom.residue.index for atom in box.topology.atoms()])
    by_molecule = rng.integers(-2, 3, size=(residues.max() + 1, 3))[residues] @ vectors
    by_atom = rng.integers(-2, 3, size=(len(residues), 3)) @ vectors
    energy, learned = energy_of(context), energy_of(context, groups={GROUP})
    forces = forces_of(context, groups={GROUP})
    context.setPositions((box.positions + by_molecule) / nanometer)
    assert energy_of(context) == pytest.approx(energy, abs=1e-8)
    context.setPositions((box.positions + by_atom) / nanometer)
    assert energy_of(context, groups={GROUP}) == pytest.approx(learned, abs=1e-11)
    assert forces_of(context, groups={GROUP}) == pytest.approx(forces, abs=1e-11)


def test_the_box_is_read_at_every_call(box, committee):
    """A wider box moves the waters that are near through the boundary."""
    vectors = np.array(box.topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer))
    residues = np.array([atom.residue.index for atom in box.topology.atoms()])
    place = box.positions / nanometer - box.positions[0] / nanometer
    first = place[np.unique(residues, return_index=True)[1]]
    place = (place - (np.floor(first @ np.linalg.inv(vectors)) @ vectors)[residues]) * nanometer
    context = context_of(mixed(box, committee), place)
    before = energy_of(context, groups={GROUP})
    wider = 1.02 * vectors
    context.setPeriodicBoxVectors(*wider)
    after = energy_of(context, groups={GROUP})
    assert abs(after - before) > 1e-5
    fresh = mixed(box, committee)
    fresh.setDefaultPeriodicBoxVectors(*wider)
    assert after == pytest.approx(energy_of(context_of(fresh, place), groups={GROUP}), abs=1e-12)
    context.setPeriodicBoxVectors(*(0.8 * wider))
    with pytest.raises(openmm.OpenMMException, match="box is too small for the potential"):
        energy_of(context, groups={GROUP})


@pytest.mark.parametrize("interpolate", [False, True])
def test_the_barostat_moves_the_molecule_as_one(box, committee, interpolate):
    context = context_of(mixed(box, committee, interpolate=interpolate), box.positions)
    assert tuple(ATOMS) in context.getMolecules()
    mechanical = MLPotential("drupe", model=committee)
    with pytest.warns(UserWarning, match="mechanical embedding"):
        system = mechanical.createMixedSystem(box.topology, box.system(), ATOMS, interpolate=interpolate)
    assert tuple(ATOMS) in context_of(system, box.positions).getMolecules()


@pytest.mark.slow
def test_npt_runs_stable(box, committee):
    system = mixed(box, committee)
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0, 5))
    context = context_of(system, box.positions, platform="CPU")
    context.setVelocitiesToTemperature(300, 2)
    bonds = committee.header.baseline.bond_atoms
    lengths = committee.header.baseline.bonds[:, 0]
    volumes = set()
    for _ in range(10):
        context.getIntegrator().step(20)
        state = context.getState(positions=True, energy=True)
        volumes.add(state.getPeriodicBoxVolume().value_in_unit(unit.nanometer**3))
        place = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer) * nanometer
        found = np.linalg.norm(place[bonds[:, 0]] - place[bonds[:, 1]], axis=1)
        assert np.abs(found / lengths - 1).max() < 0.25
    assert len(volumes) > 3
    assert 0.8 * 2.2**3 < min(volumes) <= max(volumes) < 1.2 * 2.2**3


def test_constrained_bonds_are_springs_again_at_the_mm_end(box, committee):
    tied = box.system(constraints=app.HBonds)
    count = tied.getNumConstraints()
    with pytest.warns(UserWarning, match="6 bonds of the ML atoms are constrained"):
        system = mixed(box, committee, tied, interpolate=True)
    assert tied.getNumConstraints() == count
    assert system.getNumConstraints() == count - 6
    context = context_of(system, box.positions)
    soft = energy_of(context_of(box.system(), box.positions))
    context.setParameter("lambda_interpolate", 0.0)
    assert energy_of(context) == pytest.approx(soft, abs=2e-6)
    kept = mixed(box, committee, tied, removeConstraints=False)  # and nothing to warn of
    assert kept.getNumConstraints() == count
    header = dataclasses.replace(committee.header, baseline=None)
    bare = Committee(tuple(dataclasses.replace(one, header=header) for one in committee.members))
    with (
        pytest.warns(UserWarning, match="constrained"),
        pytest.raises(InputError, match=r"constrained to 0\.1\d+ nm, the system has no"),
    ):
        mixed(box, bare, tied, interpolate=True)
    with pytest.warns(UserWarning, match="constrained"):
        mixed(box, bare, tied)


def test_refuses_a_model_without_reach_and_a_small_box(box, committee):
    def of(reach):
        header = dataclasses.replace(committee.header, reach=reach)
        return Committee(tuple(dataclasses.replace(one, header=header) for one in committee.members))

    with pytest.raises(InputError, match=r"periodic.*\n.*FitSpec\(reach=...\).*less than 20.8 bohr"):
        mixed(box, of(None))
    with pytest.raises(
        InputError, match=r"22.00 A apart, .* reach 11.11 A.*\n.*22.23 A and the length of the molecule"
    ):
        mixed(box, of(21.0))
    # The length of the molecule is known when there are positions.
    context = context_of(mixed(box, of(20.0)), box.positions)
    with pytest.raises(
        openmm.OpenMMException, match=r"22.00 A apart along ., the molecule is \d.\d\d A long"
    ):
        energy_of(context)


def test_a_molecule_alone_may_lie_across_the_boundary(box, committee):
    """``createSystem`` in a box: no charges, so no reach is needed; the molecule is made whole."""
    topology = app.Modeller(box.topology, box.positions / nanometer * unit.nanometer)
    topology.delete([a for a in topology.topology.atoms() if a.index not in ATOMS])
    system = MLPotential("drupe", model=committee).createSystem(topology.topology, removeCMMotion=False)
    context = context_of(system, box.positions[ATOMS])
    before = energy_of(context)
    vectors = 2.2 * nanometer * np.eye(3)
    shifts = np.random.default_rng(1).integers(-1, 2, size=(13, 3))
    context.setPositions((box.positions[ATOMS] + shifts @ vectors) / nanometer)
    assert energy_of(context) == pytest.approx(before, abs=1e-10)
