"""DFT of a QM region in a periodic box of MM charges by QM/MM-Ewald: a door to pyscf.qmmm.pbc. Atomic units.

Charges within a sphere around the region act on its density; those beyond, and the images of the region,
act on its atomic multipoles up to quadrupoles by an Ewald sum (Nam, Gao, York, J. Chem. Theory Comput. 1,
2 (2005); with multipoles: Li, Chan, J. Chem. Theory Comput. 21, 803 (2025)).

PySCF keeps the far field in get_veff, where the embedding potential g[gamma] - g[gamma_A] of a core would
lose it. Here it is part of the one-electron matrix of the converged mean field, with the images of the
region frozen, so that a core feels it whole and DFT in DFT gives the DFT energy back.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.level import Level
from drupe.embedding.meanfield.dispersion import disperse
from drupe.embedding.meanfield.molecule import build_molecule
from drupe.embedding.meanfield.qmmm import (
    MeanField,
    check_converged,
    check_level,
    make_engine,
    starting_density,
)
from drupe.embedding.meanfield.restart import Restart, fitting_name
from drupe.embedding.meanfield.spillage import measure_spillage
from drupe.errors import InputError

__all__ = ["PeriodicMeanField", "check_box", "run_ewald"]

Matrix = NDArray[np.float64]

_NEUTRAL = 0.02  # e; what rounded charges of a force field leave


class PeriodicMeanField(MeanField):
    """A mean field whose ``hcore`` holds the charges, all their images and those of the region itself."""

    def forces(self, added: Matrix | None = None) -> tuple[Matrix, Matrix]:
        """Return forces on QM nuclei ``(qm, 3)`` and on MM charges ``(mm, 3)``, hartree/bohr.

        Raises
        ------
        InputError
            If the charges are to feel more than the DFT density: the far field's response is not coded.
        """
        if added is not None:
            raise InputError(
                "no gradient of core corrections in the field of an infinite box",
                remedy='use environment="cluster", or forces="directional" or "low"',
            )
        gradient = self.engine.nuc_grad_method()
        on_nuclei = -np.asarray(gradient.kernel()) + self.dispersion.forces
        on_charges = gradient.grad_nuc_mm() + gradient.grad_hcore_mm(self.density) + gradient.de_ewald_mm
        return on_nuclei, -np.asarray(on_charges)

    def _electronic(self, potential: Any) -> Matrix:
        return np.asarray(potential.veff_rs)


def run_ewald(
    numbers: NDArray[np.int64],
    positions: Matrix,
    charge: int,
    multiplicity: int,
    points: Matrix,
    charges: NDArray[np.float64],
    box: Matrix,
    level: Level,
    density: Matrix | Restart | None = None,
    radii: NDArray[np.float64] | None = None,
    *,
    near: float | None = None,
    direct: float | None = None,
) -> PeriodicMeanField:
    """Converge the SCF of the QM region in a periodic box of charges.

    Parameters
    ----------
    numbers, positions, charge, multiplicity, points, charges, level, density, radii
        As in `drupe.embedding.meanfield.qmmm.run_dft`; the region must be whole, the charges may lie in
        any image.
    box
        Box vectors as rows, ``(3, 3)`` bohr; rectangular.
    near
        Radius around the region's centre inside which charges act on the density, bohr; half the shortest
        box edge when left out.
    direct
        Cutoff of the real-space Ewald sum, bohr; half the shortest edge when left out.

    Raises
    ------
    InputError
        If the box is not rectangular or too small for the region, the whole is not neutral, or the region
        has an open shell.
    ConvergenceError
        If the SCF does not converge.
    """
    from pyscf.dft import rks
    from pyscf.qmmm.pbc import itrf

    check_level(numbers, positions, charge, multiplicity, level)
    check_box(positions, charge, multiplicity, charges, box)
    half = float(np.diag(box).min()) / 2
    centre = positions.mean(axis=0)
    nearest = points - np.round((points - centre) / np.diag(box)) * np.diag(box)
    mol = build_molecule(numbers, positions, charge, multiplicity, level)
    engine = make_engine(mol, level)
    bare = engine.get_hcore()
    engine = itrf.add_mm_charges(
        engine, nearest, np.array(box), np.array(charges), radii, direct or half, near or half, unit="Bohr"
    )
    hcore = engine.get_hcore()
    engine.get_hcore = lambda *_args: hcore
    # PySCF's own would integrate the functional a second time for each energy.
    engine.energy_elec = partial(rks.energy_elec, engine)
    name = fitting_name(numbers, charge, multiplicity, level)
    if isinstance(density, Restart):
        density.check_fits(name)
        density = density.density
    engine.kernel(dm0=starting_density(engine, density))
    check_converged(engine, engine.e_tot, level)
    final = np.asarray(engine.make_rdm1())
    potential = engine.get_veff(mol, final)
    dispersion = disperse(numbers, positions, charge, level)
    parts, inner = engine.scf_summary, float(mol.energy_nuc())
    spillage = measure_spillage(engine, final, nearest, charges)
    in_field = float(np.vdot(final, hcore - bare))
    return PeriodicMeanField(
        engine=engine,
        hcore=hcore + np.asarray(potential) - np.asarray(potential.veff_rs),
        overlap=engine.get_ovlp(),
        density=final,
        energy=float(engine.e_tot) + dispersion.energy,
        points=points,
        charges=charges,
        radii=radii,
        iterations=int(engine.cycles),
        dispersion=dispersion,
        restart=Restart(final, np.zeros_like(final), name),
        spillage=spillage,
        terms={
            "nuclear repulsion": inner,
            "one-electron": float(parts["e1"].real) - in_field,
            "Coulomb": float(parts["coul"].real),
            "exchange-correlation": float(parts["exc"].real),
            "nuclei-charges": float(engine.energy_nuc()) - inner,
            "electrons-charges": in_field,
            "Ewald": float(parts["ewald"]),
            "dispersion": dispersion.energy,
        },
    )


def check_box(
    positions: Matrix, charge: int, multiplicity: int, charges: NDArray[np.float64], box: Matrix
) -> None:
    """Refuse what `run_ewald` cannot do; see there for the arguments.

    Raises
    ------
    InputError
        If the box is not rectangular or too small, the whole is not neutral, or the shell is open.
    """
    edges = np.diag(box)
    extent = float(np.linalg.norm(positions - positions.mean(axis=0), axis=1).max())
    total = charge + float(np.sum(charges))
    wrong = [
        (
            bool(abs(box - np.diag(edges)).max() > 1e-6) or bool(edges.min() <= 0),
            "QM/MM-Ewald in a box that is not rectangular",
            'use environment="cluster" with a cluster_radius',
        ),
        (
            extent >= edges.min() / 2,
            f"the QM region reaches {extent:.1f} bohr from its centre in a box of {edges.min():.1f} bohr",
            "make the region whole, or use a larger box",
        ),
        (
            abs(total) > _NEUTRAL,
            f"QM region and MM charges add to {total:+.3f} e: an Ewald sum needs a neutral box",
            "add counter-ions, or correct the charge of the QM region",
        ),
        (
            multiplicity != 1,
            f"QM/MM-Ewald with multiplicity {multiplicity}: PySCF has it for closed shells only",
            'use environment="cluster" with a cluster_radius',
        ),
    ]
    for is_wrong, found, remedy in wrong:
        if is_wrong:
            raise InputError(found, remedy=remedy)
