"""Labels in (atomic units), files of other programs out: extended xyz, a side file of MM forces, QCSchema.

Everything is written aside and renamed, so a file that is there is whole. Labels are taken one by
one: a set of any size needs the memory of one.
"""

import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from drupe.embedding.labeling import Label
from drupe.units import angstrom, ev

__all__ = ["write_extxyz", "write_mm_arrays", "write_qcschema"]

_FORCE = ev / angstrom
#: Names of forces by the energy they belong to.
_KINDS = {"energy": "REF", "energy_low": "LOW", "MP2": "MP2"}
_UNITS = "energy eV, length angstrom, force eV/angstrom, charge e"


def write_extxyz(path: Path, labels: Iterable[tuple[str, Label]]) -> int:
    """Write the QM atoms of each label as one frame of an extended xyz file, and return how many.

    Positions in angstrom. ``REF_energy`` (eV) is `Label.energy`: the QM region in the field of the MM
    charges, without MM terms. ``REF_forces`` (eV/angstrom) are there only where they are the forces of
    that energy; forces of the uncorrected energy are called ``LOW_forces`` and belong to ``LOW_energy``,
    and those of MP2 cores beside another method's energy are called ``MP2_forces``. Columns
    ``q_mulliken`` and ``q_mm`` hold charges in e.

    Parameters
    ----------
    path
        File to write.
    labels
        Names and labels; the name goes into the header of the frame.
    """
    from ase import Atoms
    from ase.io.extxyz import write_xyz

    count = 0
    with _aside(path) as raw:
        for name, label in labels:
            count += 1
            atoms = Atoms(numbers=label.qm_numbers, positions=label.qm_positions / angstrom)
            atoms.info = _header(name, label)
            if label.forces_qm is not None:
                atoms.arrays[f"{_KINDS[label.forces_of]}_forces"] = label.forces_qm / _FORCE
            atoms.arrays["q_mulliken"] = np.array(label.charges_qm)
            atoms.arrays["q_mm"] = np.array(label.qm_fixed_charges)
            text = io.StringIO()
            write_xyz(text, [atoms])
            raw.write(text.getvalue().encode())
    return count


def write_mm_arrays(path: Path, labels: Iterable[tuple[str, Label]]) -> None:
    """Write the MM side of each label into one ``.npz``: positions, charges and forces of the MM atoms.

    Entries are ``<name>/positions`` (angstrom), ``<name>/charges`` (e), ``<name>/forces``
    (eV/angstrom, of the same energy as those of the QM atoms), ``<name>/groups`` (residue of each atom), the
    last two left out where there are none, and ``units``.
    """
    with _aside(path) as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "units", np.array(_UNITS))
        for name, label in labels:
            _add(archive, f"{name}/positions", label.mm_positions / angstrom)
            _add(archive, f"{name}/charges", np.array(label.mm_charges))
            if label.forces_mm is not None:
                _add(archive, f"{name}/forces", label.forces_mm / _FORCE)
            if label.mm_groups is not None:
                _add(archive, f"{name}/groups", label.mm_groups)


def write_qcschema(path: Path, labels: Iterable[tuple[str, Label, int, int]]) -> int:
    """Write each label as one line of JSON, a QCSchema ``AtomicResult`` (version 1), and return how many.

    The molecule is the QM region (with link hydrogens at its end); the driver is ``gradient`` where
    forces of the energy are known for all its atoms, else ``energy``. Everything about MM charges,
    forces on them and core corrections is in ``extras``, in atomic units.

    Parameters
    ----------
    path
        File to write.
    labels
        Name, label, charge and multiplicity of the QM region.
    """
    count = 0
    with _aside(path) as raw:
        for name, label, charge, multiplicity in labels:
            count += 1
            line = json.dumps(_atomic_result(name, label, charge, multiplicity), allow_nan=False)
            raw.write(line.encode() + b"\n")
    return count


def _header(name: str, label: Label) -> dict[str, Any]:
    level = label.level
    return {
        "REF_energy": label.energy / ev,
        "LOW_energy": label.energy_low / ev,
        "frame": name,
        "units": _UNITS,
        "functional": level.functional,
        "basis": _as_text(level.basis),
        "core": level.core or "none",
        "dispersion": level.dispersion or "none",
        "level": level.energy_key,
        "low_level": level.low_name,
        "forces_of": label.force_level,
        "link_atoms": len(label.link_positions),
        "label": label.key,
    }


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    pairs = value.items() if isinstance(value, Mapping) else value
    return " ".join(f"{symbol}:{name}" for symbol, name in pairs)  # type: ignore[attr-defined]


def _atomic_result(name: str, label: Label, charge: int, multiplicity: int) -> dict[str, Any]:
    from ase.data import chemical_symbols

    symbols = [chemical_symbols[z] for z in label.qm_numbers] + ["H"] * len(label.link_positions)
    geometry = np.concatenate([label.qm_positions, label.link_positions])
    is_gradient = label.forces_of == "energy" and not len(label.link_positions)
    level = label.level
    result: float | list[float] = label.energy
    if is_gradient and label.forces_qm is not None:
        result = (-label.forces_qm).ravel().tolist()
    method = level.functional if not label.cores else f"{level.core}-in-{level.functional}"
    return {
        "schema_name": "qcschema_output",
        "schema_version": 1,
        "id": label.key,
        "molecule": {
            "schema_name": "qcschema_molecule",
            "schema_version": 2,
            "name": name,
            "symbols": symbols,
            "geometry": geometry.ravel().tolist(),
            "molecular_charge": float(charge),
            "molecular_multiplicity": multiplicity,
            "fix_com": True,
            "fix_orientation": True,
        },
        "driver": "gradient" if is_gradient else "energy",
        "model": {"method": method, "basis": _as_text(level.basis)},
        "keywords": _plain(level),
        "properties": {
            "return_energy": label.energy,
            "calcinfo_natom": len(symbols),
            "calcinfo_nbasis": int(label.diagnostics["n_basis"]),
            "scf_total_energy": label.energy_low,
            "scf_iterations": int(label.diagnostics["scf_iterations"]),
        },
        "return_result": result,
        "success": True,
        "provenance": {
            "creator": "drupe",
            "version": label.versions["drupe"],
            "routine": "drupe.embedding.label",
        },
        "extras": {
            "units": "atomic units",
            "energy_low": label.energy_low,
            "cores": [_plain(core) for core in label.cores],
            "force_level": label.force_level,
            "forces_qm": _plain(label.forces_qm),
            "forces_mm": _plain(label.forces_mm),
            "mm_positions": _plain(label.mm_positions),
            "mm_charges": _plain(label.mm_charges),
            "mm_groups": _plain(label.mm_groups),
            "moved_charges": _plain(label.moved_charges),
            "links": _plain(label.links),
            "qm_fixed_charges": _plain(label.qm_fixed_charges),
            "mulliken_charges": _plain(label.charges_qm),
            "dipole": _plain(label.dipole),
            "diagnostics": _plain(label.diagnostics),
            "terms": _plain(label.terms),
            "approximations": _plain(label.approximations),
            "versions": _plain(label.versions),
        },
    }


def _plain(value: Any) -> Any:
    """What JSON can say: records by their fields, arrays as lists; numbers that are not finite as null."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _add(archive: zipfile.ZipFile, name: str, array: Any) -> None:
    """One array, with a fixed date so that equal content is equal bytes."""
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(entry, "w", force_zip64=True) as file:
        np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


@contextmanager
def _aside(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name only when all of it is on the disk."""
    scratch = path.with_name(f".{path.name}.part")
    try:
        with scratch.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
