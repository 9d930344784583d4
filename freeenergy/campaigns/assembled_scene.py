"""What a campaign's report shows of its complex: legs and restraint in; regions, anchors and names out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.regions.periodic import gather
from drupe.embedding.structures.water import water_molecules
from drupe.embedding.system import MolecularSystem
from drupe.freeenergy.alchemical.finite_size import FiniteSize, finite_size
from drupe.freeenergy.alchemical.leg_run import LegRun
from drupe.freeenergy.alchemical.net_charge import ligand_charge, net_charge_verdict
from drupe.freeenergy.alchemical.restraints import release_free_energy
from drupe.freeenergy.campaigns.config import Config
from drupe.freeenergy.campaigns.preparation import Leg, Prepared
from drupe.freeenergy.estimation.diagnostics import Verdict
from drupe.freeenergy.outcomes.campaign import RestraintSummary
from drupe.freeenergy.outcomes.figure_data import RegionGeometry
from drupe.units import angstrom, kcal_per_mol

__all__ = ["core_names", "finite_size_of", "net_charge_of", "receptor_of", "regions_of", "restraint_of"]


def net_charge_of(prepared: Prepared, config: Config) -> Verdict | None:
    """What is to be said of a charged ligand in a box; None for nothing, or where a correction says it."""
    leg = prepared.complex
    if config.water is None or config.water.finite_size_correction:
        return None
    if not (charge := ligand_charge(leg.structure.system, leg.ligand)):
        return None
    return net_charge_verdict(charge, periodic=True, counter_ions=leg.counter_ions is not None)


def finite_size_of(leg: Leg, runs: Sequence[LegRun], config: Config) -> FiniteSize | None:
    """Finite-size correction of a leg, from the boxes of its repeats; None where there is none to make."""
    if config.water is None or not config.water.finite_size_correction:
        return None
    if not ligand_charge(leg.structure.system, leg.ligand):
        return None
    boxes = [run.coupled_boxes for run in runs if run.coupled_boxes is not None]
    return finite_size(leg.structure, leg.ligand, boxes, config.dynamics.temperature)


def regions_of(prepared: Prepared, anchors: Any) -> RegionGeometry:
    """What the picture shows: all but the water and the ions of a box, in one piece around the ligand."""
    leg = prepared.complex
    system = leg.structure.system
    if system.box is not None:
        system = gather(system, leg.ligand)
    shown = _solute(system, leg.ligand)
    place = np.full(system.n_atoms, -1)
    place[shown] = np.arange(len(shown))
    system = system.subset(shown)
    return RegionGeometry(
        numbers=system.numbers,
        positions=system.positions,
        bonds=system.bonds,
        atom_names=system.atom_names,
        residue_names=system.residue_names,
        residue_ids=system.residue_ids,
        chain_ids=system.chain_ids,
        qm=place[leg.ligand],
        cores=tuple(place[np.asarray(core.indices)] for core in leg.regions.cores),
        core_labels=core_names(prepared),
        anchors=place[np.asarray(anchors)],
    )


def _solute(system: MolecularSystem, ligand: NDArray[np.int64]) -> NDArray[np.int64]:
    """All atoms, but in a box those that are neither water nor single atoms; the ligand in any case."""
    if system.box is None:
        return np.arange(system.n_atoms)
    kept = np.zeros(system.n_atoms, bool)
    kept[system.bonds.ravel()] = True
    kept[water_molecules(system).ravel()] = False
    kept[ligand] = True
    return np.flatnonzero(kept)


def core_names(prepared: Prepared) -> tuple[str, ...]:
    """Names as the input has them, the same in both legs."""
    return tuple(core.label or f"core {k + 1}" for k, core in enumerate(prepared.complex.regions.cores))


def receptor_of(prepared: Prepared) -> str:
    """Count residues, atoms and waters around the ligand, in words."""
    leg = prepared.complex
    system = leg.structure.system
    around = np.setdiff1d(_solute(system, leg.ligand), leg.ligand)
    residues = len(set(system.residue_runs[around].tolist()))
    told = f"{residues} residue{'s' if residues != 1 else ''}, {len(around)} atoms"
    waters = len(water_molecules(system)) if system.box is not None else 0
    return f"{told}, {waters} waters" if waters else told


def restraint_of(prepared: Prepared, restraint: Any, temperature_k: float) -> RestraintSummary:
    """Describe the restraint in angstrom, degrees and kcal/mol, with its free energies of release (kT)."""
    release = release_free_energy(restraint, temperature_k)
    system = prepared.complex.structure.system
    degrees = np.degrees([*restraint.angles, *restraint.dihedrals])
    per_angle = [float(k) / kcal_per_mol for k in (*restraint.k_angles, *restraint.k_dihedrals)]
    anchors = [*restraint.receptor, *restraint.ligand]
    return RestraintSummary(
        release_numerical=release.numerical,
        release_analytic=release.analytic,
        anchors=tuple(system.describe(int(atom)) for atom in anchors),
        values=(restraint.distance / angstrom, *(float(x) for x in degrees)),
        force_constants=(restraint.k_distance / kcal_per_mol * angstrom**2, *per_angle),
    )
