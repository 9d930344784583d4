"""The molecular system: atoms, fixed charges and names as plain arrays, all in atomic units (bohr, e)."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.errors import InputError
from drupe.records import frozen, record_key, register

if TYPE_CHECKING:
    import openmm
    import openmm.app

__all__ = ["MolecularSystem"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class MolecularSystem:
    """Atoms with positions, MM charges, bonds and names.

    ==============  ==============  =====  ==============================================
    field           shape           unit   note
    ==============  ==============  =====  ==============================================
    numbers         ``(atoms,)``    --     atomic numbers; 0 is a site without a nucleus
    positions       ``(atoms, 3)``  bohr
    charges         ``(atoms,)``    e      fixed charges of the force field
    bonds           ``(bonds, 2)``  --     indices, each bond once, smaller index first
    box             ``(3, 3)``      bohr   rows are box vectors; None without a box
    atom_names      ``(atoms,)``    --
    residue_names   ``(atoms,)``    --     one per atom
    residue_ids     ``(atoms,)``    --     number of the residue as the file has it
    chain_ids       ``(atoms,)``    --
    ==============  ==============  =====  ==============================================

    Raises
    ------
    InputError
        If shapes disagree, a number is not finite or a bond points outside.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    charges: NDArray[np.float64]
    bonds: NDArray[np.int64]
    box: NDArray[np.float64] | None
    atom_names: tuple[str, ...]
    residue_names: tuple[str, ...]
    residue_ids: NDArray[np.int64]
    chain_ids: NDArray[np.int64]

    def __post_init__(self) -> None:
        own = {
            "numbers": frozen(_whole_numbers(self.numbers), np.int64),
            "positions": frozen(self.positions, np.float64),
            "charges": frozen(self.charges, np.float64),
            "bonds": frozen(_sorted_bonds(self.bonds), np.int64),
            "box": None if self.box is None else frozen(self.box, np.float64),
            "atom_names": tuple(self.atom_names),
            "residue_names": tuple(self.residue_names),
            "residue_ids": frozen(self.residue_ids, np.int64),
            "chain_ids": frozen(self.chain_ids, np.int64),
        }
        for name, value in own.items():
            object.__setattr__(self, name, value)
        self._check_shapes()
        self._check_values()

    @classmethod
    def from_amber(cls, prmtop: str | Path, coordinates: str | Path) -> "MolecularSystem":
        """Read an Amber topology and coordinates (inpcrd/rst7), with the box if they have one.

        Raises
        ------
        InputError
            If a file is missing or damaged, or the atom counts differ.
        """
        from drupe.embedding.structures.amber import read_amber

        return read_amber(prmtop, coordinates, implicit_solvent=None).system

    @classmethod
    def from_gromacs(
        cls, top: str | Path, gro: str | Path, *, include: str | Path | None = None
    ) -> "MolecularSystem":
        """Read a GROMACS topology and coordinates; see `drupe.embedding.structures.gromacs.read_gromacs`.

        Raises
        ------
        InputError
            If a file is missing or damaged, or the atom counts differ.
        """
        from drupe.embedding.structures.gromacs import read_gromacs

        return read_gromacs(top, gro, include=include).system

    @classmethod
    def from_charmm(
        cls,
        psf: str | Path,
        coordinates: str | Path,
        parameters: Sequence[str | Path],
        *,
        box: ArrayLike | None = None,
    ) -> "MolecularSystem":
        """Read a CHARMM psf with parameters and coordinates; see `structures.charmm.read_charmm`.

        Raises
        ------
        InputError
            If a file is missing or damaged, the atom counts differ, or a parameter is missing.
        """
        from drupe.embedding.structures.charmm import read_charmm

        return read_charmm(psf, coordinates, parameters, box=box).system

    @classmethod
    def from_pdb(
        cls,
        pdb: str | Path,
        system_xml: str | Path | None = None,
        *,
        ligand: str | Path | None = None,
    ) -> "MolecularSystem":
        """Read a PDB file with what brings the charges: a serialised OpenMM System, or a ligand's SDF file.

        With a ligand the protein gets ff14SB and the ligand GAFF2: see
        `drupe.embedding.structures.complexes.read_complex`, which also builds boxes of water.

        Raises
        ------
        InputError
            If a file is missing, damaged or hostile, or the two do not belong together.
        MachineError
            If a ligand is given and AmberTools (``drupe[amber]``) is not installed.
        """
        from drupe.embedding.structures.structure import read_structure

        return read_structure(pdb, system=system_xml, ligand=ligand).system

    @classmethod
    def from_openmm(
        cls, topology: "openmm.app.Topology", system: "openmm.System", positions: ArrayLike
    ) -> "MolecularSystem":
        """Take atoms from OpenMM objects; ``positions`` is a quantity, or plain numbers in nm.

        Raises
        ------
        InputError
            If the atom counts differ, or an element does not fit its mass.
        """
        from drupe.embedding.structures.openmm_objects import read_openmm

        return read_openmm(topology, system, positions).system

    @classmethod
    def from_atoms(
        cls,
        numbers: ArrayLike,
        positions: ArrayLike,
        charges: ArrayLike | None = None,
        bonds: ArrayLike | None = None,
    ) -> "MolecularSystem":
        """One nameless residue ``MOL`` from bare arrays.

        Parameters
        ----------
        numbers
            Atomic numbers, shape ``(atoms,)``; 0 makes a bare point charge.
        positions
            Shape ``(atoms, 3)``, bohr.
        charges
            Fixed charges, shape ``(atoms,)``, e; zero when left out.
        bonds
            Index pairs, shape ``(bonds, 2)``; none when left out.
        """
        count = len(np.asarray(numbers))
        return cls(
            numbers=np.asarray(numbers),
            positions=np.asarray(positions, dtype=np.float64),
            charges=np.zeros(count) if charges is None else np.asarray(charges, dtype=np.float64),
            bonds=np.zeros((0, 2), np.int64) if bonds is None else np.asarray(bonds),
            box=None,
            atom_names=tuple(f"A{i + 1}" for i in range(count)),
            residue_names=("MOL",) * count,
            residue_ids=np.ones(count, np.int64),
            chain_ids=np.zeros(count, np.int64),
        )

    @property
    def n_atoms(self) -> int:
        """Number of atoms, bare point charges included."""
        return len(self.numbers)

    @cached_property
    def key(self) -> str:
        """Content name: equal systems have equal keys, on any machine."""
        return record_key(self)

    @property
    def residue_runs(self) -> NDArray[np.int64]:
        """Number of each atom's residue, ``(atoms,)``: atoms in a row with one chain, number and name."""
        new = np.ones(self.n_atoms, bool)
        names = np.array(self.residue_names)
        for column in (self.chain_ids, self.residue_ids, names):
            new[1:] &= column[1:] == column[:-1]
        new[1:] = ~new[1:]
        return frozen(np.cumsum(new) - 1, np.int64)

    def with_positions(self, positions: ArrayLike) -> "MolecularSystem":
        """Return the same atoms at other ``positions``, shape ``(atoms, 3)``, bohr."""
        return dataclasses.replace(self, positions=np.asarray(positions, dtype=np.float64))

    def with_box(self, box: ArrayLike | None) -> "MolecularSystem":
        """Return the same atoms in another periodic box, rows in bohr, or in none."""
        vectors = None if box is None else np.asarray(box, dtype=np.float64)
        return dataclasses.replace(self, box=vectors)

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> "MolecularSystem":
        """Return the atoms ``indices`` in that order, with the bonds between them.

        Raises
        ------
        InputError
            If an index is outside, or given twice.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        if chosen.ndim != 1 or len(chosen) == 0 or len(set(chosen.tolist())) != len(chosen):
            raise InputError(
                f"a subset needs a list of different atom indices, got shape {chosen.shape} "
                f"with {len(set(chosen.ravel().tolist()))} different ones",
                remedy="pass each atom once, and at least one",
            )
        if chosen.min() < 0 or chosen.max() >= self.n_atoms:
            raise InputError(
                f"the subset names atom {int(chosen.min() if chosen.min() < 0 else chosen.max())}, "
                f"the system has atoms 0 to {self.n_atoms - 1}",
                remedy="count atoms from 0",
            )
        place = np.full(self.n_atoms, -1, np.int64)
        place[chosen] = np.arange(len(chosen))
        bonds = place[self.bonds]
        return MolecularSystem(
            numbers=self.numbers[chosen],
            positions=self.positions[chosen],
            charges=self.charges[chosen],
            bonds=bonds[(bonds >= 0).all(axis=1)],
            box=self.box,
            atom_names=tuple(self.atom_names[i] for i in chosen),
            residue_names=tuple(self.residue_names[i] for i in chosen),
            residue_ids=self.residue_ids[chosen],
            chain_ids=self.chain_ids[chosen],
        )

    def describe(self, atom: int) -> str:
        """Name of one atom for messages, such as ``atom 2603 (C1 of TMP 163)``."""
        return f"atom {atom} ({self.atom_names[atom]} of {self.residue_names[atom]} {self.residue_ids[atom]})"

    def _check_shapes(self) -> None:
        n = self.n_atoms
        shapes = {
            "numbers": (self.numbers.shape, (n,)),
            "positions": (self.positions.shape, (n, 3)),
            "charges": (self.charges.shape, (n,)),
            "bonds": (self.bonds.shape, (len(self.bonds), 2)),
            "atom_names": ((len(self.atom_names),), (n,)),
            "residue_names": ((len(self.residue_names),), (n,)),
            "residue_ids": (self.residue_ids.shape, (n,)),
            "chain_ids": (self.chain_ids.shape, (n,)),
            "box": ((3, 3) if self.box is None else self.box.shape, (3, 3)),
        }
        for name, (found, wanted) in shapes.items():
            if found != wanted:
                raise InputError(
                    f"{name} has shape {found} for {n} atoms",
                    remedy=f"pass {name} with shape {wanted}",
                )

    def _check_values(self) -> None:
        for name, values in (("position", self.positions), ("charge", self.charges[:, None])):
            bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
            if len(bad):
                raise InputError(
                    f"the {name} of {self.describe(int(bad[0]))} is not finite ({values[bad[0]].tolist()}; "
                    f"{len(bad)} such atoms)",
                    remedy="read the coordinates again: the file or the trajectory frame is damaged",
                )
        if self.box is not None and not np.isfinite(self.box).all():
            raise InputError("a box vector is not finite", remedy="read the coordinates again")
        if self.n_atoms and (self.numbers.min() < 0 or self.numbers.max() > 118):
            raise InputError(
                f"atomic numbers run from {self.numbers.min()} to {self.numbers.max()}",
                remedy="give atomic numbers between 1 and 118, or 0 for a bare point charge",
            )
        if len(self.bonds) and (self.bonds.min() < 0 or self.bonds.max() >= self.n_atoms):
            raise InputError(
                f"a bond names atom {self.bonds.max()} of a system with {self.n_atoms} atoms",
                remedy="count atoms from 0",
            )


def _whole_numbers(numbers: ArrayLike) -> ArrayLike:
    """Refuse element symbols (CA is an alpha carbon or calcium) and anything that is no whole number."""
    given = np.asarray(numbers)
    if given.dtype.kind not in "iuf" or (given.dtype.kind == "f" and (given != np.rint(given)).any()):
        raise InputError(
            f"elements are given as {given.ravel()[:4].tolist()}",
            remedy="give atomic numbers, such as 6 for carbon and 20 for calcium: symbols are ambiguous",
        )
    return given


def _sorted_bonds(bonds: NDArray[np.int64]) -> NDArray[np.int64]:
    pairs = np.asarray(bonds, dtype=np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) == 0:
        return pairs.reshape(-1, 2) if pairs.size == 0 else pairs
    return np.unique(np.sort(pairs, axis=1), axis=0)
