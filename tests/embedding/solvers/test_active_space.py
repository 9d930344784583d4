"""Active-space solvers and frozen orbitals against PySCF on whole molecules."""

import re
from pathlib import Path

import numpy as np
import pytest
from pyscf import ao2mo, cc, fci, gto, mcscf, mp, mrpt, scf

from drupe.embedding import Level, Partition, label
from drupe.embedding.solvers.hamiltonian import EmbeddedHamiltonian, freeze, is_correlated, solve
from drupe.errors import ConvergenceError, InputError


def hamiltonian_of(mol, orbitals):
    n = orbitals.shape[1]
    eri = ao2mo.restore(1, ao2mo.full(mol, orbitals), n)
    values, vectors = np.linalg.eigh(eri.reshape(n * n, n * n))
    kept = values > 1e-13
    tensor = (vectors[:, kept] * np.sqrt(values[kept])).T.reshape(-1, n, n)
    return EmbeddedHamiltonian(
        orbitals.T @ scf.hf.get_hcore(mol) @ orbitals, tensor, mol.nelectron, mol.energy_nuc()
    )


def nitrogen(distance):
    mol = gto.M(atom=f"N 0 0 0; N 0 0 {distance}", basis="6-31g", verbose=0)
    return mol, scf.RHF(mol).run(conv_tol=1e-12)


def test_casscf_and_nevpt2_are_the_libraries_own():
    mol, mean_field = nitrogen(1.3)
    whole = hamiltonian_of(mol, mean_field.mo_coeff)
    wanted = mcscf.CASSCF(mean_field, 6, 6).run(conv_tol=1e-11)
    plain = solve(whole, "CASSCF", active_space=(6, 6), tolerance=1e-11)
    perturbed = solve(whole, "CASSCF+NEVPT2", active_space=(6, 6), tolerance=1e-11)
    assert plain.energy == pytest.approx(wanted.e_tot, abs=1e-8)
    # NEVPT2 is not stationary in the orbitals: 1e-6 is what their convergence leaves.
    assert perturbed.energy == pytest.approx(wanted.e_tot + mrpt.NEVPT(wanted).kernel(), abs=1e-6)
    assert plain.reference == pytest.approx(mean_field.e_tot, abs=1e-9)


def test_casci_takes_mp2_natural_orbitals():
    mol, mean_field = nitrogen(1.3)
    density = mp.MP2(mean_field).run().make_rdm1()
    n = mol.nelectron // 2
    orbitals = mean_field.mo_coeff.copy()
    for part in (slice(None, n), slice(n, None)):
        orbitals[:, part] = orbitals[:, part] @ np.linalg.eigh(density[part, part])[1][:, ::-1]
    wanted = mcscf.CASCI(mean_field, 6, 6).run(orbitals)
    found = solve(hamiltonian_of(mol, mean_field.mo_coeff), "CASCI", active_space=(6, 6))
    assert found.energy == pytest.approx(wanted.e_tot, abs=1e-8)
    with_rest = solve(hamiltonian_of(mol, mean_field.mo_coeff), "CASCI+NEVPT2", active_space=(6, 6))
    # NEVPT2 is not stationary in the CI vector: 1e-6 is what its convergence leaves.
    assert with_rest.energy == pytest.approx(wanted.e_tot + mrpt.NEVPT(wanted).kernel(), abs=1e-6)


def test_an_active_space_does_not_split_a_degenerate_pair():
    mol = gto.M(atom="N 0 0 0; C 0 0 1.16; H 0 0 2.23", basis="6-31g", verbose=0)
    whole = hamiltonian_of(mol, scf.RHF(mol).run(conv_tol=1e-11).mo_coeff)
    for split in ((2, 2), (4, 3)):
        with pytest.raises(InputError, match="splits natural orbitals of equal occupation"):
            solve(whole, "CASCI", active_space=split)
    assert solve(whole, "CASCI", active_space=(4, 4)).correlation < -0.02


@pytest.mark.parametrize("place", [2.25, 2.8687, 2.8719, 4.0])
def test_casscf_finds_the_lowest_solution(build, place):
    """From its natural orbitals alone it stops 7 mEh higher on one side of 2.87 A, with no sign of it."""
    found = {}
    system = build("8 0 0 .117; 1 0 .757 -.470; 1 0 -.757 -.470", [(0.4, place, 1.0, 1.0)])
    regions = Partition.select(system, qm=[0, 1, 2], charge=0, cores=[[0, 1, 2]])
    for method in ("CASSCF", "CASCI"):
        level = Level("PBE", "6-31G", core=method, active_space=(2, 2), n_occupied=(5,), n_virtual=(8,))
        found[method] = label(system, regions, level).energy
    # From 2.25 to 4 A the charge moves CASCI by less than 2 mEh; CASSCF does not step away from it.
    assert 5e-3 < found["CASCI"] - found["CASSCF"] < 10e-3


def test_a_full_active_space_is_full_ci():
    mol = gto.M(atom="O 0 0 .117; H 0 .757 -.470; H 0 -.757 -.470", basis="sto-3g", verbose=0)
    mean_field = scf.RHF(mol).run(conv_tol=1e-12)
    system = hamiltonian_of(mol, mean_field.mo_coeff)
    wanted = fci.FCI(mean_field).kernel()[0]
    for method in ("FCI", "CASCI", "CASSCF", "CASCI+NEVPT2"):
        assert solve(system, method, active_space=(10, 7)).energy == pytest.approx(wanted, abs=1e-8)


def test_a_stretched_bond_is_refused_by_coupled_cluster_and_solved_by_an_active_space():
    """Rows 16 to 18: energies of unconverged amplitudes do not leave, and a singlet stays one."""
    mol, mean_field = nitrogen(3.0)
    system = hamiltonian_of(mol, mean_field.mo_coeff)
    with pytest.raises(ConvergenceError, match="CCSD of a core with 14 electrons"):
        solve(system, "CCSD(T)", max_cycles=25)
    found = solve(system, "CASSCF", active_space=(6, 6))
    atom = scf.ROHF(gto.M(atom="N", basis="6-31g", spin=3, verbose=0)).run(conv_tol=1e-12)
    # Two quartet atoms: ten active-space electrons less, so nothing is left but their ROHF energies.
    assert found.energy == pytest.approx(2 * atom.e_tot, abs=5e-3)
    assert found.correlation < -0.3
    with pytest.raises(ConvergenceError, match="active space"):
        solve(system, "CASSCF", active_space=(6, 6), max_cycles=1)


def test_frozen_orbitals_are_frozen_in_every_method():
    mol, mean_field = nitrogen(1.1)
    rng = np.random.default_rng(2)
    n = mol.nelectron // 2
    turn = np.eye(mol.nao)
    turn[:n, :n], _ = np.linalg.qr(rng.normal(size=(n, n)))
    system = hamiltonian_of(mol, mean_field.mo_coeff @ turn)  # the lowest orbitals are still found
    coupled = cc.CCSD(mean_field, frozen=2).run(conv_tol=1e-10, conv_tol_normt=1e-8)
    assert solve(system, "HF", n_frozen=2).energy == pytest.approx(mean_field.e_tot, abs=1e-9)
    second = solve(system, "MP2", n_frozen=2)
    assert second.energy == pytest.approx(mp.MP2(mean_field, frozen=2).run().e_tot, abs=1e-9)
    triples = solve(system, "CCSD(T)", n_frozen=2, tolerance=1e-10)
    assert triples.energy == pytest.approx(coupled.e_tot + coupled.ccsd_t(), abs=1e-8)
    assert triples.t1 == pytest.approx(cc.ccsd.get_t1_diagnostic(coupled.t1), abs=1e-7)
    assert triples.d1 == pytest.approx(cc.ccsd.get_d1_diagnostic(coupled.t1), abs=1e-7)
    assert freeze(system, 2).n_electrons == 10
    with pytest.raises(InputError, match="7 frozen"):
        freeze(system, 7)


def test_an_active_space_that_does_not_fit_is_refused():
    mol = gto.M(atom="H 0 0 0; H 0 0 .8", basis="6-31g", verbose=0)
    system = hamiltonian_of(mol, scf.RHF(mol).run().mo_coeff)
    for space in (None, (4, 4), (2, 5), (3, 3)):
        with pytest.raises(InputError, match="active space"):
            solve(system, "CASSCF", active_space=space)
    large = EmbeddedHamiltonian(np.eye(40), np.zeros((1, 40, 40)), 40)
    with pytest.raises(InputError, match="determinants"):
        solve(large, "CASCI", active_space=(14, 14))


def test_the_solver_of_the_documentation_is_ten_lines_and_right():
    page = (Path(__file__).parents[3] / "docs" / "cores.md").read_text()
    (source,) = [x for x in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "def window" in x]
    function = source[source.index("def ") :]
    assert len([line for line in function.splitlines() if line]) <= 10
    exec(compile(source, "cores.md", "exec"), {})
    mol, mean_field = nitrogen(1.1)
    system = hamiltonian_of(mol, mean_field.mo_coeff)
    wanted = mcscf.CASCI(mean_field, 6, 6).run().e_tot  # in canonical orbitals
    assert solve(system, "window", active_space=(6, 6)).energy == pytest.approx(wanted, abs=1e-8)
    # Frozen orbitals outside the window are in it already: they change nothing.
    assert solve(system, "window", active_space=(6, 6), n_frozen=2).energy == pytest.approx(wanted, abs=1e-8)
    assert not is_correlated("window")
