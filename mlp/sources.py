"""Frames for a data set: arrays in atomic units in, one record per frame out.

A frame has the fields of a label that `Dataset.from_labels` reads. What a source does not have is None: it
is masked, never zero.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.mlp.dispersion import check_name
from drupe.mlp.whole_numbers import atomic_numbers, whole_numbers
from drupe.records import frozen, register

__all__ = ["NEUTRAL", "Frame", "frames_of_arrays", "number_or_none", "own_charges"]

Matrix = NDArray[np.float64]

_log = logging.getLogger(__name__)


def _without_dispersion(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 did not say what dispersion its energies hold; the field may be left out."""
    return fields


def _of_its_energy(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 2 had forces of its energy only, and no name for the level of ``energy_low``; so by default."""
    return fields


@register(version=3, upgrades={1: _without_dispersion, 2: _of_its_energy})
@dataclass(frozen=True, eq=False)
class Frame:
    """One label as plain numbers.

    ====================  ==============  ============  ==========================================
    field                 shape           unit          note
    ====================  ==============  ============  ==========================================
    level                 text                          name of the level of the energies
    qm_numbers            ``(qm,)``       --            atomic numbers
    qm_positions          ``(qm, 3)``     bohr
    energy                scalar          hartree       None if unknown
    energy_low            scalar          hartree       before core corrections; None if unknown
    forces_qm             ``(qm, 3)``     hartree/bohr  of the energy ``forces_of``; None if unknown
    qm_fixed_charges      ``(qm,)``       e             MM charges of these atoms
    mm_positions          ``(mm, 3)``     bohr
    mm_charges            ``(mm,)``       e
    forces_mm             ``(mm, 3)``     hartree/bohr  of the same energy; None if unknown
    directions            ``(k, qm, 3)``  --            of norm 1; None without slopes
    slopes, slope_errors  ``(k,)``        hartree/bohr  d ``energy`` / ds; errors None if unknown
    mm_groups             ``(mm,)``       --            residue of each MM atom; None if unknown
    dispersion            text                          ``"PBE-d3bj"``, ``"none"``; None if unknown
    level_low             text                          of ``energy_low``; None if unknown
    forces_of             text                          ``"energy"``, ``"energy_low"``, ``"MP2"``;
                                                        ``"nothing"`` where there are none
    ====================  ==============  ============  ==========================================
    """

    level: str
    qm_numbers: NDArray[np.int64]
    qm_positions: Matrix
    energy: float | None
    forces_qm: Matrix | None
    qm_fixed_charges: Matrix
    mm_positions: Matrix
    mm_charges: Matrix
    forces_mm: Matrix | None = None
    energy_low: float | None = None
    directions: Matrix | None = None
    slopes: Matrix | None = None
    slope_errors: Matrix | None = None
    mm_groups: NDArray[np.int64] | None = None
    dispersion: str | None = None
    level_low: str | None = None
    forces_of: str = "energy"

    def __post_init__(self) -> None:
        if self.forces_qm is None and self.forces_mm is None:
            object.__setattr__(self, "forces_of", "nothing")
        object.__setattr__(self, "qm_numbers", frozen(atomic_numbers(self.qm_numbers), np.int64))
        n_qm, n_mm = len(self.qm_numbers), np.size(self.mm_charges)
        n_slopes = 0 if self.directions is None else len(self.directions)
        shapes = {
            "qm_positions": (n_qm, 3),
            "forces_qm": (n_qm, 3),
            "qm_fixed_charges": (n_qm,),
            "mm_positions": (n_mm, 3),
            "mm_charges": (n_mm,),
            "forces_mm": (n_mm, 3),
            "directions": (n_slopes, n_qm, 3),
            "slopes": (n_slopes,),
            "slope_errors": (n_slopes,),
            "mm_groups": (n_mm,),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is None:
                continue
            if np.shape(value) != shape:
                raise InputError(
                    f"{name} of a frame has shape {np.shape(value)}, wanted {shape}",
                    remedy="give one row per atom, charge or direction",
                )
            if name == "mm_groups":
                object.__setattr__(self, name, frozen(whole_numbers(name, value), np.int64))
            else:
                object.__setattr__(self, name, frozen(value, np.float64))


def frames_of_arrays(
    numbers: NDArray[np.int64],
    positions: Matrix,
    *,
    level: str,
    level_low: str | None = None,
    energies: Sequence[float | None] | Matrix | None = None,
    energies_low: Sequence[float | None] | Matrix | None = None,
    forces: Sequence[Matrix | None] | Matrix | None = None,
    directions: Sequence[Matrix | None] | Matrix | None = None,
    slopes: Sequence[Matrix | None] | Matrix | None = None,
    slope_errors: Sequence[Matrix | None] | Matrix | None = None,
    fixed_charges: Matrix | None = None,
    mm_positions: Sequence[Matrix] | None = None,
    mm_charges: Sequence[Matrix] | None = None,
    mm_forces: Sequence[Matrix | None] | None = None,
    mm_groups: Sequence[NDArray[np.int64]] | None = None,
    dispersion: str | None = None,
    total_charge: int | None = None,
) -> list[Frame]:
    """Frames of one molecule from arrays in atomic units.

    Parameters
    ----------
    numbers, positions
        Atomic numbers ``(qm,)`` and ``(frames, qm, 3)`` in bohr.
    level, level_low
        Names of the levels of ``energies`` and ``energies_low``; a transfer compares the second with the
        level it starts from, where it is known.
    energies, forces
        ``(frames,)`` hartree and ``(frames, qm, 3)`` hartree/bohr; None, or None for a frame, if unknown.
    energies_low
        ``(frames,)`` hartree: before core corrections, which a transfer learns from; None as above.
    directions, slopes
        ``(frames, k, qm, 3)``, each of norm 1, and ``(frames, k)`` hartree/bohr, the derivatives of
        ``energies`` along them; k may differ between frames, None as above.
    slope_errors
        ``(frames, k)`` hartree/bohr, standard errors of the slopes; None if not known, which counts as 0.
    fixed_charges
        MM charges of these atoms, ``(qm,)`` e; None for a molecule without surroundings.
    mm_positions, mm_charges, mm_forces, mm_groups
        One entry per frame: ``(mm, 3)`` bohr, ``(mm,)`` e, ``(mm, 3)`` hartree/bohr, ``(mm,)`` the residue.
    dispersion
        What the energies hold of it: ``"PBE-d3bj"``, ``"PBE-d4"``, ``"none"``; None if not known.
    total_charge
        Of the molecule, e. It has to be what the fixed charges add to; without fixed charges each atom gets
        an equal part of it. None takes what they add to, and 0 without them, which the log says.

    Raises
    ------
    InputError
        If the numbers of frames or shapes differ, atomic numbers or residues are no whole numbers, charges
        surround a molecule without fixed charges, there are slopes without directions, the fixed charges do
        not add to the total charge, or the dispersion has no such name.
    """
    check_name(dispersion)
    count = len(positions)
    given = {
        "energies": energies,
        "energies_low": energies_low,
        "forces": forces,
        "directions": directions,
        "slopes": slopes,
        "slope_errors": slope_errors,
        "mm_positions": mm_positions,
        "mm_charges": mm_charges,
        "mm_forces": mm_forces,
        "mm_groups": mm_groups,
    }
    for name, value in given.items():
        if value is not None and len(value) != count:
            raise InputError(
                f"{name} has {len(value)} entries for {count} frames", remedy="give one entry per frame"
            )
    if (mm_positions is None) != (mm_charges is None) or (mm_charges is not None and fixed_charges is None):
        raise InputError(
            "surroundings need positions, charges and the fixed charges of the molecule; some are missing",
            remedy="give mm_positions, mm_charges and fixed_charges together",
        )
    if (directions is None) != (slopes is None) or (slope_errors is not None and slopes is None):
        raise InputError(
            "derivatives along directions need the directions and the slopes; one of them is missing",
            remedy="give directions and slopes together",
        )
    own = own_charges(fixed_charges, len(numbers), total_charge)

    def of(values: Any, i: int, otherwise: Any = None) -> Any:
        return otherwise if values is None else values[i]

    return [
        Frame(
            level=level,
            level_low=level_low,
            qm_numbers=np.asarray(numbers),
            qm_positions=positions[i],
            energy=number_or_none(of(energies, i), f"the energy of frame {i}"),
            energy_low=number_or_none(of(energies_low, i), f"the low energy of frame {i}"),
            directions=of(directions, i),
            slopes=of(slopes, i),
            slope_errors=of(slope_errors, i),
            forces_qm=of(forces, i),
            qm_fixed_charges=own,
            mm_positions=of(mm_positions, i, np.zeros((0, 3))),
            mm_charges=of(mm_charges, i, np.zeros(0)),
            forces_mm=of(mm_forces, i),
            mm_groups=of(mm_groups, i),
            dispersion=dispersion,
        )
        for i in range(count)
    ]


#: Logged where neither fixed charges nor their sum are given.
NEUTRAL = "no fixed charges are given: the molecule is taken as neutral; give total_charge= if it is not"


def own_charges(given: Matrix | None, atoms: int, total: int | None) -> Matrix:
    """Fixed charges of the molecule, ``(atoms,)`` e; see `frames_of_arrays`."""
    if given is None:
        if total is None:
            _log.warning(NEUTRAL)
        # Without charges around it only their sum counts.
        return np.full(atoms, (total or 0) / atoms)
    if total is not None and round(float(np.sum(given))) != total:
        raise InputError(
            f"the fixed charges add to {np.sum(given):.5f} e, and total_charge is {total}",
            remedy="correct one of the two; where bonds are cut, take labels that know their link atoms",
        )
    return given


def number_or_none(value: Any, what: str) -> float | None:
    """One number, or None for what is not known."""
    if value is None:
        return None
    if np.ndim(value) == 0 and not isinstance(value, bool | np.bool_):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    raise InputError(f"{what} is {value!r}, not a number", remedy="give one number per frame, or none at all")
