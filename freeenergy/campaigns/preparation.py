"""From a checked input file to structures and regions: all that bad input can break, before any writing."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.labeling import check_request
from drupe.embedding.level import Level
from drupe.embedding.regions.partition import Partition
from drupe.embedding.structures.structure import Structure, cut_out, locate, read_amber
from drupe.errors import InputError
from drupe.freeenergy.campaigns.config import Config
from drupe.hardware.platforms import openmm_platform
from drupe.mlp.torsion_kinds import torsions_of
from drupe.records import frozen, register

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Leg", "Prepared", "high_level", "prepare"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class Leg:
    """One leg: its structure with MM force field, its regions, and the ligand's atom indices."""

    structure: Structure
    regions: Partition
    ligand: NDArray[np.int64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ligand", frozen(self.ligand, np.int64))


@register(version=1)
@dataclass(frozen=True, eq=False)
class Prepared:
    """Both legs of a campaign: the complex, and the ligand cut out of it."""

    complex: Leg
    solvent: Leg

    def leg(self, name: str) -> Leg:
        """The leg called ``"complex"`` or ``"solvent"``."""
        return {"complex": self.complex, "solvent": self.solvent}[name]


def prepare(config: Config, base: Path) -> Prepared:
    """Read the structure, cut out the ligand, fix the regions of both legs to indices.

    Parameters
    ----------
    config
        The campaign.
    base
        Folder that relative paths in the input file start from.

    Raises
    ------
    InputError
        If a file, a selection, the level, or a charge and multiplicity is wrong.
    MachineError
        If a platform is asked for by name and is not there.
    """
    given = config.system
    whole = read_amber(
        locate(given.topology, base),
        locate(given.coordinates, base),
        implicit_solvent=given.implicit_solvent,
        hydrogen_mass_amu=given.hydrogen_mass,
    )
    regions = _select(whole, given.ligand, config)
    ligand = np.asarray(regions.qm, np.int64)
    if len(ligand) == whole.system.n_atoms:
        raise InputError(
            f"system.ligand takes all {len(ligand)} atoms: nothing is left to bind to",
            remedy='select the ligand alone, for example "resname LIG"',
        )
    if len(regions.links):
        i, j = regions.links[0].tolist()
        raise InputError(
            f"system.ligand cuts the bond between {whole.system.describe(i)} and {whole.system.describe(j)}",
            remedy="select a whole molecule: the binding of a covalently bound ligand is not available",
        )
    check_request(whole.system, regions, high_level(config))
    openmm_platform(config.engine.platform)
    alone = cut_out(whole, ligand)
    _check_torsions(alone, config)
    place = {int(atom): index for index, atom in enumerate(ligand)}
    cores = [[place[int(atom)] for atom in core.indices] for core in regions.cores]
    alone_regions = Partition.select(
        alone.system,
        qm=list(range(len(ligand))),
        charge=given.charge,
        multiplicity=given.multiplicity,
        cores=cores,
    )
    return Prepared(
        complex=Leg(whole, regions, ligand),
        solvent=Leg(alone, alone_regions, np.arange(len(ligand))),
    )


def _check_torsions(alone: Structure, config: Config) -> None:
    asked = config.torsions
    if (
        asked is not None
        and not torsions_of(alone.system.numbers, alone.system.bonds, rotors=asked.rotors).kinds
    ):
        raise InputError(
            "torsions: no bond of the ligand can be turned to another shape of it",
            remedy="leave the table [torsions] out"
            + ("" if asked.rotors else ", or set torsions.rotors = true to refit groups such as CH3 as well"),
        )


def high_level(config: Config) -> Level:
    """The level of the core-corrected labels; without ``core`` it is that of the others."""
    given = config.level
    return Level(
        functional=given.functional,
        basis=given.basis,
        core=given.core,
        virtual_shells=given.virtual_shells,
    )


def _select(structure: Structure, ligand: "str | Sequence[int]", config: Config) -> Partition:
    cores: Any = config.regions.cores
    return Partition.select(
        structure.system,
        qm=ligand,
        charge=config.system.charge,
        multiplicity=config.system.multiplicity,
        cores=cores,
    )
