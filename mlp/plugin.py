"""Door to OpenMM-ML: ``MLPotential("drupe", model=...)`` and its electrostatic embedding.

OpenMM-ML imports this module while it is itself being imported, so nothing of it (and nothing
heavy) is imported at module level. Units at this door: OpenMM's (nm, kJ/mol, e).

E_mixed = E_MM(all) - E_MM(terms inside the ML atoms, implicit solvent kept) + E_ML, where E_ML is the
label's energy without its fixed-charge Coulomb part, which stays in OpenMM's own nonbonded force: with all
charges, a cutoff, GB or PME alike.
"""

import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.mlp import mixable

if TYPE_CHECKING:
    import openmm
    from openmm import app

    from drupe.mlp.committee import Committee
    from drupe.mlp.passes import Precision

__all__ = ["DrupePotentialFactory"]

_ELECTROSTATIC, _MECHANICAL = "electrostatic", "mechanical"
_KEYWORDS = ("removeConstraints", "forceGroup", "interpolate", "embedding", "returnInfo")
_DISTANCES = "linkAtomDistances"  # of OpenMM-ML's own link atoms


class DrupePotentialFactory:
    """What OpenMM-ML's entry point ``drupe`` loads."""

    def createImpl(self, name: str, **args: Any) -> "_DrupePotential":
        """Read the model given as ``model=`` (path of a file written by `Committee.save`).

        ``precision="single"`` lets the network compute in single precision: faster, with rounded energies
        (docs/potentials.md says by how much).

        Raises
        ------
        InputError
            If no model is given, the file is missing or it is not a committee of this version, or the
            precision is unknown.
        """
        mixable.check_keywords(args, ["model", "precision"], 'MLPotential("drupe")')
        from drupe.mlp.committee import Committee, load
        from drupe.mlp.passes import Precision

        model = args.get("model")
        if not isinstance(model, Committee | str | os.PathLike):
            raise InputError(
                'MLPotential("drupe") got no model'
                if model is None
                else f'MLPotential("drupe") got {model!r} of type {type(model).__name__} as its model',
                remedy='give a model file, MLPotential("drupe", model="ligand.drupe"), or a Committee',
            )
        precision = args.get("precision", "double")
        if precision not in get_args(Precision):
            raise InputError(
                f"precision is {precision!r}", remedy='ask for "double", which is the default, or "single"'
            )
        return _DrupePotential(model if isinstance(model, Committee) else load(Path(model)), precision)


class _DrupePotential:
    """The implementation object OpenMM-ML talks to."""

    def __init__(self, committee: "Committee", precision: "Precision") -> None:
        self.committee, self.precision = committee, precision

    def getSupportedEmbeddings(self) -> list[str]:
        return [_ELECTROSTATIC, _MECHANICAL]

    def getMLLongRange(self) -> bool:
        return False

    def addForces(
        self,
        topology: "app.Topology",
        system: "openmm.System",
        atoms: Iterable[int] | None,
        forceGroup: int,
        **args: Any,
    ) -> None:
        """Add the potential of the bare ML atoms, without surrounding charges.

        OpenMM-ML comes here for a molecule alone, and in its mechanical embedding.
        """
        if atoms is None:
            mixable.check_keywords(args, ["removeCMMotion"], "createSystem")
        if self.committee.header.n_links:
            raise InputError(
                f"the potential has {self.committee.header.n_links} link atom(s): it belongs to a molecule "
                "that is cut out of a larger one, in the field of the rest",
                remedy='pass embedding="electrostatic" to createMixedSystem',
            )
        chosen = list(range(topology.getNumAtoms())) if atoms is None else [int(i) for i in atoms]
        mixable.check_elements(self.committee.header, topology, chosen)
        tree = None
        if topology.getPeriodicBoxVectors() is not None or system.usesPeriodicBoundaryConditions():
            from drupe.mlp.images import tree_of_bonds
            from drupe.mlp.mm_side import bonds_inside, tie_together

            bonds = bonds_inside(topology, chosen)
            tree = tree_of_bonds(len(chosen), bonds)
            tie_together(system, chosen, bonds)
        system.addForce(
            _python_force(
                _Term(self.committee, self.precision, [], np.zeros(0), None, tree, None), chosen, forceGroup
            )
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
        """Build the mixed system.

        The surgery on the MM system is OpenMM-ML's mechanical embedding, where bonds are cut that of
        `drupe.mlp.cut_system`; the added force sees all MM charges, or those within the model's reach. With
        ``interpolate`` the one CustomCVForce goes into ``forceGroup`` and reports its derivative with respect
        to ``lambda_interpolate``. With mechanical embedding, OpenMM-ML's default, the force sees no charges,
        and a warning says that the surroundings do not polarise the molecule.

        Raises
        ------
        InputError
            If elements, fixed charges or cut bonds are not the model's, the atoms have a learned force
            already, the topology lacks bonds, a keyword is unknown, the system is periodic and the model has
            no reach or the box is lower than twice that, or a constrained bond has no harmonic term for the
            MM end of an interpolation.
        """
        from openmmml.embeddings import utilities
        from openmmml.embeddings.mechanicalembedding import MechanicalEmbedding

        from drupe.mlp import mm_side
        from drupe.mlp.cut_system import Mixture, border_particles, mixed_across_bonds
        from drupe.mlp.images import tree_of_bonds

        chosen, header = [int(i) for i in atoms], self.committee.header
        mixable.check_keywords(set(args) - {_DISTANCES}, _KEYWORDS, "createMixedSystem")
        mixable.check_elements(header, topology, chosen)
        mixable.check_first(system, chosen)
        mixable.check_bonds(topology, system, chosen)
        plain = mm_side.with_elements(topology)  # OpenMM-ML asks extra particles for an element
        if embedding == _MECHANICAL:
            made = MechanicalEmbedding().createMixedSystem(
                self, plain, system, chosen, forceGroup, interpolate, returnInfo=returnInfo, **args
            )
            warnings.warn(
                "mechanical embedding: learned charges and polarizabilities do not feel the surroundings; "
                'pass embedding="electrostatic" to createMixedSystem, as the potential was trained',
                stacklevel=3,
            )
            return {**made, "topology": topology} if returnInfo else made
        periodic = system.usesPeriodicBoundaryConditions()
        if periodic:
            mixable.check_box(self.committee, system)
        cut = utilities.findLinkBonds(topology, chosen)
        border = border_particles(header.border, topology, chosen, cut)
        charges = mm_side.charges_of(system)
        mixable.check_charges(header, charges[chosen])
        _tell_of_constraints(system, chosen)
        if interpolate:
            system = mm_side.with_soft_bonds(system, chosen, header.baseline)
        near = header.reach is not None
        # Mechanical embedding feels nothing but what the border moves: the fixed charges stay in OpenMM.
        felt = set() if header.reach == 0 else {int(i) for i in np.flatnonzero(charges)}
        others = sorted((felt | set(border)) - set(chosen))
        bonds = mm_side.bonds_inside(topology, chosen)
        term = _Term(
            self.committee,
            self.precision,
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
            info = {"oldToNew": list(range(topology.getNumAtoms()))}
        else:
            info = MechanicalEmbedding().createMixedSystem(
                term, plain, system, chosen, forceGroup, interpolate, returnInfo=True, **args
            )
            mixed = info["system"]
        if periodic:
            mm_side.tie_together(mixed, chosen, bonds)
        if interpolate:
            _expose_lambda(mixed, forceGroup)
        return {**info, "system": mixed, "topology": topology} if returnInfo else mixed


class _Term:
    """The potential with the charges it feels, in the shape OpenMM-ML's embedding asks for.

    ``groups`` numbers of the residues of the charges, None for a model without reach; ``tree`` which atom
    each ML atom is joined to in a periodic system, else None; ``border`` which of the charges are border
    atoms, None for a whole molecule.
    """

    def __init__(
        self,
        committee: "Committee",
        precision: "Precision",
        others: list[int],
        charges: NDArray[np.float64],
        groups: NDArray[np.int64] | None,
        tree: NDArray[np.int64] | None,
        border: NDArray[np.int64] | None,
    ) -> None:
        self.committee, self.precision, self.others, self.charges = committee, precision, others, charges
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

    particles = [*atoms, *term.others]
    learned = LearnedForce(
        term.committee,
        term.charges,
        term.groups,
        term.tree,
        term.border,
        np.array(particles, np.int64),
        term.precision,
    )
    force = openmm.PythonForce(learned)
    force.setName(learned.key)
    force.setForceGroup(group)
    force.setParticles(particles)
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


def _tell_of_constraints(system: "openmm.System", atoms: list[int]) -> None:
    from drupe.mlp.mm_side import constraints_inside

    count = len(constraints_inside(system, atoms))
    # OpenMM-ML keeps this choice to itself: it removes them after it has called createMixedSystem here.
    removed = sys._getframe(2).f_locals.get("removeConstraints", True)
    if count and removed:
        warnings.warn(
            f"{count} bonds of the ML atoms are constrained in the MM system. createMixedSystem removes "
            "these constraints, and the bonds then need a time step of at most 1 fs; with "
            "removeConstraints=False it keeps them, at the MM lengths",
            stacklevel=4,
        )
