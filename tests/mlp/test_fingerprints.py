"""Fingerprints of frames: copies are known, turned and rounded too; other frames are not."""

import numpy as np
import pytest

from drupe.mlp.fingerprints import known_frames, prints_of


@pytest.fixture(scope="module")
def scenes():
    """Two hundred frames of twelve atoms at thermal displacements, each in charges of its own."""
    rng = np.random.default_rng(5)
    rest = rng.normal(size=(12, 3)) * 4
    places = rest + 0.1 * rng.normal(size=(200, 12, 3))
    return places, [20 + rng.normal(size=(9, 3)) for _ in places], [rng.normal(size=9) for _ in places]


def test_copies_are_known_and_other_frames_are_not(scenes):
    places, mm, charges = scenes
    seen = prints_of(places[:100], mm[:100], charges[:100])
    turn, _ = np.linalg.qr(np.random.default_rng(6).normal(size=(3, 3)))
    turned = prints_of(places[:4] @ turn + 3.0, [one @ turn + 3.0 for one in mm[:4]], charges[:4])
    rounded = prints_of(places[4:8].round(7), [one.round(7) for one in mm[4:8]], charges[4:8])
    others = prints_of(places[100:], mm[100:], charges[100:])
    asked = np.concatenate([others[:50], turned, others[50:], rounded])
    assert known_frames(asked, seen).tolist() == [50, 51, 52, 53, 104, 105, 106, 107]
    assert not len(known_frames(others, seen))
    assert not len(known_frames(seen, np.zeros((0, 6))))


def test_other_surroundings_make_another_frame(scenes):
    places, mm, charges = scenes
    seen = prints_of(places[:3], mm[:3], charges[:3])
    assert not len(known_frames(prints_of(places[:3], [one * 1.001 for one in mm[:3]], charges[:3]), seen))
    assert not len(known_frames(prints_of(places[:3], [np.zeros((0, 3))] * 3, [np.zeros(0)] * 3), seen))
