"""Signs that an open-shell core's number is doubtful: orbitals and amplitudes in, warnings in words out."""

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.cores.doubts import LARGE_T2, NARROW_GAP, shared_orbitals
from drupe.embedding.cores.open_occupied import LocalizedPair
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.embedding.solvers.hamiltonian import Solution

__all__ = ["open_doubts"]

_CONTAMINATED = 0.1  # of <S^2> beyond s (s + 1)
# T1 beyond which one determinant is in doubt: 0.02 for closed shells (Lee and Taylor 1989), 0.044 for
# open ones (Rienstra-Kiracofe et al., J. Phys. Chem. A 104, 9823 (2000)), 0.05 with 3d metals (Jiang,
# DeYonker and Wilson, J. Chem. Theory Comput. 8, 460 (2012)).
_T1_CLOSED, _T1_OPEN, _T1_METAL = 0.02, 0.044, 0.05


def open_doubts(
    field: MeanField,
    atoms: NDArray[np.int64],
    localized: LocalizedPair,
    solution: Solution,
    spin_square: float,
    residual_overlap: float,
) -> tuple[str, ...]:
    """What a reader of an open-shell core's number must know, in words.

    Parameters
    ----------
    field, atoms
        Mean field of the QM region, and the core's atoms in it.
    localized
        Its orbitals.
    solution
        What the solver returned.
    spin_square
        <S^2> of its embedded Hartree-Fock determinant.
    residual_overlap
        Largest overlap of its occupied space with another core's.
    """
    counts = (localized[0].core.shape[1], localized[1].core.shape[1])
    found = []
    limit = _t1_limit(field, atoms, counts)
    if solution.t1 is not None and solution.t1 > limit:
        found.append(
            f"T1 is {solution.t1:.3f}, above {limit}: one determinant may not describe this core; compare "
            "with a larger core or a multireference solver"
        )
    if solution.t2_max is not None and solution.t2_max > LARGE_T2:
        found.append(f"a double amplitude is {solution.t2_max:.2f}, above {LARGE_T2}: see T1")
    s = (counts[0] - counts[1]) / 2
    if spin_square - s * (s + 1) > _CONTAMINATED:
        found.append(
            f"<S^2> of the embedded determinant is {spin_square:.3f}, {s * (s + 1):.2f} for a pure spin "
            "state: the core may need a multireference solver"
        )
    found += shared_orbitals(residual_overlap)
    found += [
        f"the gap after the core's {own.core.shape[1]} {spin} orbitals is {own.gap:.3f}, below {NARROW_GAP}: "
        "they mix with the surroundings"
        for spin, own in zip(("alpha", "beta"), localized, strict=True)
        if own.gap < NARROW_GAP and own.core.shape[1]
    ]
    return tuple(found)


def _t1_limit(field: MeanField, atoms: NDArray[np.int64], counts: tuple[int, int]) -> float:
    from pyscf.data.elements import charge

    numbers = np.array([charge(field.engine.mol.atom_symbol(int(atom))) for atom in atoms])
    if bool(((numbers >= 21) & (numbers <= 29)).any()):  # Sc to Cu
        return _T1_METAL
    return _T1_CLOSED if counts[0] == counts[1] else _T1_OPEN
