import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drupe.errors import InputError
from drupe.mlp import Committee
from drupe.mlp.acquisition import Geometry, Scores, choose, score
from drupe.mlp.evaluation import evaluate


@pytest.fixture(scope="module")
def some(labels):
    return [Geometry(one.qm_positions, one.mm_positions, one.mm_charges) for one in labels[:6]]


def test_the_spread_is_that_of_the_members_forces(random_committee, random_members, some):
    made = score(random_committee, some)
    forces = np.array(
        [
            [evaluate(one, f.qm, f.mm, f.charges, fixed_coulomb=True).forces_qm for f in some]
            for one in random_members
        ]
    )
    wanted = np.sqrt((forces.std(axis=0, ddof=1) ** 2).mean(axis=(1, 2)))
    np.testing.assert_allclose(made.spread, wanted, rtol=1e-12)


def test_the_spread_of_energies_is_that_of_the_prediction(random_committee, some):
    made = score(random_committee, some, quantity="energy")
    sigma = [random_committee.predict(f.qm, f.mm, f.charges).energy_sigma for f in some]
    np.testing.assert_allclose(random_committee.sigma_factor * made.spread, sigma, rtol=1e-10)


@pytest.mark.parametrize("quantity", ["force", "energy"])
def test_what_two_levels_share_is_no_spread_of_the_correction(random_committee, some, quantity):
    made = score(random_committee, some, quantity=quantity, base=random_committee)
    np.testing.assert_allclose(made.spread, 0.0, atol=1e-15)


def test_one_member_cannot_disagree(random_committee, some):
    with pytest.raises(InputError, match="no spread"):
        score(Committee(random_committee.members[:1]), some)
    with pytest.raises(InputError, match="3 members were carried from 1"):
        score(random_committee, some, base=Committee(random_committee.members[:1]))


def test_places_do_not_change_when_everything_is_moved_and_turned(random_committee, some):
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    moved = [Geometry(f.qm @ turn + 3.0, f.mm @ turn + 3.0, f.charges) for f in some]
    one, two = score(random_committee, some), score(random_committee, moved)
    np.testing.assert_allclose(one.places, two.places, atol=1e-8)
    assert one.places.std(axis=0).min() > 0


def test_copies_of_a_labelled_frame_are_not_chosen():
    places = np.array([[0.0], [0.0], [1.0], [5.0]])
    spread = np.array([1.0, 9.0, 1.0, 0.5])
    assert choose(Scores(spread, places), taken={0}, count=2) == [3, 2]


def test_with_equal_places_the_largest_spread_comes_first():
    assert choose(Scores(np.array([1.0, 3.0, 2.0]), np.eye(3)), taken=()) == [1]


@settings(max_examples=50)
@given(seed=st.integers(0, 1000), n=st.integers(1, 30), count=st.integers(0, 40), share=st.floats(0, 1))
def test_nothing_is_chosen_twice_and_nothing_that_is_taken(seed, n, count, share):
    rng = np.random.default_rng(seed)
    scores = Scores(rng.random(n), rng.normal(size=(n, 2)))
    taken = set(np.flatnonzero(rng.random(n) < share).tolist())
    chosen = choose(scores, taken, count)
    assert len(chosen) == len(set(chosen)) == min(count, n - len(taken))
    assert not set(chosen) & taken


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(InputError, match="not a finite number"):
        Scores(np.array([1.0, np.nan]), np.zeros((2, 1)))
