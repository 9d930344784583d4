"""Quantities as users write them: ``"2 fs"``, ``"300 K"``, ``"1 /ps"``; a bare number is refused."""

import math
import re
from collections.abc import Callable
from typing import Annotated, Final

from pydantic import BeforeValidator

from drupe.units import angstrom, ev, kcal_per_mol, kj_per_mol, nanometer

__all__ = [
    "Amu",
    "Bar",
    "Bohr",
    "Femtoseconds",
    "Hartree",
    "Kelvin",
    "PerPicosecond",
    "Picoseconds",
    "Seconds",
    "read_energy",
    "read_length",
]

_FORM: Final = re.compile(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*([^\s\d].*?)?\s*")


def _quantity(kind: str, units: dict[str, float]) -> Callable[[object], float]:
    """Reader of one kind of quantity; ``units`` maps each accepted unit to its size."""
    known = ", ".join(units)

    def read(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError(f"{value} has no unit; write it as a string with one of: {known}")
        match = _FORM.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError(f"{value!r} is not a {kind}; write a number and one of: {known}")
        try:
            number = float(match[1])
        except ValueError:
            raise ValueError(f"{match[1]!r} in {value!r} is not a number") from None
        unit = match[2]
        if unit is None:
            raise ValueError(f"{value!r} has no unit; use one of: {known}")
        if unit not in units:
            raise ValueError(f"{unit!r} is not a unit of {kind}; use one of: {known}")
        if not math.isfinite(number) or number <= 0:
            raise ValueError(f"{value!r} must be positive and finite")
        return number * units[unit]

    return read


_TIME_FS: Final = {"fs": 1.0, "ps": 1e3, "ns": 1e6}

Femtoseconds = Annotated[float, BeforeValidator(_quantity("time", _TIME_FS))]
Picoseconds = Annotated[float, BeforeValidator(_quantity("time", {k: v / 1e3 for k, v in _TIME_FS.items()}))]
Kelvin = Annotated[float, BeforeValidator(_quantity("temperature", {"K": 1.0}))]
PerPicosecond = Annotated[float, BeforeValidator(_quantity("rate", {"/ps": 1.0, "ps^-1": 1.0, "/fs": 1e3}))]
Amu = Annotated[float, BeforeValidator(_quantity("mass", {"amu": 1.0, "Da": 1.0}))]
Bar = Annotated[float, BeforeValidator(_quantity("pressure", {"bar": 1.0, "atm": 1.01325}))]
Seconds = Annotated[float, BeforeValidator(_quantity("time", {"s": 1.0, "min": 60.0, "h": 3600.0}))]

#: Reader of a length, in bohr.
read_length = _quantity("length", {"bohr": 1.0, "A": angstrom, "angstrom": angstrom, "nm": nanometer})
#: Reader of an energy, in hartree.
read_energy = _quantity(
    "energy",
    {"hartree": 1.0, "Eh": 1.0, "eV": ev, "kJ/mol": kj_per_mol, "kcal/mol": kcal_per_mol},
)
Bohr = Annotated[float, BeforeValidator(read_length)]
Hartree = Annotated[float, BeforeValidator(read_energy)]
