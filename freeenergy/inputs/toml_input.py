"""Input files: a TOML file and a pydantic model in, a checked object out; all broken rules named at once."""

import difflib
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from drupe.errors import InputError

__all__ = ["Table", "read_toml"]


class Table(BaseModel):
    """One table of an input file: unknown keys are refused, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=BaseModel)


def read_toml(path: Path, model: type[M], what: str) -> M:
    """Read and check an input file.

    Parameters
    ----------
    path
        The file.
    model
        Its tables and keys.
    what
        Whose input it should be, for messages, such as ``"a campaign"``.

    Raises
    ------
    InputError
        If the file is missing, is no TOML, or breaks a rule; all broken rules are named at once.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(
            f"{path} cannot be read ({reason})", remedy=f"give the path of {what}'s TOML file"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no valid TOML: {error}", remedy="correct that line") from error
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        lines = list(dict.fromkeys(_explain(item, model) for item in error.errors()))
        raise InputError(
            f"{path}: " + "; ".join(lines), remedy="correct the input file and run again"
        ) from error


def _explain(item: Any, model: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "input"
    if item["type"] == "extra_forbidden":
        return f"{where} is not a known key{_suggest(item['loc'], model)}"
    if item["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {item['msg'].removeprefix('Value error, ')}"


def _suggest(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    table: Any = model
    for part in location[:-1]:
        field = getattr(table, "model_fields", {}).get(part)
        table = _table_of(field.annotation) if field else table if isinstance(part, int) else None
    known = list(getattr(table, "model_fields", {}))
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (known: {', '.join(known)})" if known else ""


def _table_of(annotation: Any) -> Any:
    """The table inside ``Table | None`` and the like."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        tables = [one for one in typing.get_args(annotation) if hasattr(one, "model_fields")]
        return tables[0] if tables else None
    return annotation
