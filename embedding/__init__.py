"""From a structure to labels: systems, regions, DFT/MM energies and forces, quantum cores (atomic units)."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drupe.embedding.labeling import label
    from drupe.embedding.labels import Label
    from drupe.embedding.level import Level
    from drupe.embedding.regions.partition import CoreSpec, Partition
    from drupe.embedding.system import MolecularSystem

__all__ = ["CoreSpec", "Label", "Level", "MolecularSystem", "Partition", "label"]

# Loaded when first used: the engines behind a label take seconds to import.
_HOMES = {
    "CoreSpec": "drupe.embedding.regions.partition",
    "Label": "drupe.embedding.labels",
    "Level": "drupe.embedding.level",
    "MolecularSystem": "drupe.embedding.system",
    "Partition": "drupe.embedding.regions.partition",
    "label": "drupe.embedding.labeling",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
