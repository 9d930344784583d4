"""OpenMM objects in (topology, System, positions), a `Structure` out (bohr, e)."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.embedding.structures.mechanics import Structure
from drupe.embedding.structures.openmm_xml import check_forces
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.units import angstrom, nanometer

if TYPE_CHECKING:
    import openmm
    import openmm.app

__all__ = ["box_of", "check_box", "nonbonded", "read_openmm"]

#: Direct-space cutoff of PME; the lattice sum makes the energy nearly independent of it.
CUTOFF_NM = 0.9
_MASS_TOLERANCE_AMU = 0.6


def read_openmm(
    topology: "openmm.app.Topology",
    system: "openmm.System",
    positions: ArrayLike,
    *,
    implicit_solvent: str | None = None,
    box: NDArray[np.float64] | None = None,
) -> Structure:
    """Take atoms, names and bonds from a topology, charges and forces from a System.

    Parameters
    ----------
    topology
        Chains, residues, atoms with their elements, bonds.
    system
        The force field of the same atoms; one NonbondedForce carries the fixed charges.
    positions
        Shape ``(atoms, 3)``: an OpenMM quantity, or plain numbers in nm as OpenMM has them.
    implicit_solvent
        Name of the solvent model in ``system``, for the record.
    box
        Rows are box vectors, bohr. None takes the topology's, then the System's own, when the System
        is periodic.

    Raises
    ------
    InputError
        If the atom counts differ, an element does not fit its mass, the charges are not those of one
        NonbondedForce, or a kind of force may not be kept.
    """
    import openmm

    table = _in_nanometer(positions)
    atoms = list(topology.atoms())
    counts = {"topology": len(atoms), "System": system.getNumParticles(), "positions": len(table)}
    if len(set(counts.values())) != 1:
        raise InputError(
            "atom counts differ: " + ", ".join(f"{name} {count}" for name, count in counts.items()),
            remedy="give coordinates, topology and force field that were written together",
        )
    check_forces(system)
    _check_elements(topology, system)
    if system.usesPeriodicBoundaryConditions():
        vectors = box_of(topology) if box is None else box
        vectors = box_of(system) if vectors is None else vectors
        assert vectors is not None
        check_box(vectors, _cutoff(system))
        system = _in_box(system, vectors)
    else:
        vectors = None
    made = MolecularSystem(
        numbers=np.array([0 if a.element is None else a.element.atomic_number for a in atoms], np.int64),
        positions=table * nanometer,
        charges=_fixed_charges(system),
        bonds=np.array([(a.index, b.index) for a, b in topology.bonds()], np.int64).reshape(-1, 2),
        box=vectors,
        atom_names=tuple(a.name for a in atoms),
        residue_names=tuple(a.residue.name for a in atoms),
        residue_ids=np.array([_residue_number(a.residue) for a in atoms], np.int64),
        chain_ids=np.array([a.residue.chain.index for a in atoms], np.int64),
    )
    return Structure(made, openmm.XmlSerializer.serialize(system), implicit_solvent)


def nonbonded(box: NDArray[np.float64] | None, cutoff_nm: float = CUTOFF_NM) -> dict[str, Any]:
    """Settings of ``createSystem`` for a box (bohr) or none: flexible bonds, all pairs or PME.

    Raises
    ------
    InputError
        If the box is no box, or narrower than two cutoffs.
    """
    from openmm import app, unit

    settings: dict[str, Any] = {"constraints": None, "rigidWater": False, "removeCMMotion": False}
    if box is None:
        return {**settings, "nonbondedMethod": app.NoCutoff}
    check_box(box, cutoff_nm)
    return {
        **settings,
        "nonbondedMethod": app.PME,
        "nonbondedCutoff": cutoff_nm * unit.nanometer,
        "ewaldErrorTolerance": 1e-5,
    }


def box_of(source: Any) -> NDArray[np.float64] | None:
    """Box vectors (rows, bohr) of a topology, a System or a file reader; None without a box."""
    from openmm import unit

    vectors = (
        source.getDefaultPeriodicBoxVectors()
        if hasattr(source, "getDefaultPeriodicBoxVectors")
        else source.getPeriodicBoxVectors()
    )
    if vectors is None:
        return None
    rows = np.array([v.value_in_unit(unit.nanometer) for v in vectors], np.float64)
    if not rows.any() or np.allclose(rows, 0.1 * np.eye(3)):  # PDB writes a unit cell of 1 A for "no crystal"
        return None
    return rows * nanometer


def check_box(box: NDArray[np.float64], cutoff_nm: float = 0.0) -> None:
    """Refuse vectors (rows, bohr) that OpenMM could not use as a box with that cutoff.

    Raises
    ------
    InputError
        If the vectors are not finite, not in reduced lower-triangular form, or narrower than two cutoffs.
    """
    lengths = np.diag(box)
    upper = np.abs(box[np.triu_indices(3, 1)]).max()
    slack = 1e-4 * float(lengths.max())
    tilted = (
        2 * abs(box[1, 0]) > lengths[0] + slack
        or 2 * abs(box[2, 0]) > lengths[0] + slack
        or 2 * abs(box[2, 1]) > lengths[1] + slack
    )
    if not np.isfinite(box).all() or (lengths <= 0).any() or upper > slack or tilted:
        raise InputError(
            f"the box vectors {np.round(box / angstrom, 3).tolist()} (angstrom) are no reduced periodic box",
            remedy="rotate the cell so that a lies on x and b in the xy plane, and reduce it "
            "(openmm.app.internal.unitcell.reducePeriodicBoxVectors)",
        )
    if lengths.min() < 2 * cutoff_nm * nanometer:
        raise InputError(
            f"the box is {lengths.min() / angstrom:.2f} A wide, less than two cutoffs of "
            f"{10 * cutoff_nm:.1f} A",
            remedy="use a larger box: an atom would meet its own image",
        )


def _in_box(system: "openmm.System", box: NDArray[np.float64]) -> "openmm.System":
    """Copy of a System with that default box: the mesh of PME is chosen for the default box."""
    import openmm

    own = box_of(system)
    if own is not None and np.array_equal(own, box):
        return system
    copy = openmm.XmlSerializer.clone(system)
    copy.setDefaultPeriodicBoxVectors(*(box / nanometer))
    return copy


def _cutoff(system: "openmm.System") -> float:
    """Largest cutoff of a periodic System, nm."""
    from openmm import unit

    return max(
        (
            force.getCutoffDistance().value_in_unit(unit.nanometer)
            for force in system.getForces()
            if hasattr(force, "getCutoffDistance") and force.usesPeriodicBoundaryConditions()
        ),
        default=0.0,
    )


def _in_nanometer(positions: Any) -> NDArray[np.float64]:
    from openmm import unit

    plain = positions.value_in_unit(unit.nanometer) if unit.is_quantity(positions) else positions
    table = np.asarray([tuple(row) for row in plain], dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != 3:
        raise InputError(
            f"positions have shape {table.shape}", remedy="pass an array of shape (atoms, 3), in nm"
        )
    return table


def _check_elements(topology: "openmm.app.Topology", system: "openmm.System") -> None:
    """Elements are often guessed from names: an atom and its hydrogens must weigh what they should.

    A hydrogen counts with its heavy atom, between which mass may have been moved.
    """
    from openmm import unit

    atoms = list(topology.atoms())
    mass = np.array([system.getParticleMass(a.index).value_in_unit(unit.dalton) for a in atoms])
    expected = np.array(
        [0.0 if a.element is None else a.element.mass.value_in_unit(unit.dalton) for a in atoms]
    )
    light = np.array([a.element is not None and a.element.atomic_number == 1 for a in atoms])
    surplus = mass - expected
    off = np.where((mass == 0) & (expected > 0), 0.0, surplus)  # a particle of mass 0 is held fixed
    carried = off.copy()
    for a, b in topology.bonds():
        for hydrogen, heavy in ((a.index, b.index), (b.index, a.index)):
            if light[hydrogen] and not light[heavy] and abs(off[hydrogen]) > _MASS_TOLERANCE_AMU:
                carried[heavy] += off[hydrogen]
                carried[hydrogen] = 0.0
    wrong = np.flatnonzero(np.abs(carried) > _MASS_TOLERANCE_AMU)
    if len(wrong):
        atom = atoms[int(wrong[0])]
        label = "no element" if atom.element is None else f"element {atom.element.symbol}"
        raise InputError(
            f"atom {atom.index} ({atom.name} of {atom.residue.name}) was read as {label}, "
            f"but its mass is {mass[atom.index]:.3f} ({len(wrong)} such atoms)",
            remedy="write the files with elements (Amber: an ATOMIC_NUMBER section before masses move)",
        )


def _fixed_charges(system: "openmm.System") -> NDArray[np.float64]:
    import openmm
    from openmm import unit

    found = [f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)]
    if len(found) != 1 or found[0].getNumParticleParameterOffsets():
        what = f"{len(found)} NonbondedForces" if len(found) != 1 else "charges that depend on a parameter"
        raise InputError(
            f"the force field has {what}",
            remedy="give one NonbondedForce with the fixed charges of all atoms",
        )
    for force in system.getForces():
        hidden = _charge_parameters(force)
        if hidden:
            raise InputError(
                f"the force field has charges in a {type(force).__name__} ({', '.join(hidden)})",
                remedy="give the charges in the NonbondedForce; an alchemical system is no input, "
                "the physical one it was made from is",
            )
    return np.array(
        [
            found[0].getParticleParameters(i)[0].value_in_unit(unit.elementary_charge)
            for i in range(system.getNumParticles())
        ]
    )


def _charge_parameters(force: "openmm.Force") -> list[str]:
    """Names of a custom force's own parameters that sound like charges."""
    import openmm

    if isinstance(force, openmm.CustomNonbondedForce):
        kind = "Particle"
    elif isinstance(force, openmm.CustomBondForce):
        kind = "Bond"
    else:
        return []
    count = getattr(force, f"getNumPer{kind}Parameters")()
    names = [getattr(force, f"getPer{kind}ParameterName")(i) for i in range(count)]
    return [name for name in names if name in ("q", "qq") or "charge" in name.lower()]


def _residue_number(residue: "openmm.app.topology.Residue") -> int:
    text = str(residue.id).strip()
    return int(text) if text.lstrip("-").isdigit() else int(residue.index) + 1
