import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drupe.embedding.suggestions.ranking import (
    electric_field,
    grow,
    growth_ladders,
    rank,
    relative_spread,
    spread_error,
)

CHAIN = [[1], [0, 2], [1, 3], [2]]


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.floats(-100, 100))
def test_a_constant_is_no_relative_energy(values, shift):
    # 1e-6: the root of the rounding of squares of a hundred.
    assert relative_spread(np.add(values, shift)) == pytest.approx(relative_spread(values), abs=1e-6)


def test_the_spread_is_the_rms_difference_over_all_pairs():
    values = np.array([0.3, -1.2, 2.5, 0.9])
    pairs = [values[i] - values[j] for i in range(4) for j in range(i)]
    assert relative_spread(values) == pytest.approx(np.sqrt(np.mean(np.square(pairs))), rel=1e-12)
    assert relative_spread([1.0, 4.0]) == pytest.approx(3.0)


def test_cores_within_the_tolerance_come_first_and_small():
    assert rank([0.0, 0.4, 0.9, 0.2, 0.7], [0] * 5, [50, 10, 5, 20, 30], 0.5) == [1, 3, 0, 4, 2]


def test_a_core_must_be_within_the_tolerance_with_its_error():
    assert rank([0.4, 0.3], [0.15, 0.1], [5, 10], 0.5) == [1, 0]


def test_the_error_of_a_spread_is_that_of_a_standard_deviation():
    random = np.random.default_rng(4)
    spreads = [relative_spread(random.normal(size=20)) for _ in range(4000)]
    # 3 %: the formula is for many frames, and 4,000 draws leave 1 %.
    assert np.std(spreads) == pytest.approx(spread_error(np.sqrt(2), 20), rel=0.03)


def test_of_two_equal_sizes_the_one_that_misses_less_wins():
    assert rank([0.4, 0.3], [0, 0], [10, 10], 0.5) == [1, 0]


def test_a_core_grows_by_its_neighbours():
    assert grow(frozenset({0}), CHAIN) == {0, 1}
    assert grow(frozenset({1, 2}), CHAIN) == {0, 1, 2, 3}


def test_the_last_step_reaches_other_molecules():
    assert grow(frozenset({0, 1}), [[1], [0], []]) == {0, 1, 2}


def test_ladders_share_their_upper_rungs():
    found = growth_ladders([0, 3], CHAIN)
    assert found == [{0}, {3}, {0, 1}, {2, 3}, {0, 1, 2}, {1, 2, 3}, {0, 1, 2, 3}]


def test_the_field_of_one_charge_is_coulombs():
    places = np.array([[0.0, 0, 0], [0, 0, 1]])
    assert electric_field(places, np.array([[0.0, 0, 3]]), np.array([-2.0])) == pytest.approx(
        np.sqrt(((2 / 9) ** 2 + (2 / 4) ** 2) / 2)
    )
