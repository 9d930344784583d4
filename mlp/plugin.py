"""Door to OpenMM-ML: ``MLPotential("drupe", model=...)`` and its electrostatic embedding.

OpenMM-ML imports this module while it is itself being imported, so nothing of it (and nothing
heavy) is imported at module level. Units at this door: OpenMM's (nm, kJ/mol, e).

E_mixed = E_MM(all) - E_MM(terms inside the ML atoms, implicit solvent kept) + E_ML, where E_ML is the
label's energy without its fixed-charge Coulomb part, which stays in OpenMM's own nonbonded force.
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
        if atoms is not None:
            warnings.warn(
                "mechanical embedding: learned charges and polarizabilities do not feel the surroundings; "
                'pass embedding="electrostatic" to createMixedSystem, as the potential was trained',
                stacklevel=4,
            )
        chosen = list(range(topology.getNumAtoms())) if atoms is None else [int(i) for i in atoms]
        _check_elements(self.committee, topology, chosen)
        _refuse_periodic(topology, None)
        system.addForce(_python_force(self.committee, chosen, [], np.zeros(0), forceGroup))

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

        The surgery on the MM system is OpenMM-ML's mechanical embedding; the added force sees all
        MM charges. With ``interpolate`` the one CustomCVForce goes into ``forceGroup`` and reports
        its derivative with respect to ``lambda_interpolate``.

        Raises
        ------
        InputError
            If elements or fixed charges are not the model's, the system is periodic, or a bond
            would be cut.
        """
        from openmmml.embeddings import utilities
        from openmmml.embeddings.mechanicalembedding import MechanicalEmbedding

        chosen = [int(i) for i in atoms]
        _check_elements(self.committee, topology, chosen)
        _refuse_periodic(topology, system)
        cut = utilities.findLinkBonds(topology, chosen)
        if cut:
            names = [f"{_name(topology, i)}-{_name(topology, j)}" for i, j in cut[:4]]
            raise InputError(
                f"the ML region cuts {len(cut)} covalent bond(s): {', '.join(names)}",
                remedy="choose whole molecules: link atoms are not available for this potential",
            )
        charges = _charges(system)
        _check_charges(self.committee, charges[chosen])
        inside = set(chosen)
        others = [i for i in range(system.getNumParticles()) if i not in inside and charges[i] != 0.0]
        term = _EmbeddedTerm(self.committee, others, charges[others])
        made = MechanicalEmbedding().createMixedSystem(
            term, topology, system, chosen, forceGroup, interpolate, returnInfo=returnInfo, **args
        )
        if interpolate:
            _expose_lambda(made["system"] if returnInfo else made, forceGroup)
        return made


class _EmbeddedTerm:
    """The potential together with the charges it feels, in the shape OpenMM-ML's embedding asks for."""

    def __init__(self, committee: "Committee", others: list[int], charges: NDArray[np.float64]) -> None:
        self.committee, self.others, self.charges = committee, others, charges

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
        system.addForce(_python_force(self.committee, list(atoms), self.others, self.charges, forceGroup))


def _python_force(
    committee: "Committee", atoms: list[int], others: list[int], charges: NDArray[np.float64], group: int
) -> "openmm.PythonForce":
    import openmm

    from drupe.mlp.force import LearnedForce

    force = openmm.PythonForce(LearnedForce(committee, charges))
    force.setForceGroup(group)
    force.setParticles([*atoms, *others])
    force.setUsesPeriodicBoundaryConditions(False)
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


def _name(topology: "app.Topology", index: int) -> str:
    atom = list(topology.atoms())[index]
    return f"{atom.name} of {atom.residue.name}{atom.residue.id} (atom {index})"


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


def _charges(system: "openmm.System") -> NDArray[np.float64]:
    import openmm
    from openmm import unit

    forces = [f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)]
    if len(forces) != 1:
        raise InputError(
            f"the MM system has {len(forces)} NonbondedForce objects, electrostatic embedding needs one",
            remedy="build the system from a force field with point charges",
        )
    count = system.getNumParticles()
    values = [
        forces[0].getParticleParameters(i)[0].value_in_unit(unit.elementary_charge) for i in range(count)
    ]
    return np.array(values, dtype=np.float64)


def _refuse_periodic(topology: "app.Topology", system: "openmm.System | None") -> None:
    if topology.getPeriodicBoxVectors() is not None or (
        system is not None and system.usesPeriodicBoundaryConditions()
    ):
        raise InputError(
            "the system is periodic, and this potential was trained on finite clusters",
            remedy="use implicit solvent without a box; periodic boxes are not available yet",
        )
