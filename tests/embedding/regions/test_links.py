import dataclasses

import numpy as np
import pytest

from drupe.embedding import MolecularSystem, Partition
from drupe.embedding.regions.geometry import shortest_vectors
from drupe.embedding.regions.links import find_links
from drupe.errors import InputError
from drupe.units import angstrom


def molecule(smiles: str) -> MolecularSystem:
    """Atoms in the order of the SMILES, hydrogens after them."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    built = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(built, randomSeed=7)
    return MolecularSystem.from_atoms(
        [a.GetAtomicNum() for a in built.GetAtoms()],
        angstrom * built.GetConformer().GetPositions(),
        bonds=[(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in built.GetBonds()],
    )


def around(system: MolecularSystem, heavy: list[int]) -> list[int]:
    """Atoms ``heavy`` and the hydrogens on them."""
    mates = [pair for pair in system.bonds.tolist() if set(pair) & set(heavy)]
    return sorted({*heavy, *(a for pair in mates for a in pair if system.numbers[a] == 1)})


@pytest.mark.parametrize(
    ("smiles", "heavy", "pair", "found"),
    [
        ("CC=CC", [0, 1], (1, 2), "atom 1 has 3 neighbours"),
        ("Cc1ccccc1", [0], (0, 1), "atom 1 has 3 neighbours"),  # sp3 on one side only
        ("c1ccccc1", [0, 1, 2], (0, 5), r"3 neighbours.*\(and 1 more such bonds\)"),
        ("CC(=O)NC", [0, 1, 2], (1, 3), "no C-C bond"),
        ("CSSC", [0, 1], (1, 2), "no C-C bond"),
        ("CCO", [2], (2, 1), "no C-C bond"),
        ("CC#N", [0], (0, 1), "atom 1 has 2 neighbours"),
        ("CCC", [1], (1, 0), "atom 1 would be the host of two link atoms"),
        ("CCC", [0, 2], (0, 1), "atom 1 would be the host of two link atoms"),
    ],
)
def test_only_single_bonds_between_sp3_carbons_are_cut(smiles, heavy, pair, found):
    system = molecule(smiles)
    qm = around(system, heavy)
    names = rf"between atom {pair[0]} \(A{pair[0] + 1} of MOL 1\) and atom {pair[1]} "
    with pytest.raises(InputError, match=names + ".*" + found) as caught:
        find_links(system, np.array(qm))
    assert f"allow_cut=[({pair[0]}, {pair[1]})]" in caught.value.remedy
    forced = find_links(system, np.array(qm), allow_cut=True)
    assert list(pair) in forced.tolist()
    by_name = find_links(system, np.array(qm), allow_cut=[(j, i) for i, j in forced.tolist()])
    assert (by_name == forced).all()


def test_a_hydrogen_at_the_boundary_is_refused():
    ethane = molecule("CC")
    for qm in ([0, 1, 2, 3, 4, 5, 6], [7]):
        with pytest.raises(InputError, match="a hydrogen would stand at the boundary"):
            find_links(ethane, np.array(qm))


def test_a_single_bond_between_sp3_carbons_gives_a_link():
    butane = molecule("CCCC")
    regions = Partition.select(butane, qm=around(butane, [2, 3]), charge=0)
    assert regions.links.tolist() == [[2, 1]]
    assert regions.n_electrons == 18  # ethane: the link atom brings one
    both = Partition.select(butane, qm=around(butane, [0, 3]), charge=0)
    assert both.links.tolist() == [[0, 1], [3, 2]]


def test_an_allowed_pair_must_be_a_cut_bond():
    butane = molecule("CCCC")
    with pytest.raises(InputError, match=r"names \[0, 1\], the QM region cuts no such bond") as caught:
        Partition.select(butane, qm=around(butane, [2, 3]), charge=0, allow_cut=[(0, 1)])
    assert "[[2, 1]]" in caught.value.remedy


def test_a_bare_charge_stays_with_its_atom():
    """A lone-pair site is bound to oxygen: no permission can cut that bond."""
    water = MolecularSystem.from_atoms(
        [8, 1, 1, 0],
        angstrom * np.array([[0, 0, 0], [0, 0.757, 0.587], [0, -0.757, 0.587], [0, 0, -0.7]]),
        bonds=[(0, 1), (0, 2), (0, 3)],
    )
    with pytest.raises(InputError, match="a bare charge belongs to its atom"):
        Partition.select(water, qm=[0, 1, 2], charge=0, allow_cut=True)


def test_a_peptide_bond_of_the_protein_is_refused(t4l):
    with pytest.raises(InputError, match=r"\(N of LEU 118\) and atom \d+ \(C of .* it is no C-C bond"):
        Partition.select(t4l.system, qm="resSeq 118", charge=0)


def test_a_link_needs_a_listed_bond(build):
    ethane = molecule("CC")
    unlisted = dataclasses.replace(ethane, bonds=np.zeros((0, 2), int))
    with pytest.raises(InputError, match="does not list it") as caught:
        Partition.select(unlisted, qm=[0, 2, 3, 4], charge=0, multiplicity=2)
    assert "link atoms need the system's bonds" in caught.value.remedy


def test_an_atom_without_bonds_among_bound_ones_is_not_overlooked():
    """The topology lists the protein's bonds, but not those of the ligand."""
    system = molecule("CCO.CCO")
    second = {3, 4, 5, *around(system, [3, 4, 5])}
    apart = np.where(np.isin(np.arange(system.n_atoms), list(second))[:, None], 30.0, 0.0)
    keep = [b for b in system.bonds.tolist() if set(b) <= second]
    partly = dataclasses.replace(system, bonds=keep, positions=system.positions + apart)
    with pytest.raises(InputError, match="does not list it"):
        Partition.select(partly, qm=[0, 1], charge=0)


def test_another_frame_is_checked():
    butane = molecule("CCCC")
    regions = Partition.select(butane, qm=around(butane, [2, 3]), charge=0)
    stretched = np.array(butane.positions)
    for atom in regions.mm_atoms:
        stretched[atom] += [0, 0, 10.0]
    with pytest.raises(InputError, match="cut bond between atom 2 .* A long"):
        regions.check_fits(butane.with_positions(stretched))
    other = dataclasses.replace(butane, bonds=[b for b in butane.bonds.tolist() if b != [1, 2]])
    with pytest.raises(InputError, match=r"cuts the bonds \[\] of this system"):
        regions.check_fits(other)


@pytest.mark.parametrize("box", [np.diag([20.0, 22.0, 24.0]), [[20, 0, 0], [6, 19, 0], [-5, 7, 18]]])
def test_a_molecule_broken_over_the_box_is_refused(box):
    box = np.array(box, float)
    butane = dataclasses.replace(molecule("CCCC"), box=box)
    regions = Partition.select(butane, qm=around(butane, [2, 3]), charge=0)
    for atom in (3, 1):  # inside the QM region, and an MM host
        broken = np.array(butane.positions)
        broken[atom] += box[0] - box[2]
        with pytest.raises(InputError, match="runs through a face of the box") as caught:
            regions.check_fits(butane.with_positions(broken))
        assert "whole" in caught.value.remedy
    regions.check_fits(butane.with_positions(butane.positions + 3 * box[1]))


def test_the_shortest_image_is_the_shortest():
    box = np.array([[9.0, 0, 0], [4.4, 8.0, 0], [-4.4, 3.9, 7.0]])
    vectors = np.random.default_rng(2).normal(size=(200, 3)) * 12
    found = shortest_vectors(vectors, box)
    cells = np.array([[i, j, k] for i in range(-6, 7) for j in range(-6, 7) for k in range(-6, 7)]) @ box
    best = np.linalg.norm(vectors[:, None] + cells, axis=2).min(axis=1)
    assert np.linalg.norm(found, axis=1) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize(
    "links", [[[1, 0]], [[0, 0]], [[0, 9]], [[0, 1], [0, 1]], [[0, 2], [0, 1]], [[0, -1]]]
)
def test_hand_made_links_are_checked(links):
    with pytest.raises(InputError, match="link atoms stand on"):
        Partition(np.array([0]), np.array([6]), 0, 1, (), 5, np.array(links))
