"""Trajectory files in (DCD, Amber NetCDF, XTC, TRR), frames out (positions and box in bohr).

MDTraj reads a cut NetCDF file to its full number of frames, some of them wrong, and says of a cut DCD
file only on the standard output that it ends early. So the size of these two is checked against
their own headers before MDTraj sees them; XTC and TRR are read frame by frame, up to the damage.
"""

import hashlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.structures.input_files import existing_file, unreadable
from drupe.embedding.structures.trajectory_headers import dcd_frames, netcdf_frames
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.records import frozen
from drupe.units import angstrom, nanometer

__all__ = ["Frame", "Trajectory"]

log = logging.getLogger(__name__)

_FORMATS = {
    ".dcd": "DCDTrajectoryFile",
    ".nc": "NetCDFTrajectoryFile",
    ".ncdf": "NetCDFTrajectoryFile",
    ".xtc": "XTCTrajectoryFile",
    ".trr": "TRRTrajectoryFile",
}


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame: its ``index`` in the file, ``positions`` ``(atoms, 3)`` and ``box`` ``(3, 3)`` in bohr."""

    index: int
    positions: NDArray[np.float64]
    box: NDArray[np.float64] | None

    def put_into(self, system: MolecularSystem) -> MolecularSystem:
        """Return ``system`` at this frame, with the frame's box.

        Raises
        ------
        InputError
            If one of system and frame is periodic and the other is not, or a coordinate is not finite.
        """
        if system.box is None and self.box is None:
            return system.with_positions(self.positions)
        if system.box is None:
            raise InputError(
                f"frame {self.index} has a unit cell, the structure has none: its charges would act without "
                "their images",
                remedy='give a structure with its box and environment="cluster" or "ewald", or write the '
                "trajectory without a cell if there was none",
            )
        if self.box is None:
            raise InputError(
                f"frame {self.index} has no box, the system is periodic",
                remedy="write the trajectory with its unit cell",
            )
        return system.with_positions(self.positions).with_box(self.box)


@dataclass(frozen=True)
class Trajectory:
    """A trajectory file that was found whole, or whose good frames are known.

    Fields: ``path``; ``sha256`` of the whole file; ``n_frames`` that can be read; ``n_atoms``;
    ``damage`` what is wrong after the last good frame, or None; ``stamp`` size and time of the file.
    """

    path: Path
    sha256: str
    n_frames: int
    n_atoms: int
    damage: str | None
    stamp: tuple[int, int]

    @classmethod
    def open(
        cls,
        path: str | Path,
        n_atoms: int,
        *,
        expected_frames: int | None = None,
        sha256: str | None = None,
    ) -> "Trajectory":
        """Look through a file, and count its frames.

        Parameters
        ----------
        path
            ``.dcd``, ``.nc`` or ``.ncdf`` (Amber), ``.xtc`` or ``.trr``.
        n_atoms
            Atoms of the system it belongs to.
        expected_frames
            Number of frames the file must have; None takes what header and size agree on.
        sha256
            Hash the file must have; None takes any.

        Raises
        ------
        InputError
            If the file is missing, of another kind, for another number of atoms, not the one with that
            hash, cut off (DCD, NetCDF), empty, or has not the expected number of frames.
        """
        found = existing_file(path)
        kind = _FORMATS.get(found.suffix.lower())
        if kind is None:
            raise InputError(
                f"{found.name} is of no kind of trajectory that is known",
                remedy=f"give one of {', '.join(_FORMATS)}",
            )
        with found.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 is not None and digest != sha256.lower():
            raise InputError(
                f"{found} has the sha256 {digest}, not {sha256}",
                remedy="this is another file, or it was changed: restore it, or correct the hash",
            )
        damage = None
        if kind == "DCDTrajectoryFile":
            count, atoms = dcd_frames(found, expected_frames)
        elif kind == "NetCDFTrajectoryFile":
            count, atoms = netcdf_frames(found)
        else:
            count, atoms, damage = _count_good(found, kind)
        if atoms != n_atoms:
            raise InputError(
                f"{found} has {atoms} atoms, the system has {n_atoms}",
                remedy="give the trajectory of this system, with all its atoms",
            )
        if expected_frames is not None and count != expected_frames:
            raise InputError(
                f"{found} has {count} good frames, {expected_frames} were expected"
                + (f" ({damage})" if damage else ""),
                remedy="copy the file again, or correct the expected number",
            )
        if damage:
            log.warning("%s: %d good frames are kept; %s", found, count, damage)
        return cls(found, digest, count, n_atoms, damage, _stamp(found))

    def frames(self, start: int = 0, stop: int | None = None, stride: int = 1) -> Iterator[Frame]:
        """Yield every ``stride``-th frame from ``start`` to before ``stop``, one in memory at a time.

        Raises
        ------
        InputError
            If the range holds no frame, or the file changed since it was opened.
        """
        chosen = range(self.n_frames)[start:stop:stride] if stride > 0 else range(0)
        if len(chosen) == 0:
            raise InputError(
                f"no frame of {self.path.name} ({self.n_frames} frames) is in start={start}, stop={stop}, "
                f"stride={stride}",
                remedy="count frames from 0, with a positive stride",
            )
        if _stamp(self.path) != self.stamp:
            raise InputError(f"{self.path} changed while it was read", remedy="let nothing write to it")
        last = chosen[-1]
        with _opened(self.path, _FORMATS[self.path.suffix.lower()]) as file:
            for index in range(last + 1):
                with _talk_on_stderr():
                    raw = file.read(n_frames=1)
                if index in chosen:
                    yield _frame(index, raw, file)


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@contextmanager
def _talk_on_stderr() -> Iterator[None]:
    """Send to stderr what MDTraj's C code prints on stdout, where programs read our answer."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _opened(path: Path, kind: str) -> Any:
    import mdtraj.formats

    try:
        with _talk_on_stderr():
            return getattr(mdtraj.formats, kind)(str(path))
    except Exception as error:
        raise unreadable(path, "a trajectory", error) from error


def _count_good(path: Path, kind: str) -> tuple[int, int, str | None]:
    """Good frames of an XTC or TRR file, its atoms, and what comes after the good frames."""
    count, atoms, damage = 0, 0, None
    with _opened(path, kind) as file:
        while True:
            try:
                xyz = file.read(n_frames=1)[0]
            except RuntimeError as error:
                damage = f"the file is damaged after frame {count - 1}: {' '.join(str(error).split())}"
                break
            if len(xyz) == 0:
                break
            count, atoms = count + 1, xyz.shape[1]
    # Both formats are made of words of four bytes; what reads fine may still have been cut within one.
    if damage is None and (stray := path.stat().st_size % 4):
        damage = f"{stray} stray bytes follow frame {count - 1}: the file was cut"
    if count == 0:
        raise InputError(
            f"{path} holds no whole frame" + (f" ({damage})" if damage else ""),
            remedy="copy the file again, or write the trajectory again",
        )
    return count, atoms, damage


def _frame(index: int, raw: Any, file: Any) -> Frame:
    from mdtraj.utils import lengths_and_angles_to_box_vectors

    unit = angstrom if file.distance_unit == "angstroms" else nanometer
    kind = type(file).__name__
    if kind in ("XTCTrajectoryFile", "TRRTrajectoryFile"):
        box = np.zeros(0) if raw[3] is None else np.asarray(raw[3], np.float64).reshape(3, 3)
    else:
        lengths, angles = raw[-2:]
        given = lengths is not None and np.isfinite(lengths).all() and np.asarray(lengths).all()
        box = np.vstack(lengths_and_angles_to_box_vectors(*lengths[0], *angles[0])) if given else np.zeros(0)
    has_box = box.shape == (3, 3) and bool(box.any())
    return Frame(
        index,
        frozen(np.asarray(raw[0][0], np.float64) * unit, np.float64),
        frozen(box * unit, np.float64) if has_box else None,
    )
