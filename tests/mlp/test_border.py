"""A serine's side chain cut off its backbone: methanol with a link atom, in the charges of the peptide."""

import dataclasses

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit
from openmmml import MLPotential
from openmmml.embeddings import utilities

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.embedding.export import write_extxyz
from drupe.embedding.regions.boundary import quantum_region
from drupe.errors import InputError
from drupe.mlp import Committee, Dataset, FitSpec, train
from drupe.mlp.backbones.settings import AcsfSettings
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.border import border_of
from drupe.mlp.force import LearnedForce
from drupe.mlp.loss import predict_frames
from drupe.mlp.potential import Potential, PotentialHeader
from drupe.mlp.sources import frames_of_extxyz
from drupe.mlp.specs import TransferSpec
from drupe.mlp.training_set import prepare
from drupe.mlp.transfer import transfer_member
from drupe.units import angstrom, kj_per_mol, nanometer

GROUP = 7
SCHEMES = ["z1", "rc", "rcd"]
HF = Level("HF", "sto-3g", auxbasis=None, scf_tolerance=1e-11, gradient_tolerance=1e-7)
SMILES = "CC(=O)N[C@@H](CO)C(=O)NC"
RESIDUES = {"ACE": [0, 1, 2], "SER": [3, 4, 5, 6, 7, 8], "NME": [9, 10]}
CA, CB, OG = 4, 5, 6


@dataclasses.dataclass(frozen=True, eq=False)
class Peptide:
    """ACE-SER-NME and two waters; ``frames`` in bohr."""

    topology: app.Topology
    system: openmm.System
    frames: list[np.ndarray]
    qm: list[int]
    regions: Partition

    def at(self, i):
        return MolecularSystem.from_openmm(self.topology, self.system, self.frames[i] / nanometer)


def force_field(topology, *files, **settings):
    made = app.ForceField("amber14-all.xml", "amber14/tip3p.xml", *files)
    return made.createSystem(topology, rigidWater=False, removeCMMotion=False, **settings)


def build():
    """Topology and positions (nm), and the place of each heavy atom of the SMILES."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles(SMILES))
    AllChem.EmbedMolecule(molecule, randomSeed=4)
    AllChem.MMFFOptimizeMolecule(molecule)
    place = molecule.GetConformer().GetPositions() / 10
    topology, made, positions = app.Topology(), {}, []
    chain = topology.addChain()
    for name, heavy in RESIDUES.items():
        residue = topology.addResidue(name, chain)
        for atom in heavy:
            mates = [
                n.GetIdx() for n in molecule.GetAtomWithIdx(atom).GetNeighbors() if n.GetAtomicNum() == 1
            ]
            for k in (atom, *mates):
                element = app.Element.getByAtomicNumber(molecule.GetAtomWithIdx(k).GetAtomicNum())
                made[k] = topology.addAtom(f"{element.symbol}{k}", element, residue)
                positions.append(place[k])
    for bond in molecule.GetBonds():
        topology.addBond(made[bond.GetBeginAtomIdx()], made[bond.GetEndAtomIdx()])
    for shift in (place[OG] - place[CA], place[CA] - place[OG]):
        start = place[OG if shift @ (place[OG] - place[CA]) > 0 else CA] + 0.45 * shift / np.linalg.norm(
            shift
        )
        residue = topology.addResidue("HOH", topology.addChain())
        oxygen, *hydrogens = (
            topology.addAtom(n, app.Element.getBySymbol(n[0]), residue) for n in ("O", "H1", "H2")
        )
        for hydrogen in hydrogens:
            topology.addBond(oxygen, hydrogen)
        positions += list(start + np.array([[0, 0, 0], [0.09572, 0, 0], [-0.024, 0.09266, 0]]))
    return topology, np.array(positions), {k: atom.index for k, atom in made.items()}


@pytest.fixture(scope="module")
def peptide():
    topology, start, place = build()
    system = force_field(topology)
    integrator = openmm.LangevinMiddleIntegrator(300, 5 / unit.picosecond, 0.0005)
    integrator.setRandomNumberSeed(3)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(start)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=100)
    context.setVelocitiesToTemperature(300, 3)
    frames = []
    for _ in range(12):
        integrator.step(600)
        now = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        frames.append(np.array(now) * nanometer)
    bonded = {CB, OG}
    qm = sorted(
        {place[k] for k in bonded}
        | {
            b.index if a.index in {place[k] for k in bonded} else a.index
            for a, b in topology.bonds()
            if {a.index, b.index} & {place[k] for k in bonded}
            and 1 in (a.element.atomic_number, b.element.atomic_number)
        }
    )
    whole = MolecularSystem.from_openmm(topology, system, frames[0] / nanometer)
    regions = Partition.select(whole, qm=qm, charge=0)
    assert regions.links.tolist() == [[place[CB], place[CA]]]
    assert whole.numbers[qm].tolist() == [6, 1, 1, 8, 1]
    return Peptide(topology, system, frames, qm, regions)


@pytest.fixture(scope="module")
def labels(peptide):
    """Two labels of each scheme, and ten more of the default."""
    made = {
        scheme: [
            label(peptide.at(i), peptide.regions, dataclasses.replace(HF, boundary=scheme)) for i in range(2)
        ]
        for scheme in SCHEMES
    }
    made["rcd"] += [label(peptide.at(i), peptide.regions, HF) for i in range(2, 12)]
    return made


@pytest.fixture(scope="module")
def terms(peptide):
    return LigandForceField.from_system(peptide.system, peptide.qm, peptide.regions.links)


def random_committee(dataset, baseline, **changes):
    """Two potentials with large random weights, so that no term is small."""
    header = PotentialHeader(
        numbers=dataset.numbers,
        fixed_charges=dataset.fixed_charges,
        total_charge=dataset.total_charge,
        backbone="painn",
        features=8,
        layers=2,
        radial=6,
        cutoff=9.0,
        damping=2.0,
        field_scale=0.02,
        energy_scale=0.005,
        energy_bound=0.1,
        charge_scale=0.1,
        polarizability_scale=5.0,
        energy_zero=-113.0,
        level=dataset.level,
        training_set="none",
        baseline=baseline,
        border=dataset.border,
    )
    members = []
    for seed in range(2):
        one = Potential(dataclasses.replace(header, **changes), seed=seed)
        draw = torch.Generator().manual_seed(seed)
        torch.nn.init.normal_(one.readout.last.weight, std=0.3, generator=draw)
        members.append(one.stored())
    return Committee(tuple(members))


ACSF = {"backbone": "acsf", "settings": AcsfSettings(charge_radial=4, charge_cutoff=9.0, angular_cutoff=6.0)}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_the_network_sees_is_what_the_label_saw(peptide, labels, scheme):
    """Link atoms and charges of another frame, by the code of the labels."""
    border, rows = border_of(labels[scheme][0])
    system = peptide.at(5)
    region = quantum_region(system, peptide.regions, dataclasses.replace(HF, boundary=scheme))
    qm, mm = system.positions[peptide.qm], system.positions[peptide.regions.mm_atoms]
    charges = system.charges[peptide.regions.mm_atoms]
    made = border.cap(qm, mm, charges, None, rows)
    assert made.positions == pytest.approx(region.positions, abs=1e-9)
    kept = np.flatnonzero(made.charges)

    def sorted_sites(points, values):
        table = np.column_stack([points, values])
        return table[np.lexsort(np.round(table, 6).T)]

    want = sorted_sites(region.points, region.charges)
    assert sorted_sites(made.points[kept], made.charges[kept]) == pytest.approx(want, abs=1e-9)
    assert made.charges[rows[0]] == 0.0  # not nearly: the link atom is 0.4 A away
    lost = charges[rows[0]] if scheme == "z1" else 0.0
    assert made.charges.sum() == pytest.approx(charges.sum() - lost, abs=1e-12)
    # Forces back: the same as the label's.
    rng = np.random.default_rng(2)
    on_region, on_points = rng.normal(size=made.positions.shape), np.zeros(made.points.shape)
    for point, value in zip(region.points, (pushed := rng.normal(size=region.points.shape)), strict=True):
        on_points[kept[np.linalg.norm(made.points[kept] - point, axis=1).argmin()]] = value
    for got, wanted in zip(
        made.scatter(on_region, on_points), region.scatter(on_region, pushed), strict=True
    ):
        assert got == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("changes", [{}, {"reach": 14.0}, ACSF], ids=["painn", "reach", "acsf"])
def test_forces_are_slopes_on_hosts_and_neighbours(labels, terms, scheme, changes):
    data = Dataset.from_labels(labels[scheme][:2])
    committee = random_committee(data, terms, **changes)
    qm, mm, charges, groups, rows = data.frame(1)
    made = committee.predict(qm, mm, charges, groups, rows)

    def energy(moved_qm, moved_mm):
        return committee.predict(moved_qm, moved_mm, charges, groups, rows).energy

    step = 1e-4
    for atom in range(len(qm)):
        for axis in range(3):
            shift = np.zeros_like(qm)
            shift[atom, axis] = step
            slope = (energy(qm + shift, mm) - energy(qm - shift, mm)) / (2 * step)
            assert made.forces_qm[atom, axis] == pytest.approx(-slope, abs=2e-7)
    for atom in (*rows, 0, len(mm) - 1):
        shift = np.zeros_like(mm)
        shift[atom] = [step, -step, step]
        slope = (energy(qm, mm + shift) - energy(qm, mm - shift)) / (2 * step)
        assert made.forces_mm[atom] @ [1, -1, 1] == pytest.approx(-slope, abs=3e-7)
    assert made.forces_qm.sum(0) + made.forces_mm.sum(0) == pytest.approx(np.zeros(3), abs=1e-10)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("changes", [{}, {"reach": 14.0}, ACSF], ids=["painn", "reach", "acsf"])
def test_training_sees_the_forces_that_are_predicted(labels, terms, scheme, changes):
    """QM forces and the squared miss on thousands of MM atoms, by the quadratic form and by hand."""
    data = Dataset.from_labels(labels[scheme][:2])
    committee = random_committee(data, terms, **changes)
    potential = Potential.from_stored(committee.members[0])
    header = committee.header
    reduced = prepare(data, terms, header.damping, header.reach, potential.backbone.charge_sums)
    made = predict_frames(potential, reduced)
    for i in range(2):
        one = Committee(committee.members[:1]).predict(*data.frame(i))
        missed = one.forces_qm - data.forces_qm[i]
        assert (made.forces - reduced.forces)[i].detach().numpy() == pytest.approx(missed, abs=1e-9)
        wanted = ((one.forces_mm - data.forces_mm[i]) ** 2).sum()
        assert float(made.mm_square[i].detach()) == pytest.approx(wanted, rel=1e-7)
        energy = float((made.energy[i] - reduced.energy[i]).detach()) + header.energy_zero
        assert energy == pytest.approx(one.energy - data.energy[i], abs=1e-9)


def test_two_link_atoms_and_two_hosts():
    """Butane without its ends: each end gives its charge to three hydrogens of its own."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles("CCCC"))
    AllChem.EmbedMolecule(molecule, randomSeed=7)
    rng = np.random.default_rng(3)
    place = molecule.GetConformer().GetPositions() * angstrom
    charges = rng.normal(size=14) * 0.2
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]
    numbers = [a.GetAtomicNum() for a in molecule.GetAtoms()]
    found = []
    for k in range(2):
        moved = place + 0.05 * k * rng.normal(size=place.shape)
        system = MolecularSystem.from_atoms(numbers, moved, charges - charges.mean(), bonds)
        regions = Partition.select(system, qm=[1, 2, 7, 8, 9, 10], charge=0)
        found.append(label(system, regions, HF))
    data = Dataset.from_labels(found)
    assert data.border.link_hosts.tolist() == [[0, 0], [1, 1]]
    assert [len(data.border.takers(k)) for k in range(2)] == [3, 3]
    assert data.border.ties.tolist() == [[0, k] for k in (0, 2, 3, 4)] + [[1, k] for k in (1, 5, 6, 7)]
    committee = random_committee(data, None)
    qm, mm, values, groups, rows = data.frame(1)
    region = quantum_region(system, regions, HF)
    seen = data.border.cap(qm, mm, values, groups, rows)
    assert seen.positions == pytest.approx(region.positions, abs=1e-9)
    made = committee.predict(qm, mm, values, groups, rows)
    step = 1e-4
    for atom in range(len(mm)):
        shift = np.zeros_like(mm)
        shift[atom] = [step, step, -step]
        ends = [committee.predict(qm, mm + sign * shift, values, groups, rows).energy for sign in (1, -1)]
        assert made.forces_mm[atom] @ [1, 1, -1] == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=3e-7)
    reduced = prepare(data, None, 2.0)
    forces = predict_frames(Potential.from_stored(committee.members[0]), reduced)
    missed = Committee(committee.members[:1]).predict(*data.frame(1)).forces_mm - data.forces_mm[1]
    assert float(forces.mm_square[1].detach()) == pytest.approx((missed**2).sum(), rel=1e-7)


def test_the_total_charge_is_that_of_the_region(labels, terms):
    """Fixed charges of a cut region are no whole number; the network adds exactly what is missing."""
    data = Dataset.from_labels(labels["rcd"])
    assert abs(data.fixed_charges.sum()) > 0.01
    assert data.total_charge == 0
    committee = random_committee(data, terms)
    place = np.vstack([data.positions[0], labels["rcd"][0].link_positions])[None]
    nothing = torch.zeros(1, 6, 0, dtype=torch.float64)
    shift = committee.stack.atom_terms(
        torch.tensor(place), torch.zeros(1, 6, 3, dtype=torch.float64), nothing
    ).shift
    total = shift.sum(-1).detach().numpy() + data.fixed_charges.sum()
    assert total == pytest.approx(0.0, abs=1e-14)


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


def test_the_baseline_is_what_leaves_the_mm_system(peptide, labels, terms):
    """Angles and torsions with the MM host in them, evaluated with the link atom in its place."""
    border, rows = border_of(labels["rcd"][0])
    energy = Potential(random_committee(Dataset.from_labels(labels["rcd"]), terms).header).baseline
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


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_mixed_system_is_the_label_and_the_rest(peptide, labels, terms, scheme):
    """E = E_MM without the region's own terms and its charges + the label's quantity; forces on all atoms."""
    data = Dataset.from_labels(labels[scheme])
    committee = random_committee(data, terms)
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


def test_interpolation_leads_from_mm_to_the_mixed_system(peptide, labels, terms):
    committee = random_committee(Dataset.from_labels(labels["rcd"]), terms)
    system, here = mixed(peptide, committee, interpolate=True), peptide.frames[3]
    found = [energy_of(system, here, parameters={"lambda_interpolate": v}) for v in (0.0, 0.25, 1.0)]
    for value, want in ((0, peptide.system), (2, mixed(peptide, committee))):
        energy, forces = energy_of(want, here)
        # 1e-6: the interpolation writes the Coulomb constant with nine digits.
        assert found[value][0] == pytest.approx(energy, abs=1e-6)
        assert found[value][1] == pytest.approx(forces, abs=2e-6)
    assert found[1][0] == pytest.approx(0.75 * found[0][0] + 0.25 * found[2][0], abs=1e-9)


def test_implicit_solvent_stays_that_of_the_mm_system(peptide, labels, terms):
    committee = random_committee(Dataset.from_labels(labels["rcd"]), terms)
    wet, here = force_field(peptide.topology, "implicit/obc2.xml"), peptide.frames[3]
    gained = energy_of(wet, here)[0] - energy_of(peptide.system, here)[0]
    assert abs(gained) > 0.01
    got = energy_of(mixed(peptide, committee, system=wet), here)[0]
    assert got == pytest.approx(energy_of(mixed(peptide, committee), here)[0] + gained, abs=1e-8)


def test_in_a_box_any_image_of_any_atom_will_do(peptide, labels, terms):
    data = Dataset.from_labels(labels["rcd"])
    committee = random_committee(data, terms, reach=14.0)
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


def test_a_model_keeps_its_border(labels, terms):
    committee = random_committee(Dataset.from_labels(labels["rcd"]), terms)
    frame = Dataset.from_labels(labels["rcd"]).frame(0)
    again = Committee.from_bytes(committee.to_bytes())
    assert again.predict(*frame).energy == committee.predict(*frame).energy
    assert "5 atoms and 1 link atom(s)" in repr(again)
    force = LearnedForce(committee, frame.mm_charges, border=frame.border_atoms)
    build_again, arguments = force.__reduce__()
    assert build_again(*arguments).key == force.key


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
    context.getIntegrator().step(400)
    place = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    host = peptide.regions.links[0]
    assert np.linalg.norm(place[host[0]] - place[host[1]]) == pytest.approx(0.153, abs=0.02)


def test_refuses_other_borders_by_name(peptide, labels, terms, tmp_path):
    data = Dataset.from_labels(labels["rcd"])
    with pytest.raises(InputError, match="label 1 has 1 link atom"):
        Dataset.from_labels([labels["rcd"][0], labels["z1"][1]])
    committee = random_committee(data, terms)
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
    with pytest.raises(InputError, match=r"cuts 0 covalent bond.*1 link atom"):
        mixed(lost, committee)
