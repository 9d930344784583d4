"""The input file of ``drupe label``: TOML in, a checked `LabelConfig` out; unknown keys are refused.

The table ``[level]`` has the fields of `Level` and their defaults, whatever they are.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, create_model, model_validator

from drupe.embedding.level import Level
from drupe.freeenergy.inputs.common import Count, EngineTable, Selection
from drupe.freeenergy.inputs.files_table import FilesTable
from drupe.freeenergy.inputs.quantities import Bohr, read_energy, read_length
from drupe.freeenergy.inputs.toml_input import Table, read_toml

__all__ = ["DIMENSIONLESS", "QUANTITIES", "LabelConfig", "read_label_config"]

#: Fields of a level with a unit, and what reads them into atomic units.
QUANTITIES: Final[Mapping[str, Callable[[object], float]]] = {
    "scf_tolerance": read_energy,
    "cc_tolerance": read_energy,
    "level_shift": read_energy,
    "charge_radii": read_length,
    "cluster_radius": read_length,
    "direction_step": read_length,
}
#: Fields that are plain floating-point numbers.
DIMENSIONLESS: Final = frozenset({"gradient_tolerance", "lno_thresholds"})


class StructureTable(FilesTable):
    """Files of the structure.

    ``solvent``, ``ph`` and ``padding`` say how a PDB file and its ``ligand`` (SDF) become a complex.
    """

    ligand: str | None = None
    solvent: Literal["none", "box"] = "none"
    padding: Bohr | None = None

    @model_validator(mode="after")
    def _belongs_to_a_complex(self) -> "StructureTable":
        asked = [name for name in ("ph", "padding") if getattr(self, name) is not None]
        asked += ["solvent"] if self.solvent != "none" else []
        if asked and self.ligand is None:
            raise ValueError(
                f"{', '.join(sorted(asked))} belongs to a complex that is built: give its protein (.pdb) as "
                "topology and its ligand (.sdf)"
            )
        if self.padding is not None and self.solvent != "box":
            raise ValueError('padding is the room around the complex in water: set solvent = "box"')
        return self


class TrajectoryTable(Table):
    """Files of frames, one after the other; of each, every ``stride``-th frame from ``start``."""

    files: Annotated[list[str], Field(min_length=1)]
    start: Annotated[int, Field(ge=0, strict=True)] = 0
    stop: Count | None = None
    stride: Count = 1
    expected_frames: list[Count] | None = None
    sha256: list[Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]] | None = None

    @model_validator(mode="after")
    def _one_for_each_file(self) -> "TrajectoryTable":
        if len(set(self.files)) != len(self.files):
            raise ValueError("files names a file twice")
        for name in ("expected_frames", "sha256"):
            given = getattr(self, name)
            if given is not None and len(given) != len(self.files):
                raise ValueError(f"{name} has {len(given)} entries for {len(self.files)} files")
        return self


class CoreTable(Table):
    """A quantum core with a state of its own."""

    selection: Selection
    charge: Annotated[int, Field(strict=True)] | None = None
    multiplicity: Count = 1
    label: str | None = None


class PartitionTable(Table):
    """Who is quantum: selections in MDTraj's language, ``smarts:...``, or lists of indices."""

    qm: Selection
    charge: Annotated[int, Field(strict=True)]
    multiplicity: Count = 1
    cores: list[Selection | CoreTable] = Field(default_factory=list)
    allow_cut: Annotated[bool, Field(strict=True)] | list[tuple[int, int]] = Field(default_factory=list)
    allow_open_valence: Annotated[bool, Field(strict=True)] = False


class ExportTable(Table):
    """What is written beside the store."""

    formats: tuple[Literal["extxyz", "qcschema"], ...] = ("extxyz", "qcschema")


def _reader(name: str, hint: Any) -> Callable[[object], object]:
    """From what TOML has (no null, no tuple, text for quantities) to what the field of a level takes."""
    quantity = QUANTITIES.get(name)
    optional = type(None) in get_args(hint)

    def read(value: object) -> object:
        if optional and value == "none":
            return None
        if isinstance(value, dict):
            return {key: read(item) for key, item in value.items()}
        if quantity is not None:
            return quantity(value)
        return _tuples(value)

    return read


def _tuples(value: object) -> object:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


class _StrictTable(Table):
    """A table whose values are never converted: ``true`` is no number and ``"3"`` neither."""

    model_config = ConfigDict(strict=True)


def _level_table() -> type[Table]:
    hints = get_type_hints(Level)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(Level):
        hint = hints[field.name]
        default = ... if field.default is dataclasses.MISSING else field.default
        reader = BeforeValidator(_reader(field.name, hint))
        fields[field.name] = (Annotated[hint, reader], default)
    made: type[Table] = create_model("LevelTable", __base__=_StrictTable, **fields)
    return made


LevelTable = _level_table()


class LabelConfig(Table):
    """What to label, how, and where the tasks run."""

    name: Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    structure: StructureTable
    trajectory: TrajectoryTable | None = None
    partition: PartitionTable
    level: LevelTable  # type: ignore[valid-type]
    export: ExportTable = ExportTable()
    engine: EngineTable = EngineTable()

    @model_validator(mode="after")
    def _charges_end(self) -> "LabelConfig":
        """Refuse here what would be refused after minutes of building the complex."""
        surroundings = self.level.environment  # type: ignore[attr-defined]
        if self.structure.ligand is not None and (self.structure.solvent == "box") == (surroundings == "all"):
            raise ValueError(
                f"structure.solvent = {self.structure.solvent!r} with level.environment = {surroundings!r}: "
                'a box of water takes environment = "cluster" with a cluster_radius, or "ewald"; '
                'a complex without a box takes "all"'
            )
        return self

    def make_level(self) -> Level:
        """The level of theory asked for.

        Raises
        ------
        InputError
            If its fields do not go together.
        """
        names = [field.name for field in dataclasses.fields(Level)]
        return Level(**{name: getattr(self.level, name) for name in names})


def read_label_config(path: Path) -> LabelConfig:
    """Read and check the input file of ``drupe label``.

    Raises
    ------
    InputError
        If the file is missing, is no TOML, or breaks a rule; all broken rules are named at once.
    """
    return read_toml(path, LabelConfig, "a labelling run")
