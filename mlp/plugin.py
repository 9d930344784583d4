"""Door to OpenMM-ML: ``MLPotential("drupe", model=...)`` and its electrostatic embedding.

OpenMM-ML imports this module while it is itself being imported, so nothing of it (and nothing
heavy) is imported at module level. Units at this door: OpenMM's (nm, kJ/mol, e).

E_mixed = E_MM(all) - E_MM(terms inside the ML atoms, implicit solvent kept) + E_ML, where E_ML is the
label's energy without its fixed-charge Coulomb part, which stays in OpenMM's own nonbonded force: with all
charges, a cutoff, GB or PME alike.
"""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError

if TYPE_CHECKING:
    import openmm
    from openmm import app

    from drupe.mlp.committee import Committee

__all__ = ["DrupePotentialFactory"]

_EMBEDDING = "electrostatic"
_CHARGE_TOLERANCE = 1e-4  # e; topologies print charges with six decimals or more


class DrupePotentialFactory:
    """What OpenMM-ML's entry point ``drupe`` loads."""

    def createImpl(self, name: str, **args: Any) -> "_DrupePotential":
        """Read the model given as ``model=`` (path of a file written by `Committee.save`).

        Raises
        ------
        InputError
            If no model is given, the file is missing or it is not a committee of this version.
        """
        model = args.pop("model", None)
        if model is None or args:
            raise InputError(
                "MLPotential('drupe') got no model" if model is None else f"unknown arguments {sorted(args)}",
                remedy='write MLPotential("drupe", model="ligand.drupe")',
            )
        from drupe.mlp.committee import Committee, load

        return _DrupePotential(model if isinstance(model, Committee) else load(Path(model)))


class _DrupePotential:
    """The implementation object OpenMM-ML talks to."""

    def __init__(self, committee: "Committee") -> None:
        self.committee = committee

    def getSupportedEmbeddings(self) -> list[str]:
        return [_EMBEDDING]

    def getMLLongRange(self) -> bool:
        return False

    def addForces(
        self,
        topology: "app.Topology",
        system: "openmm.System",
        atoms: Iterable[int] | None,
        forceGroup: int,
        **_: Any,
    ) -> None:
        """Add the potential of the bare ML atoms, without surrounding charges.

        OpenMM-ML comes here for a molecule alone, and for its mechanical embedding, which is its
        default: then a warning says that the surroundings do not polarise the molecule.
        """
        if self.committee.header.n_links:
            raise InputError(
                f"the potential has {self.committee.header.n_links} link atom(s): it belongs to a molecule "
                "that is cut out of a larger one, in the field of the rest",
                remedy='pass embedding="electrostatic" to createMixedSystem',
            )
        if atoms is not None:
            warnings.warn(
                "mechanical embedding: learned charges and polarizabilities do not feel the surroundings; "
                'pass embedding="electrostatic" to createMixedSystem, as the potential was trained',
                stacklevel=4,
            )
        chosen = list(range(topology.getNumAtoms())) if atoms is None else [int(i) for i in atoms]
        _check_elements(self.committee, topology, chosen)
        tree = None
        if topology.getPeriodicBoxVectors() is not None or system.usesPeriodicBoundaryConditions():
            from drupe.mlp.images import tree_of_bonds
            from drupe.mlp.mm_side import bonds_inside, tie_together

            bonds = bonds_inside(topology, chosen)
            tree = tree_of_bonds(len(chosen), bonds)
            tie_together(system, chosen, bonds)
        system.addForce(
            _python_force(_Term(self.committee, [], np.zeros(0), None, tree, None), chosen, forceGroup)
        )

    def createMixedSystem(
        self,
        topology: "app.Topology",
        system: "openmm.System",
        atoms: list[int],
        forceGroup: int,
        interpolate: bool,
        embedding: str,
        returnInfo: bool = False,
        **args: Any,
    ) -> Any:
        """Build the mixed system with electrostatic embedding.

        The surgery on the MM system is OpenMM-ML's mechanical embedding, where bonds are cut that of
        `drupe.mlp.cut_system`; the added force sees all MM charges, or those within the model's reach. With
        ``interpolate`` the one CustomCVForce goes into ``forceGroup`` and reports its derivative with respect
        to ``lambda_interpolate``.

        Raises
        ------
        InputError
            If elements, fixed charges or cut bonds are not the model's, the system is periodic
            and the model has no reach or the box is too small for it, or a constrained bond has no
            harmonic term for the MM end of an interpolation.
        """
        from openmmml.embeddings import utilities
        from openmmml.embeddings.mechanicalembedding import MechanicalEmbedding

        from drupe.mlp import mm_side
        from drupe.mlp.cut_system import Mixture, border_particles, mixed_across_bonds
        from drupe.mlp.images import tree_of_bonds

        chosen = [int(i) for i in atoms]
        _check_elements(self.committee, topology, chosen)
        periodic = system.usesPeriodicBoundaryConditions()
        if periodic:
            _check_box(self.committee, system)
        cut = utilities.findLinkBonds(topology, chosen)
        border = border_particles(self.committee.header.border, topology, chosen, cut)
        charges = mm_side.charges_of(system)
        _check_charges(self.committee, charges[chosen])
        _tell_of_constraints(system, chosen)
        if interpolate:
            system = mm_side.with_soft_bonds(system, chosen, self.committee.header.baseline)
        near = self.committee.header.reach is not None
        # Mechanical embedding feels nothing but what the border moves: the fixed charges stay in OpenMM.
        felt = set() if self.committee.header.reach == 0 else {int(i) for i in np.flatnonzero(charges)}
        others = sorted((felt | set(border)) - set(chosen))
        bonds = mm_side.bonds_inside(topology, chosen)
        term = _Term(
            self.committee,
            others,
            charges[others],
            mm_side.residues_of(topology, system)[others] if near else None,
            tree_of_bonds(len(chosen), bonds) if periodic else None,
            np.array([others.index(i) for i in border], np.int64) if border else None,
        )
        if border:
            mixed = mixed_across_bonds(
                term, Mixture(topology, system, chosen, forceGroup), interpolate=interpolate, **args
            )
            info = {"topology": topology, "oldToNew": list(range(topology.getNumAtoms()))}
            made = {"system": mixed, **info} if returnInfo else mixed
        else:
            made = MechanicalEmbedding().createMixedSystem(
                term, topology, system, chosen, forceGroup, interpolate, returnInfo=returnInfo, **args
            )
            mixed = made["system"] if returnInfo else made
        if periodic:
            mm_side.tie_together(mixed, chosen, bonds)
        if interpolate:
            _expose_lambda(mixed, forceGroup)
        return made


class _Term:
    """The potential with the charges it feels, in the shape OpenMM-ML's embedding asks for.

    ``groups`` numbers of the residues of the charges, None for a model without reach; ``tree`` which atom
    each ML atom is joined to in a periodic system, else None; ``border`` which of the charges are border
    atoms, None for a whole molecule.
    """

    def __init__(
        self,
        committee: "Committee",
        others: list[int],
        charges: NDArray[np.float64],
        groups: NDArray[np.int64] | None,
        tree: NDArray[np.int64] | None,
        border: NDArray[np.int64] | None,
    ) -> None:
        self.committee, self.others, self.charges = committee, others, charges
        self.groups, self.tree, self.border = groups, tree, border

    def getMLLongRange(self) -> bool:
        return False

    def addForces(
        self,
        topology: "app.Topology",
        system: "openmm.System",
        atoms: Iterable[int],
        forceGroup: int,
        **_: Any,
    ) -> None:
        system.addForce(_python_force(self, list(atoms), forceGroup))


def _python_force(term: _Term, atoms: list[int], group: int) -> "openmm.PythonForce":
    import openmm

    from drupe.mlp.force import LearnedForce

    learned = LearnedForce(term.committee, term.charges, term.groups, term.tree, term.border)
    force = openmm.PythonForce(learned)
    force.setName(learned.key)
    force.setForceGroup(group)
    force.setParticles([*atoms, *term.others])
    force.setUsesPeriodicBoundaryConditions(term.tree is not None)
    return force


def _expose_lambda(system: "openmm.System", group: int) -> None:
    import openmm

    for force in system.getForces():
        if isinstance(force, openmm.CustomCVForce) and any(
            force.getGlobalParameterName(k) == "lambda_interpolate"
            for k in range(force.getNumGlobalParameters())
        ):
            force.setForceGroup(group)
            force.addEnergyParameterDerivative("lambda_interpolate")


def _check_elements(committee: "Committee", topology: "app.Topology", atoms: list[int]) -> None:
    table = list(topology.atoms())
    if len(set(atoms)) != len(atoms) or any(not 0 <= i < len(table) for i in atoms):
        raise InputError(
            f"the ML atoms repeat an index or leave the range 0 to {len(table) - 1}",
            remedy="pass each atom of the ligand once, counted from 0",
        )
    found = [0 if table[i].element is None else table[i].element.atomic_number for i in atoms]
    wanted = committee.header.numbers.tolist()
    if found != wanted:
        raise InputError(
            f"the ML atoms have the atomic numbers {found}, the model was trained on {wanted} in this order",
            remedy="pass the ligand's atoms in the order of its labels, or train a model for this molecule",
        )


def _check_charges(committee: "Committee", found: NDArray[np.float64]) -> None:
    worst = float(np.abs(found - committee.header.fixed_charges).max())
    if worst > _CHARGE_TOLERANCE:
        raise InputError(
            f"the fixed charges of the ML atoms differ from the model's by up to {worst:.4f} e",
            remedy="use the force field the labels were made with: its Coulomb part is in the potential",
        )


def _tell_of_constraints(system: "openmm.System", atoms: list[int]) -> None:
    from drupe.mlp.mm_side import constraints_inside

    count = len(constraints_inside(system, atoms))
    if count:
        warnings.warn(
            f"{count} bonds of the ML atoms are constrained in the MM system. createMixedSystem removes "
            "these constraints, and the bonds then need a time step of at most 1 fs; with "
            "removeConstraints=False it keeps them, at the MM lengths",
            stacklevel=4,
        )


def _check_box(committee: "Committee", system: "openmm.System") -> None:
    """Refuse a model without reach in a periodic box, or a box that its reach does not fit into."""
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
            remedy="use a larger box, or a potential of a smaller reach",
        )
