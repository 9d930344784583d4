"""Clusters out of periodic boxes: whole molecules, any box, any wrapping; and what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drupe.embedding import Level, Partition, label
from drupe.embedding.regions import periodic
from drupe.embedding.regions.periodic import cut_cluster, gather, heights, make_whole
from drupe.embedding.structures.structure import locate, read_system
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.units import angstrom

WATER = np.array([[0.0, 0.0, 0.0], [1.43, 1.11, 0.0], [-1.43, 1.11, 0.0]])  # O, H, H; bohr
CHARGES = [-0.834, 0.417, 0.417]
EDGE = 5.9  # bohr between waters of the lattice
BOXES = {
    "cubic": np.diag([23.6, 23.6, 23.6]),
    "orthorhombic": np.diag([23.6, 29.5, 35.4]),
    "triclinic": np.array([[23.6, 0.0, 0.0], [7.0, 24.0, 0.0], [-9.0, 8.0, 26.0]]),
    "rotated": np.array([[0.0, 23.6, 0.0], [0.0, 0.0, 23.6], [23.6, 0.0, 5.0]]),
}


def water_box(box, seed=1):
    """Whole waters on a lattice in ``box``, turned at random; the first is at the corner of the box."""
    rng = np.random.default_rng(seed)
    counts = np.floor(heights(box) / EDGE).astype(int)
    nodes = np.stack(np.meshgrid(*[np.arange(c) / c for c in counts], indexing="ij"), -1).reshape(-1, 3)
    turns = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in nodes]
    positions = np.concatenate([node @ box + WATER @ turn for node, turn in zip(nodes, turns, strict=True)])
    n = len(nodes)
    return MolecularSystem(
        numbers=np.tile([8, 1, 1], n),
        positions=positions,
        charges=np.tile(CHARGES, n),
        bonds=np.concatenate([[[3 * k, 3 * k + 1], [3 * k, 3 * k + 2]] for k in range(n)]),
        box=box,
        atom_names=("O", "H1", "H2") * n,
        residue_names=("HOH",) * (3 * n),
        residue_ids=np.repeat(np.arange(1, n + 1), 3),
        chain_ids=np.zeros(3 * n, int),
    )


def moved(system, seed):
    """Every atom in an image of its own, and the whole box moved."""
    rng = np.random.default_rng(seed)
    jumps = rng.integers(-2, 3, size=(system.n_atoms, 3))
    return system.with_positions(system.positions + jumps @ system.box + rng.normal(size=3))


@pytest.mark.parametrize("name", BOXES)
def test_wrapping_changes_nothing(name):
    system = water_box(BOXES[name])
    radius = 8.0
    plain = cut_cluster(system, np.arange(3), radius)
    for seed in range(5):
        other = cut_cluster(moved(system, seed), np.arange(3), radius)
        assert (other.atoms == plain.atoms).all()
        # 1e-12: box vectors were added and taken off again.
        assert other.system.positions == pytest.approx(plain.system.positions, abs=1e-12)


@pytest.mark.parametrize("name", BOXES)
def test_molecules_are_whole_and_none_is_missing(name):
    box = BOXES[name]
    system = water_box(box)
    cluster = cut_cluster(moved(system, 3), np.arange(3), 8.0)
    found = cluster.system
    lengths = np.linalg.norm(np.diff(found.positions[found.bonds], axis=1), axis=2)
    assert lengths == pytest.approx(np.linalg.norm(WATER[1]), abs=1e-12)
    assert cluster.charge == pytest.approx(0.0, abs=1e-12)
    # Counted the long way: all atoms of 5 x 5 x 5 images against every QM atom.
    images = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3) @ box
    everywhere = system.positions[None] + images[:, None]
    apart = np.linalg.norm(everywhere[:, :, None] - system.positions[None, None, :3], axis=3).min(axis=2)
    near = (apart <= 8.0).any(axis=0).reshape(-1, 3).any(axis=1)
    assert cluster.atoms.tolist() == np.flatnonzero(np.repeat(near, 3)).tolist()
    kept = reach(found)
    assert np.sort(kept[kept <= 8.0]) == pytest.approx(np.sort(apart[apart <= 8.0]), abs=1e-9)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**31), skew=st.lists(st.floats(-8, 8), min_size=3, max_size=3))
def test_shifts_say_how_the_cluster_came_about(seed, skew):
    box = np.diag([24.0, 25.0, 26.0])
    box[1, 0], box[2, 0], box[2, 1] = skew
    system = moved(water_box(box, seed=seed % 7), seed)
    cluster = cut_cluster(system, np.arange(3), 5.0)
    back = system.positions + cluster.shifts @ box - cluster.origin
    assert cluster.whole.positions == pytest.approx(back, abs=1e-9)
    assert cluster.whole.positions[:3].mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    outside = np.setdiff1d(np.arange(system.n_atoms), cluster.atoms)
    assert (cluster.whole.charges[outside] == 0.0).all()
    assert (cluster.whole.charges[cluster.atoms] == system.charges[cluster.atoms]).all()


def test_two_molecules_of_the_region_are_joined():
    system = water_box(BOXES["cubic"])
    last = system.n_atoms - 3  # on the other face of the box: a neighbour of the first through the boundary
    qm = np.array([0, 1, 2, last, last + 1, last + 2])
    cluster = cut_cluster(system, qm, 4.0)
    oxygens = cluster.whole.positions[[0, last]]
    assert np.linalg.norm(oxygens[1] - oxygens[0]) == pytest.approx(EDGE * np.sqrt(3), abs=1e-9)


def test_a_site_without_a_nucleus_goes_with_its_residue():
    system = water_box(BOXES["cubic"])
    n = system.n_atoms // 3
    order = np.arange(system.n_atoms).reshape(n, 3)
    sites = system.positions[order[:, 0]] + 0.1
    mixed = MolecularSystem(
        numbers=np.tile([8, 1, 1, 0], n),
        positions=np.concatenate([system.positions[order], sites[:, None]], axis=1).reshape(-1, 3),
        charges=np.tile([0.0, 0.52, 0.52, -1.04], n),
        bonds=np.concatenate([[[4 * k, 4 * k + 1], [4 * k, 4 * k + 2]] for k in range(n)]),
        box=system.box,
        atom_names=("O", "H1", "H2", "M") * n,
        residue_names=("HOH",) * (4 * n),
        residue_ids=np.repeat(np.arange(1, n + 1), 4),
        chain_ids=np.zeros(4 * n, int),
    )
    cluster = cut_cluster(moved(mixed, 5), np.arange(4), 8.0)
    assert len(cluster.atoms) % 4 == 0
    assert cluster.charge == pytest.approx(0.0, abs=1e-12)
    quartets = cluster.system.positions.reshape(-1, 4, 3)
    assert quartets[:, 3] - quartets[:, 0] == pytest.approx(np.full((len(quartets), 3), 0.1), abs=1e-9)


def test_a_long_chain_is_made_whole():
    n, box = 40, np.diag([20.0, 60.0, 20.0])
    line = np.column_stack([np.zeros(n), 1.4 * np.arange(n), np.zeros(n)])
    chain = MolecularSystem.from_atoms([6] * n, line, bonds=[[k, k + 1] for k in range(n - 1)])
    chain = moved(dataclasses.replace(chain, box=box), 8)
    group, shifts = make_whole(chain)
    assert set(group.tolist()) == {0}
    straight = chain.positions + shifts @ box
    assert np.diff(straight, axis=0) == pytest.approx(np.diff(line, axis=0), abs=1e-9)


def test_a_radius_that_does_not_fit_the_box_is_refused_with_numbers():
    system = water_box(BOXES["cubic"])
    with pytest.raises(InputError, match=r"23\.60 bohr apart.*\n.*use at most (\d+\.\d+) bohr") as caught:
        cut_cluster(system, np.arange(3), 12.0)
    largest = float(str(caught.value).split("at most ")[1].split(" ")[0])
    cut_cluster(system, np.arange(3), largest - 1.5)  # a water's length less: nothing acts twice
    with pytest.raises(InputError, match="too large for the box"):
        cut_cluster(system, np.arange(3), largest + 0.01)


def test_a_molecule_with_two_images_in_reach_is_refused():
    system = water_box(BOXES["cubic"])
    # From z = -5 to 16.6: its end is nearer to the region around 0 through the face at 23.6.
    rod = np.column_stack([np.zeros(9), np.full(9, 5.0), 2.7 * np.arange(9) - 5.0])
    n = system.n_atoms
    both = dataclasses.replace(
        system,
        numbers=np.append(system.numbers, [6] * 9),
        positions=np.concatenate([system.positions, rod]),
        charges=np.append(system.charges, np.zeros(9)),
        bonds=np.concatenate([system.bonds, [[n + k, n + k + 1] for k in range(8)]]),
        atom_names=(*system.atom_names, *(f"C{k}" for k in range(9))),
        residue_names=(*system.residue_names, *["ROD"] * 9),
        residue_ids=np.append(system.residue_ids, [999] * 9),
        chain_ids=np.append(system.chain_ids, [1] * 9),
    )
    with pytest.raises(InputError, match="ROD 999.*two images"):
        cut_cluster(both, np.arange(3), 9.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"box": None}, "has no box"),
        ({"box": np.array([[20.0, 0, 0], [0, 20.0, 0], [20.0, 20.0, 0]])}, "span no volume"),
        ({"bonds": np.zeros((0, 2), int)}, "lists no bonds"),
        ({"box": np.diag([2.0, 23.6, 23.6])}, "reaches through the periodic box along a"),
    ],
)
def test_boxes_that_cannot_be_cut_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        cut_cluster(dataclasses.replace(water_box(BOXES["cubic"]), **change), np.arange(3), 8.0)


def test_a_molecule_bonded_to_its_own_image_is_refused():
    ring = MolecularSystem.from_atoms(
        [6] * 4, [[3.0 * k, 0, 0] for k in range(4)], bonds=[[0, 1], [1, 2], [2, 3], [0, 3]]
    )
    with pytest.raises(InputError, match="own image"):
        make_whole(dataclasses.replace(ring, box=np.diag([12.0, 20.0, 20.0])))


@pytest.mark.parametrize("radius", [0.0, -1.0, np.nan, np.inf])
def test_a_radius_that_is_no_length_is_refused(radius):
    with pytest.raises(InputError, match="radius"):
        cut_cluster(water_box(BOXES["cubic"]), np.arange(3), radius)


def test_forces_go_back_to_the_atoms_of_the_box():
    system = moved(water_box(BOXES["triclinic"]), 2)
    cluster = cut_cluster(system, np.arange(3), 6.0)
    forces = np.random.default_rng(0).normal(size=(len(cluster.atoms), 3))
    spread = cluster.scatter(forces)
    assert (spread[cluster.atoms] == forces).all()
    assert np.count_nonzero(spread) == forces.size


TIGHT = {"scf_tolerance": 1e-12, "gradient_tolerance": 1e-7}
CLUSTER = Level("HF", "sto-3g", auxbasis=None, environment="cluster", cluster_radius=8.0, **TIGHT)


def first_water(system):
    return Partition.select(system, qm=[0, 1, 2], charge=0)


def test_a_label_does_not_feel_the_wrapping():
    system = water_box(BOXES["triclinic"])
    plain = label(system, first_water(system), CLUSTER)
    wrapped = moved(system, 4)
    other = label(wrapped, first_water(wrapped), CLUSTER)
    # 1e-9 hartree: convergence of the SCF.
    assert other.energy == pytest.approx(plain.energy, abs=1e-9)
    assert other.forces_qm == pytest.approx(plain.forces_qm, abs=1e-7)
    assert other.forces_mm == pytest.approx(plain.forces_mm, abs=1e-7)
    assert other.system == wrapped.key


def test_a_label_is_that_of_the_cluster_alone():
    system = moved(water_box(BOXES["triclinic"]), 6)
    made = label(system, first_water(system), CLUSTER)
    cluster = cut_cluster(system, np.arange(3), CLUSTER.cluster_radius)
    alone = label(
        cluster.system,
        Partition.select(cluster.system, qm=np.searchsorted(cluster.atoms, [0, 1, 2]), charge=0),
        dataclasses.replace(CLUSTER, environment="all", cluster_radius=None),
    )
    assert made.energy == pytest.approx(alone.energy, abs=1e-10)
    forces = cluster.scatter(np.concatenate([alone.forces_qm, alone.forces_mm]))
    assert np.concatenate([made.forces_qm, made.forces_mm]) == pytest.approx(forces, abs=1e-9)
    outside = np.setdiff1d(np.arange(3, system.n_atoms), cluster.atoms)
    assert len(outside)
    assert (made.forces_mm[outside - 3] == 0.0).all()
    assert (made.mm_charges[outside - 3] == 0.0).all()
    assert made.diagnostics["cluster_radius"] == 8.0
    assert made.diagnostics["cluster_atoms"] == len(cluster.atoms)
    assert made.diagnostics["cluster_charge"] == pytest.approx(0.0, abs=1e-9)
    assert any(f"{len(cluster.atoms)} atoms" in line and "8.00 bohr" in line for line in made.approximations)


def test_forces_through_the_boundary_are_the_slope_of_the_energy():
    """Moves the box's corner atoms: a QM atom wrapped away from its molecule, and a charge beyond a face."""
    system = moved(water_box(BOXES["triclinic"]), 11)
    regions = first_water(system)
    made = label(system, regions, CLUSTER)
    cluster = cut_cluster(system, np.arange(3), 8.0)
    beyond = cluster.atoms[(cluster.shifts[cluster.atoms] != cluster.shifts[0]).any(axis=1)]
    charge = int(beyond[beyond > 2][np.abs(made.forces_mm[beyond[beyond > 2] - 3]).max(axis=1).argmax()])
    forces = np.concatenate([made.forces_qm, made.forces_mm])
    quick = dataclasses.replace(CLUSTER, forces="none")
    for atom in (1, charge):
        axis = int(np.abs(forces[atom]).argmax())
        slope = 0.0
        for k, weight in ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)):
            positions = system.positions.copy()
            positions[atom, axis] += 2e-3 * k
            slope += weight * label(system.with_positions(positions), regions, quick).energy / (12 * 2e-3)
        assert abs(slope) > 1e-4
        assert forces[atom, axis] == pytest.approx(-slope, abs=1e-7)


def test_slopes_along_directions_are_those_of_the_cluster():
    system = moved(water_box(BOXES["cubic"]), 9)
    asked = dataclasses.replace(CLUSTER, core="MP2", forces="directional", n_directions=1)
    made = label(system, Partition.select(system, qm=[0, 1, 2], charge=0, cores=[[0, 1]]), asked)
    alone = cut_cluster(system, np.arange(3), 8.0).whole
    regions = Partition.select(alone, qm=[0, 1, 2], charge=0, cores=[[0, 1]])
    other = label(alone, regions, dataclasses.replace(asked, environment="all", cluster_radius=None))
    assert made.slopes == pytest.approx(other.slopes, abs=1e-6)
    assert abs(made.slopes[0]) > 1e-4


def butane_in_water():
    """Butane in the middle of the cubic box; waters that overlap with it are left out."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    drawn = Chem.AddHs(Chem.MolFromSmiles("CCCC"))
    AllChem.EmbedMolecule(drawn, randomSeed=7)
    AllChem.UFFOptimizeMolecule(drawn)
    bonds = np.array([[b.GetBeginAtomIdx(), b.GetEndAtomIdx()] for b in drawn.GetBonds()])
    places = angstrom * drawn.GetConformer().GetPositions() + 15.0
    water = water_box(BOXES["cubic"])
    apart = np.linalg.norm(water.positions[:, None] - places[None], axis=2).min(axis=1) > 4.0
    water = water.subset(np.flatnonzero(np.repeat(apart.reshape(-1, 3).all(axis=1), 3)))
    return MolecularSystem(
        numbers=np.concatenate([[a.GetAtomicNum() for a in drawn.GetAtoms()], water.numbers]),
        positions=np.concatenate([places, water.positions]),
        charges=np.concatenate([np.where(np.arange(14) < 4, -0.2, 0.08), water.charges]),
        bonds=np.concatenate([bonds, water.bonds + 14]),
        box=water.box,
        atom_names=(*(f"A{k}" for k in range(14)), *water.atom_names),
        residue_names=("BUT",) * 14 + water.residue_names,
        residue_ids=np.concatenate([[900] * 14, water.residue_ids]),
        chain_ids=np.zeros(14 + water.n_atoms, int),
    )


def test_a_region_that_cuts_a_bond_may_lie_across_a_face():
    system = butane_in_water()
    qm = [0, *sorted(int(max(b)) for b in system.bonds if min(b) == 0 and max(b) > 3)]  # one methyl group
    asked = dataclasses.replace(CLUSTER, cluster_radius=5.0)
    plain = label(system, Partition.select(system, qm=qm, charge=0), asked)
    assert len(plain.links) == 1
    wrapped = moved(system, 12)
    other = label(wrapped, Partition.select(wrapped, qm=qm, charge=0), asked)
    assert other.energy == pytest.approx(plain.energy, abs=1e-9)
    assert other.forces_mm == pytest.approx(plain.forces_mm, abs=1e-7)
    # All of butane is in, though most of it is further away than the radius reaches.
    assert plain.diagnostics["cluster_atoms"] % 3 == 14 % 3
    assert (plain.mm_charges[: 14 - len(qm)] != 0).all()


def test_a_box_needs_a_level_that_says_what_acts():
    system = water_box(BOXES["cubic"])
    plain = dataclasses.replace(CLUSTER, environment="all", cluster_radius=None)
    with pytest.raises(InputError, match="periodic box.*\n.*cluster_radius"):
        label(system, first_water(system), plain)
    open_system = dataclasses.replace(system, box=None)
    with pytest.raises(InputError, match="has no box|no periodic box"):
        label(open_system, first_water(open_system), CLUSTER)


def test_atoms_on_top_of_each_other_through_a_face_are_found():
    system = water_box(BOXES["cubic"])
    positions = system.positions.copy()
    positions[-1] = positions[0] + system.box[1] + [0.1, 0.0, 0.0]
    with pytest.raises(InputError, match="apart"):
        first_water(system.with_positions(positions))


def test_gathering_leaves_every_atom_at_its_nearest_image():
    system = moved(water_box(BOXES["orthorhombic"]), 7)
    near = gather(system, np.arange(3))
    cluster = cut_cluster(system, np.arange(3), 8.0)
    inside = [reach(near) <= 8.0, reach(cluster.whole) <= 8.0]
    assert inside[0].tolist() == inside[1].tolist()
    assert inside[0].sum() > 3
    assert near.positions[0] == pytest.approx(system.positions[0])


def reach(system):
    """Distance of every atom to the nearest of the first three, as the positions stand."""
    return np.linalg.norm(system.positions[:, None] - system.positions[None, :3], axis=2).min(axis=1)


@pytest.mark.parametrize("name", ["cubic", "orthorhombic", "triclinic"])
def test_a_region_that_fills_the_box_is_refused_before_anything_slow(name, monkeypatch):
    system = water_box(BOXES[name])
    for slow in ("make_whole", "_join_qm", "_nearest"):
        monkeypatch.setattr(periodic, slow, lambda *_: pytest.fail("took its time"))
    with pytest.raises(InputError, match=r"reaches through the periodic box along .: \d\.\d+ A are left"):
        Partition.select(system, qm="all", charge=0)
    with pytest.raises(InputError, match=f"QM region of {system.n_atoms} atoms reaches through"):
        cut_cluster(system, np.arange(system.n_atoms), 6.0)


def test_a_whole_small_system_in_a_large_box_is_a_region():
    system = water_box(BOXES["cubic"]).subset(range(6))
    alone = dataclasses.replace(system, box=60 * np.eye(3))
    regions = Partition.select(alone, qm="all", charge=0)
    assert len(cut_cluster(alone, regions.qm, 20.0).atoms) == 6
    # Nothing but the gap counts: across a face the same two waters leave as much room.
    shifted = alone.with_positions((alone.positions - 3.0) % 60.0)
    assert len(cut_cluster(shifted, regions.qm, 20.0).atoms) == 6


def test_all_of_a_box_as_programs_fill_it_is_refused():
    base = "package:openmmtools/data/alanine-dipeptide-explicit/alanine-dipeptide."
    system = read_system(locate(base + "prmtop", Path()), locate(base + "crd", Path()))
    with pytest.raises(InputError, match="the QM region of 2269 atoms reaches through"):
        Partition.select(system, qm="all", charge=0)
