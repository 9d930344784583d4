import numpy as np
import pytest

from drupe.embedding.kernels.perturbation import natural_virtuals
from drupe.embedding.solvers.hamiltonian import EmbeddedHamiltonian, solve


@pytest.fixture(scope="module")
def water():
    """Hartree-Fock of water in PySCF, and its three-index integrals in canonical orbitals."""
    from pyscf import gto, lib, scf

    mol = gto.M(atom="O 0 0 0; H 0 0.757 0.587; H 0 -0.757 0.587", basis="6-31G", verbose=0)
    field = scf.RHF(mol).density_fit(auxbasis="def2-universal-jkfit").run()
    tensor = lib.unpack_tril(np.vstack(list(field.with_df.loop())))
    return field, np.matmul(field.mo_coeff.T, tensor) @ field.mo_coeff


def test_they_are_the_natural_orbitals_of_the_mp2_density(water):
    from pyscf import mp

    field, tensor = water
    n, energies = 5, field.mo_energy
    rotation = natural_virtuals(tensor[:, :n, n:], energies[:n], energies[n:])
    density = mp.dfmp2.DFMP2(field).set(with_df=field.with_df).run().make_rdm1()[n:, n:]
    turned = rotation.T @ density @ rotation
    occupations = np.diag(turned)
    # 1e-7: the fits of integrals and amplitudes agree to that.
    assert turned == pytest.approx(np.diag(occupations), abs=1e-7)
    assert (np.diff(occupations) < 1e-9).all()
    assert (occupations > 0).all()


@pytest.mark.parametrize("method", ["CCSD", "CCSD(T)"])
def test_half_the_orbitals_give_most_of_the_energy(water, method):
    field, tensor = water
    h = field.mo_coeff.T @ field.get_hcore() @ field.mo_coeff
    hamiltonian = EmbeddedHamiltonian(h, tensor, 10)
    found = solve(hamiltonian, f"FNO-{method}")
    exact, half, mp2 = (
        solve(hamiltonian, method).correlation,
        found.correlation,
        solve(hamiltonian, "MP2").correlation,
    )
    assert "5 of 8 natural virtual orbitals" in found.approximations[0]
    assert abs(half - exact) < 0.3 * abs(mp2 - exact)
    assert half != pytest.approx(exact, abs=1e-6)


def test_one_virtual_orbital_is_kept_whole():
    """Two electrons in two orbitals: half of one orbital is that orbital, and CCSD is exact."""
    from pyscf import gto, lib, scf

    mol = gto.M(atom="H 0 0 0; H 0 0 0.9", basis="STO-3G", verbose=0)
    field = scf.RHF(mol).density_fit(auxbasis="def2-universal-jkfit").run()
    tensor = lib.unpack_tril(np.vstack(list(field.with_df.loop())))
    c = field.mo_coeff
    hamiltonian = EmbeddedHamiltonian(c.T @ field.get_hcore() @ c, np.matmul(c.T, tensor) @ c, 2)
    assert solve(hamiltonian, "FNO-CCSD").energy == pytest.approx(solve(hamiltonian, "FCI").energy, abs=1e-7)
