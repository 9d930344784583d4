"""Mixing of replicas against walks whose transition matrix is known."""

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.alchemical.leg_tables import Tables
from drupe.freeenergy.alchemical.mixing import mixing, round_trips, transition_matrix
from drupe.records import pack, unpack


def walks_of_swaps(states, iterations, chance, seed, pairs=None):
    """One neighbouring pair, drawn at random, swaps with the given chance."""
    rng = np.random.default_rng(seed)
    allowed = list(range(states - 1)) if pairs is None else pairs
    holder, walks = np.arange(states), []
    for _ in range(iterations):
        walks.append(np.argsort(holder))
        k = allowed[rng.integers(len(allowed))]
        if rng.random() < chance:
            holder[[k, k + 1]] = holder[[k + 1, k]]
    return np.array(walks)


def tables_of(walks, rise=0.0):
    """Energies in which every neighbour swap costs ``rise`` kT."""
    iterations, states = walks.shape
    distance = np.abs(np.subtract.outer(np.arange(states), np.arange(states)))
    return Tables(np.repeat(0.5 * rise * distance[:, :, None], iterations, axis=2), walks)


def test_two_states_have_the_eigenvalue_of_their_swap_rate():
    found = mixing(tables_of(walks_of_swaps(2, 4000, 0.3, 1)))
    # The matrix is [[0.7, 0.3], [0.3, 0.7]]: second eigenvalue 0.4; 4 standard errors of 0.3.
    assert found.second == pytest.approx(0.4, abs=2 * 4 * np.sqrt(0.21 / 4000))
    assert found.relaxation == pytest.approx(1 / (1 - found.second))
    assert found.verdict.level == "PASS"


def test_a_chain_of_states_has_the_gap_of_its_random_walk():
    states, chance = 5, 0.8
    walks = walks_of_swaps(states, 20000, chance, 2)
    step = chance / (states - 1)  # of going to one given neighbour
    exact = 1 - 2 * step * (1 - np.cos(np.pi / states))  # path graph with reflecting ends
    found = mixing(tables_of(walks))
    assert found.second == pytest.approx(exact, abs=0.01)
    matrix = transition_matrix(walks)
    assert matrix.sum(axis=1) == pytest.approx(np.ones(states))
    assert np.diag(matrix, 1) == pytest.approx(np.full(states - 1, step), abs=0.02)


def test_round_trips_are_counted_from_end_to_end_and_back():
    walk = np.array([0, 1, 2, 1, 2, 2, 1, 0, 1, 0, 2, 0, 2])  # 0..2..0, 0..2..0, 0..2
    assert round_trips(np.stack([walk, walk, np.full_like(walk, 1)], axis=1)) == 4
    assert round_trips(np.stack([np.full_like(walk, 1)] * 3, axis=1)) == 0


def test_groups_without_a_way_between_them_fail_and_are_named():
    found = mixing(tables_of(walks_of_swaps(5, 500, 0.9, 3, pairs=[0, 2, 3])))
    assert found.verdict.level == "FAIL"
    assert "2 groups of states (0 to 1; 2 to 4)" in found.verdict.reasons[0]
    assert found.relaxation == float("inf")


@pytest.mark.parametrize(
    ("iterations", "level", "word"), [(400, "WARN", "fewer than 20"), (30, "FAIL", "fewer than 1")]
)
def test_a_run_of_few_relaxation_times_is_not_believed(iterations, level, word):
    # 8 states, 1 - second = 2 * 0.9 / 7 * (1 - cos(pi / 8)) = 0.0196: a relaxation takes 51 iterations.
    walks = walks_of_swaps(8, 4000, 0.9, 4)
    parts = [walks[n : n + iterations] for n in range(4000 - iterations)]
    connected = next(one for one in parts if (np.diag(transition_matrix(one), 1) > 0).all())
    found = mixing(tables_of(connected))
    assert found.verdict.level == level
    assert word in found.verdict.reasons[0]
    assert mixing(tables_of(walks)).verdict.level == "PASS"  # 78 relaxation times


def test_neighbours_that_hardly_exchange_are_named():
    walks = walks_of_swaps(4, 4000, 0.9, 5)
    found = mixing(tables_of(walks, rise=3.0))
    assert found.acceptance == pytest.approx(np.full(3, np.exp(-3.0)))
    assert found.verdict.level == "WARN"
    assert "3 of 3 neighbouring pairs" in found.verdict.reasons[0]
    assert mixing(tables_of(walks, rise=2.0)).verdict.level == "PASS"  # exp(-2) = 0.14


def test_no_round_trip_is_said():
    # Each replica of two states swaps once, in the middle: half a round trip each.
    walks = np.array([[0, 1]] * 30 + [[1, 0]] * 30)
    found = mixing(tables_of(walks))
    assert found.round_trips == 0
    assert "no replica made a round trip in 60 iterations" in str((found.verdict.reasons, found.verdict.also))


def test_windows_by_themselves_have_no_mixing():
    with pytest.raises(InputError, match="ran by themselves"):
        mixing(Tables(np.zeros((2, 2, 5))))


def test_the_result_survives_storage_and_long_walks_are_thinned():
    found = mixing(tables_of(walks_of_swaps(3, 1000, 0.5, 7)))
    again = unpack(pack(found))
    assert again.verdict == found.verdict
    assert (len(again.walks), again.every) == (200, 5)
