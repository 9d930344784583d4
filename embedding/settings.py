"""Settings of a level as a user gave them in, values of their field's type out, or `InputError`."""

from collections.abc import Sequence
from operator import index
from types import NoneType, UnionType
from typing import Any, get_args

import numpy as np

from drupe.errors import InputError

__all__ = ["active_space_of", "counts_of_cores", "occupations_of", "plain_value"]

_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a name"}


def plain_value(name: str, kinds: Any, given: Any, owner: str = "the level") -> Any:
    """A plain value of the field's type: no text or number for a truth, no truth or fraction for a count."""
    allowed = set(get_args(kinds) if isinstance(kinds, UnionType) else (kinds,))
    if not allowed <= {bool, int, float, str, NoneType} or (given is None and NoneType in allowed):
        return given  # fields with a check of their own
    kind = next(iter(allowed - {NoneType}))
    number = given.item() if isinstance(given, np.generic) else given
    if kind is float and type(number) is int:
        number = float(number)
    if type(number) is not kind:
        raise InputError(f"{owner} has {name}={given!r}", remedy=f"give {_WORDS[kind]}")
    return number


def counts_of_cores(name: str, given: Any) -> Any:
    """Whole numbers, one or an (alpha, beta) pair for each core; never a rounded or a parsed one."""
    if given is None:
        return None
    try:
        return tuple(
            tuple(_count(n) for n in core) if isinstance(core, Sequence) else _count(core) for core in given
        )
    except TypeError as error:
        raise InputError(
            f"the level has {name}={given!r}",
            remedy="give a whole number, or a pair (alpha, beta), for each core",
        ) from error


def _count(given: Any) -> int:
    """A whole number that is no truth."""
    if isinstance(given, bool | np.bool_):
        raise TypeError(given)
    return index(given)


def active_space_of(given: Any) -> tuple[int, int]:
    """(electrons, orbitals) as whole numbers."""
    try:
        electrons, orbitals = (_count(n) for n in given)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the level has active_space={given!r}", remedy="give (electrons, orbitals), such as (6, 6)"
        ) from error
    return electrons, orbitals


def occupations_of(given: Any) -> tuple[float, float]:
    """(occupied, virtual) thresholds of local natural orbitals as numbers."""
    try:
        occupied, virtual = (float(value) for value in given)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the level has lno_thresholds={given!r}",
            remedy="give (occupied, virtual) occupations, such as (1e-5, 1e-6)",
        ) from error
    return occupied, virtual
