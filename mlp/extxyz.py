"""Frames of extended xyz files, such as ``drupe label`` writes: eV and angstrom in, atomic units out."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.mlp.dispersion import NONE, check_name
from drupe.mlp.sources import NEUTRAL, Frame, number_or_none, own_charges
from drupe.mlp.surroundings import Around, Surroundings, read_surroundings
from drupe.units import angstrom, ev

__all__ = ["frames_of_extxyz"]

_FORCE = ev / angstrom

_log = logging.getLogger(__name__)


def frames_of_extxyz(
    path: str | Path,
    *,
    level: str | None = None,
    energy: str = "REF_energy",
    energy_low: str = "LOW_energy",
    forces: str = "REF_forces",
    fixed_charges: str = "q_mm",
    surroundings: str | Path | None = None,
    total_charge: int | None = None,
) -> list[Frame]:
    """Frames of an extended xyz file in eV and angstrom, such as ``drupe label`` writes.

    Parameters
    ----------
    path
        The file.
    level
        Name of the level of the energies; None takes functional, basis and core from the headers.
    energy, energy_low, forces, fixed_charges
        Names of the energies in the header (with and before core corrections), and of the columns; what
        a frame lacks is unknown.
    surroundings
        The ``.npz`` beside it with positions, charges, forces and residues of the MM atoms, if any; its
        entries are found by the ``frame`` of the header.
    total_charge
        As in `drupe.mlp.sources.frames_of_arrays`.

    Raises
    ------
    InputError
        If a file cannot be read, a frame is periodic, an energy is no number, neither energy nor forces are
        found in any frame, the level is not known, surroundings are missing for a frame, the fixed charges do
        not add to the total charge, or a header names a dispersion that does not exist.
    """
    from ase.io import read

    try:
        found = read(str(path), index=":", format="extxyz")
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(
            f"{path} cannot be read as extended xyz ({error})", remedy="give a file of whole frames"
        ) from error
    outside = None if surroundings is None else read_surroundings(Path(surroundings))
    names = _Names(energy, energy_low, forces, fixed_charges)
    if not any(fixed_charges in atoms.arrays for atoms in found) and total_charge is None:
        total_charge = 0
        _log.warning(NEUTRAL)
    frames = [
        _frame_of(atoms, f"frame {i} of {path}", level, names, outside, total_charge)
        for i, atoms in enumerate(found)
    ]
    if all(one.energy is None and one.forces_qm is None for one in frames):
        raise InputError(
            f"none of the {len(frames)} frames of {path} has {energy} or {forces}",
            remedy="name the energy and the columns of forces that the file has",
        )
    return frames


#: Columns of forces that stand beside ``REF_energy`` and are not its own (`drupe.embedding.export`).
_KINDS = {"LOW_forces": "energy_low", "MP2_forces": "MP2"}


class _Names(NamedTuple):
    energy: str
    energy_low: str
    forces: str
    fixed_charges: str


def _frame_of(
    atoms: Any,
    origin: str,
    level: str | None,
    names: _Names,
    outside: Surroundings | None,
    total_charge: int | None,
) -> Frame:
    from ase.calculators.calculator import PropertyNotImplementedError

    info, columns = dict(atoms.info), dict(atoms.arrays)
    if cut := info.get("link_atoms"):
        raise InputError(
            f"the QM region of a frame cuts {cut} covalent bond(s), and this format does not keep link atoms",
            remedy="take the labels themselves: labels_of_store(folder) of the labels folder",
        )
    if atoms.pbc.any():
        raise InputError(
            f"{origin} is periodic (pbc or Lattice in its header); potentials know a molecule without images",
            remedy='where the images do not matter write pbc="F F F", or take pbc and Lattice out',
        )
    if atoms.calc is not None:  # ASE takes the names "energy" and "forces" away into a calculator
        for name, where in (("energy", info), ("forces", columns)):
            try:
                where[name] = atoms.calc.get_property(name, atoms)
            except PropertyNotImplementedError:
                continue
    held, functional = _held(info), info.get("functional")
    name = level or ""
    if not name:
        full = functional if held in (None, NONE) else held
        parts = [full, info.get("basis"), info.get("core")]
        if None in parts:
            raise InputError(
                f"the headers do not name functional, basis and core ({sorted(info)})",
                remedy="give the level's name",
            )
        # Files of earlier versions do not have the last: their levels are compared by these three names.
        name = "/".join(str(part) for part in (*parts, info.get("level")) if part is not None)
        if names.energy == "LOW_energy":
            name = str(info.get("low_level", name))
    check_name(held)
    given = columns.get(names.fixed_charges)
    given = None if given is None else _column(given, names.fixed_charges, origin)
    own = own_charges(given, len(atoms), total_charge)
    around = Around(np.zeros((0, 3)), np.zeros(0))
    if outside is not None:
        around = outside.of(str(info.get("frame")))
    return Frame(
        level=name,
        qm_numbers=atoms.numbers,
        qm_positions=atoms.positions * angstrom,
        energy=_hartree(info.get(names.energy), f"{names.energy} of {origin}"),
        energy_low=_hartree(info.get(names.energy_low), f"{names.energy_low} of {origin}"),
        forces_qm=_column(columns[names.forces], names.forces, origin) * _FORCE
        if names.forces in columns
        else None,
        qm_fixed_charges=own,
        mm_positions=around.positions,
        mm_charges=around.charges,
        # Forces on the charges are of the same energy as those on the atoms.
        forces_mm=around.forces if names.forces in columns else None,
        mm_groups=around.groups,
        dispersion=held,
        level_low=info.get("low_level"),
        forces_of=_KINDS.get(names.forces, "energy") if names.energy == "REF_energy" else "energy",
    )


def _column(values: NDArray[Any], name: str, origin: str) -> NDArray[np.float64]:
    if values.dtype.kind not in "fiu":
        raise InputError(
            f"the column {name} of {origin} has text in it",
            remedy="give a column of numbers (R in its header)",
        )
    return values


def _held(info: Mapping[str, Any]) -> str | None:
    """Dispersion that a header names; None where it says nothing of it, as older files do."""
    model = info.get("dispersion")
    if model is None or model == NONE:
        return model
    return f"{info.get('functional')}-{model}"


def _hartree(energy: Any, what: str) -> float | None:
    found = number_or_none(energy, what)
    return None if found is None else found * ev
