"""What input files share: counts, selections of atoms, and the table ``[engine]``."""

from typing import Annotated, Literal

from pydantic import Field

from drupe.freeenergy.inputs.quantities import Seconds
from drupe.freeenergy.inputs.toml_input import Table

__all__ = ["Count", "EngineTable", "Selection"]

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Selection = str | list[int]


class EngineTable(Table):
    """Where the tasks run."""

    workers: Count | Literal["auto"] = "auto"
    threads: Count = 1
    platform: str = "auto"
    timeout: Seconds = 3600.0
