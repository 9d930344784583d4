"""What goes into a mixed system, looked at before it is built: refused here, with what to do (nm, e).

OpenMM-ML imports the plug-in while it is itself being imported: nothing heavy at module level.
"""

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError

if TYPE_CHECKING:
    import openmm
    from openmm import app

    from drupe.mlp.committee import Committee
    from drupe.mlp.potential import PotentialHeader

__all__ = ["check_bonds", "check_box", "check_charges", "check_elements", "check_first", "check_keywords"]

_CHARGE_TOLERANCE = 1e-4  # e; topologies print charges with six decimals or more


def check_keywords(given: Iterable[str], known: Collection[str], call: str) -> None:
    """Refuse keywords that ``call`` does not know: OpenMM-ML hands on whatever it is given."""
    for name in sorted(set(given) - set(known)):
        close = difflib.get_close_matches(name, known, n=1)
        raise InputError(
            f"{call} has no keyword {name!r}",
            remedy=(f"did you mean {close[0]!r}? " if close else "") + f"it takes {', '.join(sorted(known))}",
        )


def check_elements(header: "PotentialHeader", topology: "app.Topology", atoms: Sequence[int]) -> None:
    """Refuse ML atoms that are not the model's, one by one."""
    table = list(topology.atoms())
    if len(set(atoms)) != len(atoms) or any(not 0 <= i < len(table) for i in atoms):
        raise InputError(
            f"the ML atoms repeat an index or leave the range 0 to {len(table) - 1}",
            remedy="pass each atom of the ligand once, counted from 0",
        )
    found = [0 if table[i].element is None else table[i].element.atomic_number for i in atoms]
    wanted = header.numbers.tolist()
    if found != wanted:
        raise InputError(
            f"the ML atoms have the atomic numbers {found}, the model was trained on {wanted} in this order",
            remedy="pass the ligand's atoms in the order of its labels, or train a model for this molecule",
        )


def check_charges(header: "PotentialHeader", found: NDArray[np.float64]) -> None:
    """Refuse fixed charges (e) that are not the model's."""
    worst = float(np.abs(found - header.fixed_charges).max())
    if worst > _CHARGE_TOLERANCE:
        raise InputError(
            f"the fixed charges of the ML atoms differ from the model's by up to {worst:.4f} e",
            remedy="use the force field the labels were made with: its Coulomb part is in the potential",
        )


def check_first(system: "openmm.System", atoms: Sequence[int]) -> None:
    """Refuse atoms that have a learned force already."""
    from drupe.mlp.force import learned_forces

    taken = {i for memory, particles in learned_forces(system) for i in particles[: memory.n_atoms]}
    again = sorted(taken.intersection(atoms))
    if again:
        raise InputError(
            f"{len(again)} of the ML atoms (the first is atom {again[0]}) already have a learned force in "
            "this System: their energy would be counted twice",
            remedy="pass the MM System, not the one that createMixedSystem returned",
        )


def check_bonds(topology: "app.Topology", system: "openmm.System", atoms: Sequence[int]) -> None:
    """Refuse a Topology without the bonds that the System has at the ML atoms.

    What belongs to the molecule, and which bonds are cut, is read from the Topology. Bonds between atoms two
    bonds apart are Urey-Bradley terms or constrained angles; those between atoms whose nonbonded interaction
    is not excluded are restraints.
    """
    from drupe.mlp.mm_side import bonds_of, excluded_pairs

    inside = set(atoms)
    near: defaultdict[int, set[int]] = defaultdict(set)
    for bond in topology.bonds():
        near[bond.atom1.index].add(bond.atom2.index)
        near[bond.atom2.index].add(bond.atom1.index)
    far = {(i, j) for i, j in bonds_of(system, inside) if j not in near[i] and near[i].isdisjoint(near[j])}
    missing = sorted(far & excluded_pairs(system)) if far else []
    if not missing:
        return
    whole = [pair for pair in missing if inside.issuperset(pair)]
    kind = "between ML atoms" if whole else "between ML and MM atoms, where a molecule is cut"
    i, j = (whole or missing)[0]
    raise InputError(
        f"the Topology lacks {len(whole or missing)} bond(s) of the System {kind}; the first is that of the "
        f"atoms {i} and {j}",
        remedy="read the Topology from a PDB file with CONECT records, or add them with topology.addBond",
    )


def check_box(committee: "Committee", system: "openmm.System") -> None:
    """Refuse a model without reach in a periodic box, or a box lower than twice the reach.

    How long the molecule is adds to it, and only positions say so: `drupe.mlp.images` looks at every energy.
    """
    from openmm import unit

    from drupe.mlp.images import box_heights
    from drupe.units import angstrom, nanometer

    reach = committee.header.reach
    box = np.array([list(v.value_in_unit(unit.nanometer)) for v in system.getDefaultPeriodicBoxVectors()])
    smallest = float(box_heights(box).min()) * nanometer
    if reach is None:
        raise InputError(
            "the system is periodic, and this potential was trained to feel all charges: those of "
            "the images never end",
            remedy="train it with FitSpec(reach=...): in this box less than "
            f"{smallest / 2:.1f} bohr, by half the length of the molecule; 17 bohr (9 A) is usual",
        )
    if 2 * reach >= smallest:
        raise InputError(
            f"the faces of the periodic box are {smallest / angstrom:.2f} A apart, the learned "
            f"electrostatics reach {reach / angstrom:.2f} A to either side of the molecule",
            remedy=f"use a box higher than {2 * reach / angstrom:.2f} A and the length of the molecule, or a "
            "potential of a smaller reach",
        )
