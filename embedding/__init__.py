"""From a structure to labels: systems, regions, DFT/MM energies and forces, quantum cores (atomic units)."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drupe.embedding.labeling import Label, Level, label
    from drupe.embedding.partition import Partition
    from drupe.embedding.system import MolecularSystem

__all__ = ["Label", "Level", "MolecularSystem", "Partition", "label"]

# Loaded when first used: the engines behind a label take seconds to import.
_HOMES = {
    "Label": "drupe.embedding.labeling",
    "Level": "drupe.embedding.labeling",
    "MolecularSystem": "drupe.embedding.system",
    "Partition": "drupe.embedding.partition",
    "label": "drupe.embedding.labeling",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
