"""Stored committees of earlier versions: their fields in, those of the next version out."""

from typing import Any

import numpy as np

from drupe.mlp.calibration import Calibration, Scale
from drupe.mlp.fingerprints import PRINTS

__all__ = ["UPGRADES"]


def _one_factor(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 multiplied the spread of energies with one factor and knew no noise."""
    scale = Scale(epistemic=fields["sigma_factor"], frames=fields["calibration_frames"])
    return {"members": fields["members"], "calibration": Calibration(energy=scale)}


def _without_novelty(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 2 kept nothing of its training set."""
    return {**fields, "novelty": None}


def _without_prints(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 3 could not tell which frames its members had seen."""
    return {**fields, "seen": np.zeros((0, PRINTS))}


def _without_zeros(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 4 compared energies of members from the zero of each."""
    return fields


UPGRADES = {1: _one_factor, 2: _without_novelty, 3: _without_prints, 4: _without_zeros}
