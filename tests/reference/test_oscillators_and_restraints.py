"""Exact free energies: harmonic oscillators, and a restraint of the distance alone (YANK's test)."""

import numpy as np
import pytest

from drupe.freeenergy.alchemical.restraints import BoreschRestraint, release_free_energy
from drupe.freeenergy.estimation.estimators import bar, mbar
from drupe.units import angstrom, kcal_per_mol

pytestmark = pytest.mark.reference

#: ln(K) / 2 of K = 1, 2, 4, 8, 16, in kT per dimension.
EXACT = np.array([0.0, 0.34657, 0.69315, 1.03972, 1.38629])


def oscillators(n, seed):
    rng = np.random.default_rng(seed)
    k = 2.0 ** np.arange(5)
    x = np.concatenate([rng.normal(0, one**-0.5, n) for one in k])
    return 0.5 * k[:, None] * x**2, np.full(5, n)


def test_a_chain_of_oscillators_by_mbar():
    found = np.array([mbar(*oscillators(500, seed)).values for seed in range(20)])
    errors = mbar(*oscillators(500, 0)).errors
    # Mean of 20: three of its standard errors. 1e-5: the digits of the table.
    assert np.abs(found.mean(axis=0) - EXACT).max() < 3 * errors.max() / np.sqrt(20) + 1e-5
    assert found[:, 1:].std(axis=0, ddof=1) == pytest.approx(errors[1:], rel=0.5)  # 3 s.e. of 20 scatters


def test_neighbouring_oscillators_by_bar():
    u, counts = oscillators(2000, 7)
    ends = np.concatenate([[0], np.cumsum(counts)])
    for k in range(4):
        here, there = slice(ends[k], ends[k + 1]), slice(ends[k + 1], ends[k + 2])
        got = bar(u[k + 1, here] - u[k, here], u[k, there] - u[k + 1, there], seed=1, n_resamples=20)
        assert got.value == pytest.approx(EXACT[k + 1] - EXACT[k], abs=4 * got.error)
        assert got.verdict.level == "PASS"


def test_release_of_a_restraint_of_the_distance_alone():
    # -5.43395 kT in YANK's test: K = 1 kcal/mol/A^2, r0 = 0, 300 K. Angles and dihedrals that are held by
    # nothing leave the distance; rest values of 0 are approached.
    free = 1e-12 * kcal_per_mol
    got = release_free_energy(
        BoreschRestraint(
            receptor=np.array([2, 1, 0]),
            ligand=np.array([3, 4, 5]),
            distance=1e-6 * angstrom,
            angles=np.full(2, 0.5 * np.pi),
            dihedrals=np.zeros(3),
            k_distance=kcal_per_mol / angstrom**2,
            k_angles=np.full(2, free),
            k_dihedrals=np.full(3, free),
        ),
        300.0,
    )
    # 5e-5: the printed digits and the change of k_B among tables of constants.
    assert got.numerical == pytest.approx(-5.43395, abs=5e-5)
