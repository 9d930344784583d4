import dataclasses

import numpy as np
import pytest

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.embedding.regions.boundary import quantum_region
from drupe.errors import InputError
from drupe.records import pack, unpack
from drupe.units import angstrom

SCHEMES = ["z1", "rc", "rcd"]
TIGHT = {"scf_tolerance": 1e-12, "gradient_tolerance": 1e-8}
HF = Level("HF", "sto-3g", auxbasis=None, **TIGHT)
CH2OH, CH3 = [0, 1, 2, 3, 4], [5, 6, 7, 8]

# The reference geometry of ethanol (O H H C H | C H H H) and two molecules' worth of far and near charges.
ATOMS = """8 -1.1867 -0.2472 0; 1 -1.9237 0.3850 0; 1 -0.0227 1.1812 0.8852; 6 0 0.5526 0
1 -0.0227 1.1812 -0.8852; 6 1.1879 -0.3829 0; 1 2.0985 0.2306 0; 1 1.1184 -1.0093 0.8869
1 1.1184 -1.0093 -0.8869; 0 -3.9 1.2 0.6; 0 -1.4 -3.1 -0.7; 0 4.0 -2.0 1.0"""
CHARGES = [-0.60, 0.40, 0.03, 0.14, 0.04, -0.19, 0.05, 0.06, 0.07, -0.7, 0.5, 0.2]
BONDS = [(0, 1), (0, 3), (2, 3), (3, 4), (3, 5), (5, 6), (5, 7), (5, 8)]


@pytest.fixture(scope="module")
def ethanol() -> MolecularSystem:
    rows = np.array([row.split() for row in ATOMS.replace("\n", ";").split(";")], float)
    return MolecularSystem.from_atoms(rows[:, 0].astype(int), angstrom * rows[:, 1:], CHARGES, BONDS)


def chain(n_carbons: int, spread: float = 0.3) -> MolecularSystem:
    """A zigzag alkane whose atoms carry charges that are all different; carbons first."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles("C" * n_carbons))
    AllChem.EmbedMolecule(molecule, randomSeed=7)
    numbers = [a.GetAtomicNum() for a in molecule.GetAtoms()]
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]
    charges = np.random.default_rng(3).normal(size=len(numbers)) * spread
    return MolecularSystem.from_atoms(
        numbers, angstrom * molecule.GetConformer().GetPositions(), charges - charges.mean(), bonds
    )


def with_hydrogens(system: MolecularSystem, carbons: list[int]) -> list[int]:
    bonded = {int(a) for pair in system.bonds for a in pair if set(pair.tolist()) & set(carbons)}
    return sorted(set(carbons) | {a for a in bonded if system.numbers[a] == 1})


def slope(system, partition, level, direction, step=4e-3):
    """Force along ``direction``, ``(atoms, 3)``, by the 4-point central difference, by the public call."""
    quick, total = dataclasses.replace(level, forces="none"), 0.0
    for k, weight in ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)):
        moved = system.with_positions(system.positions + k * step * direction)
        total += weight * label(moved, partition, quick).energy_low
    return -total / (12 * step)


def along(result, regions, direction):
    """Force of a label along ``direction``."""
    return float(
        np.sum(result.forces_qm * direction[regions.qm])
        + np.sum(result.forces_mm * direction[regions.mm_atoms])
    )


def directions(*groups):
    """One random unit vector for each group of atoms of ethanol."""
    rng = np.random.default_rng(8)
    for group in groups:
        out = np.zeros((12, 3))
        out[group] = rng.normal(size=(len(group), 3))
        yield out / np.linalg.norm(out)


def forces_of(result) -> np.ndarray:
    """Forces of all atoms, QM first."""
    return np.vstack([result.forces_qm, result.forces_mm])


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("qm", [CH2OH, CH3])
def test_sites_conserve_charge_and_dipole(ethanol, scheme, qm):
    regions = Partition.select(ethanol, qm=qm, charge=0)
    assert regions.links.tolist() == [[3, 5]] if qm == CH2OH else [[5, 3]]
    region = quantum_region(ethanol, regions, dataclasses.replace(HF, boundary=scheme))
    m1 = regions.links[0, 1]
    mm = regions.mm_atoms
    total = ethanol.charges[mm].sum() - (ethanol.charges[m1] if scheme == "z1" else 0.0)
    assert region.charges.sum() == pytest.approx(total, abs=1e-14)
    assert region.site_weights.sum(axis=1) == pytest.approx(np.ones(len(region.points)), abs=0)
    arms = ethanol.positions[mm] - ethanol.positions[m1]
    dipole = region.charges @ (region.points - ethanol.positions[m1])
    lost = np.linalg.norm(dipole - ethanol.charges[mm] @ arms)
    if scheme == "rc":
        assert lost > 0.01
    else:
        assert lost < 1e-14  # also of z1: the deleted charge stands at the origin of this dipole
    assert not (np.linalg.norm(region.points - ethanol.positions[m1], axis=1) < 0.1).any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_charges_never_go_to_another_host(scheme):
    """Two neighbouring MM carbons that are both hosts: C0 | C1 C2 | C3 of butane."""
    butane = chain(4)
    regions = Partition.select(butane, qm=with_hydrogens(butane, [0, 3]), charge=0, multiplicity=1)
    assert regions.links.tolist() == [[0, 1], [3, 2]]
    region = quantum_region(butane, regions, dataclasses.replace(HF, boundary=scheme))
    hosts = np.searchsorted(regions.mm_atoms, [1, 2])
    plain = (region.site_weights == [1, 0]).all(axis=1)
    assert not np.isin(region.site_hosts[plain], hosts).any()
    pairs = {tuple(sorted(row)) for row in region.site_hosts[~plain].tolist()}
    assert tuple(sorted(hosts.tolist())) not in pairs
    assert len(pairs) == (0 if scheme == "z1" else 4)
    lost = butane.charges[[1, 2]].sum() if scheme == "z1" else 0.0
    assert region.charges.sum() == pytest.approx(butane.charges[regions.mm_atoms].sum() - lost, abs=1e-14)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_order_of_atoms_does_not_matter(scheme):
    butane = chain(4)
    order = np.random.default_rng(5).permutation(butane.n_atoms)
    shuffled = butane.subset(order)
    place = np.argsort(order)
    qm = with_hydrogens(butane, [0, 3])
    level = dataclasses.replace(HF, boundary=scheme)
    first = Partition.select(butane, qm=qm, charge=0)
    second = Partition.select(shuffled, qm=place[qm], charge=0)
    sites = [
        np.column_stack([r.points, r.charges])
        for r in (quantum_region(butane, first, level), quantum_region(shuffled, second, level))
    ]
    sorted_sites = [s[np.lexsort(np.round(s.T, 9))] for s in sites]
    assert sorted_sites[0] == pytest.approx(sorted_sites[1], abs=1e-12)
    results = [label(butane, first, level), label(shuffled, second, level)]
    assert results[0].energy == pytest.approx(results[1].energy, abs=1e-10)  # a hundred times the threshold
    by_atom = np.empty((butane.n_atoms, 3)), np.empty((butane.n_atoms, 3))
    for result, regions, names, out in zip(
        results, (first, second), (np.arange(butane.n_atoms), order), by_atom, strict=True
    ):
        out[names[regions.qm]], out[names[regions.mm_atoms]] = result.forces_qm, result.forces_mm
    assert by_atom[0] == pytest.approx(by_atom[1], abs=1e-7)


HOSTS, ALL = [3, 5], list(range(12))  # ethanol is cut between its carbons, atoms 3 and 5


@pytest.mark.parametrize(
    ("scheme", "qm", "groups"),
    [
        ("rcd", CH2OH, [[3], [5], [6, 7, 8], ALL]),  # QM host, MM host M1, its neighbours M2, everything
        ("rcd", CH3, [[5], [3], [0, 2, 4], ALL]),
        ("rc", CH3, [HOSTS, ALL]),
        ("z1", CH3, [HOSTS, ALL]),
    ],
)
def test_forces_at_a_cut_bond_are_the_slope_of_the_energy(ethanol, scheme, qm, groups):
    regions = Partition.select(ethanol, qm=qm, charge=0)
    level = dataclasses.replace(HF, boundary=scheme)
    result = label(ethanol, regions, level)
    for way in directions(*groups):
        # 3e-9 is the largest difference seen for any one coordinate.
        assert along(result, regions, way) == pytest.approx(slope(ethanol, regions, level, way), abs=3e-8)


def test_forces_at_a_cut_bond_with_smeared_charges_and_dispersion(ethanol):
    """Moved charges keep the width of the host they come from; dispersion counts the link atom."""
    level = dataclasses.replace(HF, charge_radii={"default": 0.8, "C": 1.6, "H": 0.5}, dispersion="d3bj")
    regions = Partition.select(ethanol, qm=CH3, charge=0)
    region = quantum_region(ethanol, regions, level)
    middle = (region.site_weights == 0.5).all(axis=1)
    assert region.radii[middle].tolist() == [1.6] * 3
    result = label(ethanol, regions, level)
    assert sum(result.terms.values()) == pytest.approx(result.energy, abs=1e-9)
    for way in directions(HOSTS, ALL):
        assert along(result, regions, way) == pytest.approx(slope(ethanol, regions, level, way), abs=3e-8)


def test_forces_of_a_density_functional_at_a_cut_bond(ethanol):
    level = Level("LDA,VWN", "sto-3g", grid=4, **TIGHT)
    regions = Partition.select(ethanol, qm=CH3, charge=0)
    result = label(ethanol, regions, level)
    for way in directions(HOSTS):
        # The grid moves with the nuclei and the force leaves that out: 2e-6 was seen for water.
        assert along(result, regions, way) == pytest.approx(slope(ethanol, regions, level, way), abs=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_changes_when_everything_moves_along(ethanol, scheme):
    level = dataclasses.replace(HF, boundary=scheme)
    regions = Partition.select(ethanol, qm=CH2OH, charge=0)
    here = label(ethanol, regions, level)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    there = label(ethanol.with_positions(ethanol.positions @ turn + [3.0, -2.0, 1.0]), regions, level)
    assert there.energy == pytest.approx(here.energy, abs=1e-10)
    assert forces_of(there) == pytest.approx(forces_of(here) @ turn, abs=1e-7)
    assert there.link_positions == pytest.approx(here.link_positions @ turn + [3.0, -2.0, 1.0], abs=1e-12)
    forces = forces_of(here)
    places = np.vstack([here.qm_positions, here.mm_positions])
    assert forces.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    assert np.cross(places, forces).sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-8)


def test_far_charges_leave_the_gas_phase(ethanol):
    level = dataclasses.replace(HF, boundary="rcd")
    bare = MolecularSystem.from_atoms(ethanol.numbers, ethanol.positions, np.zeros(12), BONDS)
    alone = label(bare, Partition.select(bare, qm=CH2OH, charge=0), level)
    far = ethanol.positions.copy()
    far[9:] += [0.0, 0.0, 1e6]
    charges = np.where(np.arange(12) < 9, 0.0, ethanol.charges)
    remote = dataclasses.replace(bare.with_positions(far), charges=charges)
    result = label(remote, Partition.select(remote, qm=CH2OH, charge=0), level)
    assert result.energy == pytest.approx(alone.energy, abs=1e-9)  # charges of no net sum, 1e6 bohr away
    # Without charges nothing feels the region but the host, at which the link atom still pulls.
    assert np.abs(alone.forces_mm[0]).max() > 1e-4
    assert (alone.forces_mm[1:] == 0).all()


def test_a_core_takes_its_link_atom_along(ethanol):
    """DFT in DFT is DFT, with a link atom in the core and charges beside it."""
    level = Level("PBE", "6-31G", core="MP2", virtual_shells=0, grid=1, forces="none", **TIGHT)
    regions = Partition.select(ethanol, qm=CH2OH, charge=0, cores=[[2, 3, 4]])
    assert regions.core_rows(regions.cores[0]).tolist() == [2, 3, 4, 5]
    result = label(ethanol, regions, level, check=True)
    core = result.cores[0]
    assert abs(core.dft_in_dft_error) < 1e-10
    assert core.n_occupied == 5  # 1s, two C-H, the C-link bond, and C-O: as a methyl core
    other = Partition.select(ethanol, qm=CH2OH, charge=0, cores=[[0, 1]])
    assert other.core_rows(other.cores[0]).tolist() == [0, 1]
    assert sum(result.terms.values()) == pytest.approx(result.energy, abs=1e-9)
    assert result.terms["core 1 correlation"] == core.e_corr
    assert result.terms["core 1 virtual truncation"] == core.mp2_truncation != 0.0
    named = "; ".join(result.approximations)
    assert "1 link atom(s)" in named
    assert "rcd" in named
    assert "by MP2" in named


def test_a_label_keeps_its_boundary(ethanol):
    regions = Partition.select(ethanol, qm=CH3, charge=0)
    result = label(ethanol, regions, HF)
    assert result.links.tolist() == [[0, 3]]  # rows: carbon 5 is QM atom 0, carbon 3 is MM atom 3
    start, end = result.qm_positions[0], result.mm_positions[3]
    reach = angstrom * (0.76 + 0.31)
    along = (end - start) / np.linalg.norm(end - start)
    assert result.link_positions[0] == pytest.approx(start + reach * along, abs=1e-12)
    assert result.charges_qm.sum() + result.link_charges.sum() == pytest.approx(0.0, abs=1e-6)
    # Charges felt = force field + moved ones: the host's charge is gone, the sum is not.
    felt = np.array(result.mm_charges)
    alone = result.moved_weights[:, 0] == 1
    np.add.at(felt, result.moved_hosts[alone, 0], result.moved_charges[alone])
    assert felt[3] == 0.0
    assert result.moved_charges.sum() == pytest.approx(0.0, abs=1e-15)
    # QM atoms carry -0.01 e in the force field and 0 in the calculation.
    assert result.diagnostics["charge_change"] == pytest.approx(0.01, abs=1e-12)
    stored = unpack(pack(result))
    assert stored.key == result.key
    assert (stored.links == result.links).all()
    assert stored.approximations == result.approximations


@pytest.mark.parametrize(("charge", "change"), [(0, -0.03), (1, 0.97)])
def test_a_total_charge_that_changes_is_named(ethanol, charge, change):
    charges = np.array(ethanol.charges)
    charges[6] += 0.04
    system = dataclasses.replace(ethanol, charges=charges)
    regions = Partition.select(system, qm=CH3, charge=charge, multiplicity=1 + charge)
    result = label(system, regions, dataclasses.replace(HF, forces="none"))
    assert result.diagnostics["charge_change"] == pytest.approx(change, abs=1e-12)
    assert any(f"{change:+.4f} e" in text for text in result.approximations)


def test_a_host_without_a_neighbour_needs_the_other_scheme(ethanol):
    regions = Partition.select(ethanol, qm=[0, *range(2, 9)], charge=0, allow_cut=[(1, 0)])
    with pytest.raises(InputError, match=r"atom 1 .*cannot be moved by 'rcd'") as caught:
        label(ethanol, regions, HF)
    assert 'boundary="z1"' in caught.value.remedy
    result = label(ethanol, regions, dataclasses.replace(HF, boundary="z1"))
    assert any(
        "atom 0 (A1 of MOL 1) and atom 1" in text and "by request" in text for text in result.approximations
    )


def test_a_side_chain_of_the_protein(t4l):
    """Leucine 118 of the pocket, cut between CA and CB: 13 QM atoms in 2,608 charges."""
    regions = Partition.select(t4l.system, qm="resSeq 118 and sidechain", charge=0)
    names = [t4l.system.atom_names[i] for i in regions.links[0]]
    assert names == ["CB", "CA"]
    result = label(t4l.system, regions, Level("HF", "sto-3g", gradient_tolerance=1e-7))
    assert result.forces_qm.shape == (13, 3)
    host = result.links[0, 1]
    assert np.linalg.norm(result.forces_mm[host]) > 1e-3
    net = result.forces_qm.sum(axis=0) + result.forces_mm.sum(axis=0)
    assert net == pytest.approx(np.zeros(3), abs=1e-8)


def test_records_from_before_link_atoms_are_read(ethanol):
    """Version 1 of the partition, the level and the label, written as that version wrote them."""
    bare = ethanol.subset(range(9))
    whole = Partition.select(bare, qm=range(9), charge=0, cores=[[0, 1]])
    result = label(bare, whole, dataclasses.replace(HF, core="MP2"))
    old = unpack(as_version_1(pack(result)))
    cores = {name: value for name, value in result.terms.items() if name.startswith("core ")}
    assert dict(old.terms) == {"DFT": result.energy_low, **cores}
    assert old.links.shape == (0, 2)
    assert old.level == result.level
    assert unpack(as_version_1(pack(whole))).key == whole.key


def as_version_1(data: bytes) -> bytes:
    import json

    import safetensors.numpy

    new = {
        "Label": "terms approximations links link_positions link_charges "
        "moved_charges moved_hosts moved_weights",
        "Partition": "links",
        "Level": "boundary",
    }

    def older(tree):
        if isinstance(tree, list):
            return [older(item) for item in tree]
        if not isinstance(tree, dict):
            return tree
        out = {key: older(value) for key, value in tree.items()}
        if tree.get("$record") in new:
            out["version"] = 1
            for name in new[tree["$record"]].split():
                del out["fields"][name]
        return out

    length = int.from_bytes(data[:8], "little")
    tree = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["drupe"])
    return safetensors.numpy.save(
        safetensors.numpy.load(data), metadata={"drupe": json.dumps(older(tree), sort_keys=True)}
    )
