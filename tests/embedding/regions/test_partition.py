import dataclasses

import numpy as np
import pytest

from drupe.embedding import MolecularSystem, Partition
from drupe.embedding.regions.partition import Core
from drupe.errors import InputError
from drupe.records import pack, unpack
from drupe.units import angstrom

METHYL = "resname TMP and name C8 H8 H9 H10"


def test_regions_of_the_complex(t4l):
    regions = Partition.select(t4l.system, qm="resname TMP", charge=0, multiplicity=1, cores=[METHYL])
    assert regions.qm_atoms.tolist() == list(range(2603, 2621))
    assert regions.mm_atoms.tolist() == list(range(2603))
    names = [t4l.system.atom_names[i] for i in regions.cores[0].indices]
    assert sorted(names) == ["C8", "H10", "H8", "H9"]
    assert unpack(pack(regions)).key == regions.key
    by_index = Partition.select(
        t4l.system, qm=regions.qm_atoms, charge=0, cores=[regions.cores[0].indices[::-1]]
    )
    assert by_index.cores[0].indices.tolist() == regions.cores[0].indices.tolist()


def test_smarts_perceives_bond_orders_and_brings_hydrogens(t4l):
    ring = Partition.select(t4l.system, qm="resname TMP", charge=0, cores=["smarts:c1ccccc1"]).cores[0]
    assert sorted(t4l.system.numbers[ring.indices].tolist()) == [1] * 4 + [6] * 6  # aromatic, so perceived
    whole = Partition.select(t4l.system, qm="smarts:Cc1ccc(C)cc1", charge=0)
    assert len(whole.qm) == 18


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("smarts:[CH3]", "matches 2 places"),
        ("smarts:C#N", "is empty"),
        ("smarts:C(", "not a SMARTS"),
    ],
)
def test_smarts_that_cannot_choose_is_refused(t4l, pattern, found):
    with pytest.raises(InputError, match=found):
        Partition.select(t4l.system, qm="resname TMP", charge=0, cores=[pattern])


def test_bond_orders_that_do_not_fit_the_charge_are_refused(build):
    methane = build("6 0 0 0; 1 .63 .63 .63; 1 -.63 -.63 .63; 1 -.63 .63 -.63; 1 .63 -.63 -.63")
    with pytest.raises(InputError, match="cannot be perceived") as caught:
        Partition.select(methane, qm=[0, 1, 2, 3, 4], charge=-4, cores=["smarts:C"])
    assert "index list" in caught.value.remedy


def test_an_unknown_residue_names_those_present(t4l):
    with pytest.raises(InputError) as caught:
        Partition.select(t4l.system, qm="resname TMQ and name C1", charge=0)
    assert "no residue 'TMQ'; did you mean 'TMP'?" in caught.value.remedy
    assert "ALA" in caught.value.remedy


@pytest.mark.parametrize(
    ("qm", "cores", "found"),
    [
        ("resname TMP and name XX", [], "is empty"),
        ("resname TMP and and", [], "not MDTraj's language"),
        ([], [], "shape"),
        ([2603, 2603], [], "more than once"),
        ([2621], [], "names atom 2621"),
        ([-1], [], "names atom -1"),
        ([0.5], [], "whole numbers|float"),
        ("resname TMP", [[0]], "outside the QM region"),
        ("resname TMP", [[2603, 2604], [2604]], "atom 2604 is in the cores"),
        ("resname TMP", [[]], "shape"),
    ],
)
def test_a_wrong_region_is_refused(t4l, qm, cores, found):
    with pytest.raises(InputError, match=found):
        Partition.select(t4l.system, qm=qm, charge=0, cores=cores)


def test_a_cut_bond_names_both_atoms(t4l):
    with pytest.raises(InputError, match=r"cuts the covalent bond between atom 26.. \(C\d of TMP 163\)"):
        Partition.select(t4l.system, qm="resname TMP and not name H10", charge=0, multiplicity=2)


def test_a_cut_bond_is_seen_without_a_bond_list(build):
    water = build("8 0 0 0; 1 0 .757 .587; 1 0 -.757 .587")
    with pytest.raises(InputError, match="cuts the covalent bond"):
        Partition.select(water, qm=[0, 1], charge=-1)


@pytest.mark.parametrize(
    ("charge", "multiplicity", "found", "remedy"),
    [
        (0, 2, "10 electrons", "multiplicity 1, 3, 5"),
        (1, 1, "9 electrons", "multiplicity 2, 4, 6"),
        (0, 0, "multiplicity 0", "2S"),
        (12, 1, r"leaves -2 electrons", "between -4 and"),
        (10, 1, r"leaves 0 electrons", "between -4 and +6"),
        (-8, 1, r"charge -8", "between -4 and"),
        (1, 12, "multiplicity 12 needs", "2S"),
    ],
)
def test_electrons_that_do_not_fit_are_refused(build, charge, multiplicity, found, remedy):
    water = build("8 0 0 0; 1 0 .757 .587; 1 0 -.757 .587")
    with pytest.raises(InputError, match=found) as caught:
        Partition.select(water, qm=[0, 1, 2], charge=charge, multiplicity=multiplicity)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("distance", [0.0, 0.01, 0.3])
def test_overlapping_atoms_are_refused(build, distance):
    pair = build(f"6 0 0 0; 8 0 0 {distance}")
    with pytest.raises(InputError, match="A apart"):
        Partition.select(pair, qm=[0, 1], charge=0)


def test_a_charge_on_a_nucleus_is_refused(build):
    system = build("2 0 0 0", [(1.0, 0, 0, 0.05)])
    with pytest.raises(InputError, match="MM charge sits on a QM nucleus"):
        Partition.select(system, qm=[0], charge=0)
    near_ion = MolecularSystem.from_atoms(
        [8, 1, 1, 12],
        angstrom * np.array([[0, 0, 0], [0, 0.757, 0.587], [0, -0.757, 0.587], [0, 0.757, 0.887]]),
        [0, 0, 0, 2.0],
    )
    with pytest.raises(InputError, match="0.300 A apart"):
        Partition.select(near_ion, qm=[0, 1, 2], charge=0)


def test_a_partition_does_not_fit_another_system(build):
    regions = Partition.select(build("2 0 0 0"), qm=[0], charge=0)
    with pytest.raises(InputError, match="made for 1 atoms"):
        regions.check_fits(build("2 0 0 0; 2 0 0 3"))
    with pytest.raises(InputError, match="other elements"):
        regions.check_fits(build("10 0 0 0"))


def test_a_hand_made_partition_is_checked_too():
    good = Partition(np.array([0]), np.array([2]), 0, 1, (), 1)
    for change, found in {
        "empty": ({"qm": np.array([], int), "qm_numbers": np.array([], int)}, "empty"),
        "twice": ({"qm": np.array([0, 0]), "qm_numbers": np.array([2, 2])}, "repeats"),
        "outside": ({"qm": np.array([4])}, "spans atoms 4"),
        "ghost": ({"qm_numbers": np.array([0])}, "without a nucleus"),
        "core": ({"cores": (Core(np.array([3])),)}, "outside the QM region"),
        "bare core": ({"cores": (Core(np.array([], int)),)}, "is empty"),
    }.values():
        with pytest.raises(InputError, match=found):
            dataclasses.replace(good, **change)


@pytest.mark.parametrize("edge", [None, 25.0])
def test_a_missing_bond_is_named_and_not_the_multiplicity(build, edge):
    ethane = build(
        "6 0 0 0.765; 6 0 0 -0.765; 1 1.02 0 1.16; 1 -0.51 0.88 1.16; 1 -0.51 -0.88 1.16;"
        "1 -1.02 0 -1.16; 1 0.51 0.88 -1.16; 1 0.51 -0.88 -1.16"
    )
    all_but_one = [[0, 2], [0, 3], [0, 4], [1, 5], [1, 6], [1, 7]]
    box = None if edge is None else edge * np.eye(3)
    methyl = [0, 2, 3, 4]
    for bonds in ([], all_but_one):
        system = dataclasses.replace(ethane, bonds=np.array(bonds, int).reshape(-1, 2), box=box)
        with pytest.raises(
            InputError, match=r"cuts the covalent bond between atom 0 .* and atom 1 .* not list"
        ):
            Partition.select(system, qm=methyl, charge=0)
    system = dataclasses.replace(ethane, bonds=np.array([[0, 1], *all_but_one]), box=box)
    assert Partition.select(system, qm=methyl, charge=0).links.tolist() == [[0, 1]]
    with pytest.raises(InputError, match="cannot have multiplicity 2"):
        Partition.select(system, qm=methyl, charge=0, multiplicity=2)
