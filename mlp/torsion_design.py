"""Torsion energies as a linear map of their constants: positions in, design matrices out; arrays only.

V = sum over torsions and n of k_n (1 + cos n phi), with a signed k_n in place of the phases 0 and pi. Design
matrices have the unit 1 (energies per constant) and 1/bohr (forces per constant), positions are in bohr.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError

__all__ = ["Design", "torsion_design", "turn_basis"]

_STRAIGHT = 1e-3  # sine of a bond angle below which a torsion angle means nothing

Array = NDArray[np.float64]


class Design(NamedTuple):
    """What each constant adds: ``energy (frames, kinds * highest)``, ``forces (frames, atoms, 3, the same)``.

    Columns hold n = 1 to ``highest`` of the first kind, then of the next.
    """

    energy: Array
    forces: Array


def torsion_design(
    positions: Array, atoms: NDArray[np.int64], kinds: NDArray[np.int64], n_kinds: int, highest: int
) -> Design:
    """Energies and forces of constants of one.

    The gradient of a torsion angle is that of Blondel and Karplus, J. Comput. Chem. 17, 1132 (1996), eq 27.

    Parameters
    ----------
    positions
        Shape ``(frames, atoms, 3)``, bohr.
    atoms
        The four atoms of each torsion, shape ``(torsions, 4)``.
    kinds
        Which constants each torsion has, from 0 to ``n_kinds`` - 1, shape ``(torsions,)``.
    n_kinds
        Number of kinds.
    highest
        Largest n.

    Returns
    -------
    Design
        Of ``n_kinds * highest`` columns.

    Raises
    ------
    InputError
        If three atoms of a torsion lie on a line.
    """
    first, axis, last = (positions[:, atoms[:, a]] - positions[:, atoms[:, b]] for a, b in _STEPS)
    one, two = np.cross(first, axis), np.cross(last, axis)
    length = np.linalg.norm(axis, axis=-1)
    square_one, square_two = (one**2).sum(-1), (two**2).sum(-1)
    for square, arm in ((square_one, first), (square_two, last)):
        flat = np.argwhere(square <= (_STRAIGHT * np.linalg.norm(arm, axis=-1) * length) ** 2)
        if len(flat):
            raise InputError(
                f"three atoms of the torsion {atoms[flat[0][1]].tolist()} lie on a line "
                f"in frame {flat[0][0]}",
                remedy="leave this frame out, or torsions about linear groups",
            )
    phi = np.arctan2(
        (np.cross(two, one) * axis).sum(-1), (one * two).sum(-1) * length
    )  # both times |A| |B| |G|
    to_first = -(length / square_one)[..., None] * one
    to_last = (length / square_two)[..., None] * two
    lean = ((first * axis).sum(-1) / (square_one * length))[..., None] * one
    lean = lean - ((last * axis).sum(-1) / (square_two * length))[..., None] * two
    slopes = np.stack([to_first, lean - to_first, -lean - to_last, to_last], axis=2)  # frames, torsions, 4, 3
    frames, count = positions.shape[:2]
    energy = np.zeros((frames, n_kinds, highest))
    forces = np.zeros((frames, count, 3, n_kinds, highest))
    for t, (four, kind) in enumerate(zip(atoms.tolist(), kinds.tolist(), strict=True)):
        for n in range(1, highest + 1):
            energy[:, kind, n - 1] += 1 + np.cos(n * phi[:, t])
            pull = (n * np.sin(n * phi[:, t]))[:, None]
            for place, atom in enumerate(four):
                forces[:, atom, :, kind, n - 1] += pull * slopes[:, t, place]
    return Design(energy.reshape(frames, -1), forces.reshape(frames, count, 3, -1))


_STEPS = ((0, 1), (1, 2), (3, 2))  # F = r_i - r_j, G = r_j - r_k, H = r_l - r_k


def turn_basis(positions: Array, axes: NDArray[np.int64], sides: NDArray[np.bool_]) -> Array:
    """Orthonormal directions that turn parts of a molecule about bonds, each part as a rigid body.

    Bond lengths and bond angles do not change along them: the force along them is that of torsions and of
    atoms further apart.

    Parameters
    ----------
    positions
        Shape ``(frames, atoms, 3)``, bohr.
    axes
        The two atoms of each bond, shape ``(turns, 2)``.
    sides
        The atoms that turn, shape ``(turns, atoms)``.

    Returns
    -------
    NDArray
        Shape ``(frames, 3 * atoms, turns)``; columns have a norm of 1 and are orthogonal.
    """
    frames, count = positions.shape[:2]
    moves = np.zeros((frames, count, 3, len(axes)))
    for b, (j, k) in enumerate(axes.tolist()):
        axis = positions[:, k] - positions[:, j]
        arms = positions - positions[:, k : k + 1]
        moves[..., b] = np.cross(axis[:, None], arms) * sides[b][None, :, None]
    basis: Array = np.linalg.qr(moves.reshape(frames, 3 * count, len(axes)))[0]
    return basis
