"""Settings that may differ by element: one value, or pairs of symbol and value, "default" for the rest.

Names of basis sets and of effective core potentials, radii of charges in bohr.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

from drupe.errors import InputError

__all__ = ["PerElement", "Radii", "for_element", "names_by_element", "radii_by_element"]

T = TypeVar("T", str, float)

#: One name for all elements, or one per element symbol.
PerElement = str | Mapping[str, str] | tuple[tuple[str, str], ...]
#: One width in bohr for all charges, or one per element symbol.
Radii = float | Mapping[str, float] | tuple[tuple[str, float], ...]

_SYMBOL = re.compile(r"[A-Z][a-z]?|default")


def for_element(value: T | Mapping[str, T] | tuple[tuple[str, T], ...], symbol: str) -> T | None:
    """Entry of ``value`` for the element ``symbol``; None where it has neither that nor a default."""
    if isinstance(value, tuple | Mapping):
        entries = dict(value)
        return entries.get(symbol, entries.get("default"))
    return value


def names_by_element(field: str, value: object) -> str | tuple[tuple[str, str], ...]:
    """Check names; a mapping becomes a sorted tuple of pairs, so that equal settings are equal.

    Raises
    ------
    InputError
        If ``value`` is neither a name nor names by element symbol.
    """
    pairs = _pairs(field, value)
    for entry in [value] if pairs is None else [entry for _, entry in pairs]:
        if not isinstance(entry, str) or not entry:
            raise InputError(f"the level has {field}={value!r}", remedy="name it by text, such as def2-SVP")
    return str(value) if pairs is None else tuple((symbol, str(entry)) for symbol, entry in pairs)


def radii_by_element(field: str, value: object) -> float | tuple[tuple[str, float], ...]:
    """Check radii in bohr, as `names_by_element` does names.

    Raises
    ------
    InputError
        If ``value`` is neither a positive number nor such numbers by element symbol.
    """
    pairs = _pairs(field, value)
    checked = []
    for symbol, entry in [("default", value)] if pairs is None else pairs:
        if isinstance(entry, bool) or not isinstance(entry, int | float) or not 0 < entry < float("inf"):
            raise InputError(
                f"the level has {field}={value!r}", remedy="give positive radii in bohr, or None for points"
            )
        checked.append((symbol, float(entry)))
    return checked[0][1] if pairs is None else tuple(checked)


def _pairs(field: str, value: object) -> list[tuple[str, object]] | None:
    """Return the sorted pairs of a mapping or of a sequence of pairs, None for a single value."""
    if not isinstance(value, Mapping | tuple | list):
        return None
    pairs = sorted(
        ((str(s), entry) for s, entry in (value.items() if isinstance(value, Mapping) else value)),
        key=lambda pair: pair[0],
    )
    symbols = [symbol for symbol, _ in pairs]
    if not pairs or len(set(symbols)) < len(symbols) or not all(map(_SYMBOL.fullmatch, symbols)):
        raise InputError(
            f"the level has {field} for {', '.join(symbols) or 'no element'}",
            remedy='give each element once by its symbol, such as "C" or "Cl", and "default" for the rest',
        )
    return pairs
