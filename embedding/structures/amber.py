"""Amber files in (prmtop with inpcrd or rst7), a `Structure` out (bohr, e); in vacuum, OBC2 or a box."""

from pathlib import Path

import numpy as np

from drupe.embedding.structures.input_files import existing_file, unreadable
from drupe.embedding.structures.mechanics import Structure
from drupe.embedding.structures.openmm_objects import box_of, nonbonded, read_openmm
from drupe.errors import InputError

__all__ = ["check_solvent_model", "read_amber"]


def read_amber(
    prmtop: str | Path,
    coordinates: str | Path,
    *,
    implicit_solvent: str | None = "OBC2",
) -> Structure:
    """Read an Amber topology with coordinates: flexible bonds; no cutoff, or PME in a periodic box.

    Parameters
    ----------
    prmtop
        Topology file.
    coordinates
        Coordinates or restart file (inpcrd, crd, rst7) of the same atoms; its box counts.
    implicit_solvent
        ``"OBC2"``; None for vacuum or a periodic box.

    Raises
    ------
    InputError
        If a file is missing or unreadable, the files do not belong together, an element does not fit
        its mass, or a periodic box is to be read with an implicit solvent.
    """
    from openmm import app, unit

    check_solvent_model(implicit_solvent)
    top_path, crd_path = existing_file(prmtop), existing_file(coordinates)
    try:
        parameters = app.AmberPrmtopFile(str(top_path))
    except Exception as error:
        raise unreadable(top_path, "an Amber topology", error) from error
    try:
        positions = app.AmberInpcrdFile(str(crd_path))
        table = np.asarray(positions.positions.value_in_unit(unit.nanometer), dtype=np.float64)
        vectors = positions.boxVectors
    except Exception as error:
        raise unreadable(crd_path, "Amber coordinates", error) from error
    if vectors is not None:
        parameters.topology.setPeriodicBoxVectors(vectors)
    box = box_of(parameters.topology)
    if box is not None and implicit_solvent is not None:
        raise InputError(
            f"{crd_path.name} with {top_path.name} describes a periodic box, "
            f"which does not go with the implicit solvent {implicit_solvent}",
            remedy="read the box with implicit_solvent=None, or give the solute alone for implicit solvent",
        )
    if len(table) != parameters.topology.getNumAtoms():
        raise InputError(
            f"{crd_path.name} has {len(table)} atoms, "
            f"{top_path.name} has {parameters.topology.getNumAtoms()}",
            remedy="give the coordinates that were written with this topology",
        )
    settings = {**nonbonded(box), "implicitSolvent": app.OBC2 if implicit_solvent else None}
    try:
        forces = parameters.createSystem(**settings)
    except Exception as error:
        raise unreadable(top_path, "a force field that OpenMM can build", error) from error
    return read_openmm(parameters.topology, forces, table, implicit_solvent=implicit_solvent, box=box)


def check_solvent_model(name: str | None) -> None:
    """Refuse an implicit solvent that is not known.

    Raises
    ------
    InputError
        Naming those that are.
    """
    if name not in (None, "OBC2"):
        raise InputError(
            f"the implicit solvent {name!r} is not known", remedy='use "OBC2", or None for vacuum'
        )
