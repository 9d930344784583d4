"""Named sets of fit settings: a name and changes in, the fields of a `FitSpec` out."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from drupe.errors import InputError

__all__ = ["PRESETS", "fields_of"]

# For fits of known length without an MM baseline: the rate falls along a cosine to the last step. One energy
# says less than sixty forces: with its weight of 0.3 its noise hides their gradient, and learning takes four
# times as long.
_WHOLE = {"energy_weight": 0.01, "plateau": None, "patience": 1_000_000, "precision": "float32", "batch": 4}

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"backbone": "tensornet", "features": 32, "layers": 1, "radial": 8, "steps": 10_000, **_WHOLE},
    "accurate": {
        "backbone": "tensornet",
        "features": 64,
        "layers": 2,
        "radial": 10,
        "steps": 60_000,
        "learning_rate": 2e-3,
        "average": 0.999,
        **_WHOLE,
    },
}


def fields_of(name: str, changes: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    """Fields of preset ``name`` with ``changes``, which must be among the ``known`` fields.

    Raises
    ------
    InputError
        If there is no such preset or no such field.
    """
    for kind, given, table in (("preset", [name], list(PRESETS)), ("field", list(changes), list(known))):
        for one in given:
            if one not in table:
                close = difflib.get_close_matches(one, table, n=1)
                raise InputError(
                    f"there is no {kind} {one!r} of a fit",
                    remedy=(f"did you mean {close[0]!r}? " if close else "")
                    + f"use one of: {', '.join(table)}",
                )
    return {**PRESETS[name], **changes}
