import dataclasses

import numpy as np
import pytest

from drupe.embedding import MolecularSystem
from drupe.errors import InputError
from drupe.records import pack, unpack


def water() -> MolecularSystem:
    return MolecularSystem.from_atoms(
        [8, 1, 1], [[0, 0, 0], [0, 1.4, 1.1], [0, -1.4, 1.1]], [-0.8, 0.4, 0.4], [(1, 0), (0, 2)]
    )


def test_the_key_names_the_content():
    # Pinned: a change here renames every stored label.
    assert water().key == "MolecularSystem-555494e2ae919a1591e37e8105a87363"
    moved = water().with_positions(water().positions + 1e-9)
    assert moved.key != water().key
    assert unpack(pack(water())).key == water().key


def test_arrays_are_owned_and_read_only():
    given = np.zeros((1, 3))
    system = MolecularSystem.from_atoms([2], given)
    given[0, 0] = 5.0
    assert system.positions[0, 0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        system.positions[0, 0] = 1.0


def test_a_subset_keeps_its_order_and_the_bonds_inside():
    part = water().subset([2, 0])
    assert part.numbers.tolist() == [1, 8]
    assert part.charges.tolist() == [0.4, -0.8]
    assert part.bonds.tolist() == [[0, 1]]
    assert part.atom_names == ("A3", "A1")


@pytest.mark.parametrize("indices", [[], [0, 0], [3], [-1]])
def test_a_wrong_subset_is_refused(indices):
    with pytest.raises(InputError):
        water().subset(indices)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_position_that_is_no_number_is_refused_with_its_atom(value):
    positions = water().positions.copy()
    positions[1, 2] = value
    with pytest.raises(InputError, match=r"position of atom 1 \(A2 of MOL 1\) is not finite"):
        water().with_positions(positions)


def test_a_charge_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="charge of atom 0"):
        MolecularSystem.from_atoms([1], [[0, 0, 0]], [np.nan])


@pytest.mark.parametrize("numbers", [["CA"], ["6"], [6.5], [np.nan], [True], [None]])
def test_elements_are_given_by_number_only(numbers):
    with pytest.raises(InputError, match="elements are given as") as caught:
        MolecularSystem.from_atoms(numbers, [[0, 0, 0]])
    assert "20 for calcium" in caught.value.remedy


def test_shapes_elements_and_bonds_are_checked():
    with pytest.raises(InputError, match="positions has shape"):
        MolecularSystem.from_atoms([1, 1], [[0, 0, 0]])
    with pytest.raises(InputError, match="atomic numbers"):
        MolecularSystem.from_atoms([119], [[0, 0, 0]])
    with pytest.raises(InputError, match="bond names atom 7"):
        MolecularSystem.from_atoms([1], [[0, 0, 0]], bonds=[(0, 7)])


def test_residues_are_stretches_of_one_chain_number_and_name():
    system = dataclasses.replace(
        MolecularSystem.from_atoms([8, 1, 1, 8, 1, 1, 8], np.arange(21.0).reshape(7, 3)),
        residue_ids=np.array([1, 1, 1, 2, 2, 2, 1]),
        residue_names=("HOH",) * 5 + ("LIG",) + ("HOH",),
    )
    assert system.residue_runs.tolist() == [0, 0, 0, 1, 1, 2, 3]
