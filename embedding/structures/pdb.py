"""PDB files in, an OpenMM topology and positions (nm) out; with a serialised System, a `Structure` (bohr, e).

OpenMM's reader accepts ``nan``, cut lines and unknown elements without a word, so the text is checked
line by line first.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.structures.input_files import existing_file, read_text, unreadable
from drupe.embedding.structures.mechanics import Structure
from drupe.embedding.structures.openmm_objects import box_of, read_openmm
from drupe.embedding.structures.openmm_xml import load_system
from drupe.errors import InputError

if TYPE_CHECKING:
    import openmm.app

__all__ = ["check_pdb", "read_pdb", "read_pdb_with_system"]

_AXES = (("x", 30, 38), ("y", 38, 46), ("z", 46, 54))
_SHOWN = 6


def read_pdb_with_system(pdb: str | Path, system_xml: str | Path) -> Structure:
    """Read atoms from a PDB file and their force field from a serialised OpenMM System.

    Parameters
    ----------
    pdb
        Atoms, names, coordinates, bonds (of standard residues and CONECT records).
    system_xml
        Written by ``openmm.XmlSerializer.serialize(system)``; only forces made of numbers are loaded.

    Raises
    ------
    InputError
        If a file is missing, damaged or hostile, or the two do not belong together.
    """
    topology, positions = read_pdb(pdb, elements="optional")
    path = existing_file(system_xml)
    forces = load_system(read_text(path, "a serialised OpenMM System"), source=str(path))
    box = box_of(topology) if forces.usesPeriodicBoundaryConditions() else None
    return read_openmm(topology, forces, positions, box=box)


def read_pdb(
    pdb: str | Path, *, elements: Literal["required", "optional"] = "required"
) -> "tuple[openmm.app.Topology, NDArray[np.float64]]":
    """Read one model of a PDB file.

    Parameters
    ----------
    pdb
        The file.
    elements
        ``"optional"`` where masses from elsewhere will prove the elements that are guessed from names.

    Returns
    -------
    tuple
        OpenMM topology, and positions in nm, shape ``(atoms, 3)``.

    Raises
    ------
    InputError
        As `check_pdb` does.
    """
    from openmm import app, unit

    path = existing_file(pdb)
    check_pdb(path, elements=elements)
    try:
        read = app.PDBFile(str(path))
        table = np.asarray(read.getPositions(asNumpy=True).value_in_unit(unit.nanometer), dtype=np.float64)
    except Exception as error:
        raise unreadable(path, "a PDB file", error) from error
    return read.topology, table


def check_pdb(path: Path, *, elements: Literal["required", "optional"] = "required") -> None:
    """Refuse what OpenMM would read silently wrong.

    Raises
    ------
    InputError
        Naming file, line and column: coordinates that are no finite numbers, lines or files cut off,
        several models, alternate locations, unknown or (if required) missing elements.
    """
    lines = read_text(path, "a PDB file").splitlines()
    records = [line[:6].strip() for line in lines]
    atoms = [number for number, record in enumerate(records) if record in ("ATOM", "HETATM")]
    if not atoms:
        raise InputError(f"{path} holds no ATOM record", remedy="give a PDB file (not mmCIF) with atoms")
    for index in atoms:
        _check_coordinates(path, index + 1, lines[index])
    if "END" not in records:
        raise InputError(
            f"{path} has no END record: it may be cut off after line {len(lines)}",
            remedy="write the file again; if it is whole, add a last line END",
        )
    models = records.count("MODEL")
    if models > 1:
        raise InputError(f"{path} holds {models} models", remedy="write a file with the one model you mean")
    other = [f"line {i + 1} ({lines[i][12:26].strip()})" for i in atoms if lines[i][16:17] not in ("", " ")]
    if other:
        raise InputError(
            f"{path} has alternate locations for {len(other)} atoms: {', '.join(other[:_SHOWN])}",
            remedy="keep one location of each atom and blank column 17",
        )
    _check_elements(path, [(i + 1, lines[i]) for i in atoms], elements)


def _check_coordinates(path: Path, number: int, line: str) -> None:
    if len(line) < _AXES[-1][2]:
        raise InputError(
            f"{path}, line {number}: the atom record is cut off after column {len(line)}",
            remedy="write the file again: an atom needs its coordinates in columns 31 to 54",
        )
    for axis, start, end in _AXES:
        text = line[start:end]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(
                f"{path}, line {number}, columns {start + 1} to {end}: the {axis} coordinate is {text!r}",
                remedy="repair the coordinate; asterisks mean that the writing program ran out of width",
            )


def _check_elements(path: Path, lines: list[tuple[int, str]], wanted: str) -> None:
    from openmm import app

    unknown: list[str] = []
    missing: list[str] = []
    for number, line in lines:
        symbol = line[76:78].strip()
        name = f"line {number} ({line[12:16].strip()} of {line[17:26].strip()})"
        if not symbol:
            missing.append(name)
            continue
        try:
            app.Element.getBySymbol(symbol)
        except KeyError:
            unknown.append(f"{symbol!r} in {name}")
    if unknown:
        raise InputError(
            f"{path} has unknown elements: {', '.join(unknown[:_SHOWN])} ({len(unknown)} atoms)",
            remedy="write the element's symbol in columns 77 and 78",
        )
    if missing and wanted == "required":
        raise InputError(
            f"{path} names no element for {len(missing)} atoms: {', '.join(missing[:_SHOWN])}",
            remedy="write the elements in columns 77 and 78; a guess makes calcium of an alpha carbon",
        )
