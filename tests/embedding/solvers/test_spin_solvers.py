"""Unrestricted solvers against PySCF on whole molecules: a core without an environment."""

from pathlib import Path

import numpy as np
import pytest
from pyscf import cc, fci, gto, mp, scf

from drupe.embedding import Level, Partition, label
from drupe.embedding.kernels.unrestricted import spin_square, unrestricted_hartree_fock
from drupe.embedding.solvers import spin_integrals
from drupe.embedding.solvers.hamiltonian import (
    EmbeddedHamiltonian,
    Solution,
    is_correlated,
    register_solver,
    solve,
)
from drupe.embedding.solvers.spin_hamiltonian import UnrestrictedHamiltonian
from drupe.embedding.solvers.spin_solvers import (
    register_unrestricted_solver,
    solve_unrestricted,
)
from drupe.errors import ConvergenceError, InputError


def exact_tensor(mol):
    values, vectors = np.linalg.eigh(mol.intor("int2e").reshape(mol.nao**2, -1))
    kept = values > 1e-13
    return (vectors[:, kept] * np.sqrt(values[kept])).T.reshape(-1, mol.nao, mol.nao)


def hamiltonian_of(mol, orbitals):
    h, tensor = scf.hf.get_hcore(mol), exact_tensor(mol)
    return UnrestrictedHamiltonian(
        tuple(c.T @ h @ c for c in orbitals),
        tuple(c.T @ (tensor @ c) for c in orbitals),
        *mol.nelec,
        mol.energy_nuc(),
    )


def scrambled(mol, mean_field):
    """Occupied and virtual orbitals mixed among themselves: far from canonical."""
    rng = np.random.default_rng(3)
    out = []
    for orbitals, n in zip(mean_field.mo_coeff, mol.nelec, strict=True):
        turn, m = np.zeros((mol.nao, mol.nao)), mol.nao - n
        turn[:n, :n] = np.linalg.qr(rng.normal(size=(n, n)))[0]
        turn[n:, n:] = np.linalg.qr(rng.normal(size=(m, m)))[0]
        out.append(orbitals @ turn)
    return hamiltonian_of(mol, out)


@pytest.fixture(scope="module")
def hydroxyl():
    mol = gto.M(atom="O 0 0 0; H 0 0 .97", spin=1, basis="6-31g", verbose=0)
    mean_field = scf.UHF(mol).run(conv_tol=1e-13)
    return mol, mean_field, scrambled(mol, mean_field)


@pytest.mark.parametrize("in_core", [True, False])
def test_they_are_pyscf_s_for_a_radical_in_any_orbitals(hydroxyl, monkeypatch, in_core):
    _mol, mean_field, system = hydroxyl
    if not in_core:
        monkeypatch.setattr(spin_integrals, "_IN_CORE", 0)
    reference = cc.UCCSD(mean_field).run(conv_tol=1e-11, conv_tol_normt=1e-8)
    wanted = {
        "HF": mean_field.e_tot,
        "MP2": mp.UMP2(mean_field).run().e_tot,
        "CCSD": reference.e_tot,
        "CCSD(T)": reference.e_tot + reference.ccsd_t(),
    }
    for method, energy in wanted.items():
        found = solve_unrestricted(system, method, tolerance=1e-11)
        # 1e-8: the coupled-cluster thresholds; triples in localised orbitals would miss by 1e-4.
        assert found.energy == pytest.approx(energy, abs=1e-8), method
        assert found.reference == pytest.approx(mean_field.e_tot, abs=1e-9)


@pytest.mark.parametrize("in_core", [True, False])
def test_the_memory_of_the_integrals_is_known_before_they_are_made(hydroxyl, monkeypatch, in_core):
    if not in_core:
        monkeypatch.setattr(spin_integrals, "_IN_CORE", 0)
    turned, energies = hydroxyl[2].canonical()
    _, made = spin_integrals.coupled_cluster_engine(
        turned.tensor, energies, turned.counts, tolerance=1e-8, max_cycles=9
    )
    names = (*spin_integrals._FULL, *spin_integrals._HALF_PACKED)
    names += ("vvvv", "vvVV", "VVVV") if in_core else ("vvL", "VVL")
    held = sum(getattr(made, name).nbytes for name in names)
    n_aux = len(turned.tensor[0])
    assert spin_integrals.coupled_cluster_bytes(turned.sizes, turned.counts, n_aux) == held


def test_a_closed_shell_gives_the_restricted_solution():
    mol = gto.M(atom="O 0 0 .117; H 0 .757 -.470; H 0 -.757 -.470", basis="6-31g", verbose=0)
    c = scf.RHF(mol).run(conv_tol=1e-13).mo_coeff
    paired = hamiltonian_of(mol, (c, c))
    restricted = EmbeddedHamiltonian(paired.h[0], paired.tensor[0], 10, mol.energy_nuc())
    for method in ("HF", "MP2", "CCSD", "CCSD(T)"):
        one, other = (
            call(given, method, tolerance=1e-11)
            for call, given in ((solve, restricted), (solve_unrestricted, paired))
        )
        assert other.energy == pytest.approx(one.energy, abs=1e-9)
        assert other.t1 == (None if one.t1 is None else pytest.approx(one.t1, abs=1e-7))


@pytest.mark.parametrize(
    ("atom", "spin", "basis"),
    [
        ("He 0 0 0", 2, "cc-pvdz"),  # two alpha electrons and no beta
        ("H 0 0 0; H 0 0 2", 2, "sto-3g"),  # and no alpha virtual
        ("N 0 0 0", 3, "sto-3g"),  # virtuals of one spin only
        ("Li 0 0 0", 1, "6-31g"),
        ("H 0 0 0", 1, "6-31g"),
    ],
)
def test_few_electrons_are_exact_or_nearly(atom, spin, basis):
    mol = gto.M(atom=atom, spin=spin, basis=basis, verbose=0)
    mean_field = scf.UHF(mol).run(conv_tol=1e-13)
    system = hamiltonian_of(mol, mean_field.mo_coeff)
    exact = solve_unrestricted(system, "FCI")
    outside, _ = fci.FCI(mean_field).kernel()
    assert exact.energy == pytest.approx(outside, abs=1e-9)
    coupled = solve_unrestricted(system, "CCSD(T)", tolerance=1e-11)
    # 2e-5: what (T) leaves of three and more electrons in these bases.
    assert coupled.energy == pytest.approx(outside, abs=1e-9 if sum(mol.nelec) < 3 else 2e-5)
    if sum(mol.nelec) == 1:
        assert (coupled.correlation, coupled.t1) == (0.0, 0.0)


def test_bases_of_unequal_size_are_one_problem():
    """Take a beta virtual away: FCI in what is left lies above, and the solvers still agree with it."""
    mol = gto.M(atom="O 0 0 0; H 0 0 .97", spin=1, basis="sto-3g", verbose=0)
    mean_field = scf.UHF(mol).run(conv_tol=1e-13)
    fewer = hamiltonian_of(mol, (mean_field.mo_coeff[0], mean_field.mo_coeff[1][:, :-1]))
    assert fewer.sizes == (6, 5)
    whole = hamiltonian_of(mol, mean_field.mo_coeff)
    exact, above = (solve_unrestricted(h, "FCI").energy for h in (whole, fewer))
    assert 1e-6 < above - exact < 0.1
    # What CCSD(T) leaves in either basis.
    for h, wanted in ((whole, exact), (fewer, above)):
        assert solve_unrestricted(h, "CCSD(T)").energy == pytest.approx(wanted, abs=4e-4)


def test_hartree_fock_finds_the_determinant_itself(hydroxyl):
    mol, mean_field, _ = hydroxyl
    values, vectors = np.linalg.eigh(mol.intor("int1e_ovlp"))
    basis = vectors / np.sqrt(values)
    system = hamiltonian_of(mol, (basis, basis))
    exact = [(np.linalg.inv(basis) @ c)[:, :n] for c, n in zip(mean_field.mo_coeff, mol.nelec, strict=True)]
    rng = np.random.default_rng(5)
    guess = tuple(np.linalg.qr(c + 0.05 * rng.normal(size=c.shape))[0] for c in exact)
    found = unrestricted_hartree_fock(system.h, system.tensor, guess, gradient=1e-8, cycles=90)
    assert found.energy + mol.energy_nuc() == pytest.approx(mean_field.e_tot, abs=1e-10)
    occupied = [basis @ c[:, :n] for c, n in zip(found.orbitals, mol.nelec, strict=True)]
    square = spin_square(mol.intor("int1e_ovlp"), *occupied)
    assert square == pytest.approx(mean_field.spin_square()[0], abs=1e-7)
    with pytest.raises(ConvergenceError, match="did not converge in 2"):
        unrestricted_hartree_fock(system.h, system.tensor, guess, gradient=1e-8, cycles=2)
    with pytest.raises(ConvergenceError, match="UCCSD of a core with 9 electrons"):
        solve_unrestricted(hydroxyl[2], "CCSD(T)", max_cycles=2)


def test_solvers_are_a_table_with_hints(hydroxyl):
    system = hydroxyl[2]
    with pytest.raises(InputError, match="called 'FNO-CCSD'"):
        solve_unrestricted(system, "FNO-CCSD")
    with pytest.raises(InputError, match="did you mean 'CCSD"):
        solve_unrestricted(system, "CCSDT")
    register_unrestricted_solver("nothing open", lambda given, _options: Solution(given.constant, 0.0))
    assert solve_unrestricted(system, "nothing open").energy == system.constant
    with pytest.raises(InputError, match="already"):
        register_unrestricted_solver("nothing open", lambda *_: Solution(0.0, 0.0))


def test_an_impossible_core_is_refused():
    h, tensor = np.zeros((2, 2)), np.zeros((1, 2, 2))
    for counts in ((0, 0), (1, 2), (3, 0)):
        with pytest.raises(InputError, match="electrons"):
            UnrestrictedHamiltonian((h, h), (tensor, tensor), *counts)
    with pytest.raises(InputError, match="shapes"):
        UnrestrictedHamiltonian((h, h), (tensor, np.zeros((1, 3, 3))), 1, 1)
    big, wide = np.eye(30), np.zeros((1, 30, 30))
    with pytest.raises(InputError, match="determinants"):
        solve_unrestricted(UnrestrictedHamiltonian((big, big), (wide, wide), 11, 9), "FCI")


def test_the_example_of_the_manual_runs(build):
    page = (Path(__file__).parents[3] / "docs" / "cores.md").read_text()
    source = next(part.split("```")[0] for part in page.split("```python\n")[1:] if "half_triples" in part)
    exec(compile(source, "cores.md", "exec"), {})
    methyl = build("6 0 0 0; 1 1.08 0 0; 1 -0.54 0.935 0; 1 -0.54 -0.935 0")
    regions = Partition.select(methyl, qm=[0, 1, 2, 3], charge=0, multiplicity=2, cores=[[0, 1, 2, 3]])
    found = {
        core: label(methyl, regions, Level("HF", "6-31g", core=core, forces="none")).energy
        for core in ("CCSD", "half (T)", "CCSD(T)")
    }
    assert found["CCSD(T)"] < found["CCSD"] - 1e-5
    assert found["half (T)"] == pytest.approx((found["CCSD"] + found["CCSD(T)"]) / 2, abs=1e-7)


def test_one_name_has_correlation_or_not():
    register_solver("no correlation", lambda *_: None, correlated=False)
    with pytest.raises(InputError, match="disagree"):
        register_unrestricted_solver("no correlation", lambda *_: None)
    register_unrestricted_solver("no correlation", lambda *_: None, correlated=False)
    assert not is_correlated("no correlation")
