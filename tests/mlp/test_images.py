"""Nearest images of whole groups, against a search through all images."""

import itertools

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.mlp.images import Images, box_heights, tree_of_bonds

TRICLINIC = np.array([[40.0, 0, 0], [13.0, 38.0, 0], [-13.0, 18.0, 36.0]])
CUBIC = 36.0 * np.eye(3)


def scene(rng, box):
    """A bent chain of eight atoms 2.6 bohr apart and fifty groups of three, all atoms in random images."""
    chain = [np.zeros(3)]
    for _ in range(7):
        step = rng.normal(size=3) * [1.0, 0.2, 0.2] + [1.5, 0, 0]
        chain.append(chain[-1] + 2.0 * step / np.linalg.norm(step))
    qm = np.array(chain) + rng.uniform(size=3) @ box
    centres = rng.uniform(size=(50, 3)) @ box
    mm = (centres[:, None] + rng.normal(size=(50, 3, 3))).reshape(-1, 3)
    shifts = rng.integers(-3, 4, size=(len(qm) + len(mm), 3))
    return qm, mm, np.concatenate([qm, mm]) + shifts @ box


@pytest.mark.parametrize("box", [CUBIC, TRICLINIC], ids=["cubic", "triclinic"])
def test_every_group_within_reach_is_whole_and_at_its_nearest_image(box):
    rng = np.random.default_rng(1)
    reach = 8.0
    images = Images(tree_of_bonds(8, [(i, i + 1) for i in range(7)]), np.repeat(np.arange(50), 3), reach)
    everywhere = np.array(list(itertools.product(range(-2, 3), repeat=3))) @ box
    found = 0
    for _ in range(10):
        qm, mm, mixed = scene(rng, box)
        placed = images.place(mixed, box)
        moved = (placed - mixed) @ np.linalg.inv(box)
        assert moved == pytest.approx(np.rint(moved), abs=1e-12)
        inner, outer = placed[:8], placed[8:].reshape(50, 3, 3)
        # The chain is the one that was torn apart, up to one common shift.
        assert inner - inner[0] == pytest.approx(qm - qm[0], abs=1e-11)
        centre = outer.mean(1)
        assert outer - outer[:, :1] == pytest.approx(
            (mm.reshape(50, 3, 3) - mm.reshape(50, 3, 3)[:, :1]), abs=1e-11
        )
        here = np.linalg.norm(centre[:, None] - inner, axis=2).min(1)
        best = np.linalg.norm(centre[:, None, None] + everywhere[:, None] - inner, axis=3).min((1, 2))
        within = best < reach
        assert here[within] == pytest.approx(best[within], abs=1e-10)
        assert (here[~within] >= reach).all()
        found += int(within.sum())
    assert found > 20


def test_a_box_that_shrinks_below_the_reach_is_refused_with_numbers():
    images = Images(tree_of_bonds(2, [(0, 1)]), np.zeros(1, np.int64), 8.0)
    place = np.array([[0.0, 0, 0], [2.0, 0, 0], [9.0, 0, 0]])
    images.place(place, 18.01 * np.eye(3))
    with pytest.raises(
        InputError, match=r"9.47 A apart along a, the molecule is 1.06 A long .* reach 4.23 A"
    ):
        images.place(place, 17.9 * np.eye(3))


def test_heights_are_distances_between_faces():
    heights = box_heights(TRICLINIC)
    for k in range(3):
        normal = np.cross(TRICLINIC[k - 2], TRICLINIC[k - 1])
        assert heights[k] == pytest.approx(abs(TRICLINIC[k] @ normal) / np.linalg.norm(normal), rel=1e-12)


def test_parts_without_a_bond_between_them_hang_on_the_first_atom():
    assert tree_of_bonds(5, [(0, 1), (4, 3)]).tolist() == [-1, 0, 0, 0, 3]
    assert tree_of_bonds(1, []).tolist() == [-1]
