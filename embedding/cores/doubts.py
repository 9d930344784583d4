"""Signs that a core's number is doubtful: orbitals and amplitudes of a core in, warnings in words out."""

from collections.abc import Mapping, Sequence

import numpy as np

from drupe.embedding.kernels.localization import Localized
from drupe.embedding.solvers.hamiltonian import Solution
from drupe.errors import InputError

__all__ = ["LARGE_T2", "NARROW_GAP", "check_apart", "check_stand_in", "doubts", "shared_orbitals"]

NARROW_GAP = 0.2  # of SPADE's singular values, which lie between 0 and 1
_LARGE_T1 = 0.02  # Lee and Taylor, Int. J. Quantum Chem. 36 (S23), 199 (1989)
LARGE_T2 = 0.2
_SHARED = 0.1  # largest overlap of orbitals of two cores that passes without a word
_ONE_BOND = 0.7  # beyond it more than half of an orbital is in both cores


def shared_orbitals(residual_overlap: float) -> tuple[str, ...]:
    """Warn of a core whose occupied orbitals overlap with those of another."""
    if residual_overlap <= _SHARED:
        return ()
    return (f"its orbitals overlap with another core's by {residual_overlap:.2f}: part is counted twice",)


def check_apart(labels: Sequence[str], overlaps: Mapping[tuple[int, int], float]) -> None:
    """Refuse cores that hold the same bond: its correlation would be counted twice.

    Parameters
    ----------
    labels
        Names of the cores.
    overlaps
        Largest overlap of their occupied orbitals, between 0 and 1, by numbers of two cores.

    Raises
    ------
    InputError
        If two cores share more than half of an orbital.
    """
    for (first, second), overlap in overlaps.items():
        if overlap > _ONE_BOND:
            raise InputError(
                f"an orbital of {labels[first]!r} overlaps with one of {labels[second]!r} by {overlap:.2f}: "
                "what the cores share would be corrected twice",
                remedy="merge cores that are bonded to each other, or give each its n_occupied, so that the "
                "bond belongs to one of them",
            )


def doubts(localized: Localized, solution: Solution, residual_overlap: float) -> tuple[str, ...]:
    """What a reader of a closed-shell core's number must know, in words."""
    said = list(shared_orbitals(residual_overlap))
    n_core, falls = localized.core.shape[1], localized.falls
    widest = int(np.argmax(falls[:-1])) + 1 if len(falls) > 1 else n_core
    if localized.gap < NARROW_GAP:
        said.append(
            f"the gap after the core's {n_core} orbitals is {localized.gap:.3f}, below {NARROW_GAP}: they "
            f"mix with the surroundings (the widest is {falls[widest - 1]:.3f}, after {widest})"
        )
    if solution.t1 is not None and solution.t1 > _LARGE_T1:
        said.append(f"T1 is {solution.t1:.3f}, above {_LARGE_T1}: one determinant may not describe the core")
    if solution.t2_max is not None and solution.t2_max > LARGE_T2:
        said.append(f"a double amplitude is {solution.t2_max:.2f}, above {LARGE_T2}: see T1")
    return tuple(said)


def check_stand_in(method: str, left_out: int, largest_amplitude: float) -> None:
    """Refuse to let MP2 stand in for virtual orbitals where it fails and the core's own method does not.

    Parameters
    ----------
    method
        The core's solver.
    left_out
        Virtual orbitals it does not see.
    largest_amplitude
        Of the MP2 doubles in all virtual orbitals.
    """
    multireference = method == "FCI" or method.endswith("NEVPT2")
    if left_out and multireference and largest_amplitude > LARGE_T2:
        raise InputError(
            f"an MP2 amplitude of this core is {largest_amplitude:.2f}, above {LARGE_T2}: MP2 cannot "
            f"stand in for the {left_out} virtual orbitals that {method} leaves out",
            remedy="set virtual_shells=None, which keeps them all",
        )
