"""The MM side of frames: the ``.npz`` beside an extended xyz file (angstrom, eV, e) in, atomic units out.

`drupe.embedding.export.write_mm_arrays` writes such files. Its entries are ``<frame>/positions``,
``<frame>/charges`` and, where they are known, ``<frame>/forces`` and ``<frame>/groups``.
"""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.units import angstrom, ev

__all__ = ["Around", "Surroundings", "read_surroundings"]

Matrix = NDArray[np.float64]

# What numpy and zipfile raise for files that are cut off, damaged, or something else.
_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Around(NamedTuple):
    """MM atoms of one frame: ``(mm, 3)`` bohr, ``(mm,)`` e, ``(mm, 3)`` hartree/bohr, ``(mm,)`` residues."""

    positions: Matrix
    charges: Matrix
    forces: Matrix | None = None
    groups: NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a file holds."""

    path: Path
    entries: Mapping[str, NDArray[Any]]

    def of(self, frame: str) -> Around:
        """MM atoms of the frame of that name.

        Raises
        ------
        InputError
            If the file does not have them, or something else than numbers.
        """
        for name in ("positions", "charges"):
            if f"{frame}/{name}" not in self.entries:
                raise InputError(
                    f"the surroundings of frame {frame} are not in {self.path}: it has no {frame}/{name}",
                    remedy="give the file that was written with this one",
                )
        found = {name: self.entries.get(f"{frame}/{name}") for name in Around._fields}
        there = {name: values for name, values in found.items() if values is not None}
        for name, values in there.items():
            if values.dtype.kind not in "fiu":
                raise InputError(
                    f"{frame}/{name} in {self.path} holds no numbers ({values.dtype})",
                    remedy="write positions, charges, forces and groups as plain arrays of numbers",
                )
        units = {"positions": angstrom, "forces": ev / angstrom}
        return Around(**{name: values * units.get(name, 1) for name, values in there.items()})


def read_surroundings(path: Path) -> Surroundings:
    """Read the file whole.

    Raises
    ------
    InputError
        If it is not there, cut off, damaged, or no ``.npz``.
    """
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise ValueError("it holds one array without a name")
        with found as archive:
            return Surroundings(path, dict(archive))
    except _UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read as surroundings ({error or type(error).__name__})",
            remedy="give the .npz of MM arrays, whole: write it again if it was cut off or changed",
        ) from error
