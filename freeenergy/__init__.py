"""Free energies from works and energies, campaigns, and the report. Names load when first used."""

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from drupe.freeenergy.estimation.diagnostics import Verdict, verdict
    from drupe.freeenergy.estimation.estimators import FreeEnergy, bar, jarzynski, mbar

__all__ = ["FreeEnergy", "Verdict", "bar", "jarzynski", "mbar", "verdict"]

_HOMES: Final[dict[str, str]] = {
    "FreeEnergy": "estimation.estimators",
    "Verdict": "estimation.diagnostics",
    "bar": "estimation.estimators",
    "jarzynski": "estimation.estimators",
    "mbar": "estimation.estimators",
    "verdict": "estimation.diagnostics",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
