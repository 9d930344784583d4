"""Labels that come back one by one: the odd ones are told from the others, whatever came first."""

import dataclasses
import re

import numpy as np
import pytest

from drupe.mlp import Dataset
from drupe.mlp.intake import Intake
from drupe.mlp.sources import Frame

NUMBERS = np.array([8, 1, 1])
PLACE = np.array([[0.0, 0.0, 0.2], [0.0, 1.43, -0.9], [0.0, -1.43, -0.9]])


def label(frame, energy=-76.0, **more):
    rng = np.random.default_rng(frame)
    made = Frame(
        level="toy",
        qm_numbers=NUMBERS,
        qm_positions=PLACE + 0.1 * rng.normal(size=(3, 3)),
        energy=energy + 0.01 * rng.normal(),
        energy_low=energy,
        forces_qm=np.zeros((3, 3)),
        qm_fixed_charges=np.array([-0.8, 0.4, 0.4]),
        mm_positions=rng.normal(size=(4, 3)) + 9.0,
        mm_charges=0.1 * rng.normal(size=4),
    )
    return dataclasses.replace(made, **more)


def taken(labels):
    made = Intake(NUMBERS, "high")
    for frame, one in labels.items():
        made.let_in(frame, one)
    return made


BAD = {
    "not a number": ({"energy": np.nan}, "energy of label 7 is not a finite number"),
    "a force": ({"forces_qm": np.full((3, 3), np.inf)}, "forces_qm of label 7 is not a finite number"),
    "another zero": ({"energy": -46.0}, "eV per atom away from those of free atoms"),
    "another level": ({"level": "other"}, "of different levels: other, toy"),
    "other atoms": ({"qm_numbers": np.array([8, 1, 9])}, r"the atomic numbers \[8, 1, 9\]"),
    "other charges": (
        {"qm_fixed_charges": np.array([-0.6, 0.3, 0.3])},
        r"label [47] has other fixed charges on the QM atoms than label [47]",
    ),
    "other dispersion": ({"dispersion": "PBE-d3bj"}, "differ in the dispersion"),
    "nothing": ({"energy": None, "forces_qm": None}, "none of the 1 labels has an energy"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("at", [0, 1, 3])
def test_the_odd_label_is_named_by_its_frame_wherever_it_comes(kind, at):
    change, told = BAD[kind]
    frames = [4, 9, 5]
    frames.insert(at, 7)
    labels = {i: dataclasses.replace(label(i), **(change if i == 7 else {})) for i in frames}
    made = taken(labels)
    assert made.usable == {4, 9, 5}
    assert list(made.refused) == [7]
    found = made.refused[7].found
    assert found.startswith("the label of frame 7 cannot be used: ")
    assert re.search(told, found)
    Dataset.from_labels([labels[i] for i in frames if i != 7])  # what is left is what a fit takes


def test_energies_far_from_the_others_are_refused_where_free_atoms_say_nothing():
    silicon = {"qm_numbers": np.array([14, 1, 1])}
    made = Intake(np.array([14, 1, 1]), "high")
    for frame, energy in ((3, -260.0), (8, -290.0), (1, -290.0)):
        made.let_in(frame, label(frame, energy, **silicon))
    assert made.usable == {8, 1}
    assert "energy of label 3 is" in made.refused[3].found


def test_a_geometry_counts_once():
    turned = label(2)
    around = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    copied = dataclasses.replace(
        turned, qm_positions=turned.qm_positions @ around.T, mm_positions=turned.mm_positions @ around.T
    )
    made = taken({6: label(6), 2: turned, 5: copied})
    assert made.usable == {6, 2}
    assert "it is of the same geometry as that of frame 2" in made.refused[5].found


def test_what_is_no_label_is_refused():
    made = taken({0: label(0), 1: {"energy": -76.0}})
    assert "it is a dict" in made.refused[1].found


def test_a_label_that_was_made_again_takes_the_place_of_the_first():
    made = taken({0: label(0), 1: label(1, level="other"), 2: label(2)})
    made.let_in(1, label(1))
    assert made.usable == {0, 1, 2}
    assert not made.refused
    made.leave(0)
    assert made.usable == {1, 2}
