"""The input file of a campaign: TOML in, a checked `Config` out; unknown keys are refused."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from drupe.freeenergy.campaigns.sampling_tables import AbfeTable, Dynamics, SamplingTable, SwitchingTable
from drupe.freeenergy.campaigns.water_table import Water
from drupe.freeenergy.inputs.common import Count, EngineTable, Selection
from drupe.freeenergy.inputs.files_table import FilesTable
from drupe.freeenergy.inputs.quantities import Amu, Hartree
from drupe.freeenergy.inputs.toml_input import Table as _Table
from drupe.freeenergy.inputs.toml_input import read_toml
from drupe.units import kcal_per_mol

__all__ = ["Config", "read_config"]

HydrogenMass = Annotated[Amu, Field(ge=1.0, le=4.0)]


class System(FilesTable):
    """What is simulated: files of the complex, and which atoms are the ligand.

    A PDB file of the protein and an SDF file of the ligand in its pose (``ligand_file``) become a complex
    with the ligand as ``resname LIG``. The implicit solvent is for campaigns without a table ``[water]``.
    """

    ligand: Selection
    ligand_file: str | None = None
    charge: int = 0
    multiplicity: Count = 1
    implicit_solvent: Literal["OBC2"] = "OBC2"
    hydrogen_mass: HydrogenMass = 3.0


class Regions(_Table):
    """Quantum cores inside the QM region; the QM region is the ligand."""

    cores: list[Selection] = Field(min_length=1)


class LevelTable(_Table):
    """Level of theory of the labels."""

    functional: str = "PBE"
    basis: str = "def2-SVP"
    core: str = "CCSD(T)"
    virtual_shells: Annotated[int, Field(ge=0)] = 1


class Counts(_Table):
    """A number for each leg."""

    complex: Count
    solvent: Count


class Checks(_Table):
    """How many frames of each ML/MM end state are labelled to check the potential; 0 checks nothing.

    What is not said is eight, or as many frames as the end state keeps.
    """

    complex: Annotated[int, Field(ge=0, le=1_000_000)] = 8
    solvent: Annotated[int, Field(ge=0, le=1_000_000)] = 8


class LabelsTable(_Table):
    """How many snapshots are labelled, how many of these get the core correction, how many check."""

    total: Counts
    core: Counts
    check: Checks = Checks()

    @model_validator(mode="after")
    def _core_within_total(self) -> "LabelsTable":
        for leg in ("complex", "solvent"):
            if getattr(self.core, leg) > getattr(self.total, leg):
                raise ValueError(
                    f"{getattr(self.core, leg)} core-corrected labels of {getattr(self.total, leg)} "
                    f"in the {leg} leg"
                )
        return self


class PotentialTable(_Table):
    """The learned potential; with mechanical embedding it feels no field, as a comparison.

    ``precision`` is that of its network in dynamics and switches.
    """

    embedding: Literal["electrostatic", "mechanical"] = "electrostatic"
    backbone: Literal["painn", "tensornet", "acsf", "equivariant"] = "painn"
    readout: Literal["classical", "cosine", "vqc"] = "classical"
    members: Annotated[int, Field(ge=2)] = 4
    steps: Count = 1500
    transfer_steps: Count = 150
    precision: Literal["double", "single"] = "double"

    @model_validator(mode="after")
    def _no_charges_in_a_mechanical_backbone(self) -> "PotentialTable":
        if self.embedding == "mechanical" and self.backbone == "acsf":
            raise ValueError(
                'embedding = "mechanical" with backbone = "acsf", which reads the charges around: '
                "take another backbone"
            )
        return self


class TorsionsTable(_Table):
    """The ligand's torsions refitted to the same labels, beside the potential: a baseline."""

    highest: Annotated[int, Field(ge=1, le=6)] = 4
    width: Hartree = 0.25 * kcal_per_mol
    rotors: bool = False


class Experiment(_Table):
    """A measured binding free energy to show beside the computed one, in kcal/mol."""

    value_kcal: Annotated[float, Field(allow_inf_nan=False)]
    source: str


class Config(_Table):
    """A whole campaign; without ``regions``, ``labels`` and ``switching`` it stays at the MM level."""

    name: Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    system: System
    water: Water | None = None
    regions: Regions | None = None
    level: LevelTable = LevelTable()
    dynamics: Dynamics = Dynamics()
    sampling: SamplingTable
    labels: LabelsTable | None = None
    potential: PotentialTable = PotentialTable()
    torsions: TorsionsTable | None = None
    abfe: AbfeTable
    switching: SwitchingTable | None = None
    engine: EngineTable = EngineTable()
    experiment: Experiment | None = None

    @property
    def corrected(self) -> bool:
        """Whether the campaign goes beyond the MM level."""
        return self.labels is not None

    @model_validator(mode="after")
    def _corrections_whole_or_not_at_all(self) -> "Config":
        tables = ("regions", "labels", "switching")
        missing = [name for name in tables if getattr(self, name) is None]
        if 0 < len(missing) < len(tables):
            raise ValueError(
                f"[{missing[0]}] is missing: corrections to the MM level take [regions], [labels] and "
                "[switching]; without all three the campaign stays at the MM level"
            )
        useless = [name for name in ("level", "potential", "torsions") if name in self.model_fields_set]
        if missing and useless:
            raise ValueError(
                f"[{useless[0]}] is for corrections to the MM level: give [regions], [labels] and "
                "[switching] as well, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _one_solvent(self) -> "Config":
        if self.water is not None and "implicit_solvent" in self.system.model_fields_set:
            raise ValueError("system.implicit_solvent and [water] are two solvents: leave one of them out")
        return self

    @model_validator(mode="after")
    def _spans_hold_steps(self) -> "Config":
        steps = {
            "sampling": self.dynamics.step,
            "abfe": self.dynamics.step,
            "switching": self.dynamics.ml_step,
        }
        for table, step_fs in steps.items():
            for leg in ("complex", "solvent"):
                settings = getattr(getattr(self, table), leg, None)
                if settings is None:  # no switching is asked for
                    continue
                for name in ("equilibration", "spacing", "length"):
                    span_ps = getattr(settings, name, None)
                    if span_ps is not None and span_ps * 1e3 < step_fs * (1 - 1e-9):
                        raise ValueError(
                            f"{table}.{leg}.{name} is {span_ps * 1e3:g} fs, "
                            f"shorter than a step of {step_fs:g} fs"
                        )
                core = getattr(settings, "core", None)
                if core is not None and core.length * 1e3 < step_fs * (1 - 1e-9):
                    raise ValueError(
                        f"{table}.{leg}.core.length is {core.length * 1e3:g} fs, "
                        f"shorter than a step of {step_fs:g} fs"
                    )
                pilot = getattr(settings, "pilot", None)
                if pilot is not None and min(pilot.lengths) * 1e3 < step_fs * (1 - 1e-9):
                    raise ValueError(
                        f"{table}.{leg}.pilot has a length of {min(pilot.lengths) * 1e3:g} fs, "
                        f"shorter than a step of {step_fs:g} fs"
                    )
        return self

    @model_validator(mode="after")
    def _enough_frames(self) -> "Config":
        if self.labels is None or self.switching is None:
            return self
        for leg in ("complex", "solvent"):
            sampling, switching = getattr(self.sampling, leg), getattr(self.switching, leg)
            starts = switching.switches + switching.piloted
            have, need = sampling.runs * sampling.frames, getattr(self.labels.total, leg) + starts
            if have < need:
                raise ValueError(
                    f"sampling.{leg} keeps {have} frames, but labels and switches need {need} different "
                    "ones: "
                    "raise frames or runs"
                )
            have = switching.runs * switching.frames
            if have < starts:
                raise ValueError(
                    f"switching.{leg} keeps {have} ML/MM frames for {starts} reverse switches: "
                    "raise frames or runs"
                )
            if switching.core is not None and have < switching.core.switches:
                raise ValueError(
                    f"switching.{leg} keeps {have} frames of each ML/MM level for {switching.core.switches} "
                    "switches between them: raise frames or runs"
                )
            need = getattr(self.labels.check, leg)
            if have < need and leg in self.labels.check.model_fields_set:
                raise ValueError(
                    f"switching.{leg} keeps {have} ML/MM frames, {need} are to be labelled to check the "
                    f"potential: raise frames or runs, or lower labels.check.{leg}"
                )
        return self


def read_config(path: Path) -> Config:
    """Read and check the input file of a campaign.

    Raises
    ------
    InputError
        If the file is missing, is no TOML, or breaks a rule; all broken rules are named at once.
    """
    return read_toml(path, Config, "a campaign")
