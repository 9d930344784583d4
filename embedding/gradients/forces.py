"""Which forces a label carries: a solved QM region and its level in, forces by name out (hartree/bohr)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.solved import SolvedCore
from drupe.embedding.gradients.cc_density import memory_needed
from drupe.embedding.gradients.gradient import check_functional, correction_gradient
from drupe.embedding.level import Level
from drupe.embedding.meanfield.dispersion import core_dispersion_forces
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.errors import InputError

__all__ = ["check_forces", "check_memory", "force_name", "needs_cores", "region_forces"]

Matrix = NDArray[np.float64]

_ANALYTIC = ("HF", "MP2", "CCSD", "CCSD(T)")
_RESPONSE = 0.01  # of the SCF's gradient threshold: residual of the response equations
_OTHERS = (
    '"mp2" (analytic, MP2 in all virtual orbitals in place of the core\'s method), "directional" (exact '
    'slopes of the label\'s energy along random directions), "low" (DFT/MM) or "none"'
)


def needs_cores(level: Level) -> bool:
    """Whether the forces are computed from the solved cores."""
    return level.forces in ("exact", "mp2")


def check_forces(level: Level, *, closed_shell: bool) -> None:
    """Refuse forces that this level does not have.

    Parameters
    ----------
    level
        Level of theory.
    closed_shell
        Whether all electrons of the region and of its cores are paired.

    Raises
    ------
    InputError
        If there is no gradient of the kind.
    """
    if level.forces in ("none", "low"):
        return
    if level.core is None:
        raise InputError(
            f"forces={level.forces!r} without quantum cores",
            remedy='the forces of a level without cores are forces="low"',
        )
    if level.forces == "directional":
        return
    if not closed_shell:
        raise InputError(
            f"forces={level.forces!r} with unpaired electrons: that gradient is for closed shells",
            remedy='use forces="directional", "low" or "none"',
        )
    if level.environment == "ewald":
        raise InputError(
            f'forces={level.forces!r} with environment="ewald": the far field\'s response is not coded',
            remedy='use environment="cluster", or forces="low" or "none"',
        )
    check_functional(level.functional)
    if level.localization != "spade" or level.projector == "level-shift" or level.frozen_core:
        raise InputError(
            f"forces={level.forces!r} with localization={level.localization!r}, "
            f"projector={level.projector!r}, frozen_core={level.frozen_core}: that gradient is for SPADE, an "
            "exact projector and all electrons",
            remedy='use the defaults of these three, or forces="directional", "low" or "none"',
        )
    if level.forces == "mp2":
        return
    if level.core not in _ANALYTIC:
        raise InputError(
            f"there is no analytic gradient of {level.core} cores",
            remedy=f"analytic are {', '.join(_ANALYTIC)}; or use forces={_OTHERS}",
        )
    if level.virtual_shells is not None or level.n_virtual is not None:
        raise InputError(
            f'forces="exact" with virtual_shells={level.virtual_shells} and n_virtual={level.n_virtual}: '
            "no gradient of truncated virtual orbitals is there",
            remedy=f"set both to None, or use forces={_OTHERS}",
        )


def check_memory(field: MeanField, level: Level) -> None:
    """Refuse a coupled-cluster gradient that does not fit into the memory of the level.

    Raises
    ------
    InputError
        If it needs more than ``max_memory_mb``.
    """
    if level.forces != "exact" or level.core in ("HF", "MP2"):
        return
    n_occupied = field.occupied.shape[1]
    n_virtual = len(field.overlap) - n_occupied
    fixed = [n if isinstance(n, int) else max(n) for n in level.n_occupied or (n_occupied,)]
    needed = memory_needed(max(fixed), n_virtual)
    if needed > level.max_memory_mb:
        raise InputError(
            f"the {level.core} gradient with {n_virtual} virtual orbitals needs about {needed:.0f} MB, "
            f"max_memory_mb is {level.max_memory_mb}",
            remedy="fix n_occupied, the orbitals of the cores (without it all of the region count here), "
            f"raise max_memory_mb, take a smaller region or basis, or use forces={_OTHERS}",
        )


def force_name(level: Level) -> str:
    """Name of the energy that the forces of a label belong to."""
    low = "DFT/MM"
    return {
        "none": "none",
        "low": low,
        "exact": f"{level.core}-in-{level.functional}/MM",
        "mp2": f"MP2-in-{level.functional}/MM, all virtual orbitals",
        "directional": f"{low}, and slopes of {level.core}-in-{level.functional}/MM",
    }[level.forces]


def region_forces(
    field: MeanField, cores: Sequence[SolvedCore], level: Level
) -> tuple[Matrix, Matrix] | None:
    """Compute the forces that ``level`` asks for.

    Parameters
    ----------
    field
        Converged DFT of the QM region.
    cores
        Its solved cores, where `needs_cores`.
    level
        Names the forces; ``"directional"`` has those of DFT/MM besides its slopes.

    Returns
    -------
    on_region, on_charges
        Shapes ``(atoms, 3)`` and ``(charges, 3)``, hartree/bohr; None for ``"none"``.

    Raises
    ------
    ConvergenceError
        If response or lambda equations do not converge.
    """
    if level.forces == "none":
        return None
    if not needs_cores(level):
        return field.forces()
    assert level.core is not None
    method = level.core if level.forces == "exact" else "MP2"
    change = correction_gradient(field, cores, method, tolerance=_RESPONSE * level.gradient_tolerance)
    on_region, on_charges = field.forces(change.density)
    return on_region - change.on_nuclei - _core_dispersion(field, cores, level), on_charges


def _core_dispersion(field: MeanField, cores: Sequence[SolvedCore], level: Level) -> Matrix:
    """Forces of the dispersion inside the cores, which their corrections take out."""
    from pyscf.data.elements import charge

    mol = field.engine.mol
    numbers = np.array([charge(mol.atom_pure_symbol(atom)) for atom in range(mol.natm)])
    groups = [core.atoms for core in cores]
    return core_dispersion_forces(numbers, mol.atom_coords(), mol.charge, level, groups)
