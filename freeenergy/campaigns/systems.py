"""OpenMM systems of a leg: its structure in, the system with its force field or a learned potential out."""

from typing import TYPE_CHECKING, Any

from drupe.freeenergy.campaigns.preparation import Leg

if TYPE_CHECKING:
    import openmm

    from drupe.mlp.passes import Precision

__all__ = ["mixed_system", "mm_system"]


def mm_system(leg: Leg) -> "openmm.System":
    """OpenMM system of a leg at the MM level; in a box with rigid water and without barostat."""
    from drupe.embedding.structures.structure import openmm_system
    from drupe.freeenergy.simulation.periodic import in_water_box, is_periodic

    periodic = is_periodic(leg.structure)
    return in_water_box(leg.structure, leg.ligand) if periodic else openmm_system(leg.structure)


def mixed_system(
    leg: Leg, gathered: Any, *, interpolate: bool, group: int = 0, precision: "Precision" = "double"
) -> "openmm.System":
    """OpenMM system of a leg with the ligand's energy from a gathered committee."""
    from openmmml import MLPotential

    from drupe.embedding.structures.structure import openmm_topology
    from drupe.freeenergy.switches.end_states import check_same_atoms

    plain = mm_system(leg)
    potential = MLPotential("drupe", model=gathered.committee, precision=precision)
    made: openmm.System = potential.createMixedSystem(
        openmm_topology(leg.structure.system),
        plain,
        leg.ligand.tolist(),
        embedding="electrostatic",
        interpolate=interpolate,
        forceGroup=group,
    )
    check_same_atoms(plain, made)
    return made
