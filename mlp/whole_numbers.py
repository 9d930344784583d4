"""What only whole numbers can say: atomic numbers, blocks, residues, rows of frames. Anything in, int64 out.

A fraction is refused, not cut off: 8.5 is no oxygen. So are text, and truth values, which would be 0 and 1.
"""

from collections.abc import Set

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError

__all__ = ["atomic_numbers", "rows_of", "whole_numbers"]

_HEAVIEST = 118

_REMEDIES = {
    "atomic numbers": "give numbers, not symbols: 8 for oxygen (ase.data.atomic_numbers knows them all)",
    "blocks": "number the stretches of trajectory: np.unique(names, return_inverse=True)[1] does it",
    "frames": "give the numbers of the frames from 0 on, or a mask with one truth value per frame",
    "mm_groups": "give one whole number from 0 on per MM atom: the residue it belongs to",
}


def whole_numbers(name: str, values: object) -> NDArray[np.int64]:
    """Take whole numbers as they are.

    Parameters
    ----------
    name
        What they are, for the message.
    values
        Array or sequence of any shape; 8.0 is a whole number.

    Raises
    ------
    InputError
        With the first that is none.
    """
    given = np.asarray(list(values) if isinstance(values, Set) else values)
    if given.dtype.kind in "iu" or not given.size:
        return given.astype(np.int64)
    numbers = np.full(given.shape, np.nan)
    if given.dtype.kind == "f":
        numbers = given.astype(np.float64)
    off = ~np.isfinite(numbers) | (numbers != np.rint(numbers))
    if off.any():
        raise InputError(
            f"{name} are whole numbers, and {given[off].tolist()[0]!r} is among those given",
            remedy=_REMEDIES.get(name, "give whole numbers"),
        )
    return numbers.astype(np.int64)


def atomic_numbers(values: object) -> NDArray[np.int64]:
    """Take the atomic numbers of a molecule, ``(atoms,)``.

    Raises
    ------
    InputError
        If one is none of an element, or they are not in one row.
    """
    found = whole_numbers("atomic numbers", values)
    if found.ndim != 1:
        raise InputError(
            f"atomic numbers have shape {found.shape}",
            remedy="give one row, (atoms,): the atoms are the same in all frames",
        )
    off = found[(found < 1) | (found > _HEAVIEST)]
    if len(off):
        raise InputError(f"no element has the atomic number {off[0]}", remedy=_REMEDIES["atomic numbers"])
    return found


def rows_of(frames: object, count: int) -> NDArray[np.int64]:
    """Rows that are meant by numbers of frames, or by a mask.

    Parameters
    ----------
    frames
        Whole numbers, negative ones from the end, or ``count`` truth values.
    count
        How many frames there are.

    Raises
    ------
    InputError
        If a frame does not exist, or a mask has another length.
    """
    given = np.asarray(frames)
    if given.dtype == np.bool_ and given.shape == (count,):
        return np.flatnonzero(given)
    rows = whole_numbers("frames", given)
    off = rows[(rows < -count) | (rows >= count)]
    if rows.ndim != 1 or len(off):
        raise InputError(
            f"frame {off[0]} of {count} frames" if len(off) else f"frames of the shape {rows.shape}",
            remedy=_REMEDIES["frames"],
        )
    return rows
