"""Local natural orbitals against the numbers of pyscf-forge's own tests: water dimer S22-2."""

import numpy as np
import pytest

from drupe.embedding.kernels.localization import pipek_mezey
from drupe.embedding.solvers.active_space import reference_of
from drupe.embedding.solvers.hamiltonian import EmbeddedHamiltonian, SolverOptions, freeze, solve
from drupe.embedding.solvers.local_correlation import correlate

pytestmark = [
    pytest.mark.reference,
    pytest.mark.needs("pyscf.lno"),
]
DIMER = """
O -1.485163346097 -0.114724564047 0; H -1.868415346097 0.762298435953 0; H -0.533833346097 0.040507435953 0;
O 1.416468653903 0.111264435953 0; H 1.746241653903 -0.373945564047 -0.758561;
H 1.746241653903 -0.373945564047 0.758561
"""


@pytest.fixture(scope="module")
def dimer():
    """LNO input: two frozen orbitals folded in, and Pipek-Mezey orbitals in the basis that is left."""
    from pyscf import gto, lib, lo, scf

    mol = gto.M(atom=DIMER, basis="cc-pvdz", verbose=0)
    field = scf.RHF(mol).density_fit().run(conv_tol=1e-11)
    overlap = field.get_ovlp()
    atomic = lo.orth_ao(mol, "meta_lowdin")
    occupied = field.mo_coeff[:, 2:10]
    weights = atomic.T @ overlap @ occupied
    local = occupied @ pipek_mezey(
        np.array([weights[a:b].T @ weights[a:b] for *_, a, b in mol.aoslice_by_atom()]), 2
    )
    tensor = lib.unpack_tril(np.vstack(list(field.with_df.loop())))
    c = field.mo_coeff
    whole = EmbeddedHamiltonian(
        c.T @ field.get_hcore() @ c, np.matmul(c.T, tensor) @ c, mol.nelectron, mol.energy_nuc()
    )
    active = freeze(whole, 2)
    # The frozen Hamiltonian has the canonical orbitals in their order, each with a sign of its own.
    signs = np.sign(np.diag(reference_of(whole, fitted=True).mo_coeff))[2:]
    return active, signs[:, None] * (c[:, 2:].T @ overlap @ local)


@pytest.mark.parametrize(
    ("thresholds", "wanted"),
    [
        ((1e-4, 1e-5), (-0.4044781783, -0.4231598372, -0.4292049721)),
        pytest.param((1e-5, 1e-6), (-0.4058765086, -0.4244510794, -0.4307864928), marks=pytest.mark.slow),
    ],
)
def test_water_dimer_in_pipek_mezey_orbitals(dimer, thresholds, wanted):
    # test_lnoccsd.py of pyscf-forge 1.1.1, which asks for 1e-6; its SCF is converged to 1e-9 only.
    hamiltonian, local = dimer
    options = SolverOptions(tolerance=1e-9, lno_thresholds=thresholds)
    found = correlate(reference_of(hamiltonian, fitted=True), local, options, triples=True)
    sums = (found.mp2, found.ccsd, found.ccsd + found.triples)
    assert sums == pytest.approx(wanted, abs=1e-6)


@pytest.mark.slow
def test_water_dimer_in_orbitals_that_need_no_atoms(dimer):
    # CCSD(T) is -0.43105818 with the same program; 6e-5 at the usual thresholds is what was seen.
    hamiltonian, _ = dimer
    exact = solve(hamiltonian, "CCSD(T)").correlation
    assert exact == pytest.approx(-0.43105818, abs=1e-7)
    assert abs(solve(hamiltonian, "LNO-CCSD(T)").correlation - exact) < 6e-5
