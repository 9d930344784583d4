"""What a campaign's number does not contain: the campaign in, pairs of a name and its meaning out."""

import math
from collections.abc import Mapping
from typing import Final

from drupe.freeenergy.alchemical.finite_size import FiniteSize
from drupe.freeenergy.alchemical.symmetry import equivalent_orientations
from drupe.freeenergy.campaigns.config import Config
from drupe.freeenergy.campaigns.preparation import Prepared
from drupe.freeenergy.campaigns.stages import Snapshots
from drupe.units import angstrom, kcal_per_mol, kt

__all__ = ["approximations", "unscreened_field_kcal"]

#: Error of a label in the unscreened field of an implicit solvent, kcal/mol: the middle of what the
#: polarisation of p-xylene in T4 lysozyme L99A changes by between cuts of the field.
unscreened_field_kcal: Final = 1.5

_FEWEST_RUNS: Final = 3


def approximations(
    config: Config,
    prepared: Prepared,
    snapshots: Mapping[str, Snapshots],
    finite_size: Mapping[str, FiniteSize] | None = None,
) -> list[tuple[str, str]]:
    """Name everything the free energy of this campaign does not contain, and what it means for the number.

    Parameters
    ----------
    config, prepared
        The campaign and its legs.
    snapshots
        The snapshots of each leg, by its name.
    finite_size
        The correction of both legs, by their names; None or nothing where there is none.
    """
    told = _solvent(config)
    if finite_size:
        told.append(_finite_size(finite_size, config.dynamics.temperature))
    if config.corrected:
        told += _corrections(config)
    told.append(
        (
            "masses",
            f"hydrogens weigh {config.system.hydrogen_mass:g} amu, those of water apart; free energies do "
            "not depend on masses",
        )
    )
    if config.torsions is not None:
        told.append(
            (
                "torsion refit (a baseline)",
                "changes the ligand's torsion constants and nothing else: bonds, angles, charges and the "
                "answer of the electrons to the field stay those of the force field. Its model error is that "
                "of the constants, given the form",
            )
        )
    alone = prepared.solvent
    if (count := equivalent_orientations(alone.structure.system.subset(alone.ligand))) > 1:
        missed = kt(config.dynamics.temperature) / kcal_per_mol * math.log(count)
        told.append(
            (
                f"{count} equivalent orientations of the ligand",
                "the restraint holds one of them and no symmetry term is added: where the MM runs never "
                f"exchange them, -RT ln {count} = {-missed:.2f} kcal/mol is missing from dG_bind(MM)",
            )
        )
    for leg in ("complex", "solvent"):
        if config.switching is None:
            continue
        runs = min(getattr(config.sampling, leg).runs, getattr(config.switching, leg).runs)
        if runs < _FEWEST_RUNS:
            told.append(
                (
                    f"starts of switches ({leg})",
                    f"come from {runs} independent runs; fewer than {_FEWEST_RUNS} do not show whether the "
                    "runs agree",
                )
            )
    for leg, taken in snapshots.items():
        if config.corrected and taken.correlated:
            told.append(
                (
                    f"correlated snapshots ({leg})",
                    f"{taken.correlated} frames lie closer than a correlation time",
                )
            )
    return told


def _solvent(config: Config) -> list[tuple[str, str]]:
    water = config.water
    if water is None:
        return [
            (
                f"implicit solvent ({config.system.implicit_solvent})",
                "stays at the MM level in both legs: the answer of the solvent to the corrected ligand "
                "is not in the corrections"
                if config.corrected
                else "stands for the water: no molecule of it is there to bridge or to be displaced",
            )
        ]
    told = [
        (
            "box of water",
            f"at {water.pressure:g} bar, PME; switches keep the volume they start with, which is exact. "
            "Lennard-Jones forces end at the cutoff, with OpenMM's mean correction of the energy, as if the "
            "surroundings of the ligand were uniform there",
        )
    ]
    if config.corrected:
        told.append(
            (
                "charges that DFT sees",
                f"are those of whole molecules within {water.reach / angstrom:g} A of the ligand; what lies "
                "beyond acts on its fixed charges only, by PME",
            )
        )
    return told


def _finite_size(legs: Mapping[str, FiniteSize], temperature_k: float) -> tuple[str, str]:
    here, there = legs["complex"], legs["solvent"]
    kcal = kt(temperature_k) / kcal_per_mol
    sphere = [one.charging.residual + one.charging.finite_radius for one in (here, there)]
    return (
        f"finite-size correction (ligand of charge {here.charge:+d})",
        f"{(here.charging.total - there.charging.total) * kcal:+.2f} kcal/mol of dG_bind(MM) are analytic "
        "(Rocklin and others 2013), for the mean boxes of both legs and water of the permittivity of TIP3P. "
        "The receptor's residual integrated potential, which takes a Poisson-Boltzmann solution, is left "
        "out; ions that stay count as receptor. The ligand is a sphere of its van der Waals volume, radius "
        f"{here.radius / angstrom:.1f} A: that enters the residual and the finite-radius term only, "
        f"{(sphere[0] - sphere[1]) * kcal:+.2f} kcal/mol together",
    )


def _corrections(config: Config) -> list[tuple[str, str]]:
    level = config.level
    told = [
        (
            f"virtual space of the cores (concentric shells 0 to {level.virtual_shells})",
            "the rest of the correlation is added at the MP2 level",
        ),
        (
            "forces at the core-corrected level",
            "are those of DFT/MM: the transfer learns core-corrected energies",
        ),
        _potential(config),
    ]
    if config.water is not None:
        return told
    unscreened = (
        "unscreened field in the labels",
        "DFT sees every MM charge of the protein in vacuum, none cut by distance; against a screened "
        "field this is an error of the label of about 1 to 2 kcal/mol; "
        f"{unscreened_field_kcal:g} stands in the error",
    )
    return [unscreened, *told]


def _potential(config: Config) -> tuple[str, str]:
    if config.potential.embedding == "mechanical":
        return (
            "mechanical embedding",
            "the learned potential is the difference to the ligand's MM energy and feels no field: fixed "
            "charges stay classical, and what the field does to the electrons, which the labels hold, is "
            "error of the potential. This is a comparison, not a result",
        )
    rounded = "; its network computes in single precision" if config.potential.precision == "single" else ""
    return (
        "learned potential",
        "is the difference to the ligand's MM energy, with charges and polarizabilities in the MM field; "
        f"fixed charges stay classical{rounded}",
    )
