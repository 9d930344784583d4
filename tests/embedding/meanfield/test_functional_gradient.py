"""The slope of the mean field from its occupied orbitals against PySCF's own."""

import numpy as np
import pytest
from pyscf import dft, gto

from drupe.embedding.meanfield.functional_gradient import kohn_sham_gradient


@pytest.mark.parametrize("spin", [0, 2])
@pytest.mark.parametrize("functional", ["LDA,VWN", "PBE", "PBE0", "wB97X", "TPSS", "HF"])
def test_it_is_the_gradient_of_pyscf(functional, spin):
    mol = gto.M(atom="O 0 0 0.1; H 0.1 0.8 0.6; H 0 -0.8 0.6", basis="6-31G*", spin=spin, verbose=0)
    engine = dft.RKS(mol) if spin == 0 else dft.UKS(mol)
    engine.xc = functional
    engine = engine.density_fit(auxbasis="def2-universal-jkfit")
    engine.grids.level = 0
    engine.kernel()
    expected = engine.nuc_grad_method().kernel()
    np.testing.assert_allclose(kohn_sham_gradient(engine), expected, atol=1e-12)
    assert np.abs(expected).max() > 1e-2


def test_nonlocal_correlation_stays_in():
    mol = gto.M(atom="O 0 0 0.1; H 0.1 0.8 0.6; H 0 -0.8 0.6", basis="STO-3G", verbose=0)
    engine = dft.RKS(mol, xc="wB97X-V")
    engine.grids.level = engine.nlcgrids.level = 0
    engine.kernel()
    with_it = engine.nuc_grad_method().kernel()
    np.testing.assert_allclose(kohn_sham_gradient(engine), with_it, atol=1e-12)
    engine.nlc = 0
    assert np.abs(engine.nuc_grad_method().kernel() - with_it).max() > 1e-5
