"""GROMACS files in (top with gro), a `Structure` out (bohr, e)."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.structures.gromacs_includes import check_topology
from drupe.embedding.structures.input_files import existing_file, read_text, unreadable
from drupe.embedding.structures.mechanics import Structure
from drupe.embedding.structures.openmm_objects import box_of, nonbonded, read_openmm
from drupe.errors import InputError

__all__ = ["read_gromacs"]

#: A particle's mass names its element when it is this close to the mean atomic mass.
_SAME_MASS_AMU = 0.05


def read_gromacs(top: str | Path, gro: str | Path, *, include: str | Path | None = None) -> Structure:
    """Read a GROMACS topology with coordinates: flexible bonds; no cutoff, or PME in the gro file's box.

    Water without bond parameters (``[ settles ]`` alone) stays rigid.

    Parameters
    ----------
    top
        Topology file. ``#include`` looks in its folder, in ``include``, and beside the including file.
    gro
        Coordinates of the same atoms; the last line is the box, zeros for none.
    include
        Folder with the force fields of GROMACS (``share/gromacs/top``); None asks the environment for it.

    Raises
    ------
    InputError
        If a file is missing (also an included one), cut off or unreadable, the atom counts differ, an element
        does not fit its mass, a section holds terms that OpenMM does not know, or the box is too small.
    """
    from openmm import app, unit

    top_path, gro_path = existing_file(top), existing_file(gro)
    _check_gro(gro_path)
    try:
        coordinates = app.GromacsGroFile(str(gro_path))
        table = np.asarray(coordinates.getPositions().value_in_unit(unit.nanometer), dtype=np.float64)
        box = box_of(coordinates)
    except Exception as error:
        raise unreadable(gro_path, "GROMACS coordinates", error) from error
    vectors = None if box is None else coordinates.getPeriodicBoxVectors()
    parameters = _parse_topology(top_path, vectors, include)
    if parameters.topology.getNumAtoms() != len(table):
        raise InputError(
            f"{gro_path.name} has {len(table)} atoms, "
            f"{top_path.name} has {parameters.topology.getNumAtoms()}",
            remedy="give the coordinates that belong to this topology (its [ molecules ] say how many)",
        )
    settings = nonbonded(box)
    try:
        forces = parameters.createSystem(**settings)
    except Exception as error:
        raise unreadable(top_path, "a force field that OpenMM can build", error) from error
    _elements_by_mass(parameters.topology, forces)
    return read_openmm(parameters.topology, forces, table, box=box)


def _parse_topology(path: Path, vectors: Any, include: str | Path | None) -> Any:
    """OpenMM's reader; it leaves its files to be closed by the garbage collector, which warns."""
    from openmm import app

    folder = _include_folder(include)
    check_topology(path, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return app.GromacsTopFile(str(path), periodicBoxVectors=vectors, includeDir=str(folder))
        except Exception as error:
            raise unreadable(path, "a GROMACS topology", error.with_traceback(None)) from None


def _include_folder(given: str | Path | None) -> Path:
    """The folder of force fields: the one given, or where GROMACS says or usually has it."""
    if given is None:
        from openmm.app import gromacstopfile

        return Path(gromacstopfile._defaultGromacsIncludeDir())
    if not Path(given).is_dir():
        raise InputError(
            f"there is no folder {given} for the includes of GROMACS",
            remedy="give the folder that holds the force fields, such as share/gromacs/top",
        )
    return Path(given)


def _check_gro(path: Path) -> None:
    """OpenMM takes the lines that are there: count them, and refuse a second frame."""
    lines = read_text(path, "GROMACS coordinates").rstrip().split("\n")
    count = lines[1].strip() if len(lines) > 1 else ""
    if not count.isdigit():
        raise InputError(
            f"{path}: line 2 is {count[:40]!r}, not a number of atoms",
            remedy="give coordinates in the gro format",
        )
    expected = int(count) + 3
    if len(lines) != expected:
        state = "is cut off" if len(lines) < expected else "goes on (more than one frame?)"
        raise InputError(
            f"{path} {state}: {len(lines)} lines for {count} atoms, a title, the count and the box",
            remedy="write the file again, with one frame",
        )


def _elements_by_mass(topology: Any, forces: Any) -> None:
    """Without atomic numbers OpenMM takes the first letter of a name; the mass knows better."""
    masses = _mass_table()
    for atom in topology.atoms():
        mass = forces.getParticleMass(atom.index)._value
        guessed = 0.0 if atom.element is None else atom.element.mass._value
        if mass == 0 or abs(mass - guessed) < _SAME_MASS_AMU:
            continue
        near = np.flatnonzero(np.abs(masses - mass) < _SAME_MASS_AMU)
        if len(near) == 1:
            from openmm import app

            atom.element = app.Element.getByAtomicNumber(int(near[0]))


def _mass_table() -> NDArray[np.float64]:
    """Mean atomic masses by atomic number up to xenon, amu; index 0 is far from any mass."""
    from openmm import app

    return np.array([-1e6, *(app.Element.getByAtomicNumber(z).mass._value for z in range(1, 55))])
