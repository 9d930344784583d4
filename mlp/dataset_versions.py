"""Stored data sets of earlier versions: their fields in, those of the next version out."""

from typing import Any

import numpy as np

from drupe.mlp.dispersion import UNKNOWN

__all__ = ["UPGRADES"]


def _own_forces_only(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had no slopes, and its forces were those of ``energy_low`` whatever ``energy`` was."""
    frames, atoms = fields["positions"].shape[:2]
    own = fields["energy"] == fields["energy_low"]
    on_qm, on_mm = fields["has_forces_qm"] & own, fields["has_forces_mm"] & own
    return {
        **fields,
        "has_forces_qm": on_qm,
        "has_forces_mm": on_mm,
        "forces_of": tuple("energy" if there else "nothing" for there in on_qm | on_mm),
        "directions": np.zeros((frames, 0, atoms, 3)),
        "slopes": np.zeros((frames, 0)),
        "slope_errors": np.zeros((frames, 0)),
        "has_slopes": np.zeros((frames, 0), bool),
    }


def _with_low_energies(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 2 had both energies of every label."""
    return {**fields, "has_energy_low": np.ones(len(fields["energy"]), bool)}


def _without_groups(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 3 did not know which MM atoms belong together."""
    return {**fields, "mm_groups": np.full(fields["mm_charges"].shape, -1, np.int64)}


def _without_border(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 4 had whole molecules only."""
    rows = np.zeros((len(fields["energy"]), 0), np.int64)
    return {**fields, "border": None, "border_atoms": rows}


def _without_dispersion(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 5 did not say what dispersion its energies hold."""
    return {**fields, "dispersion": UNKNOWN}


def _total_energies(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 6 had no word for energies with a zero of their own."""
    return {**fields, "energies": "total"}


def _without_low_level(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 7 did not name the level of its low energies."""
    return {**fields, "level_low": ""}


#: ``UPGRADES[n]`` takes version n to n + 1.
UPGRADES = {
    1: _own_forces_only,
    2: _with_low_energies,
    3: _without_groups,
    4: _without_border,
    5: _without_dispersion,
    6: _total_energies,
    7: _without_low_level,
}
