"""Local natural orbitals: the limits of coupled cluster and of separate molecules, and what is refused."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from pyscf import ao2mo, gto, lib, lo, scf

from drupe.embedding import Level, Partition, label
from drupe.embedding.labeling import check_request
from drupe.embedding.solvers.hamiltonian import (
    EmbeddedHamiltonian,
    Solution,
    known_solver,
    register_solver,
    solve,
)
from drupe.embedding.solvers.local_correlation import edmiston_ruedenberg
from drupe.errors import ConvergenceError, InputError

needs_forge = pytest.mark.needs("pyscf.lno")
EVERYTHING = (1e-100, 1e-100)
FLUOROMETHANE = "C 0 0 0; F 0 0 1.389; H 1.032 0 -.363; H -.516 .8937 -.363; H -.516 -.8937 -.363"
METHANOL = "O -0.046 -0.755 0; H 0.869 -1.057 0; C -0.046 0.663 0; H -1.086 0.976 0; H 0.437 1.071 0.890;"
METHANOL += "H 0.437 1.071 -0.890"
WATER = "O 0 0 .117; H 0 .757 -.470; H 0 -.757 -.470"


def fitted(atoms, basis):
    """Mean field, its Hamiltonian in canonical orbitals turned among themselves."""
    mol = gto.M(atom=atoms, basis=basis, verbose=0)
    field = scf.RHF(mol).density_fit(auxbasis="def2-universal-jkfit").run(conv_tol=1e-12)
    rng, n = np.random.default_rng(4), mol.nelectron // 2
    c = field.mo_coeff.copy()
    for part in (slice(None, n), slice(n, None)):
        turn, _ = np.linalg.qr(rng.normal(size=(c[:, part].shape[1],) * 2))
        c[:, part] = c[:, part] @ turn
    tensor = lib.unpack_tril(np.vstack(list(field.with_df.loop())))
    h = c.T @ field.get_hcore() @ c
    return EmbeddedHamiltonian(h, np.matmul(c.T, tensor) @ c, mol.nelectron, mol.energy_nuc())


@pytest.fixture(scope="module")
def methanol():
    return fitted(METHANOL, "6-31g*")


def dimer_level(**changes):
    return Level("PBE", "6-31G", **{"core": "LNO-CCSD(T)", "grid": 1, "forces": "none", **changes})


def one_water(system, cores=([0, 1, 2],)):
    return Partition.select(system, qm=list(range(6)), charge=0, cores=list(cores))


def test_an_independent_program_finds_no_better_localised_orbitals():
    mol = gto.M(atom=METHANOL, basis="sto-3g", verbose=0)
    c = scf.RHF(mol).run(conv_tol=1e-12).mo_coeff
    n, total = mol.nelectron // 2, mol.nao
    eri = ao2mo.restore(1, ao2mo.full(mol, c), total).reshape(total**2, total**2)
    values, vectors = np.linalg.eigh(eri)
    kept = values > 1e-13
    tensor = (vectors[:, kept] * np.sqrt(values[kept])).T.reshape(-1, total, total)
    system = EmbeddedHamiltonian(c.T @ scf.hf.get_hcore(mol) @ c, tensor, 2 * n)

    def repulsion(orbitals):
        return np.einsum("pii,pii->", orbitals.T @ tensor @ orbitals, orbitals.T @ tensor @ orbitals)

    found = edmiston_ruedenberg(system, np.eye(total)[:, :n])
    assert found.T @ found == pytest.approx(np.eye(n), abs=1e-12)
    assert repulsion(found) > repulsion(np.eye(total)[:, :n]) + 0.1
    for start, margin in ((c[:, :n], np.inf), (c @ found, 1e-6)):  # on its own it stops at a saddle point
        theirs = lo.EdmistonRuedenberg(mol, start).set(verbose=0, init_guess=None)
        wanted = np.linalg.lstsq(c, theirs.kernel(), rcond=None)[0]
        assert -1e-6 < repulsion(found) - repulsion(wanted) < margin


@needs_forge
@pytest.mark.parametrize("method", ["CCSD", "CCSD(T)"])
def test_spaces_of_all_orbitals_give_the_method_itself(method):
    water = fitted(WATER, "6-31g*")
    for n_frozen in (0, 1):
        exact = solve(water, method, n_frozen=n_frozen, tolerance=1e-10)
        found = solve(water, f"LNO-{method}", n_frozen=n_frozen, tolerance=1e-10, lno_thresholds=EVERYTHING)
        assert found.energy == pytest.approx(exact.energy, abs=1e-8)
        assert found.reference == pytest.approx(exact.reference, abs=1e-10)
        for diagnostic in ("t1", "d1", "t2_max"):
            assert getattr(found, diagnostic) == pytest.approx(getattr(exact, diagnostic), abs=1e-6)


@needs_forge
def test_thresholds_close_in_on_coupled_cluster(methanol):
    """Errors here are 2e-4 and 5e-6 hartree; without MP2 for the rest they would be ten times larger."""
    exact = solve(methanol, "CCSD(T)", n_frozen=2).energy
    loose, usual = (
        solve(methanol, "LNO-CCSD(T)", n_frozen=2, lno_thresholds=t) for t in ((1e-4, 1e-5), (1e-5, 1e-6))
    )
    assert 1e-5 < abs(loose.energy - exact) < 4e-4
    assert abs(usual.energy - exact) < 2e-5
    (said,) = loose.approximations
    assert "above 0.0001 (occupied) and 1e-05 (virtual)" in said
    assert float(said.split("MP2 for the others (")[1].split()[0]) < -1e-4


@needs_forge
def test_orbitals_that_hardly_care_how_they_are_turned_are_no_obstacle():
    """Lone pairs of a halogen on an axis of symmetry turn about it for nothing."""
    molecule = fitted(FLUOROMETHANE, "6-31g")
    exact = solve(molecule, "CCSD(T)").correlation
    assert solve(molecule, "LNO-CCSD(T)").correlation == pytest.approx(exact, abs=2e-4)
    tight = solve(molecule, "LNO-CCSD(T)", lno_thresholds=EVERYTHING).correlation
    assert tight == pytest.approx(exact, abs=1e-7)


@needs_forge
def test_molecules_far_apart_add_up():
    """Every localised orbital has its own space, so that thresholds do not spoil size consistency."""
    apart = WATER + ";O 60 0 .117; H 60 .757 -.470; H 60 -.757 -.470"
    one, two = (
        solve(fitted(atoms, "6-31g"), "LNO-CCSD(T)", tolerance=1e-10, lno_thresholds=(1e-4, 1e-5))
        for atoms in (WATER, apart)
    )
    # Dipoles of 2 D at 60 A interact by 3e-6 hartree in the reference; the correlation does not feel it.
    assert two.correlation == pytest.approx(2 * one.correlation, abs=2e-7)
    assert two.t1 == pytest.approx(one.t1, abs=1e-5)
    assert one.approximations != two.approximations  # the numbers of orbitals to choose from


@needs_forge
def test_a_core_in_its_surroundings_has_the_limit_of_coupled_cluster(water_dimer):
    tight = dimer_level(lno_thresholds=EVERYTHING, frozen_core=True)
    found = label(water_dimer, one_water(water_dimer), tight)
    exact = label(water_dimer, one_water(water_dimer), replace(tight, core="CCSD(T)"))
    assert found.energy == pytest.approx(exact.energy, abs=1e-6)
    assert found.cores[0].mp2_truncation == pytest.approx(exact.cores[0].mp2_truncation, abs=1e-9)
    assert sum(found.terms.values()) == pytest.approx(found.energy, abs=1e-9)
    assert any("local natural orbitals above 1e-100" in said for said in found.approximations)
    assert "pyscf-forge" in found.versions
    assert "pyscf-forge" not in exact.versions
    assert label(water_dimer, one_water(water_dimer), dimer_level()).energy == pytest.approx(
        label(water_dimer, one_water(water_dimer), dimer_level(core="CCSD(T)")).energy, abs=1e-4
    )


@needs_forge
def test_what_stops_short_or_does_not_fit_has_no_energy(methanol):
    with pytest.raises(ConvergenceError, match="localised orbital"):
        solve(methanol, "LNO-CCSD(T)", max_cycles=2)
    with pytest.raises(InputError, match="max_memory_mb"):
        solve(methanol, "LNO-CCSD", max_memory_mb=0.1)


@needs_forge
def test_one_bond_and_no_virtual_orbital_are_no_special_cases():
    bond = fitted("H 0 0 0; H 0 0 .9", "6-31g**")
    exact = solve(bond, "FCI").energy
    assert solve(bond, "LNO-CCSD(T)", lno_thresholds=EVERYTHING).energy == pytest.approx(exact, abs=1e-7)
    full = EmbeddedHamiltonian(bond.h[:1, :1], bond.tensor[:, :1, :1], 2, bond.constant)
    assert solve(full, "LNO-CCSD(T)").correlation == 0.0
    few = solve(bond, "LNO-CCSD(T)", lno_thresholds=(1.0, 1.0))  # every natural orbital is too empty
    assert few.energy == pytest.approx(solve(bond, "MP2").energy, abs=1e-10)
    assert (few.t1, few.t2_max) == (0.0, 0.0)


def test_a_missing_package_is_refused_with_how_to_build_it(monkeypatch, water_dimer):
    monkeypatch.setitem(sys.modules, "pyscf.lno", None)
    with pytest.raises(InputError, match="LNO-CCSD needs pyscf-forge") as caught:
        known_solver("LNO-CCSD")
    assert "pip install --no-deps 'pyscf-forge>=1.1.1'" in caught.value.remedy
    assert "libopenblas-dev" in caught.value.remedy
    with pytest.raises(InputError, match="needs pyscf-forge"):
        check_request(water_dimer, one_water(water_dimer), dimer_level())


def test_thresholds_belong_to_the_name_of_a_level():
    usual = dimer_level()
    assert usual.lno_thresholds == (1e-5, 1e-6)
    assert usual.key == dimer_level(lno_thresholds=[1e-5, 1e-6]).key
    assert usual.key != dimer_level(lno_thresholds=(1e-5, 1e-7)).key


def test_a_label_says_what_a_solver_left_out(water_dimer):
    register_solver("blunt", lambda h, _: Solution(h.constant, h.constant, approximations=("half of it",)))
    found = label(water_dimer, one_water(water_dimer), dimer_level(core="blunt"))
    assert found.cores[0].approximations == ("half of it",)
    assert "core 1: half of it" in found.approximations
