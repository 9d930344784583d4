"""Plain PySCF beside us: the same region, charges and level (hartree, bohr)."""

import time

import numpy as np
from pyscf import dft, gto, qmmm


def pyscf_dft(system, regions, level):
    """DF-DFT/MM energy and gradients with the level's functional, bases, grid and thresholds.

    Energy in hartree, forces on QM and MM atoms in hartree/bohr, and seconds (wall) of each step.
    """
    qm, mm = regions.qm, regions.mm_atoms
    started = time.perf_counter()
    mol = gto.M(
        atom=[(int(z), tuple(r)) for z, r in zip(system.numbers[qm], system.positions[qm], strict=True)],
        unit="Bohr",
        basis=level.basis,
        charge=regions.charge,
        verbose=0,
        max_memory=level.max_memory_mb,
    )
    engine = dft.RKS(mol, xc=level.functional).density_fit(auxbasis=level.auxbasis)
    engine.grids.level = level.grid
    engine = qmmm.mm_charge(engine, np.array(system.positions[mm]), system.charges[mm], unit="Bohr")
    engine.conv_tol, engine.conv_tol_grad = level.scf_tolerance, level.gradient_tolerance
    energy = engine.kernel()
    after_scf = time.perf_counter()
    gradient = engine.nuc_grad_method()
    forces_qm = -gradient.kernel()
    after_qm = time.perf_counter()
    forces_mm = -gradient.grad_hcore_mm(engine.make_rdm1()) - gradient.grad_nuc_mm()
    ended = time.perf_counter()
    seconds = {
        "scf": after_scf - started,
        "forces_qm": after_qm - after_scf,
        "forces_mm": ended - after_qm,
        "total": ended - started,
        "cycles": engine.cycles,
    }
    return energy, forces_qm, forces_mm, seconds
