"""The atoms of a labelling run: the table ``[structure]`` in, a `MolecularSystem` (bohr, e) out.

A complex made of a PDB and an SDF file is built once for each labels folder: that takes minutes, its added
hydrogens are relaxed to slightly other places each time (with them single waters come and go), and the same
command must go on with the same atoms.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from drupe.embedding.structures.structure import locate, read_system
from drupe.embedding.system import MolecularSystem
from drupe.freeenergy.labelling.config import StructureTable
from drupe.records import content_key, pack, unpack
from drupe.store import Row, Store, read_rows
from drupe.units import nanometer

__all__ = ["built_key", "keep_built", "read_labelled"]


def read_labelled(table: StructureTable, base: Path, folder: Path | None) -> MolecularSystem:
    """Read the structure, or take the one that was built before.

    Parameters
    ----------
    table
        The files and how to read them.
    base
        Folder that relative paths start from.
    folder
        Labels folder of an earlier run, which may have the complex; None for none.

    Raises
    ------
    InputError
        If a file is missing, damaged or refused by its reader.
    MachineError
        If a complex needs AmberTools and they are not installed.
    """
    key = built_key(table, base)
    if key is not None and folder is not None:
        found = _find(key, folder)
        if found is not None:
            return found

    def place(path: str | None) -> Path | None:
        return None if path is None else locate(path, base)

    others: dict[str, Any] = {
        "parameters": [locate(path, base) for path in table.parameters],
        "system": place(table.system),
        "ligand": place(table.ligand),
        "include": None if table.include is None else base / table.include,
        "box": None if table.box is None else np.diag(table.box),
        "solvent": None if table.solvent == "none" else table.solvent,
        "ph": table.ph,
        "padding_nm": None if table.padding is None else table.padding / nanometer,
    }
    return read_system(locate(table.topology, base), place(table.coordinates), **others)


def built_key(table: StructureTable, base: Path) -> str | None:
    """Content name of a complex to be built, by its files and settings; None if nothing is built."""
    if table.ligand is None:
        return None
    files = [
        hashlib.sha256(locate(path, base).read_bytes()).hexdigest() for path in (table.topology, table.ligand)
    ]
    how = {"solvent": table.solvent, "ph": table.ph, "padding": table.padding}
    return content_key("built", {"files": files, **how})


def keep_built(key: str, system: MolecularSystem, store: Store) -> None:
    """Keep a built complex for the next run of the same command."""
    if store.row(key) is not None:
        return
    path = store.scratch / "given-structure"
    path.write_bytes(pack(system))
    store.finish(Row(key, "structure", "given", "done", store.adopt(path), 1, 0, 0.0, 0.0, None))


def _find(key: str, folder: Path) -> MolecularSystem | None:
    if not (folder / "campaign.sqlite").exists():
        return None
    for row in read_rows(folder):
        if row.key == key and row.blob is not None:
            path = folder / "blobs" / row.blob[:2] / row.blob
            data = path.read_bytes() if path.is_file() else b""
            if hashlib.sha256(data).hexdigest() == row.blob:
                found: MolecularSystem = unpack(data)
                return found
    return None
