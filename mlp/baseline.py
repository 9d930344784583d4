"""The molecule's own MM energy as plain arrays, read from an OpenMM System.

In: an OpenMM System (nm, kJ/mol) or a Structure with the indices of the molecule. Out: parameters in
hartree, bohr, radian, e. Bonded terms and Lennard-Jones with Coulomb among these atoms only; implicit
solvent is left out, it stays in OpenMM.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.mlp.inside_terms import InsideTerms
from drupe.records import frozen, record_key, register
from drupe.units import kj_per_mol, nanometer

if TYPE_CHECKING:
    import openmm

    from drupe.embedding.structures.structure import Structure

__all__ = ["LigandForceField"]

_Rows = list[list[float]]
# Forces that act on more than the molecule, or on nothing: they carry no energy inside it.
_NOT_INTERNAL = frozenset({"GBSAOBCForce", "CustomGBForce", "CMMotionRemover", "CustomExternalForce"})


@register(version=1)
@dataclass(frozen=True, eq=False)
class LigandForceField:
    """Parameters of E = sum k/2 (r-r0)^2 + k/2 (t-t0)^2 + k (1 + cos(n p - p0)) + LJ + Coulomb.

    ==============  =================  ======================================================
    field           shape              columns (hartree, bohr, radian, e)
    ==============  =================  ======================================================
    charges         ``(atoms,)``       fixed charges q0
    bond_atoms      ``(bonds, 2)``
    bonds           ``(bonds, 2)``     r0, k
    angle_atoms     ``(angles, 3)``
    angles          ``(angles, 2)``    t0, k
    torsion_atoms   ``(torsions, 4)``
    torsions        ``(torsions, 3)``  n, p0, k
    pair_atoms      ``(pairs, 2)``     all pairs that interact, exceptions applied
    pairs           ``(pairs, 3)``     charge product, sigma, epsilon
    ==============  =================  ======================================================
    """

    charges: NDArray[np.float64]
    bond_atoms: NDArray[np.int64]
    bonds: NDArray[np.float64]
    angle_atoms: NDArray[np.int64]
    angles: NDArray[np.float64]
    torsion_atoms: NDArray[np.int64]
    torsions: NDArray[np.float64]
    pair_atoms: NDArray[np.int64]
    pairs: NDArray[np.float64]

    def __post_init__(self) -> None:
        widths = {"bond": (2, 2), "angle": (3, 2), "torsion": (4, 3), "pair": (2, 3)}
        object.__setattr__(self, "charges", frozen(self.charges, np.float64))
        for name, (members, columns) in widths.items():
            atoms = frozen(np.reshape(getattr(self, f"{name}_atoms"), (-1, members)), np.int64)
            table = frozen(np.reshape(getattr(self, f"{name}s"), (-1, columns)), np.float64)
            if len(atoms) != len(table) or (
                atoms.size and not 0 <= atoms.min() <= atoms.max() < self.n_atoms
            ):
                raise InputError(
                    f"the {name} terms name atoms outside 0 to {self.n_atoms - 1}, or lack parameters",
                    remedy="build it with LigandForceField.from_system or .from_structure",
                )
            object.__setattr__(self, f"{name}_atoms", atoms)
            object.__setattr__(self, f"{name}s", table)

    @property
    def n_atoms(self) -> int:
        """Number of atoms of the molecule, link atoms included."""
        return len(self.charges)

    @property
    def key(self) -> str:
        """Content name."""
        return record_key(self)

    @classmethod
    def from_structure(
        cls,
        structure: "Structure",
        atoms: Sequence[int] | NDArray[np.int64],
        links: Sequence[Sequence[int]] | NDArray[np.int64] = (),
    ) -> "LigandForceField":
        """Read the molecule ``atoms`` from a structure; arguments and errors as in `from_system`."""
        from drupe.embedding.structures.structure import openmm_system

        return cls.from_system(openmm_system(structure), atoms, links)

    @classmethod
    def from_system(
        cls,
        system: "openmm.System",
        atoms: Sequence[int] | NDArray[np.int64],
        links: Sequence[Sequence[int]] | NDArray[np.int64] = (),
    ) -> "LigandForceField":
        """Read the terms inside a molecule from an OpenMM System.

        Parameters
        ----------
        system
            The MM system.
        atoms
            Indices of the molecule, in the order of the labels.
        links
            Where bonds are cut: pairs (atom of the molecule, MM host), ``partition.links``. Each link atom
            comes after the others and stands for its MM host in the angles and torsions that it carries
            (`drupe.mlp.inside_terms`); it has no charge and no Lennard-Jones term.

        Raises
        ------
        InputError
            If a force is of a kind that is not known here, a bond that is not in ``links`` or a constraint
            crosses the border of the molecule, or bonds inside it are constrained away.
        """
        import openmm

        inside = InsideTerms(system, [int(a) for a in atoms], [list(map(int, pair)) for pair in links])
        position = inside.own
        _refuse_constraints(system, position)
        tables: dict[str, tuple[_Rows, _Rows]] = {k: ([], []) for k in ("bond", "angle", "torsion", "pair")}
        charges = np.zeros(len(position))
        for force in system.getForces():
            if isinstance(force, openmm.HarmonicBondForce):
                _read_bonds(force, inside, tables["bond"])
            elif isinstance(force, openmm.HarmonicAngleForce):
                _read_angles(force, inside, tables["angle"])
            elif isinstance(force, openmm.PeriodicTorsionForce):
                _read_torsions(force, inside, tables["torsion"])
            elif isinstance(force, openmm.NonbondedForce):
                charges = _read_nonbonded(force, position, tables["pair"])
            elif type(force).__name__ not in _NOT_INTERNAL:
                raise InputError(
                    f"the force field holds a {type(force).__name__}, which the MM baseline cannot reproduce",
                    remedy="use a force field of harmonic bonds and angles, torsions, LJ and Coulomb",
                )
        fields: dict[str, NDArray[np.float64]] = {}
        for name, (members, table) in tables.items():
            fields[f"{name}_atoms"], fields[f"{name}s"] = np.array(members), np.array(table)
        charges = np.pad(charges, (0, inside.n_links))
        return cls(charges=charges, **fields)  # type: ignore[arg-type]  # index tables become int64 inside


def _read_bonds(force: "openmm.HarmonicBondForce", inside: InsideTerms, out: tuple[_Rows, _Rows]) -> None:
    from openmm import unit

    for index in range(force.getNumBonds()):
        *members, r0, k = force.getBondParameters(index)
        where = inside.bond(members)
        if where is not None:
            out[0].append(where)
            stiffness = k.value_in_unit(unit.kilojoule_per_mole / unit.nanometer**2)
            out[1].append(
                [r0.value_in_unit(unit.nanometer) * nanometer, stiffness * kj_per_mol / nanometer**2]
            )


def _read_angles(force: "openmm.HarmonicAngleForce", inside: InsideTerms, out: tuple[_Rows, _Rows]) -> None:
    from openmm import unit

    for index in range(force.getNumAngles()):
        *members, t0, k = force.getAngleParameters(index)
        where = inside.angle(members)
        if where is not None:
            out[0].append(where)
            stiffness = k.value_in_unit(unit.kilojoule_per_mole / unit.radian**2)
            out[1].append([t0.value_in_unit(unit.radian), stiffness * kj_per_mol])


def _read_torsions(
    force: "openmm.PeriodicTorsionForce", inside: InsideTerms, out: tuple[_Rows, _Rows]
) -> None:
    from openmm import unit

    for index in range(force.getNumTorsions()):
        *members, period, phase, k = force.getTorsionParameters(index)
        where = inside.torsion(members)
        height = k.value_in_unit(unit.kilojoule_per_mole) * kj_per_mol
        if where is not None and height != 0.0:
            out[0].append(where)
            out[1].append([float(period), phase.value_in_unit(unit.radian), height])


def _read_nonbonded(
    force: "openmm.NonbondedForce", position: dict[int, int], out: tuple[_Rows, _Rows]
) -> NDArray[np.float64]:
    from openmm import unit

    def atomic(
        qq: "unit.Quantity", sigma: "unit.Quantity", epsilon: "unit.Quantity", *, power: int
    ) -> list[float]:
        return [
            qq.value_in_unit(unit.elementary_charge**power),
            sigma.value_in_unit(unit.nanometer) * nanometer,
            epsilon.value_in_unit(unit.kilojoule_per_mole) * kj_per_mol,
        ]

    atoms = np.array([atomic(*force.getParticleParameters(a), power=1) for a in position])
    pairs: dict[tuple[int, int], list[float]] = {}
    for i in range(len(atoms)):
        for j in range(i + 1, len(atoms)):
            (qi, si, ei), (qj, sj, ej) = atoms[i], atoms[j]
            pairs[i, j] = [qi * qj, (si + sj) / 2, float(np.sqrt(ei * ej))]
    for index in range(force.getNumExceptions()):
        a, b, *parameters = force.getExceptionParameters(index)
        if a in position and b in position:
            i, j = sorted((position[a], position[b]))
            pairs[i, j] = atomic(*parameters, power=2)
    for (i, j), row in pairs.items():
        if row[0] != 0.0 or row[2] != 0.0:
            out[0].append([i, j])
            out[1].append(row)
    return np.asarray(atoms[:, 0], dtype=np.float64)


def _refuse_constraints(system: "openmm.System", position: dict[int, int]) -> None:
    for index in range(system.getNumConstraints()):
        a, b, _ = system.getConstraintParameters(index)
        if a in position or b in position:
            raise InputError(
                f"the bond between atoms {a} and {b} is constrained, its force constant is not there",
                remedy="build the MM system with constraints=None and rigidWater=False",
            )
