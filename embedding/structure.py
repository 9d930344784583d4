"""Door to structure files: Amber topology in, atoms (bohr, e) with their OpenMM force field out.

Conversion from OpenMM units happens here; a stored force field is OpenMM's own XML, read back
only after every force in it was found on a list of harmless kinds.
"""

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.records import register
from drupe.units import nanometer

if TYPE_CHECKING:
    import openmm
    import openmm.app

__all__ = ["Structure", "cut_out", "locate", "openmm_system", "openmm_topology", "read_amber"]

# Forces whose parameters are numbers and formulas: reading one back can run no foreign code.
_HARMLESS = frozenset(
    {
        "CMAPTorsionForce",
        "CMMotionRemover",
        "CustomAngleForce",
        "CustomBondForce",
        "CustomCompoundBondForce",
        "CustomExternalForce",
        "CustomGBForce",
        "CustomNonbondedForce",
        "CustomTorsionForce",
        "GBSAOBCForce",
        "HarmonicAngleForce",
        "HarmonicBondForce",
        "NonbondedForce",
        "PeriodicTorsionForce",
        "RBTorsionForce",
    }
)
_MASS_TOLERANCE_AMU = 0.6


@register(version=1)
@dataclass(frozen=True, eq=False)
class Structure:
    """Atoms with their MM force field.

    Fields: ``system`` the atoms (bohr, e); ``openmm_xml`` the serialised OpenMM System (flexible
    bonds, no cutoff); ``implicit_solvent`` the name of the solvent model in it, or None.
    """

    system: MolecularSystem
    openmm_xml: str
    implicit_solvent: str | None


def read_amber(
    prmtop: str | Path,
    coordinates: str | Path,
    *,
    implicit_solvent: str | None = "OBC2",
    hydrogen_mass_amu: float | None = None,
) -> Structure:
    """Read an Amber topology with coordinates; flexible bonds, no cutoff.

    Parameters
    ----------
    prmtop
        Topology file.
    coordinates
        Coordinates or restart file (inpcrd, crd, rst7) of the same atoms.
    implicit_solvent
        ``"OBC2"`` or None for vacuum.
    hydrogen_mass_amu
        Mass moved onto hydrogens from their heavy atoms; None keeps the masses.

    Raises
    ------
    InputError
        If a file is missing or unreadable, the files do not belong together, an element does not fit
        its mass, or the system is periodic.
    """
    import openmm
    from openmm import app, unit

    if implicit_solvent not in (None, "OBC2"):
        raise InputError(
            f"the implicit solvent {implicit_solvent!r} is not known", remedy='use "OBC2", or None for vacuum'
        )
    top_path, crd_path = _existing(prmtop), _existing(coordinates)
    try:
        parameters = app.AmberPrmtopFile(str(top_path))
    except Exception as error:
        raise _unreadable(top_path, "an Amber topology", error) from error
    try:
        positions = app.AmberInpcrdFile(str(crd_path))
        table = np.asarray(positions.positions.value_in_unit(unit.nanometer), dtype=np.float64)
        periodic = positions.boxVectors is not None
    except Exception as error:
        raise _unreadable(crd_path, "Amber coordinates", error) from error
    if periodic or parameters.topology.getPeriodicBoxVectors() is not None:
        raise InputError(
            f"{crd_path.name} with {top_path.name} describes a periodic box",
            remedy="periodic systems are not available yet: prepare the complex for implicit solvent",
        )
    if len(table) != parameters.topology.getNumAtoms():
        raise InputError(
            f"{crd_path.name} has {len(table)} atoms, "
            f"{top_path.name} has {parameters.topology.getNumAtoms()}",
            remedy="give the coordinates that were written with this topology",
        )
    settings = {
        "nonbondedMethod": app.NoCutoff,
        "constraints": None,
        "rigidWater": False,
        "removeCMMotion": False,
        "implicitSolvent": app.OBC2 if implicit_solvent else None,
    }
    try:
        forces = parameters.createSystem(**settings)
        _check_elements(parameters.topology, forces)
        if hydrogen_mass_amu is not None:
            forces = parameters.createSystem(**settings, hydrogenMass=hydrogen_mass_amu * unit.dalton)
    except InputError:
        raise
    except Exception as error:
        raise _unreadable(top_path, "a force field that OpenMM can build", error) from error
    system = _system_of(parameters.topology, table * nanometer, _fixed_charges(forces))
    return Structure(system, openmm.XmlSerializer.serialize(forces), implicit_solvent)


def cut_out(structure: Structure, atoms: Sequence[int] | NDArray[np.int64]) -> Structure:
    """Take ``atoms`` out with the force-field terms that live wholly among them.

    Bonds, angles, torsions, nonbonded parameters, exceptions and OBC radii are copied; terms that
    reach outside are left behind.

    Raises
    ------
    InputError
        If the force field holds a kind of force that cannot be cut, named in the message.
    """
    import openmm

    from drupe.embedding.forcefield import cut_forces

    system = structure.system.subset(atoms)
    forces = cut_forces(openmm_system(structure), np.asarray(atoms, dtype=np.int64))
    return Structure(system, openmm.XmlSerializer.serialize(forces), structure.implicit_solvent)


def openmm_system(structure: Structure) -> "openmm.System":
    """Build the OpenMM System of ``structure``.

    Raises
    ------
    InputError
        If the stored XML holds a force that is not on the list of harmless kinds.
    """
    import openmm

    text = structure.openmm_xml
    kinds = set(re.findall(r"""\btype\s*=\s*["']([^"']*)["']""", text))
    foreign = sorted(kinds - _HARMLESS - {"System"})
    if foreign or "<!" in text or "PythonForce" in text or 'type="System"' not in text:
        raise InputError(
            f"the stored force field holds {', '.join(foreign) or 'XML that is not a plain OpenMM System'}",
            remedy="read the structure again from its topology; only forces made of numbers are loaded",
        )
    return openmm.XmlSerializer.deserialize(text)


def openmm_topology(system: MolecularSystem) -> "openmm.app.Topology":
    """Build an OpenMM Topology with the chains, residues, atoms and bonds of ``system``."""
    from openmm import app

    topology = app.Topology()
    atoms = []
    chain = residue = None
    last_chain: int | None = None
    last_residue: tuple[int, int, str] | None = None
    for i in range(system.n_atoms):
        this_chain = int(system.chain_ids[i])
        this_residue = (this_chain, int(system.residue_ids[i]), system.residue_names[i])
        if this_chain != last_chain:
            chain = topology.addChain(str(this_chain))
        if this_residue != last_residue:
            residue = topology.addResidue(system.residue_names[i], chain, str(system.residue_ids[i]))
        last_chain, last_residue = this_chain, this_residue
        number = int(system.numbers[i])
        element = app.Element.getByAtomicNumber(number) if number else None
        atoms.append(topology.addAtom(system.atom_names[i], element, residue))
    for i, j in system.bonds:
        topology.addBond(atoms[i], atoms[j])
    return topology


def locate(path: str, base: Path) -> Path:
    """Find a file named in a configuration.

    Parameters
    ----------
    path
        ``package:<package>/<file inside it>``, an absolute path, or one relative to ``base``.
    base
        Folder of the configuration file.

    Raises
    ------
    InputError
        If the package is not installed, the file is not there, or the path climbs out of the package.
    """
    if not path.startswith("package:"):
        try:
            return _existing(base / Path(path).expanduser())
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{path[:80]!r} is no usable path ({error})", remedy="give a plain path"
            ) from error
    name, _, inside = path.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"{path!r} names the package {name!r}, which is not installed",
            remedy=f"pip install {name}, or give the path of a file",
        )
    if not inside or ".." in Path(inside).parts or Path(inside).is_absolute():
        raise InputError(
            f"{path!r} does not stay inside the package", remedy="write package:<package>/<folder>/<file>"
        )
    return _existing(Path(spec.submodule_search_locations[0]) / inside)


def _existing(path: str | Path) -> Path:
    found = Path(path)
    if found.is_file():
        return found
    folder = found.parent
    remedy = "check the path"
    if folder.is_dir():
        similar = sorted(p.name for p in folder.iterdir() if p.suffix == found.suffix)[:8]
        remedy += f"; files of this kind there: {', '.join(similar) or 'none'}"
    else:
        remedy += f"; there is no folder {folder}"
    raise InputError(f"there is no file {found}", remedy=remedy)


def _unreadable(path: Path, kind: str, error: Exception) -> InputError:
    return InputError(
        f"{path} cannot be read as {kind} ({type(error).__name__}: {error})",
        remedy="the file is damaged or of another kind; write it again with the program it came from",
    )


def _check_elements(topology: "openmm.app.Topology", forces: "openmm.System") -> None:
    """Topologies without atomic numbers have elements guessed from names: the mass must agree."""
    from openmm import unit

    for atom in topology.atoms():
        mass = forces.getParticleMass(atom.index).value_in_unit(unit.dalton)
        expected = 0.0 if atom.element is None else atom.element.mass.value_in_unit(unit.dalton)
        if abs(mass - expected) > _MASS_TOLERANCE_AMU:
            label = "no element" if atom.element is None else f"element {atom.element.symbol}"
            raise InputError(
                f"atom {atom.index} ({atom.name} of {atom.residue.name}) was read as {label}, "
                f"but its mass is {mass:.3f}",
                remedy="write the topology with an ATOMIC_NUMBER section, before any mass is moved",
            )


def _fixed_charges(forces: "openmm.System") -> NDArray[np.float64]:
    import openmm
    from openmm import unit

    (nonbonded,) = (f for f in forces.getForces() if isinstance(f, openmm.NonbondedForce))
    return np.array(
        [
            nonbonded.getParticleParameters(i)[0].value_in_unit(unit.elementary_charge)
            for i in range(forces.getNumParticles())
        ]
    )


def _system_of(
    topology: "openmm.app.Topology", positions: NDArray[np.float64], charges: NDArray[np.float64]
) -> MolecularSystem:
    atoms = list(topology.atoms())
    return MolecularSystem(
        numbers=np.array([0 if a.element is None else a.element.atomic_number for a in atoms], np.int64),
        positions=positions,
        charges=charges,
        bonds=np.array([(a.index, b.index) for a, b in topology.bonds()], np.int64).reshape(-1, 2),
        box=None,
        atom_names=tuple(a.name for a in atoms),
        residue_names=tuple(a.residue.name for a in atoms),
        residue_ids=np.array([_residue_number(a.residue) for a in atoms], np.int64),
        chain_ids=np.array([a.residue.chain.index for a in atoms], np.int64),
    )


def _residue_number(residue: "openmm.app.topology.Residue") -> int:
    text = str(residue.id).strip()
    return int(text) if text.lstrip("-").isdigit() else int(residue.index) + 1
