"""The atoms of a labelling run: the table ``[structure]`` in, a `MolecularSystem` (bohr, e) out."""

from pathlib import Path

from drupe.embedding.structures.structure import locate, read_system
from drupe.embedding.system import MolecularSystem
from drupe.freeenergy.inputs.built import built_key, find_built
from drupe.freeenergy.labelling.config import StructureTable
from drupe.units import nanometer

__all__ = ["key_of_built", "read_labelled"]


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
    key = key_of_built(table, base)
    if key is not None:
        found: MolecularSystem | None = find_built(key, folder)
        if found is not None:
            return found
    return read_system(
        **table.reading(
            base,
            ligand=table.ligand,
            solvent=None if table.solvent == "none" else table.solvent,
            padding_nm=None if table.padding is None else table.padding / nanometer,
        )
    )


def key_of_built(table: StructureTable, base: Path) -> str | None:
    """Content name of a complex to be built, by its files and settings; None if nothing is built."""
    if table.ligand is None:
        return None
    files = [locate(path, base) for path in (table.topology, table.ligand)]
    return built_key(files, {"solvent": table.solvent, "ph": table.ph, "padding": table.padding})
