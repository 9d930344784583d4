"""The mixed system in OpenMM: a ligand with its nearest residues in implicit solvent."""

import copy
import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import openmm
import openmmtools
import pytest
import torch
from openmm import unit
from openmmml import MLPotential

from drupe.embedding.structures.structure import cut_out, openmm_system, openmm_topology, read_amber
from drupe.errors import InputError
from drupe.mlp import Committee
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.potential import Potential
from drupe.units import kj_per_mol, nanometer

FOLDER = Path(openmmtools.__file__).parent / "data" / "T4-lysozyme-L99A-implicit"
GROUP = 7


@dataclasses.dataclass(frozen=True, eq=False)
class Pocket:
    topology: object
    system: openmm.System
    positions: np.ndarray  # bohr
    charges: np.ndarray
    atoms: list[int]
    numbers: np.ndarray

    @property
    def others(self):
        return [i for i in range(len(self.charges)) if i not in set(self.atoms)]


@pytest.fixture(scope="module")
def pocket():
    whole = read_amber(FOLDER / "complex.prmtop", FOLDER / "complex-minimized.crd", implicit_solvent="OBC2")
    names = np.array(whole.system.residue_names)
    ligand = np.flatnonzero(names == "TMP")
    apart = np.linalg.norm(whole.system.positions[:, None] - whole.system.positions[ligand], axis=2).min(1)
    residues = set(whole.system.residue_ids[apart < 3.5 / 0.529177])
    keep = [i for i in range(whole.system.n_atoms) if whole.system.residue_ids[i] in residues]
    part = cut_out(whole, keep)
    atoms = [i for i, name in enumerate(part.system.residue_names) if name == "TMP"]
    assert 60 < part.system.n_atoms < 400
    return Pocket(
        openmm_topology(part.system),
        openmm_system(part),
        part.system.positions,
        part.system.charges,
        atoms,
        part.system.numbers[atoms],
    )


@pytest.fixture(scope="module")
def committee(pocket, random_members):
    """The random weights on the pocket's ligand, with its own force field."""
    force_field = LigandForceField.from_system(pocket.system, pocket.atoms)
    header = dataclasses.replace(
        random_members[0].header,
        numbers=pocket.numbers,
        fixed_charges=pocket.charges[pocket.atoms],
        baseline=force_field,
    )
    return Committee(tuple(dataclasses.replace(one.stored(), header=header) for one in random_members))


@pytest.fixture(scope="module")
def model(committee, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "ligand.drupe"
    committee.save(path)
    return path


def mixed(pocket, model, **options):
    return MLPotential("drupe", model=str(model)).createMixedSystem(
        pocket.topology, pocket.system, pocket.atoms, embedding="electrostatic", forceGroup=GROUP, **options
    )


def context_of(system, positions, step_ps=0.0005):
    made = openmm.Context(
        system,
        openmm.LangevinMiddleIntegrator(300, 1.0 / unit.picosecond, step_ps),
        openmm.Platform.getPlatformByName("Reference"),
    )
    made.setPositions(positions / nanometer)
    return made


def state_of(context, **options):
    state = context.getState(getEnergy=True, getForces=True, **options)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * kj_per_mol
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return energy, np.array(forces) * kj_per_mol / nanometer


def learned_term(committee, pocket, positions):
    """E_ML for OpenMM from the label's quantity: minus sum q0 phi by hand, minus zero."""
    qm, mm, charges = positions[pocket.atoms], positions[pocket.others], pocket.charges[pocket.others]
    made = committee.predict(qm, mm, charges)
    apart = np.linalg.norm(qm[:, None] - mm, axis=2)
    fixed = float((pocket.charges[pocket.atoms][:, None] * charges / apart).sum())
    return made.energy - fixed - committee.header.energy_zero


def test_energy_is_that_of_the_formula(pocket, committee, model):
    here = pocket.positions
    full, _ = state_of(context_of(pocket.system, here))
    inside = committee.stack.baseline
    own = float(inside(torch.tensor(here[pocket.atoms][None])))
    got, _ = state_of(context_of(mixed(pocket, model), here))
    want = full - own + learned_term(committee, pocket, here)
    # 1e-6 hartree: OpenMM's Coulomb constant in nine digits over about 1 hartree of Coulomb terms.
    assert got == pytest.approx(want, abs=1e-6)


def test_mechanical_embedding_is_a_reach_of_zero(pocket, committee, with_reach, tmp_path):
    deaf = with_reach(committee.members, 0.0)
    deaf.save(tmp_path / "deaf.drupe")
    here = pocket.positions
    full, _ = state_of(context_of(pocket.system, here))
    own = float(committee.stack.baseline(torch.tensor(here[pocket.atoms][None])))
    alone = deaf.predict(here[pocket.atoms], np.zeros((0, 3)), np.zeros(0)).energy
    got, forces = state_of(context_of(mixed(pocket, tmp_path / "deaf.drupe"), here))
    # 1e-6 hartree: OpenMM's Coulomb constant in nine digits over about 1 hartree of Coulomb terms.
    assert got == pytest.approx(full - own + alone - committee.header.energy_zero, abs=1e-6)
    _, without = state_of(context_of(pocket.system, here))
    assert forces[pocket.others] == pytest.approx(without[pocket.others], abs=1e-8)


def test_lambda_zero_is_the_mm_system_and_lambda_is_linear(pocket, model):
    context = context_of(mixed(pocket, model, interpolate=True), pocket.positions)
    energies, forces = [], []
    for value in (0.0, 0.35, 1.0):
        context.setParameter("lambda_interpolate", value)
        energy, force = state_of(context)
        energies.append(energy)
        forces.append(force)
    full, full_forces = state_of(context_of(pocket.system, pocket.positions))
    # 1e-6: the interpolation writes the Coulomb constant with nine digits.
    assert energies[0] == pytest.approx(full, abs=1e-6)
    assert forces[0] == pytest.approx(full_forces, abs=1e-6)
    assert energies[1] == pytest.approx(0.65 * energies[0] + 0.35 * energies[2], abs=1e-9)
    assert forces[1] == pytest.approx(0.65 * forces[0] + 0.35 * forces[2], abs=1e-9)
    end, end_forces = state_of(context_of(mixed(pocket, model), pocket.positions))
    assert energies[2] == pytest.approx(end, abs=1e-6)
    assert forces[2] == pytest.approx(end_forces, abs=1e-6)
    slope = context.getState(getParameterDerivatives=True, groups={GROUP}).getEnergyParameterDerivatives()
    derivative = slope["lambda_interpolate"] * kj_per_mol
    assert derivative == pytest.approx(energies[2] - energies[0], abs=1e-6)


def test_forces_in_openmm_are_finite_differences(pocket, model):
    context = context_of(mixed(pocket, model), pocket.positions)
    _, forces = state_of(context)
    step = 1e-3
    apart = np.linalg.norm(pocket.positions[pocket.others][:, None] - pocket.positions[pocket.atoms], axis=2)
    near = pocket.others[int(np.argmin(apart.min(1)))]
    for atom, axis in ((pocket.atoms[0], 0), (pocket.atoms[5], 2), (near, 1), (near, 2)):
        ends = []
        for sign in (1, -1):
            moved = pocket.positions.copy()
            moved[atom, axis] += sign * step
            context.setPositions(moved / nanometer)
            ends.append(state_of(context)[0])
        # 2e-6 hartree/bohr: h^2/6 of third derivatives near 1 hartree/bohr^3, and the surface-area term.
        assert forces[atom, axis] == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=2e-6)


@pytest.mark.parametrize("interpolate", [False, True])
def test_one_network_call_per_step(pocket, model, monkeypatch, interpolate):
    calls = []
    honest = Potential.learned
    monkeypatch.setattr(Potential, "learned", lambda self, *a: (calls.append(1), honest(self, *a))[1])
    context = context_of(mixed(pocket, model, interpolate=interpolate), pocket.positions)
    context.setVelocitiesToTemperature(300, 1)
    state_of(context)
    calls.clear()
    for _ in range(5):
        context.getIntegrator().step(1)
        if interpolate:
            context.getState(getParameterDerivatives=True, groups={GROUP})
    # The first step starts where the energy was just asked for; the last derivative is of the end point.
    assert len(calls) == 4 + interpolate


@pytest.mark.slow
def test_a_trained_potential_is_stable_at_300_k(low_fits, low_data, ligand, frames):
    made = Committee.from_fits(low_fits, low_data)
    system = MLPotential("drupe", model=made).createMixedSystem(
        ligand.topology, ligand.system, range(18), embedding="electrostatic"
    )
    context = context_of(system, frames[0])
    context.setVelocitiesToTemperature(300, 2)
    context.getIntegrator().setRandomNumberSeed(4)
    temperatures = []
    for _ in range(8):
        context.getIntegrator().step(50)
        state = context.getState(getEnergy=True, getPositions=True)
        kinetic = state.getKineticEnergy().value_in_unit(unit.kilojoule_per_mole)
        temperatures.append(2 * kinetic / (54 * 0.00831446))
        place = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer) * nanometer
        lengths = np.linalg.norm(
            place[ligand.force_field.bond_atoms[:, 0]] - place[ligand.force_field.bond_atoms[:, 1]], axis=1
        )
        assert np.abs(lengths / ligand.force_field.bonds[:, 0] - 1).max() < 0.25
    assert np.mean(temperatures) < 600


def test_refuses_other_molecules_charges_boxes_and_cut_bonds(pocket, model):
    potential = MLPotential("drupe", model=model)

    def make(topology=pocket.topology, system=pocket.system, atoms=pocket.atoms):
        return potential.createMixedSystem(topology, system, atoms, embedding="electrostatic")

    with pytest.raises(InputError, match="atomic numbers"):
        make(atoms=pocket.atoms[::-1])
    with pytest.raises(InputError, match="repeat an index"):
        make(atoms=[*pocket.atoms[:-1], pocket.atoms[0]])
    changed = openmm.XmlSerializer.clone(pocket.system)
    nonbonded = next(f for f in changed.getForces() if isinstance(f, openmm.NonbondedForce))
    _, sigma, epsilon = nonbonded.getParticleParameters(pocket.atoms[0])
    nonbonded.setParticleParameters(pocket.atoms[0], 0.5, sigma, epsilon)
    with pytest.raises(InputError, match="fixed charges"):
        make(system=changed)
    boxed = openmm.XmlSerializer.clone(pocket.system)
    next(f for f in boxed.getForces() if isinstance(f, openmm.NonbondedForce)).setNonbondedMethod(
        openmm.NonbondedForce.PME
    )
    with pytest.raises(InputError, match="periodic"):
        make(system=boxed)
    tied = copy.deepcopy(pocket.topology)
    table = list(tied.atoms())
    tied.addBond(table[pocket.atoms[0]], table[pocket.others[0]])
    with pytest.raises(InputError, match="covalent bond"):
        make(topology=tied)


def test_refuses_a_missing_model(tmp_path):
    with pytest.raises(InputError, match="no model file"):
        MLPotential("drupe", model=str(tmp_path / "no.drupe"))
    with pytest.raises(InputError, match="got no model"):
        MLPotential("drupe")


@pytest.mark.parametrize(
    "order", ["import openmmml; import drupe.mlp.plugin", "import drupe.mlp.plugin; import openmmml"]
)
def test_both_import_orders_work(model, order):
    code = f"{order}\nfrom openmmml import MLPotential\nMLPotential('drupe', model={str(model)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_does_not_load_torch():
    code = "import sys, drupe.mlp; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_without_a_baseline_runs_too(pocket, committee):
    """The shortest way to train has no baseline: its network carries all of the molecule's energy."""
    members = tuple(
        dataclasses.replace(m, header=dataclasses.replace(m.header, baseline=None)) for m in committee.members
    )
    bare = Committee(members)
    system = MLPotential("drupe", model=bare).createMixedSystem(
        pocket.topology, pocket.system, pocket.atoms, embedding="electrostatic", forceGroup=GROUP
    )
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(pocket.positions / nanometer)
    state = context.getState(energy=True, forces=True, groups={GROUP})
    got = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * kj_per_mol
    inside, outside = pocket.positions[pocket.atoms], pocket.positions[pocket.others]
    charges = pocket.charges[pocket.others]
    made = bare.evaluate(inside, outside, charges, fixed_coulomb=False)
    # 1e-8: positions pass through nanometres and back.
    assert got == pytest.approx(float(made.energies.mean()), abs=1e-8)


def test_forgetting_the_embedding_is_said_aloud(pocket, committee):
    potential = MLPotential("drupe", model=committee)
    with pytest.warns(UserWarning, match='embedding="electrostatic"'):
        potential.createMixedSystem(pocket.topology, pocket.system, pocket.atoms)
