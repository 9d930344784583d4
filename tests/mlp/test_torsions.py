"""Torsion constants planted into small molecules come back from labels, with errors that are right."""

from dataclasses import dataclass, replace

import numpy as np
import openmm
import pytest
from openmm import unit
from rdkit import Chem
from rdkit.Chem import AllChem
from scipy import stats

from drupe.errors import InputError
from drupe.mlp import Dataset
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.sources import Frame
from drupe.mlp.torsion_design import torsion_design, turn_basis
from drupe.mlp.torsion_kinds import torsions_of
from drupe.mlp.torsion_refit import TorsionRefit, TorsionSpec
from drupe.mlp.torsion_system import refitted_system
from drupe.mlp.torsions import refit_torsions
from drupe.records import pack, unpack
from drupe.units import angstrom, kcal_per_mol, kj_per_mol, nanometer

MASSES = {1: 1.008, 6: 12.011, 7: 14.007, 8: 15.999, 9: 18.998}


@dataclass(frozen=True, eq=False)
class Molecule:
    numbers: np.ndarray
    bonds: np.ndarray
    system: openmm.System
    terms: LigandForceField
    frames: np.ndarray  # bohr


def graph(smiles):
    made = Chem.AddHs(Chem.MolFromSmiles(smiles))
    numbers = np.array([a.GetAtomicNum() for a in made.GetAtoms()])
    return made, numbers, np.array([[b.GetBeginAtomIdx(), b.GetEndAtomIdx()] for b in made.GetBonds()])


def molecule(smiles, n_frames):
    """A molecule at 600 K in a force field with bonds and angles of its first geometry."""
    made, numbers, bonds = graph(smiles)
    AllChem.EmbedMolecule(made, randomSeed=7)
    AllChem.ComputeGasteigerCharges(made)
    charges = np.array([a.GetDoubleProp("_GasteigerCharge") for a in made.GetAtoms()])
    charges -= charges.mean()
    at = made.GetConformer().GetPositions() / 10
    system = openmm.System()
    bond, angle, torsion = (
        openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    )  # fmt: skip
    near = [[] for _ in numbers]
    for i, j in bonds.tolist():
        bond.addBond(i, j, np.linalg.norm(at[i] - at[j]), 250000.0)
        near[i].append(j)
        near[j].append(i)
    for j, others in enumerate(near):
        for a, i in enumerate(others):
            for k in others[:a]:
                one, two = at[i] - at[j], at[k] - at[j]
                cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
                angle.addAngle(i, j, k, np.arccos(cosine), 400.0)
    for j, k in bonds.tolist():
        for i in near[j]:
            for m in near[k]:
                if len({i, j, k, m}) == 4:
                    torsion.addTorsion(i, j, k, m, 3, 0.0, 0.6)
                    torsion.addTorsion(m, k, j, i, 1, np.pi, 0.3)
    force = openmm.NonbondedForce()
    for z, q in zip(numbers.tolist(), charges, strict=True):
        system.addParticle(MASSES[z])
        force.addParticle(q, 0.25 if z == 1 else 0.33, 0.1 if z == 1 else 0.4)
    force.createExceptionsFromBonds(bonds.tolist(), 0.8, 0.5)
    for one in (bond, angle, torsion, force):
        system.addForce(one)
    context = openmm.Context(
        system,
        openmm.LangevinMiddleIntegrator(600, 5 / unit.picosecond, 0.0005),
        openmm.Platform.getPlatformByName("Reference"),
    )
    context.setPositions(at)
    context.getIntegrator().setRandomNumberSeed(5)
    context.setVelocitiesToTemperature(600, 5)
    frames = []
    for _ in range(n_frames):
        context.getIntegrator().step(400)
        state = context.getState(positions=True)
        frames.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer) * nanometer)
    terms = LigandForceField.from_system(system, range(len(numbers)))
    return Molecule(numbers, bonds, system, terms, np.array(frames))


@pytest.fixture(scope="module")
def butane():
    return molecule("CCCC", 40)


@pytest.fixture(scope="module")
def propanol():
    return molecule("CCCO", 40)


def of_openmm(system, positions):
    """Energies (hartree) and forces (hartree/bohr) of frames."""
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    energies, forces = [], []
    for frame in positions:
        context.setPositions(frame / nanometer)
        state = context.getState(energy=True, forces=True)
        energies.append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * kj_per_mol)
        pull = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        forces.append(np.array(pull) * kj_per_mol / nanometer)
    return np.array(energies), np.array(forces)


def planted(kinds, change, spec, own=None):
    """A refit of known constants."""
    p = change.size
    own = np.zeros_like(change) if own is None else own
    return TorsionRefit(spec, kinds, own, change, np.eye(p) * 1e-8, 0.0, 0.0, 0.0, 0, 0, "planted")


def labels_of(mol, refit, *, zero=-150.0, noise=(0.0, 0.0), seed=0, charges=5, mask=()):
    """Labels from the molecule's own force field with planted torsions, in a field of point charges.

    Computed by OpenMM and by Coulomb's formula: nothing of what is tested here makes them.
    """
    rng = np.random.default_rng(seed)
    system = refitted_system(mol.system, range(len(mol.numbers)), mol.numbers, refit)
    energies, forces = of_openmm(system, mol.frames)
    made = []
    for k, at in enumerate(mol.frames):
        around = rng.normal(size=(charges, 3))
        around = at.mean(0) + (14.0 + rng.uniform(0, 4, (charges, 1))) * (
            around / np.linalg.norm(around, axis=1, keepdims=True)
        )
        values = rng.normal(scale=0.4, size=charges)
        apart = at[:, None] - around
        distance = np.linalg.norm(apart, axis=2)
        coulomb = mol.terms.charges[:, None] * values / distance
        push = ((coulomb / distance**2)[..., None] * apart).sum(1)
        made.append(
            Frame(
                level="planted",
                qm_numbers=mol.numbers,
                qm_positions=at,
                energy=None if ("energy", k) in mask else (
                    zero + energies[k] + coulomb.sum() + noise[0] * rng.normal()
                ),
                forces_qm=None if ("forces", k) in mask else (
                    forces[k] + push + noise[1] * rng.normal(size=at.shape)
                ),
                qm_fixed_charges=mol.terms.charges,
                mm_positions=around,
                mm_charges=values,
            )
        )  # fmt: skip
    return Dataset.from_labels(made, energies="relative")


SPEC = TorsionSpec(highest=3, width=kcal_per_mol)
BUTANE_KINDS = ("C4-C4-C4-C4", "C4-C4-C4-H1", "H1-C4-C4-H1")


def some_change(kinds, seed, highest=3):
    return np.random.default_rng(seed).normal(scale=kcal_per_mol, size=(len(kinds), highest))


@pytest.mark.parametrize(
    ("smiles", "turned", "with_rotors"),
    [
        ("CCCC", {(1, 2)}, {(0, 1), (1, 2), (2, 3)}),
        ("CCO", {(1, 2)}, {(0, 1), (1, 2)}),
        ("Cc1ccc(C)cc1", set(), {(0, 1), (4, 5)}),
        ("c1ccccc1c1ccccc1", {(5, 6)}, {(5, 6)}),
        ("C1CCCC1", set(), set()),
        ("CCC#N", set(), {(0, 1)}),
        ("CCC#CCC", set(), {(0, 1), (4, 5)}),
        ("CCN=[N+]=[N-]", {(1, 2)}, {(0, 1), (1, 2)}),
        ("FC(F)(F)CO", {(4, 5)}, {(1, 4), (4, 5)}),
        ("C[NH3+]", set(), {(0, 1)}),
    ],
)
def test_bonds_that_turn_are_outside_rings_and_not_at_the_end(smiles, turned, with_rotors):
    _, numbers, bonds = graph(smiles)
    for rotors, want in ((False, turned), (True, with_rotors)):
        found = torsions_of(numbers, bonds, rotors=rotors)
        assert {tuple(sorted(axis)) for axis in found.axes.tolist()} == want
        ends = [(len(s), int(s.sum())) for s in found.sides]
        assert all(0 < few <= n // 2 for n, few in ends)


def test_kinds_read_the_same_from_either_end(butane):
    found = torsions_of(butane.numbers, butane.bonds)
    assert sorted(set(found.kinds)) == list(BUTANE_KINDS)
    assert len(found.kinds) == 9
    back = torsions_of(butane.numbers[::-1], len(butane.numbers) - 1 - butane.bonds)
    assert sorted(back.kinds) == sorted(found.kinds)


def test_forces_of_the_design_are_differences_of_its_energies(propanol):
    found = torsions_of(propanol.numbers, propanol.bonds, rotors=True)
    kinds = np.arange(len(found.kinds)) % 4
    at = propanol.frames[:2]
    made = torsion_design(at, found.atoms, kinds, 4, 6)
    step = 1e-4
    for atom in range(len(propanol.numbers)):
        for axis in range(3):
            ends = []
            for sign in (1, -1):
                moved = at.copy()
                moved[:, atom, axis] += sign * step
                ends.append(torsion_design(moved, found.atoms, kinds, 4, 6).energy)
            # 2e-6: h^2/6 of third derivatives, n^3 = 216 over a lever of 1.7 bohr, some 27 torsions.
            assert made.forces[:, atom, axis] == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=2e-6)


def test_nothing_changes_when_the_molecule_is_moved_and_turned(propanol):
    found = torsions_of(propanol.numbers, propanol.bonds)
    kinds = np.zeros(len(found.kinds), int)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    at = propanol.frames[:4]
    here = torsion_design(at, found.atoms, kinds, 1, 4)
    for matrix in (turn, -turn):  # also the mirror image: phases are 0 and pi only
        there = torsion_design(at @ matrix.T + [3.0, -7.0, 1.0], found.atoms, kinds, 1, 4)
        assert there.energy == pytest.approx(here.energy, abs=1e-10)
        turned = np.einsum("ab,fibp->fiap", matrix, here.forces)
        assert there.forces == pytest.approx(turned, abs=1e-10)
    assert np.abs(here.forces.sum(1)).max() < 1e-12
    torque = np.cross(at[..., None, :], np.moveaxis(here.forces, 2, 3)).sum(1)
    assert np.abs(torque).max() < 1e-10


def test_turns_leave_bonds_and_angles_as_they_are(propanol):
    found = torsions_of(propanol.numbers, propanol.bonds)
    at = propanol.frames[:3]
    basis = turn_basis(at, found.axes, found.sides)
    assert np.einsum("fxb,fxc->fbc", basis, basis) == pytest.approx(np.eye(2)[None].repeat(3, 0), abs=1e-12)
    stiff = replace(propanol.terms, torsions=propanol.terms.torsions * 0, pairs=propanol.terms.pairs * 0)
    from drupe.mlp.training_set import prepare

    nothing = labels_of(propanol, planted(*_all_of(propanol)), charges=0)
    left = prepare(nothing, None, 1.0, 0.0).forces - prepare(nothing, stiff, 1.0, 0.0).forces
    stiffest = left.numpy().reshape(len(propanol.frames), -1)[:3]
    assert np.abs(stiffest).max() > 1e-3
    assert np.abs(np.einsum("fxb,fx->fb", basis, stiffest)).max() < 1e-12


def _all_of(mol, seed=11, rotors=False):
    kinds = tuple(sorted(set(torsions_of(mol.numbers, mol.bonds, rotors=rotors).kinds)))
    spec = replace(SPEC, rotors=rotors)
    return kinds, some_change(kinds, seed), spec


@pytest.mark.parametrize("rotors", [False, True])
def test_the_refitted_system_is_the_old_one_and_the_design(propanol, rotors):
    kinds, change, spec = _all_of(propanol, rotors=rotors)
    refit = planted(kinds, change, spec)
    system = refitted_system(propanol.system, range(len(propanol.numbers)), propanol.numbers, refit)
    plain, plain_forces = of_openmm(propanol.system, propanol.frames[:6])
    energies, forces = of_openmm(system, propanol.frames[:6])
    made = refit.predict(propanol.numbers, propanol.bonds, propanol.frames[:6])
    assert (energies - plain) / kj_per_mol == pytest.approx(made.energy / kj_per_mol, abs=1e-6)
    assert np.abs(made.energy).max() > kj_per_mol
    scale = kj_per_mol / nanometer
    assert (forces - plain_forces) / scale == pytest.approx(made.forces / scale, abs=1e-6 * 1e3)
    before, after = (
        [openmm.XmlSerializer.serialize(f) for f in s.getForces() if "Torsion" not in f.getName()]
        for s in (propanol.system, system)
    )
    assert before == after


def test_a_molecule_inside_a_larger_system_keeps_its_surroundings(propanol):
    kinds, change, spec = _all_of(propanol)
    refit = planted(kinds, change, spec)
    n = len(propanol.numbers)
    larger = openmm.System()
    larger.addParticle(10.0)
    for a in range(n):
        larger.addParticle(propanol.system.getParticleMass(a))
    bonds = openmm.HarmonicBondForce()
    for i, j in propanol.bonds.tolist():
        bonds.addBond(i + 1, j + 1, 0.12, 1e5)
    larger.addForce(bonds)
    force = openmm.NonbondedForce()
    force.addParticle(0.5, 0.3, 0.1)
    for _ in range(n):
        force.addParticle(0.0, 0.3, 0.1)
    larger.addForce(force)
    system = refitted_system(larger, range(1, n + 1), propanol.numbers, refit)
    at = np.concatenate([np.full((4, 1, 3), 30.0), propanol.frames[:4]], axis=1)
    rise = of_openmm(system, at)[0] - of_openmm(larger, at)[0]
    want = refit.predict(propanol.numbers, propanol.bonds, propanol.frames[:4]).energy
    assert rise / kj_per_mol == pytest.approx(want / kj_per_mol, abs=1e-6)


def test_planted_constants_come_back_from_exact_labels_of_two_molecules(butane, propanol):
    kinds = tuple(sorted({*BUTANE_KINDS, *_all_of(propanol)[0]}))
    change = some_change(kinds, 4)
    truth = planted(kinds, change, SPEC)
    molecules = [
        (labels_of(butane, truth), butane.terms),
        (labels_of(propanol, truth, zero=-190.0, seed=1), propanol.terms),
    ]
    got = refit_torsions(molecules, SPEC)
    assert got.kinds == kinds
    assert set(BUTANE_KINDS[1:]) & set(_all_of(propanol)[0])  # shared
    assert got.change == pytest.approx(change, abs=1e-8)
    # The force field has k_3 = 0.6 and k_1 = -0.3 (phase pi) kJ/mol on every torsion.
    assert got.own / kj_per_mol == pytest.approx(np.array([[-0.3, 0.0, 0.6]] * len(kinds)), abs=1e-9)
    assert got.constants == pytest.approx(got.own + change, abs=1e-8)
    assert (got.n_energies, got.n_forces, got.level) == (80, 80, "planted")


@pytest.mark.parametrize("kept", ["energies", "forces"])
def test_either_kind_of_label_is_enough_and_masked_values_are_not_read(butane, kept):
    change = some_change(BUTANE_KINDS, 5)
    count = len(butane.frames)
    mask = {("forces" if kept == "energies" else "energy", k) for k in range(count)}
    mask |= {("energy" if kept == "energies" else "forces", 3)}
    data = labels_of(butane, planted(BUTANE_KINDS, change, SPEC), mask=mask)
    # What a masked value holds must not matter.
    garbage = replace(
        data,
        energy=np.where(data.has_energy, data.energy, 77.0),
        forces_qm=np.where(data.has_forces_qm[:, None, None], data.forces_qm, -5.0),
    )
    got = refit_torsions([(garbage, butane.terms)], SPEC)
    assert got.change == pytest.approx(change, abs=1e-8)
    assert (got.n_energies, got.n_forces) == ((count - 1, 0) if kept == "energies" else (0, count - 1))
    assert np.isnan(got.noise_energy) == (kept == "forces")
    assert np.isnan(got.noise_turn) == np.isnan(got.noise_force) == (kept == "energies")


def test_noisy_labels_give_constants_within_their_errors(butane):
    """Twenty seeds: planted constants are drawn from the prior, so that the posterior is the whole truth."""
    noise = (kcal_per_mol, 2.0 * kcal_per_mol / angstrom)
    spec = replace(SPEC, highest=2)
    inside, count, chi2, missed = 0, 0, 0.0, []
    for seed in range(20):
        change = some_change(BUTANE_KINDS, 100 + seed, 2)
        data = labels_of(butane, planted(BUTANE_KINDS, change, spec), noise=noise, seed=seed)
        got = refit_torsions([(data, butane.terms)], spec)
        off = (got.change - change).ravel()
        whitened = np.linalg.solve(np.linalg.cholesky(got.covariance), off)
        inside += int((np.abs(whitened) < 1.0).sum())
        count += len(whitened)
        chi2 += float(whitened @ whitened)
        missed.append(np.abs(off / got.errors.ravel()).max())
        assert got.noise_energy == pytest.approx(noise[0], rel=4 / np.sqrt(2 * 39))
        assert got.noise_force == pytest.approx(noise[1], rel=4 / np.sqrt(2 * 39 * 41))
    want = 2 * stats.norm.cdf(1.0) - 1
    assert abs(inside / count - want) < 3 * np.sqrt(want * (1 - want) / count)
    assert stats.chi2.ppf(0.001, count) < chi2 < stats.chi2.ppf(0.999, count)
    assert max(missed) < stats.norm.isf(0.5e-3 / count)


def test_labels_that_the_force_field_explains_change_nothing(butane):
    zeros = np.zeros((3, 3))
    got = refit_torsions([(labels_of(butane, planted(BUTANE_KINDS, zeros, SPEC)), butane.terms)], SPEC)
    assert np.abs(got.change).max() < 1e-8


def test_what_no_label_tells_keeps_the_prior(butane):
    """Labels without energies and forces: the force field's own constants, with the stated width."""
    data = labels_of(butane, planted(BUTANE_KINDS, some_change(BUTANE_KINDS, 1), SPEC))
    nothing = np.zeros(data.n_frames, bool)
    blank = replace(data, has_energy=nothing, has_forces_qm=nothing)
    got = refit_torsions([(blank, butane.terms)], SPEC)
    assert not got.change.any()
    assert got.errors == pytest.approx(np.full((3, 3), SPEC.width), rel=1e-12)
    assert np.isnan([got.noise_energy, got.noise_turn, got.noise_force]).all()


def test_errors_of_predictions_are_those_of_draws(butane):
    noise = (kcal_per_mol, 4.0 * kcal_per_mol / angstrom)
    data = labels_of(butane, planted(BUTANE_KINDS, some_change(BUTANE_KINDS, 6), SPEC), noise=noise)
    got = refit_torsions([(data, butane.terms)], SPEC)
    made = got.predict(butane.numbers, butane.bonds, butane.frames[:10])
    draws = got.draws(4000, seed=2)
    spread = draws @ got.design(butane.numbers, butane.bonds, butane.frames[:10]).energy.T
    # Four standard errors of a standard deviation of 4,000 draws.
    assert spread.std(0) == pytest.approx(made.sigma, rel=4 / np.sqrt(8000))
    assert spread.mean(0) == pytest.approx(made.energy, abs=4 * made.sigma.max() / np.sqrt(4000))


def test_a_refit_is_stored_and_read_back(butane):
    data = labels_of(butane, planted(BUTANE_KINDS, some_change(BUTANE_KINDS, 6), SPEC))
    got = refit_torsions([(data, butane.terms)], SPEC)
    assert unpack(pack(got)).key == got.key


def test_refuses_what_cannot_be_refitted(butane, propanol):
    data = labels_of(butane, planted(BUTANE_KINDS, some_change(BUTANE_KINDS, 6), SPEC))
    ethane = molecule("CC", 3)
    none = labels_of(ethane, planted(("H1-C4-C4-H1",), np.full((1, 3), 1e-3), replace(SPEC, rotors=True)))
    with pytest.raises(InputError, match="no bond of molecule 1 can be turned") as error:
        refit_torsions([(data, butane.terms), (none, ethane.terms)], SPEC)
    assert "rotors=True" in error.value.remedy
    with pytest.raises(InputError, match="labels of 14 atoms come with a force field of 12"):
        refit_torsions([(data, propanol.terms)], SPEC)
    with pytest.raises(InputError, match=r"levels \['other', 'planted'\]"):
        refit_torsions([(data, butane.terms), (replace(data, level="other"), butane.terms)], SPEC)
    refit = refit_torsions([(data, butane.terms)], SPEC)
    with pytest.raises(InputError, match="this molecule has C4-C4-C4-O2"):
        refitted_system(propanol.system, range(12), propanol.numbers, refit)
    with pytest.raises(InputError, match="none that turn"):
        refit.predict(ethane.numbers, ethane.bonds, ethane.frames)
    for bad in ({"highest": 0}, {"highest": 7}, {"width": 0.0}, {"width": float("nan")}, {"rotors": 1}):
        with pytest.raises(
            InputError, match=f"{next(iter(bad))}.* torsion refit|torsion refit has {next(iter(bad))}"
        ):
            TorsionSpec(**bad)


def test_three_atoms_on_a_line_are_named():
    line = np.array([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [3.0, 1.0, 0.0]]])
    with pytest.raises(InputError, match=r"\[0, 1, 2, 3\] lie on a line in frame 0"):
        torsion_design(line, np.array([[0, 1, 2, 3]]), np.array([0]), 1, 3)
