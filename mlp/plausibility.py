"""Can the numbers of labels be meant? Arrays of a data set (atomic units) in, refusal or silence out."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from drupe.errors import InputError

__all__ = ["check_apart", "check_directions", "check_finite"]

Matrix = NDArray[np.float64]

_UNIT = 1e-8  # of a direction's norm

#: bohr (0.16 A). The shortest bond there is, of H2, has 1.40, and frames that cannot be labelled begin at 1.2
#: (`drupe.mlp.monitor`): no label of a real geometry comes near. Bonds of all elements in nanometres do.
_TOO_CLOSE = 0.3


def check_finite(arrays: Mapping[str, Matrix]) -> None:
    """Refuse numbers that are none.

    Parameters
    ----------
    arrays
        By name, each ``(labels, ...)``.

    Raises
    ------
    InputError
        With the name, the label and the place in its array.
    """
    for name, values in arrays.items():
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            raise InputError(
                f"{name} of label {bad[0][0]} is not a finite number (at {tuple(bad[0][1:].tolist())})",
                remedy="leave this label out, or compute it again",
            )


def check_directions(directions: Matrix, there: NDArray[np.bool_]) -> None:
    """Refuse directions ``(labels, k, qm, 3)`` whose norm is not 1, where they are ``there (labels, k)``."""
    stretched = np.abs(np.linalg.norm(directions, axis=(2, 3)) - 1)[there]
    if stretched.size and stretched.max() > _UNIT:
        raise InputError(
            f"a direction of a slope has a norm that differs from 1 by {stretched.max():.1e}",
            remedy="divide direction and slope by the norm of the direction",
        )


def check_apart(positions: Matrix, mm: Matrix, counts: NDArray[np.int64]) -> None:
    """Refuse QM atoms, or MM charges on QM atoms, where no label can be.

    Parameters
    ----------
    positions, mm
        ``(labels, qm, 3)`` and ``(labels, mm, 3)``, bohr.
    counts
        MM atoms of each label that are really there, ``(labels,)``.

    Raises
    ------
    InputError
        With the label and the two.
    """
    n_qm = positions.shape[1]
    for i, (place, around, count) in enumerate(zip(positions, mm, counts.tolist(), strict=True)):
        apart = cdist(place, np.vstack([place, around[:count]]))
        np.fill_diagonal(apart, np.inf)
        one, other = np.unravel_index(np.argmin(apart), apart.shape)
        if apart[one, other] < _TOO_CLOSE:
            second = f"QM atom {other}" if other < n_qm else f"MM charge {other - n_qm}"
            raise InputError(
                f"QM atom {one} and {second} of label {i} are {apart[one, other]:.3g} bohr apart",
                remedy="look at the positions and their unit: they are in bohr (drupe.units has angstrom and "
                "nanometer to multiply with)",
            )
