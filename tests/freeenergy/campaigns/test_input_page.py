"""The page on the input of a campaign names every table and every key that there is."""

import types
import typing
from pathlib import Path

import pydantic

from drupe.freeenergy.campaigns.config import Config

PAGE = (Path(__file__).parents[3] / "docs" / "campaigns.md").read_text()


def models(kind):
    """Models inside a type, optional or annotated or in a list."""
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        return [kind]
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is not None:
        return [found for part in typing.get_args(kind) for found in models(part)]
    return []


def keys(model, seen):
    seen.add(model)
    for name, field in model.model_fields.items():
        yield name
        for inner in models(field.annotation):
            if inner not in seen:
                yield from keys(inner, seen)


def test_every_key_is_on_the_page():
    named = set(keys(Config, set()))
    assert {"topology", "counter_ions", "pilot", "virtual_shells", "value_kcal", "core"} <= named
    missing = {name for name in named if f"`{name}`" not in PAGE and f"{name} =" not in PAGE}
    tables = {"system", "dynamics", "sampling", "switching", "abfe", "water", "regions", "engine", "level"}
    tables |= {"labels", "potential", "torsions", "experiment", "complex", "solvent"}
    assert missing <= tables, missing
    for table in tables - {"complex", "solvent"}:
        assert f"[{table}" in PAGE, table
