"""What DCD and NetCDF-3 headers promise: a file in, its number of frames and atoms out, or a refusal.

Layouts: the DCD format of CHARMM and X-PLOR (records between two equal 4-byte lengths); the classic
NetCDF file format specification (Unidata), big-endian.
"""

import math
import struct
from pathlib import Path
from typing import BinaryIO

from drupe.errors import InputError

__all__ = ["dcd_frames", "netcdf_frames"]


def dcd_frames(path: Path, expected: int | None = None) -> tuple[int, int]:
    """Frames and atoms of a DCD file whose size fits its header.

    Parameters
    ----------
    path
        The file.
    expected
        Number of frames that the caller knows; it may overrule a header that was never brought up to date.

    Raises
    ------
    InputError
        If the file is no DCD file, has fixed atoms, or is cut off.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            order = "<" if struct.unpack("<i", file.read(4))[0] == 84 else ">"
            file.seek(0)
            control = _record(file, order)
            if control[:4] != b"CORD":
                raise ValueError("no CORD mark")
            flags = struct.unpack(f"{order}20i", control[4:])
            _record(file, order)  # titles
            (atoms,) = struct.unpack(f"{order}i", _record(file, order))
            header = file.tell()
    except (struct.error, ValueError) as error:
        raise InputError(
            f"{path} has no DCD header ({error})", remedy="the file is cut off, or of another kind"
        ) from error
    if flags[8]:
        raise InputError(
            f"{path} leaves out {flags[8]} fixed atoms",
            remedy="write the trajectory with all atoms in each frame",
        )
    has_cell, has_fourth = flags[10] != 0 and flags[19] != 0, flags[11] != 0
    frame = (56 if has_cell else 0) + (4 if has_fourth else 3) * (4 * atoms + 8)
    whole, rest = divmod(size - header, frame)
    promised = flags[0]
    if rest or (promised != whole and expected != whole):
        raise InputError(
            f"{path} is cut off or damaged: its header promises {promised} frames, "
            f"its size is that of {(size - header) / frame:.2f}",
            remedy="copy the file again; if it is whole, give the expected number of frames"
            if not rest
            else "copy the file again, or write the trajectory again",
        )
    return whole, atoms


def netcdf_frames(path: Path) -> tuple[int, int]:
    """Frames and atoms of an Amber NetCDF trajectory whose size fits its header.

    Raises
    ------
    InputError
        If the file is no NetCDF-3 file, is none of coordinates, or is cut off.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            dimensions, promised, records, fixed_end = _netcdf_header(file)
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} has no NetCDF-3 header of an Amber trajectory ({error})",
            remedy="the file is cut off, or of another kind; NetCDF-4 files must be written as NetCDF-3",
        ) from error
    record = sum(length for _, length in records)
    end = min((begin for begin, _ in records), default=fixed_end) + promised * record
    if size < max(end, fixed_end):
        start = min((begin for begin, _ in records), default=fixed_end)
        raise InputError(
            f"{path} is cut off: its header promises {promised} frames and {end} bytes, it has {size} "
            f"({max(size - start, 0) // max(record, 1)} whole frames)",
            remedy="copy the file again: the frames after the cut would be read as other numbers",
        )
    if promised == 0:
        raise InputError(f"{path} holds no frame", remedy="give a trajectory with frames")
    return promised, dimensions["atom"]


def _record(file: BinaryIO, order: str) -> bytes:
    (length,) = struct.unpack(f"{order}i", file.read(4))
    if not 0 <= length <= 10_000_000:
        raise ValueError(f"a record of {length} bytes")
    content = file.read(length)
    (again,) = struct.unpack(f"{order}i", file.read(4))
    if again != length or len(content) != length:
        raise ValueError("a record whose two lengths differ")
    return content


_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8}


def _netcdf_header(file: BinaryIO) -> tuple[dict[str, int], int, list[tuple[int, int]], int]:
    """Dimensions, number of records, (begin, bytes) of the record variables, end of the fixed ones."""
    magic = file.read(4)
    if magic not in (b"CDF\x01", b"CDF\x02"):
        raise ValueError(f"it starts with {magic!r}")
    wide = magic[3] == 2

    def number() -> int:
        return int(struct.unpack(">I", file.read(4))[0])

    def padded(count: int) -> bytes:
        content = file.read(count)
        if len(content) != count:
            raise ValueError("the header is cut off")
        file.read(-count % 4)
        return content

    def skip_attributes() -> None:
        number()
        for _ in range(number()):
            padded(number())
            kind = number()
            padded(number() * _TYPE_BYTES[kind])

    promised = number()
    if promised == 0xFFFFFFFF:
        raise ValueError("the number of frames was never written")
    number()
    dimensions = {padded(number()).decode(): number() for _ in range(number())}
    lengths = list(dimensions.values())
    skip_attributes()
    number()
    records, fixed_end, names = [], 0, set()
    for _ in range(number()):
        names.add(padded(number()).decode())
        axes = [lengths[number()] for _ in range(number())]
        skip_attributes()
        kind = number()
        number()  # the size as the file has it may overflow; it follows from the shape
        begin = struct.unpack(">Q", file.read(8))[0] if wide else number()
        is_record = bool(axes) and axes[0] == 0
        length = math.prod(axes[1:] if is_record else axes) * _TYPE_BYTES[kind]
        length += -length % 4
        if is_record:
            records.append((begin, length))
        else:
            fixed_end = max(fixed_end, begin + length)
    if "coordinates" not in names or "atom" not in dimensions:
        raise ValueError("it has no coordinates of atoms")
    return dimensions, promised, records, fixed_end
