"""Second-order SCF and stability: a door to PySCF. An SCF object in, a minimum or a refusal out (hartree).

Sources: second order, Sun, arXiv:1610.08423; stability, Seeger and Pople, J. Chem. Phys. 66, 3045 (1977).
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.level import Level
from drupe.errors import ConvergenceError

__all__ = ["check_stable", "second_order"]

Matrix = NDArray[np.float64]

_ROOT = 1e-5  # change of the lowest eigenvalue that ends its search; its sign is what counts
_FLAT = -1e-5  # hartree; what is above is no way down
_DESCENTS = 5  # from a saddle point to the next stationary point below it


def second_order(engine: Any, start: Matrix) -> int:
    """Converge by Newton steps, and go down from every saddle point that is internal to the kind of SCF.

    Parameters
    ----------
    engine
        PySCF's SCF object with its thresholds; it gets the orbitals, and its flag tells if they converged.
    start
        Starting density.

    Returns
    -------
    int
        Newton steps.

    Raises
    ------
    ConvergenceError
        If it still is unstable after five descents.
    """
    steps: list[int] = []
    solver = engine.newton()
    solver.verbose = 0
    solver.callback = lambda _state: steps.append(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PySCF warns of is checked by the caller
        solver.kernel(dm0=start)
        for _ in range(_DESCENTS):
            if not solver.converged:
                break
            lower, stable = _lower(solver)
            if stable:
                break
            solver.kernel(np.array(lower), solver.mo_occ)
        else:
            raise ConvergenceError(
                f"the SCF is unstable after {_DESCENTS} descents (last energy {solver.e_tot})",
                remedy="several states lie close: look at charge, multiplicity and geometry of the QM region",
            )
    engine.mo_coeff, engine.mo_occ, engine.mo_energy = solver.mo_coeff, solver.mo_occ, solver.mo_energy
    engine.converged = solver.converged
    engine.e_tot = float(engine.energy_tot(engine.make_rdm1()))
    return len(steps)


def check_stable(engine: Any, level: Level) -> None:
    """Refuse a solution that a small rotation of its orbitals would lower.

    Parameters
    ----------
    engine
        Converged SCF object.
    level
        For the message.

    Raises
    ------
    ConvergenceError
        If the solution is a saddle point.
    """
    if level.scf == "newton":
        return  # it went down until it was stable
    if not _lower(engine)[1]:
        raise ConvergenceError(
            f"the {level.functional} solution of the QM region is a saddle point, <S^2> {_square(engine)}: "
            "another set of orbitals has a lower energy",
            remedy='set scf="newton", which goes down to a stable solution; check charge and multiplicity',
        )


def _lower(engine: Any) -> tuple[Any, bool]:
    """Orbitals a step down the orbital Hessian's lowest mode, and whether there is no such step.

    The search starts from every kind of rotation: PySCF's own starts from one that treats both spins alike
    and finds symmetric stretched H2 stable.
    """
    from pyscf import lib
    from pyscf.scf.stability import _rotate_mo
    from pyscf.soscf import newton_ah

    orbitals, occupations = engine.mo_coeff, engine.mo_occ
    paired = np.ndim(occupations) == 1
    generate = newton_ah.gen_g_hop_rhf if paired else newton_ah.gen_g_hop_uhf
    gradient, product, diagonal = generate(engine, orbitals, occupations, with_symmetry=False)
    if len(gradient) == 0:
        return orbitals, True
    noise = np.random.default_rng(0).normal(size=len(gradient))
    soft = 1.0 / np.maximum(np.abs(diagonal), 1e-2)

    def preconditioned(residual: Matrix, value: float, _start: Matrix) -> Matrix:
        shifted = diagonal - value
        shifted[np.abs(shifted) < 1e-8] = 1e-8
        result: Matrix = residual / shifted
        return result

    value, mode = lib.davidson(product, [noise * soft**2, soft], preconditioned, tol=_ROOT, nroots=1)
    if value > _FLAT:
        return orbitals, True
    if paired:
        return _rotate_mo(orbitals, occupations, mode), False
    size = int(np.count_nonzero(occupations[0]) * np.count_nonzero(occupations[0] == 0))
    parts = (mode[:size], mode[size:])
    return tuple(_rotate_mo(*one) for one in zip(orbitals, occupations, parts, strict=True)), False


def _square(engine: Any) -> str:
    return f"{engine.spin_square()[0]:.3f}"
