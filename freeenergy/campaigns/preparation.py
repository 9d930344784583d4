"""From a checked input file to structures and regions: all that bad input can break, before any writing."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.labeling import check_request
from drupe.embedding.level import Level
from drupe.embedding.regions.partition import Partition
from drupe.embedding.structures.masses import with_hydrogen_mass
from drupe.embedding.structures.structure import (
    Structure,
    cut_out,
    locate,
    read_structure,
    takes_implicit_solvent,
)
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.freeenergy.alchemical.counter_ion import CounterIons, choose_counter_ions
from drupe.freeenergy.alchemical.net_charge import ligand_charge
from drupe.freeenergy.alchemical.solvent_box import in_water
from drupe.freeenergy.campaigns.config import Config
from drupe.freeenergy.campaigns.water_table import Water
from drupe.freeenergy.inputs.built import built_key, find_built
from drupe.freeenergy.simulation.periodic import in_water_box
from drupe.hardware.platforms import openmm_platform
from drupe.mlp.torsion_kinds import torsions_of
from drupe.records import frozen, register
from drupe.units import nanometer

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Leg", "Prepared", "high_level", "key_of_built", "prepare"]

_log = logging.getLogger(__name__)


def _without_counter_ions(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew no box."""
    return fields


@register(version=2, upgrades={1: _without_counter_ions})
@dataclass(frozen=True, eq=False)
class Leg:
    """One leg: its structure with MM force field, its regions, and the ligand's atom indices.

    ``counter_ions`` keep the charge of a box while that of the ligand goes.
    """

    structure: Structure
    regions: Partition
    ligand: NDArray[np.int64]
    counter_ions: CounterIons | None = None

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


def prepare(config: Config, base: Path, folder: Path | None = None) -> Prepared:
    """Read the structure, cut out the ligand, fix the regions of both legs to indices.

    Parameters
    ----------
    config
        The campaign.
    base
        Folder that relative paths in the input file start from.
    folder
        Campaign folder of an earlier run, which may hold a complex that was built; None for none.

    Raises
    ------
    InputError
        If a file, a selection, the level, a charge and multiplicity, or a box is wrong.
    MachineError
        If a platform is asked for by name and is not there, or a complex needs AmberTools and they are not.
    """
    given = config.system
    whole = _read(config, base, folder)
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
    if config.corrected:
        check_request(whole.system, regions, high_level(config))
    openmm_platform(config.engine.platform)
    if config.water is not None:
        in_water_box(whole, ligand)  # what dynamics would refuse is refused here
    if config.water is None:
        alone = cut_out(whole, ligand)
    else:  # the correction stands in place of ions
        alone = _in_water(whole, ligand, config.water, neutralise=not config.water.finite_size_correction)
    _check_torsions(alone.system.subset(np.arange(len(ligand))), config)
    place = {int(atom): index for index, atom in enumerate(ligand)}
    cores = [[place[int(atom)] for atom in core.indices] for core in regions.cores]
    alone_regions = Partition.select(
        alone.system,
        qm=list(range(len(ligand))),
        charge=given.charge,
        multiplicity=given.multiplicity,
        cores=cores,
    )
    if config.corrected:
        check_request(alone.system, alone_regions, high_level(config))  # its box may be too small for reach
    here = np.arange(len(ligand))
    return Prepared(
        complex=Leg(whole, regions, ligand, _counter_ions(whole, ligand, config)),
        solvent=Leg(alone, alone_regions, here, _counter_ions(alone, here, config)),
    )


def key_of_built(config: Config, base: Path) -> str | None:
    """Content name of a complex to be built, by its files and settings; None if nothing is built."""
    given, water = config.system, config.water
    if given.ligand_file is None:
        return None
    files = [locate(path, base) for path in (given.topology, given.ligand_file)]
    padding = None if water is None else water.padding
    return built_key(files, {"ph": given.ph, "padding": padding, "hydrogen_mass": given.hydrogen_mass})


def _read(config: Config, base: Path, folder: Path | None) -> Structure:
    """The complex as it is simulated: in implicit solvent, or in a box of water."""
    given, water = config.system, config.water
    key = key_of_built(config, base)
    whole: Structure | None = None if key is None else find_built(key, folder)
    if whole is None:
        asked = given.reading(base, ligand=given.ligand_file)
        if water is None:
            if not takes_implicit_solvent(asked["topology"], ligand=given.ligand_file is not None):
                raise InputError(
                    f"{given.topology} cannot be read with the implicit solvent {given.implicit_solvent}",
                    remedy="give its box of water and a table [water] (it may be empty), or Amber files",
                )
            asked["implicit_solvent"] = given.implicit_solvent
        whole = read_structure(**asked)
        if water is not None and whole.system.box is None:
            _log.info("%s has no box: it is put into water", given.topology)
            whole = _in_water(whole, np.arange(whole.system.n_atoms), water)
        whole = with_hydrogen_mass(whole, given.hydrogen_mass)
    return whole


def _in_water(
    structure: Structure, solute: NDArray[np.int64], water: Water, *, neutralise: bool = True
) -> Structure:
    return in_water(structure, solute, padding_nm=water.padding / nanometer, neutralise=neutralise)


def _counter_ions(structure: Structure, ligand: NDArray[np.int64], config: Config) -> CounterIons | None:
    """What takes the place of the ligand's charge in its box, chosen by its table of the input."""
    asked = config.water
    if asked is None or asked.counter_ions == "none" or ligand_charge(structure.system, ligand) == 0:
        return None
    return choose_counter_ions(structure, ligand, asked.counter_ions)


def _check_torsions(ligand: MolecularSystem, config: Config) -> None:
    asked = config.torsions
    if asked is not None and not torsions_of(ligand.numbers, ligand.bonds, rotors=asked.rotors).kinds:
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
        environment="all" if config.water is None else "cluster",
        cluster_radius=None if config.water is None else config.water.reach,
    )


def _select(structure: Structure, ligand: "str | Sequence[int]", config: Config) -> Partition:
    cores: Any = () if config.regions is None else config.regions.cores
    return Partition.select(
        structure.system,
        qm=ligand,
        charge=config.system.charge,
        multiplicity=config.system.multiplicity,
        cores=cores,
    )
