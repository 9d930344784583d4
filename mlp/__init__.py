"""From labels to potentials: data sets, training, committees and their OpenMM force (atomic units)."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drupe.mlp.committee import Committee, load
    from drupe.mlp.dataset import Dataset
    from drupe.mlp.fit_folder import FitFolder
    from drupe.mlp.specs import FitSpec, TransferSpec
    from drupe.mlp.training import train
    from drupe.mlp.validation import Accuracy, accuracy

__all__ = [
    "Accuracy",
    "Committee",
    "Dataset",
    "FitFolder",
    "FitSpec",
    "TransferSpec",
    "accuracy",
    "load",
    "train",
]

# Loaded when first used: torch takes seconds to import.
_HOMES = {
    "Accuracy": "drupe.mlp.validation",
    "Committee": "drupe.mlp.committee",
    "Dataset": "drupe.mlp.dataset",
    "FitFolder": "drupe.mlp.fit_folder",
    "FitSpec": "drupe.mlp.specs",
    "TransferSpec": "drupe.mlp.specs",
    "accuracy": "drupe.mlp.validation",
    "load": "drupe.mlp.committee",
    "train": "drupe.mlp.training",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
