"""Solvers against PySCF on whole molecules: an embedded Hamiltonian without an environment."""

import numpy as np
import pytest
from pyscf import ao2mo, cc, gto, mp, scf

from drupe.embedding.kernels.hartree_fock import hartree_fock
from drupe.embedding.solvers.hamiltonian import EmbeddedHamiltonian, Solution, register_solver, solve
from drupe.errors import ConvergenceError, InputError


def hamiltonian_of(mol, orbitals):
    eri = ao2mo.restore(1, ao2mo.full(mol, orbitals), orbitals.shape[1])
    n = orbitals.shape[1]
    values, vectors = np.linalg.eigh(eri.reshape(n * n, n * n))
    kept = values > 1e-13
    tensor = (vectors[:, kept] * np.sqrt(values[kept])).T.reshape(-1, n, n)
    h = orbitals.T @ scf.hf.get_hcore(mol) @ orbitals
    return EmbeddedHamiltonian(h, tensor, mol.nelectron, mol.energy_nuc())


@pytest.fixture(scope="module")
def water():
    mol = gto.M(atom="O 0 0 .117; H 0 .757 -.470; H 0 -.757 -.470", basis="6-31g", verbose=0)
    mean_field = scf.RHF(mol).run(conv_tol=1e-13)
    return mol, mean_field


@pytest.fixture(scope="module")
def scrambled(water):
    """Occupied and virtual orbitals mixed among themselves: far from canonical."""
    mol, mean_field = water
    rng = np.random.default_rng(3)
    n, total = mol.nelectron // 2, mol.nao
    turn = np.zeros((total, total))
    turn[:n, :n], _ = np.linalg.qr(rng.normal(size=(n, n)))
    turn[n:, n:], _ = np.linalg.qr(rng.normal(size=(total - n, total - n)))
    return hamiltonian_of(mol, mean_field.mo_coeff @ turn)


def test_mp2_and_coupled_cluster_do_not_mind_localised_orbitals(water, scrambled):
    _, mean_field = water
    reference = cc.CCSD(mean_field).run(conv_tol=1e-11, conv_tol_normt=1e-8)
    wanted = {
        "HF": mean_field.e_tot,
        "MP2": mp.MP2(mean_field).run().e_tot,
        "CCSD": reference.e_tot,
        "CCSD(T)": reference.e_tot + reference.ccsd_t(),
    }
    for method, energy in wanted.items():
        found = solve(scrambled, method, tolerance=1e-11)
        # 1e-8: the coupled-cluster thresholds; triples in localised orbitals would miss by 1e-4.
        assert found.energy == pytest.approx(energy, abs=1e-8), method
        assert found.reference == pytest.approx(mean_field.e_tot, abs=1e-9)
    found = solve(scrambled, "CCSD")
    assert found.t1 == pytest.approx(cc.ccsd.get_t1_diagnostic(reference.t1), abs=1e-6)
    assert found.t2_max == pytest.approx(np.abs(reference.t2).max(), abs=1e-5)


def test_two_electrons_are_exact_with_singles_and_doubles():
    mol = gto.M(atom="H 0 0 0; H 0 0 .9", basis="6-31g**", verbose=0)
    mean_field = scf.RHF(mol).run(conv_tol=1e-13)
    system = hamiltonian_of(mol, mean_field.mo_coeff)
    exact = solve(system, "FCI")
    assert exact.energy == pytest.approx(solve(system, "CCSD", tolerance=1e-11).energy, abs=1e-8)
    assert exact.energy < mean_field.e_tot - 1e-2


def test_hartree_fock_finds_the_determinant_itself(water):
    mol, mean_field = water
    values, vectors = np.linalg.eigh(mol.intor("int1e_ovlp"))
    system = hamiltonian_of(mol, vectors / np.sqrt(values))
    guess = np.linalg.eigh(system.h)[1][:, :5]
    found = hartree_fock(system.h, system.tensor, guess, gradient=1e-8, cycles=60)
    assert found.energy + mol.energy_nuc() == pytest.approx(mean_field.e_tot, abs=1e-10)
    assert found.energies == pytest.approx(mean_field.mo_energy, abs=1e-6)


def test_what_stops_short_has_no_energy(water, scrambled):
    with pytest.raises(ConvergenceError, match="CCSD of a core with 10 electrons"):
        solve(scrambled, "CCSD(T)", max_cycles=2)
    guess = np.eye(13)[:, 5:10]
    with pytest.raises(ConvergenceError, match="Hartree-Fock did not converge in 2"):
        hartree_fock(scrambled.h, scrambled.tensor, guess, gradient=1e-8, cycles=2)


def test_amplitudes_that_blow_up_are_no_label():
    """Eight hydrogen atoms far apart in a ring: one determinant is no description."""
    angle = 2 * np.pi * np.arange(8) / 8
    ring = [("H", (4 * np.cos(a), 4 * np.sin(a), 0)) for a in angle]
    mol = gto.M(atom=ring, basis="sto-3g", verbose=0)
    mean_field = scf.RHF(mol).run(conv_tol=1e-11)
    with pytest.raises(ConvergenceError):
        solve(hamiltonian_of(mol, mean_field.mo_coeff), "CCSD(T)", max_cycles=40)


def test_solvers_are_a_table_with_hints(scrambled):
    with pytest.raises(InputError, match="CCSDT") as caught:
        solve(scrambled, "CCSDT")
    assert "did you mean 'CCSD" in caught.value.remedy
    register_solver("nothing", lambda hamiltonian, _options: Solution(hamiltonian.constant, 0.0))
    assert solve(scrambled, "nothing").energy == scrambled.constant
    with pytest.raises(InputError, match="already"):
        register_solver("nothing", lambda *_: Solution(0.0, 0.0))


def test_an_impossible_core_is_refused():
    h, tensor = np.zeros((2, 2)), np.zeros((1, 2, 2))
    for electrons in (1, 0, 6):
        with pytest.raises(InputError, match="electrons"):
            EmbeddedHamiltonian(h, tensor, electrons)
    with pytest.raises(InputError, match="shape"):
        EmbeddedHamiltonian(h, np.zeros((1, 3, 3)), 2)
    with pytest.raises(InputError, match="determinants"):
        solve(EmbeddedHamiltonian(np.eye(30), np.zeros((1, 30, 30)), 20), "FCI")
