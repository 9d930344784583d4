"""Array kernels: no molecule needed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drupe.embedding.localization import spade, symmetric_root
from drupe.embedding.projection import complement_basis, projected_fock
from drupe.embedding.virtuals import concentric_shells

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


@settings(max_examples=25, deadline=None)
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


@settings(max_examples=25, deadline=None)
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
        assert seen == pytest.approx(want, abs=1e-8)  # 1e-8: rounding, with the shift of 1000 inside


@settings(max_examples=25, deadline=None)
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
