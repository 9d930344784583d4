"""Free energies from works and energies, campaigns, and the report. Names load when first used."""

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from drupe.freeenergy.diagnostics import Verdict, verdict
    from drupe.freeenergy.estimators import FreeEnergy, bar, jarzynski, mbar

__all__ = ["FreeEnergy", "Verdict", "bar", "jarzynski", "mbar", "verdict"]

_HOMES: Final[dict[str, str]] = {
    "FreeEnergy": "estimators",
    "Verdict": "diagnostics",
    "bar": "estimators",
    "jarzynski": "estimators",
    "mbar": "estimators",
    "verdict": "diagnostics",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
