"""The SCF on two grids against PySCF's own on one, and labels that start from the one before."""

import numpy as np
import pytest
from pyscf import dft

from drupe.embedding import Level, Partition, label
from drupe.embedding.meanfield.qmmm import run_dft
from drupe.errors import InputError
from drupe.units import angstrom

NUMBERS = np.array([8, 1, 1])
WATER = angstrom * np.array([[0, 0, 0.117], [0, 0.757, -0.470], [0, -0.757, -0.470]])
POINTS, CHARGES = angstrom * np.array([[0.4, 2.6, 0.3]]), np.array([0.6])


@pytest.mark.parametrize(
    ("functional", "charge", "multiplicity"),
    [("PBE", 0, 1), ("wB97X", 0, 1), ("r2SCAN", 1, 2), ("B3LYP", 1, 2)],
)
def test_it_is_the_scf_of_the_fine_grid(functional, charge, multiplicity):
    level = Level(functional, "6-31G", grid=2)
    found = run_dft(NUMBERS, WATER, charge, multiplicity, POINTS, CHARGES, level)
    engine = found.engine
    plain = (dft.RKS if multiplicity == 1 else dft.UKS)(engine.mol, xc=functional)
    plain = plain.density_fit(auxbasis=level.auxbasis)
    plain.grids.level = 2
    plain.get_hcore = lambda *_: found.hcore
    plain.energy_nuc = engine.energy_nuc
    plain.conv_tol = 1e-11
    assert found.energy == pytest.approx(plain.kernel(), abs=1e-8)
    assert sum(found.terms.values()) == pytest.approx(found.energy, abs=1e-10)
    assert found.terms["electrons-charges"] < -1  # ten electrons, 0.6 e, about 5 bohr
    slope = engine.get_grad(engine.mo_coeff, engine.mo_occ, engine.get_fock(dm=engine.make_rdm1()))
    assert np.linalg.norm(slope) < level.gradient_tolerance


def test_a_chain_of_labels_gives_the_same_numbers(build):
    system = build("8 0 0 .117; 1 0 .757 -.470; 1 0 -.757 -.470", [(0.6, 0.4, 2.6, 0.3)])
    regions = Partition.select(system, qm=[0, 1, 2], charge=0)
    level = Level("PBE", "6-31G")
    starts = []
    label(system, regions, level, on_restart=starts.append)
    moved = system.with_positions(system.positions + 0.01 * np.sin(np.arange(12)).reshape(4, 3))
    cold = label(moved, regions, level)
    chained = label(moved, regions, level, density=starts[0])
    assert chained.energy == pytest.approx(cold.energy, abs=1e-9)
    assert chained.forces_qm == pytest.approx(cold.forces_qm, abs=1e-6)
    assert chained.diagnostics["scf_iterations"] < cold.diagnostics["scf_iterations"]
    for other in (Level("PBE0", "6-31G"), Level("PBE", "sto-3g")):
        with pytest.raises(InputError, match="another QM region, charge, functional or basis"):
            label(moved, regions, other, density=starts[0])
