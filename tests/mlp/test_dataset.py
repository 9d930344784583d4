import dataclasses

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.mlp import Dataset
from drupe.records import pack, unpack


def test_surroundings_of_different_size_are_padded_with_nothing(low_data):
    bare = np.flatnonzero(low_data.mm_counts == 0)
    assert len(bare) == 7
    assert not low_data.mm_charges[bare].any()
    assert low_data.mm_counts.max() == low_data.mm_charges.shape[1] == 60


def test_low_and_high_energies_are_those_of_the_labels(labels):
    low = Dataset.from_labels(labels[:5], which="low")
    high = Dataset.from_labels(labels[:5], which="high")
    assert low.energy.tolist() == [label.energy_low for label in labels[:5]]
    assert high.energy.tolist() == [label.energy for label in labels[:5]]
    assert low.key != high.key


def test_a_label_without_forces_is_masked_not_zeroed(labels):
    bare = dataclasses.replace(labels[1], forces_qm=None, forces_mm=None)
    data = Dataset.from_labels([labels[0], bare])
    assert data.has_forces_qm.tolist() == [True, False]
    assert data.has_forces_mm.tolist() == [True, False]


def test_split_is_by_block(low_data):
    rest, held = low_data.split([1, 3])
    assert set(held.blocks) == {1, 3}
    assert set(rest.blocks) == {0, 2, 4}
    assert not set(rest.frame_keys) & set(held.frame_keys)


def test_survives_storage(low_data):
    again = unpack(pack(low_data))
    assert again.key == low_data.key


@pytest.mark.parametrize("held_out", [[], [0, 1, 2, 3, 4], [9]])
def test_refuses_a_split_with_an_empty_side(low_data, held_out):
    with pytest.raises(InputError, match="held out"):
        low_data.split(held_out)


def test_refuses_a_geometry_on_both_sides(low_data):
    twice = low_data.take([0, 1, 4, 0])
    leaking = dataclasses.replace(twice, blocks=np.array([0, 0, 1, 1]))
    with pytest.raises(InputError, match="both sides"):
        leaking.split([1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": "other"}, "different levels"),
        ({"qm_numbers": np.full(18, 6)}, "atomic numbers"),
        ({"qm_fixed_charges": np.zeros(18)}, "fixed charges"),
        ({"energy": float("nan")}, "not a finite"),
    ],
)
def test_refuses_labels_that_do_not_belong(labels, change, message):
    with pytest.raises(InputError, match=message):
        Dataset.from_labels([labels[0], dataclasses.replace(labels[1], **change)])


def test_refuses_one_snapshot_and_copies(labels):
    with pytest.raises(InputError, match="cannot make a data set"):
        Dataset.from_labels(labels[:1])
    with pytest.raises(InputError, match="same geometry"):
        Dataset.from_labels([labels[0], labels[1], labels[0]])


@pytest.mark.parametrize("kind", ["energy", "MP2"])
def test_forces_of_the_corrected_energy_are_no_low_level_forces(labels, kind):
    assert labels[1].energy != labels[1].energy_low
    mixed = [labels[0], dataclasses.replace(labels[1], forces_of=kind)]
    with pytest.raises(InputError, match="forces of label 1"):
        Dataset.from_labels(mixed)
