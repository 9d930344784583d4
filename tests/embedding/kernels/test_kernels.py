"""Array kernels: no molecule needed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drupe.embedding.kernels.localization import assign, pipek_mezey, spade, symmetric_root
from drupe.embedding.kernels.projection import complement_basis, huzinaga_fock, level_shift, projected_fock
from drupe.embedding.kernels.virtuals import concentric_shells

N = 9


def random_basis(rng, n_occ):
    root = rng.normal(size=(N, N)) + 4 * np.eye(N)
    overlap = root @ root.T
    orbitals = np.linalg.inv(np.linalg.cholesky(overlap)).T
    turn, _ = np.linalg.qr(rng.normal(size=(N, N)))
    return overlap, (orbitals @ turn)[:, :n_occ], (orbitals @ turn)[:, n_occ:]


def symmetric(rng):
    matrix = rng.normal(size=(N, N))
    return matrix + matrix.T


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n_occ=st.integers(2, 6), n_core=st.integers(1, 2))
def test_spade_splits_the_occupied_space_and_nothing_else(seed, n_occ, n_core):
    overlap, occupied, _ = random_basis(np.random.default_rng(seed), n_occ)
    rows = np.arange(3)
    split = spade(overlap, occupied, rows, n_core)
    both = np.hstack([split.core, split.rest])
    # 1e-9: rounding of a 9 by 9 problem with condition numbers up to 1e3.
    assert both.T @ overlap @ both == pytest.approx(np.eye(n_occ), abs=1e-9)
    assert both @ both.T == pytest.approx(occupied @ occupied.T, abs=1e-9)
    weight = np.linalg.norm((symmetric_root(overlap) @ both)[rows], axis=0)
    assert weight == pytest.approx(split.singular_values, abs=1e-9)
    assert (np.diff(split.singular_values) <= 1e-12).all()
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(n_occ, n_occ)))
    again = spade(overlap, occupied @ turn, rows, n_core)
    assert again.gap == pytest.approx(split.gap, abs=1e-9)
    if split.gap > 1e-3:
        assert again.core @ again.core.T == pytest.approx(split.core @ split.core.T, abs=1e-6)


def test_the_largest_gap_decides_unless_told():
    occupied = np.zeros((4, 3))
    occupied[0, 0] = occupied[3, 2] = 1.0
    occupied[[1, 2], 1] = np.sqrt([0.9, 0.1])  # weights on rows 0 and 1: 1, 0.949, 0
    split = spade(np.eye(4), occupied, np.array([0, 1]))
    assert split.core.shape[1] == 2
    assert split.gap == pytest.approx(np.sqrt(0.9))
    assert spade(np.eye(4), occupied, np.array([0, 1]), 1).gap == pytest.approx(1 - np.sqrt(0.9))
    assert spade(np.eye(4), occupied, np.arange(4)).core.shape[1] == 3  # the core is everything


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n_env=st.integers(0, 6))
def test_the_projected_fock_problem_is_the_one_in_the_complement(seed, n_env):
    rng = np.random.default_rng(seed)
    overlap, environment, _ = random_basis(rng, n_env)
    fock = symmetric(rng)
    basis = complement_basis(overlap, environment)
    assert basis.shape == (N, N - n_env)
    assert basis.T @ overlap @ basis == pytest.approx(np.eye(N - n_env), abs=1e-9)
    assert basis.T @ overlap @ environment == pytest.approx(np.zeros((N - n_env, n_env)), abs=1e-9)
    inside = np.linalg.eigvalsh(basis.T @ fock @ basis)
    inverse_root = np.linalg.inv(symmetric_root(overlap))
    for shift in (10.0, 1000.0):
        whole = projected_fock(fock, overlap, environment, shift)
        seen = np.linalg.eigvalsh(inverse_root @ whole @ inverse_root)
        want = np.sort(np.append(inside, [shift] * n_env))
        assert seen == pytest.approx(
            want, abs=1e-12 * np.linalg.cond(overlap) * max(1e3, abs(want[0]))
        )  # rounding


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(1, 4))
def test_shells_start_at_the_core_and_end_at_everything(seed, n_rows):
    rng = np.random.default_rng(seed)
    overlap, _, virtuals = random_basis(rng, 2)
    energies = np.sort(rng.uniform(0.1, 4.0, virtuals.shape[1]))
    rows = np.arange(n_rows)
    rotation, ends = concentric_shells(overlap, virtuals, energies, rows)
    assert rotation.T @ rotation == pytest.approx(np.eye(len(energies)), abs=1e-9)
    assert ends[0] == n_rows
    assert ends[-1] == len(energies)
    sorted_orbitals = virtuals @ rotation
    # Whatever lies beyond shell 0 has no overlap at all with the core's basis functions ...
    assert np.abs(overlap[rows] @ sorted_orbitals[:, ends[0] :]).max(initial=0) < 1e-8
    # ... and the Fock operator couples each shell only to its neighbours.
    fock = rotation.T @ (energies[:, None] * rotation)
    for k, end in enumerate(ends[1:-1], start=1):
        assert np.abs(fock[: ends[k - 1], end:]).max(initial=0) < 1e-6


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n_env=st.integers(0, 6))
def test_huzinaga_turns_the_surroundings_over_and_leaves_the_rest(seed, n_env):
    rng = np.random.default_rng(seed)
    overlap, environment, _ = random_basis(rng, n_env)
    fock = symmetric(rng)
    basis = complement_basis(overlap, environment)
    dressed = huzinaga_fock(fock, overlap, environment)
    scale = max(1e-9, 1e-13 * np.linalg.cond(overlap) * np.abs(fock).max() * np.abs(basis).max() ** 2)
    assert basis.T @ dressed @ basis == pytest.approx(basis.T @ fock @ basis, abs=scale)
    assert environment.T @ dressed @ environment == pytest.approx(
        -environment.T @ fock @ environment, abs=scale
    )
    assert basis.T @ dressed @ environment == pytest.approx(np.zeros((N - n_env, n_env)), abs=scale)


def test_a_level_shift_lifts_the_surroundings_only():
    overlap, environment, others = random_basis(np.random.default_rng(2), 3)
    shift = level_shift(overlap, environment, 100.0)
    assert environment.T @ shift @ environment == pytest.approx(100 * np.eye(3), abs=1e-8)
    assert others.T @ shift @ others == pytest.approx(np.zeros((6, 6)), abs=1e-8)


@pytest.mark.parametrize("power", [2, 4])
def test_localised_orbitals_come_back_from_any_rotation(power):
    """Three orbitals on an atom each, mixed: the sum of powers of populations finds them again."""
    rng = np.random.default_rng(4)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    overlaps = np.array([np.outer(row, row) for row in turn])
    found = turn @ pipek_mezey(overlaps, power)
    assert np.sort(np.abs(found), axis=1) == pytest.approx(np.tile([0.0, 0.0, 1.0], (3, 1)), abs=1e-8)
    # Nothing to choose between: orbitals that look alike to every atom stay as they are.
    assert pipek_mezey(np.array([np.eye(2), np.zeros((2, 2))]), power) == pytest.approx(np.eye(2))


def test_orbitals_go_where_their_electrons_are():
    populations = np.array([[0.1, 0.9, 0.6], [0.9, 0.1, 0.4]])
    orbitals = np.eye(3)
    chosen = assign(orbitals, populations, np.array([0]), None)
    assert chosen.core.shape[1] == 2
    assert chosen.core[:, 0] == pytest.approx(orbitals[:, 1])  # the largest population first
    assert chosen.gap == pytest.approx(np.sqrt(0.6) - np.sqrt(0.1))
    one = assign(orbitals, populations, np.array([0]), 1)
    assert one.gap == pytest.approx(np.sqrt(0.9) - np.sqrt(0.6))
    assert assign(orbitals, populations, np.array([0, 1]), None).rest.shape[1] == 0
