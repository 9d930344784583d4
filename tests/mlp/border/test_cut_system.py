"""Mixed systems across a covalent border, and which of their terms belong to whom."""

import dataclasses

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit
from openmmml import MLPotential
from openmmml.embeddings import utilities

from drupe.embedding.export import write_extxyz
from drupe.errors import InputError
from drupe.mlp import Committee, Dataset, FitSpec, train
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.border import border_of
from drupe.mlp.extxyz import frames_of_extxyz
from drupe.mlp.potential import Potential
from drupe.mlp.specs import TransferSpec
from drupe.mlp.transfer import transfer_member
from drupe.units import kj_per_mol, nanometer

GROUP = 7
SCHEMES = ["z1", "rc", "rcd"]


def energy_of(system, positions, **options):
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(positions / nanometer)
    for name, value in options.pop("parameters", {}).items():
        context.setParameter(name, value)
    state = context.getState(getEnergy=True, getForces=True, **options)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return (
        state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * kj_per_mol,
        np.array(forces) * kj_per_mol / nanometer,
    )


def classical_rest(peptide, *, coulomb):
    """What stays of the MM system beside a label: terms OpenMM-ML leaves, Lennard-Jones across the border."""
    system = utilities.removeBonds(peptide.system, peptide.topology, peptide.qm, True)
    force = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    inside = set(peptide.qm)
    for i in range(force.getNumExceptions()):
        a, b, product, sigma, epsilon = force.getExceptionParameters(i)
        if (a in inside) != (b in inside) and not coulomb:
            force.setExceptionParameters(i, a, b, 0.0, sigma, epsilon)
    for a in peptide.qm:
        for b in peptide.qm:
            if b < a:
                force.addException(a, b, 0.0, 1.0, 0.0, True)
        _, sigma, epsilon = force.getParticleParameters(a)
        if not coulomb:
            force.setParticleParameters(a, 0.0, sigma, epsilon)
    return system


def test_the_baseline_is_what_leaves_the_mm_system(peptide, labels, terms, random_model):
    """Angles and torsions with the MM host in them, evaluated with the link atom in its place."""
    border, rows = border_of(labels["rcd"][0])
    energy = Potential(random_model(Dataset.from_labels(labels["rcd"]), terms).header).baseline
    assert (terms.angle_atoms == 5).any()
    assert (terms.torsion_atoms == 5).any()
    assert not (terms.bond_atoms == 5).any()
    for i in range(4):
        here = peptide.frames[i]
        capped = border.cap(
            here[peptide.qm],
            here[peptide.regions.mm_atoms],
            np.zeros(len(peptide.regions.mm_atoms)),
            None,
            rows,
        )
        left = energy_of(classical_rest(peptide, coulomb=True), here)[0]
        want = energy_of(peptide.system, here)[0] - left
        assert float(energy(torch.tensor(capped.positions[None]))) == pytest.approx(want, abs=1e-7)


def mixed(peptide, committee, **options):
    return MLPotential("drupe", model=committee).createMixedSystem(
        peptide.topology,
        options.pop("system", peptide.system),
        peptide.qm,
        embedding="electrostatic",
        forceGroup=GROUP,
        **options,
    )


@pytest.mark.parametrize(("scheme", "reach"), [*((scheme, None) for scheme in SCHEMES), ("rcd", 0.0)])
def test_the_mixed_system_is_the_label_and_the_rest(peptide, labels, terms, scheme, reach, random_model):
    """E = E_MM without the region's own terms and its charges + the label's quantity; forces on all atoms."""
    data = Dataset.from_labels(labels[scheme])
    committee = random_model(data, terms, reach=reach)
    system = mixed(peptide, committee)
    assert system.getNumParticles() == peptide.system.getNumParticles()
    for i in range(2):
        here = peptide.frames[i]
        rest, rest_forces = energy_of(classical_rest(peptide, coulomb=False), here)
        made = committee.predict(*data.frame(i))
        got, forces = energy_of(system, here)
        # 1e-6 hartree: OpenMM's Coulomb constant in nine digits.
        assert got == pytest.approx(rest + made.energy - committee.header.energy_zero, abs=1e-6)
        want = rest_forces.copy()
        want[peptide.qm] += made.forces_qm
        want[peptide.regions.mm_atoms] += made.forces_mm
        assert forces == pytest.approx(want, abs=2e-6)
    step = 1e-3
    host = int(peptide.regions.links[0, 1])
    for atom, axis in ((peptide.qm[0], 0), (host, 1), (host, 2), (host + 1, 0)):
        ends = []
        for sign in (1, -1):
            moved = here.copy()
            moved[atom, axis] += sign * step
            ends.append(energy_of(system, moved)[0])
        # 3e-6 hartree/bohr: h^2/6 of third derivatives near 10 hartree/bohr^3 of bonds across the border.
        assert forces[atom, axis] == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=3e-6)


def test_interpolation_leads_from_mm_to_the_mixed_system(peptide, labels, terms, random_model):
    committee = random_model(Dataset.from_labels(labels["rcd"]), terms)
    system, here = mixed(peptide, committee, interpolate=True), peptide.frames[3]
    found = [energy_of(system, here, parameters={"lambda_interpolate": v}) for v in (0.0, 0.25, 1.0)]
    for value, want in ((0, peptide.system), (2, mixed(peptide, committee))):
        energy, forces = energy_of(want, here)
        # 1e-6: the interpolation writes the Coulomb constant with nine digits.
        assert found[value][0] == pytest.approx(energy, abs=1e-6)
        assert found[value][1] == pytest.approx(forces, abs=2e-6)
    assert found[1][0] == pytest.approx(0.75 * found[0][0] + 0.25 * found[2][0], abs=1e-9)


def test_implicit_solvent_stays_that_of_the_mm_system(peptide, labels, terms, random_model):
    committee = random_model(Dataset.from_labels(labels["rcd"]), terms)
    wet, here = peptide.in_solvent("obc2"), peptide.frames[3]
    gained = energy_of(wet, here)[0] - energy_of(peptide.system, here)[0]
    assert abs(gained) > 0.01
    got = energy_of(mixed(peptide, committee, system=wet), here)[0]
    assert got == pytest.approx(energy_of(mixed(peptide, committee), here)[0] + gained, abs=1e-8)


def test_in_a_box_any_image_of_any_atom_will_do(peptide, labels, terms, random_model):
    data = Dataset.from_labels(labels["rcd"])
    committee = random_model(data, terms, reach=14.0)
    boxed = openmm.XmlSerializer.clone(peptide.system)
    width = 2.6
    boxed.setDefaultPeriodicBoxVectors([width, 0, 0], [0, width, 0], [0, 0, width])
    for force in boxed.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setNonbondedMethod(openmm.NonbondedForce.PME)
            force.setCutoffDistance(0.9)
            force.setUseSwitchingFunction(True)
            force.setSwitchingDistance(0.8)
        else:
            force.setUsesPeriodicBoundaryConditions(True)
    system, here = mixed(peptide, committee, system=boxed), peptide.frames[2]
    energy, forces = energy_of(system, here, groups={GROUP})
    frame = data.frame(2)
    made = committee.evaluate(*frame, fixed_coulomb=False)
    assert energy == pytest.approx(float(made.energies.mean()), abs=1e-9)
    steps = np.random.default_rng(5).integers(-1, 2, size=here.shape)
    moved, moved_forces = energy_of(system, here + steps * width * nanometer, groups={GROUP})
    assert moved == pytest.approx(energy, abs=1e-9)
    assert moved_forces == pytest.approx(forces, abs=1e-8)
    whole = energy_of(system, here)
    for atom in (peptide.qm[0], int(peptide.regions.links[0, 1])):
        ends = []
        for sign in (1, -1):
            place = here.copy()
            place[atom, 1] += sign * 1e-3
            ends.append(energy_of(system, place)[0])
        assert whole[1][atom, 1] == pytest.approx((ends[1] - ends[0]) / 2e-3, abs=2e-5)


@pytest.mark.slow
def test_a_short_fit_learns_the_labels(peptide, labels, terms):
    data = Dataset.from_labels(labels["rcd"], blocks=[i // 3 for i in range(12)])
    spec = FitSpec(members=2, steps=150, features=16, seed=1)
    committee = train(data, spec, terms)
    start = Committee((Potential(committee.header).stored(),))
    found = []
    for model in (start, committee):
        made = model.predict_all(data, force_errors=len(model.members) > 1)
        on_qm = np.array([one.forces_qm for one in made]) - data.forces_qm
        on_mm = np.array([one.forces_mm for one in made]) - data.forces_mm
        found.append([np.sqrt((part**2).mean()) for part in (on_qm, on_mm)])
    assert found[1][0] < 0.3 * found[0][0]
    assert found[1][1] < 0.6 * found[0][1]
    assert made[0].forces_qm_error.sigma.shape == (5,)
    assert made[0].forces_mm_error.sigma.shape == (len(peptide.regions.mm_atoms),)
    context = openmm.Context(
        mixed(peptide, committee),
        openmm.LangevinMiddleIntegrator(300, 1 / unit.picosecond, 0.0005),
        openmm.Platform.getPlatformByName("Reference"),
    )
    context.setPositions(peptide.frames[0] / nanometer)
    context.getIntegrator().step(350)
    assert committee.network().frozen  # it runs from the graph that long runs are written down into
    place = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    host = peptide.regions.links[0]
    assert np.linalg.norm(place[host[0]] - place[host[1]]) == pytest.approx(0.153, abs=0.02)


def test_refuses_other_borders_by_name(peptide, labels, terms, tmp_path, random_model):
    data = Dataset.from_labels(labels["rcd"])
    with pytest.raises(InputError, match="label 1 has 1 link atom"):
        Dataset.from_labels([labels["rcd"][0], labels["z1"][1]])
    committee = random_model(data, terms)
    with pytest.raises(InputError, match="border_atoms"):
        committee.predict(*data.frame(0)[:4])
    with pytest.raises(InputError, match="not the 4 border atoms"):
        committee.predict(*data.frame(0)[:4], data.frame(0).border_atoms[:2])
    with pytest.raises(InputError, match="electrostatic"):
        MLPotential("drupe", model=committee).createMixedSystem(
            peptide.topology, peptide.system, peptide.qm, embedding="mechanical"
        )
    with pytest.raises(InputError, match="linkAtomDistances"):
        mixed(peptide, committee, linkAtomDistances=[(0, 1, 0.1)])
    with pytest.raises(InputError, match=r"links=partition\.links"):
        LigandForceField.from_system(peptide.system, peptide.qm)
    with pytest.raises(InputError, match="is named as a link and is no bond"):
        LigandForceField.from_system(peptide.system, peptide.qm, [*peptide.regions.links, [peptide.qm[0], 0]])
    write_extxyz(tmp_path / "cut.extxyz", [(str(i), one) for i, one in enumerate(labels["rcd"][:2])])
    with pytest.raises(InputError, match="cuts 1 covalent bond"):
        frames_of_extxyz(tmp_path / "cut.extxyz")
    other = dataclasses.replace(data, border=dataclasses.replace(data.border, shares=-data.border.shares))
    with pytest.raises(InputError, match="high-level labels have 1 link atom"):
        transfer_member(Potential.from_stored(committee.members[0]), other, data, TransferSpec())
    lost = dataclasses.replace(peptide, topology=app.Topology())
    chain = lost.topology.addChain()
    table = list(peptide.topology.atoms())
    for residue in peptide.topology.residues():
        new = lost.topology.addResidue(residue.name, chain)
        for atom in residue.atoms():
            lost.topology.addAtom(atom.name, atom.element, new)
    new_table = list(lost.topology.atoms())
    host = set(peptide.regions.links[0].tolist())
    for a, b in peptide.topology.bonds():
        if {a.index, b.index} != host:
            lost.topology.addBond(new_table[a.index], new_table[b.index])
    assert len(table) == len(new_table)
    with pytest.raises(InputError, match=r"lacks 1 bond\(s\) of the System between ML and MM atoms"):
        mixed(lost, committee)
