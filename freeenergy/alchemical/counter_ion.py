"""Charged ligands, way one: a counter-charge that changes with the ligand, so that the box keeps its charge.

Either an ion of the solvent loses its charge while the ligand does, or a water becomes an ion. Atoms in
bohr and e. The same change in both legs, far from the ligand, leaves their difference.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.embedding.structures.structure import Structure
from drupe.embedding.structures.water import water_molecules
from drupe.errors import InputError
from drupe.freeenergy.alchemical.net_charge import ligand_charge
from drupe.freeenergy.simulation.periodic import shortest_vectors, whole_start
from drupe.records import frozen, register
from drupe.units import angstrom, kcal_per_mol, kj_per_mol, nanometer

if TYPE_CHECKING:
    import openmm

__all__ = ["CounterIons", "add_counter_ions", "choose_counter_ions"]

_stiffness = 5.0 * kcal_per_mol / angstrom**2


@register(version=1)
@dataclass(frozen=True, eq=False)
class CounterIons:
    """Atoms whose charges change with lambda_electrostatics, opposite to the ligand's in sum.

    ==========  ============  =====  ==============================================================
    field       shape         unit   note
    ==========  ============  =====  ==============================================================
    atoms       ``(n,)``      --     indices; of a water, oxygen and both hydrogens
    there       ``(n,)``      e      charges where the ligand has its own
    gone        ``(n,)``      e      charges where the ligand has none
    centres     ``(ions,)``   --     the atoms of ``atoms`` that are kept away from the ligand
    anchor      scalar        --     the ligand's atom that they are kept away from
    distance    scalar        bohr   they are free beyond it; below, E = k/2 x^2 with 5 kcal/mol/A^2
    ==========  ============  =====  ==============================================================
    """

    atoms: NDArray[np.int64]
    there: NDArray[np.float64]
    gone: NDArray[np.float64]
    centres: NDArray[np.int64]
    anchor: int
    distance: float

    def __post_init__(self) -> None:
        for name, kind in (("atoms", np.int64), ("centres", np.int64), ("there", float), ("gone", float)):
            object.__setattr__(self, name, frozen(getattr(self, name), kind))
        if not (self.atoms.shape == self.there.shape == self.gone.shape) or not self.distance > 0:
            raise InputError(
                f"counter-ions have {len(self.atoms)} atoms, {len(self.there)} and {len(self.gone)} charges, "
                f"and a distance of {self.distance}",
                remedy="give each atom two charges, and a positive distance",
            )


def choose_counter_ions(
    structure: Structure,
    ligand: ArrayLike,
    kind: Literal["ion", "water"] = "ion",
    *,
    distance: float | None = None,
) -> CounterIons:
    """Choose what keeps the charge of the box: the ions or waters farthest from the ligand.

    Parameters
    ----------
    structure
        Complex or ligand in a periodic box of water.
    ligand
        Indices of the ligand's atoms; the sum of their charges is a whole number other than 0.
    kind
        ``"ion"``: ions of charge opposite to the ligand's lose their charge with it.
        ``"water"``: waters become ions of the ligand's charge (with the Lennard-Jones sphere of the oxygen).
        Take the same kind in both legs.
    distance
        Least distance to the ligand's central atom, bohr; by default three quarters of how far the
        nearest one chosen is now.

    Raises
    ------
    InputError
        If the ligand is neutral, there is no box, or there are too few ions or waters.
    """
    system, members = structure.system, np.asarray(ligand, np.int64)
    charge = ligand_charge(system, members)
    if charge == 0:
        raise InputError("the ligand is neutral", remedy="leave the counter-ions out")
    if system.box is None:
        raise InputError("there is no periodic box", remedy="without a box a net charge needs no counter-ion")
    anchor = _central(structure, members)
    groups = _ions(structure, members, charge) if kind == "ion" else water_molecules(system)
    groups = groups[~np.isin(groups, members).any(axis=1)]
    wanted = abs(charge)
    if len(groups) < wanted:
        raise InputError(
            f"a ligand of charge {charge:+d} needs {wanted} {kind}s that take its place, "
            f"the box has {len(groups)} that fit",
            remedy='take kind="water" in both legs, or add salt to the box'
            if kind == "ion"
            else "put the system into a box of three-site water",
        )
    apart = shortest_vectors(system.positions[groups[:, 0]] - system.positions[anchor], system.box)
    away = np.linalg.norm(apart, axis=1)
    farthest = np.argsort(-away, kind="stable")[:wanted]
    chosen = groups[farthest]
    there = system.charges[chosen].ravel()
    gone = np.zeros(chosen.shape)
    if kind == "water":
        gone[:, 0] = np.sign(charge)
    return CounterIons(
        atoms=chosen.ravel(),
        there=there,
        gone=gone.ravel(),
        centres=chosen[:, 0],
        anchor=anchor,
        distance=0.75 * float(away[farthest].min()) if distance is None else distance,
    )


def add_counter_ions(
    system: "openmm.System", ions: CounterIons, ligand_change: float, parameter: str = "lambda_electrostatics"
) -> "openmm.Force":
    """Let the charges of ``ions`` follow ``parameter`` in an alchemical system; return their wall.

    Parameters
    ----------
    system
        Made by the alchemical factory with exact PME: its NonbondedForce knows ``parameter``.
    ions
        Which atoms.
    ligand_change
        Charge that the ligand loses, e.
    parameter
        1 with the charges ``there``, 0 with those that are ``gone``.

    Raises
    ------
    InputError
        If the change of the ions does not undo that of the ligand, or the system has other charges.
    """
    import openmm

    (pairs,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    change = float((ions.there - ions.gone).sum())
    if abs(change + ligand_change) > 1e-2:
        raise InputError(
            f"the ligand loses {ligand_change:+.4f} e and its counter-ions lose {change:+.4f} e",
            remedy="choose counter-ions for this ligand, in this structure",
        )
    for atom, there, gone in zip(ions.atoms.tolist(), ions.there, ions.gone, strict=True):
        charge, sigma, epsilon = pairs.getParticleParameters(atom)
        if abs(charge._value - there) > 1e-6:
            raise InputError(
                f"particle {atom} has charge {charge._value:.4f} e, as a counter-ion {there:.4f}",
                remedy="choose counter-ions for this ligand, in this structure",
            )
        pairs.setParticleParameters(atom, float(gone), sigma, epsilon)
        pairs.addParticleParameterOffset(parameter, atom, float(there - gone), 0.0, 0.0)
    k, edge = _stiffness / kj_per_mol * nanometer**2, float(ions.distance) / nanometer
    wall = openmm.CustomBondForce(f"0.5*{k!r}*max(0,{edge!r}-r)^2")
    for centre in ions.centres.tolist():
        wall.addBond(centre, ions.anchor, [])
    wall.setUsesPeriodicBoundaryConditions(True)
    wall.setName("CounterIonsKeptAway")
    return wall


def _central(structure: Structure, members: NDArray[np.int64]) -> int:
    """The ligand's atom nearest to its centre."""
    place = whole_start(structure, structure.system.positions, None)[members]
    return int(members[np.linalg.norm(place - place.mean(axis=0), axis=1).argmin()])


def _ions(structure: Structure, members: NDArray[np.int64], charge: int) -> NDArray[np.int64]:
    """Atoms without bonds whose charge is one e, opposite to ``charge``; shape ``(ions, 1)``."""
    system = structure.system
    alone = np.ones(system.n_atoms, bool)
    alone[system.bonds.ravel()] = False
    fits = alone & (np.abs(system.charges + np.sign(charge)) < 1e-4)
    return np.flatnonzero(fits).astype(np.int64).reshape(-1, 1)
