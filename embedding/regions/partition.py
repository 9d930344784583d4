"""Who is quantum: selections in, frozen atom indices out (QM region, its cores; the rest is MM).

Positions are in bohr. Selections are read once, here; a partition never evaluates one again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drupe.embedding.regions.geometry import check_bonds, check_geometry
from drupe.embedding.regions.links import AllowCut, check_links, find_links
from drupe.embedding.regions.periodic import gather
from drupe.embedding.regions.selection import Selection, select
from drupe.embedding.regions.valence import check_hydrogens
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.records import content_key, frozen, record_key, register
from drupe.units import angstrom, kcal_per_mol

if TYPE_CHECKING:
    from drupe.embedding.level import Level
    from drupe.embedding.suggestions.suggestion import Suggestion

__all__ = ["Core", "CoreSpec", "Partition"]


def _undeclared(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had 0 for every core, which was no statement about its charge."""
    return {**fields, "charge": None}


@register(version=2, upgrades={1: _undeclared})
@dataclass(frozen=True, eq=False)
class Core:
    """One quantum core: ``indices`` of its atoms (in the system), its state and a name for reports.

    A ``charge`` that is declared is checked against the electrons the core gets; None declares none.
    """

    indices: NDArray[np.int64]
    charge: int | None = None
    multiplicity: int = 1
    label: str = "core"

    def __post_init__(self) -> None:
        object.__setattr__(self, "indices", frozen(self.indices, np.int64))


def _first_schema(core: Core) -> dict[str, Any]:
    """How a core entered the name of a partition before its charge could stay undeclared."""
    stated = {f.name: getattr(core, f.name) for f in fields(core)}
    return {"record": "Core", "version": 1, "fields": {**stated, "charge": core.charge or 0}}


@dataclass(frozen=True)
class CoreSpec:
    """What to choose as a core, where a plain selection does not say enough.

    Parameters
    ----------
    selection
        MDTraj selection, list of indices, or ``"smarts:<pattern>"``.
    charge, multiplicity
        Of the core: its own, not those of the QM region. A charge is checked against the electrons the
        core gets; None declares none.
    label
        Name in reports; the selection when left out.
    """

    selection: Selection
    charge: int | None = None
    multiplicity: int = 1
    label: str | None = None


def _without_links(stored: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew no cut bonds."""
    return {**stored, "links": np.zeros((0, 2), np.int64)}


@register(version=2, upgrades={1: _without_links})
@dataclass(frozen=True, eq=False)
class Partition:
    """The QM region, its cores, its link atoms, and by omission the MM atoms.

    ================  ============  ================================================
    field             shape         note
    ================  ============  ================================================
    qm                ``(qm,)``     rising atom indices
    qm_numbers        ``(qm,)``     their atomic numbers: a partition fits one system
    charge            scalar        of the QM region, e
    multiplicity      scalar        2S + 1
    cores             tuple         inside ``qm``, without common atoms
    n_atoms           scalar        atoms of the whole system
    links             ``(l, 2)``    cut bonds: QM host, MM host; rising
    ================  ============  ================================================
    """

    qm: NDArray[np.int64]
    qm_numbers: NDArray[np.int64]
    charge: int
    multiplicity: int
    cores: tuple[Core, ...]
    n_atoms: int
    links: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))

    def __post_init__(self) -> None:
        object.__setattr__(self, "qm", frozen(self.qm, np.int64))
        object.__setattr__(self, "qm_numbers", frozen(self.qm_numbers, np.int64))
        object.__setattr__(self, "cores", tuple(self.cores))
        object.__setattr__(self, "links", frozen(np.reshape(self.links, (-1, 2)), np.int64))
        _check_regions(self)
        _check_hosts(self)
        _check_electrons(self)

    @classmethod
    def select(
        cls,
        system: MolecularSystem,
        *,
        qm: Selection,
        charge: int,
        multiplicity: int = 1,
        cores: Sequence[Selection | CoreSpec] = (),
        allow_cut: AllowCut = (),
        allow_open_valence: bool = False,
    ) -> "Partition":
        """Choose the regions of ``system``.

        Parameters
        ----------
        system
            Atoms and bonds.
        qm
            MDTraj selection, list of indices, or ``"smarts:<pattern>"``. In a selection
            ``within 4.5 A of (resname LIG)`` stands for whole residues, so that
            ``resname LIG or (within 4.5 A of (resname LIG) and sidechain)`` is a ligand in its pocket.
        charge, multiplicity
            Of the QM region.
        cores
            One per quantum core: a selection, or a `CoreSpec` for a core with a charge or a multiplicity.
        allow_cut
            Bonds between QM and MM atoms become link atoms by themselves where they are sp3 C-C single
            bonds; name other pairs of atoms here to cut them all the same. True allows every cut.
        allow_open_valence
            Take a closed-shell region even where hydrogens seem to be missing (a carbene, a bare ion).

        Raises
        ------
        InputError
            If a selection is empty, unreadable or out of range, cores leave the QM region or share
            atoms, a bond is cut that should not be, atoms overlap (in a periodic box: in their nearest
            images), hydrogens are missing, or the electrons do not fit the state.
        """
        region = select(system, qm, what="the QM region", charge=charge)
        chosen = []
        for number, given in enumerate(cores, start=1):
            core = given if isinstance(given, CoreSpec) else CoreSpec(given)
            name = core.label or f"core {number}"
            atoms = select(system, core.selection, what=name, charge=charge, within=region)
            if core.label is None and isinstance(core.selection, str):
                name = core.selection
            chosen.append(Core(atoms, core.charge, core.multiplicity, name))
        whole = system if system.box is None else gather(system, region)
        check_bonds(whole, region)
        partition = cls(
            qm=region,
            qm_numbers=system.numbers[region],
            charge=charge,
            multiplicity=multiplicity,
            cores=tuple(chosen),
            n_atoms=system.n_atoms,
            links=find_links(system, region, allow_cut),
        )
        partition.check_fits(whole)
        if not allow_open_valence:
            check_hydrogens(whole, region, multiplicity)
        return partition

    @classmethod
    def suggest(
        cls,
        system: MolecularSystem,
        *,
        qm: Selection,
        charge: int,
        multiplicity: int = 1,
        allow_cut: AllowCut = (),
        snapshots: Sequence[ArrayLike] = (),
        level: "Level | None" = None,
        tolerance: float = 0.5 * kcal_per_mol,
        contact: float = 4.0 * angstrom,
        largest_core: int = 10,
    ) -> "Suggestion":
        """Choose cores from chemistry, and rank them by what they miss.

        The functional groups of the QM region that touch the surroundings are the seeds. Each grows by its
        bonded neighbours until it is the whole region; no group ends inside a pi system. Every core met
        on the way gets its correction dE in every frame, from one DFT calculation per frame and CCSD(T) in
        the better half of the virtual orbitals (natural orbitals of MP2, which also stands in for the rest).
        A core *misses* dE(whole region) - dE(core), taken as a relative energy: the root mean square
        difference between two frames, so that constants cancel as they do in free energies. A core is good
        if it misses little for its size: cores that miss at most ``tolerance``, one standard error from the
        number of snapshots included, come first, the smallest leading; then the others by what they miss.

        Parameters
        ----------
        system, qm, charge, multiplicity, allow_cut
            As in `select`.
        snapshots
            Positions of all atoms, each ``(atoms, 3)`` in bohr, two or more; a handful will do. Without
            any, the energies compared are those of ``system`` in and out of the field of the MM
            charges.
        level
            PBE/def2-SVP when left out. Its solver, where it is ``"HF"``, ``"MP2"`` or ``"CCSD"``, takes the
            place of CCSD(T). Minimal bases are too small to leave out half of their virtual orbitals.
        tolerance
            What a core may miss, hartree; half a kcal/mol.
        contact
            A group touches the surroundings within this distance of an MM atom, bohr; 4 angstrom.
        largest_core
            Heavy atoms of the largest core worth offering; the whole region is the yardstick all the same.

        Returns
        -------
        Suggestion
            Ranked candidates with their reasons; ``.partition(n=1)`` makes the partition.

        Raises
        ------
        InputError
            As `select`; if bonds or groups are not recognised, no group touches the surroundings, the
            region is too large or has an open shell, or a single snapshot is given.
        ConvergenceError
            If the DFT or the coupled cluster of the whole region stops short.
        """
        from drupe.embedding.suggestions.core_search import suggest

        region = cls.select(system, qm=qm, charge=charge, multiplicity=multiplicity, allow_cut=allow_cut)
        return suggest(
            system,
            region,
            snapshots=snapshots,
            level=level,
            tolerance=tolerance,
            contact=contact,
            largest_core=largest_core,
        )

    @property
    def qm_atoms(self) -> NDArray[np.int64]:
        """Indices of the QM atoms, rising."""
        return self.qm

    @cached_property
    def mm_atoms(self) -> NDArray[np.int64]:
        """Indices of all other atoms, rising; every one of them carries its charge."""
        rest: NDArray[np.int64] = frozen(np.setdiff1d(np.arange(self.n_atoms), self.qm), np.int64)
        return rest

    @property
    def n_electrons(self) -> int:
        """Electrons of the QM region, those of its link atoms included."""
        return int(self.qm_numbers.sum()) + len(self.links) - self.charge

    def core_rows(self, core: Core) -> NDArray[np.int64]:
        """Atoms of ``core`` counted in the QM region with its link atoms at the end.

        A link atom belongs to the core that holds its QM host.
        """
        own = np.flatnonzero(np.isin(self.links[:, 0], core.indices)) + len(self.qm)
        rows: NDArray[np.int64] = np.concatenate([np.searchsorted(self.qm, core.indices), own])
        return rows

    @cached_property
    def key(self) -> str:
        """Content name. Without link atoms it is the one of schema 1: stored labels keep theirs."""
        if len(self.links):
            return record_key(self)
        first = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "links"}
        first["cores"] = tuple(_first_schema(core) for core in self.cores)
        return content_key("Partition", {"version": 1, **first})

    def check_fits(self, system: MolecularSystem) -> None:
        """Refuse a system this partition was not made for, or a frame that is not a molecule any more.

        Raises
        ------
        InputError
            If atom counts, elements or cut bonds differ, atoms overlap, a charge sits on a QM nucleus,
            or a bond of the QM region is broken.
        """
        if system.n_atoms != self.n_atoms or not np.array_equal(system.numbers[self.qm], self.qm_numbers):
            raise InputError(
                f"the partition was made for {self.n_atoms} atoms with other elements in the QM region "
                f"than this system of {system.n_atoms} atoms",
                remedy="make the partition from this system: Partition.select(system, ...)",
            )
        check_links(system, self.qm, self.links)
        check_geometry(system, self.qm)


def _check_regions(partition: Partition) -> None:
    qm = partition.qm
    if len(qm) == 0:
        raise InputError("the QM region is empty", remedy="select at least one atom")
    if (np.diff(qm) <= 0).any():
        raise InputError("the QM region repeats an atom or is not rising", remedy="sort it, each atom once")
    if qm[0] < 0 or qm[-1] >= partition.n_atoms or len(partition.qm_numbers) != len(qm):
        raise InputError(
            f"the QM region spans atoms {qm[0]} to {qm[-1]} with {len(partition.qm_numbers)} elements, "
            f"the system has atoms 0 to {partition.n_atoms - 1}",
            remedy="count atoms from 0 and give one element per atom",
        )
    owner: dict[int, str] = {}
    for core in partition.cores:
        outside = np.setdiff1d(core.indices, qm)
        if len(core.indices) == 0 or len(outside):
            found = f"has atoms outside the QM region: {outside[:8].tolist()}" if len(outside) else "is empty"
            raise InputError(f"the core {core.label!r} {found}", remedy="choose among the QM atoms")
        for atom in core.indices.tolist():
            if atom in owner:
                raise InputError(
                    f"atom {atom} is in the cores {owner[atom]!r} and {core.label!r}",
                    remedy="cores may not share atoms: merge them, or drop the atom from one",
                )
            owner[atom] = core.label


def _check_hosts(partition: Partition) -> None:
    inside = np.isin(partition.links, partition.qm)
    order = [tuple(row) for row in partition.links.tolist()]
    good = (inside == [True, False]).all() and order == sorted(set(order))
    if not good or (partition.links < 0).any() or (partition.links >= partition.n_atoms).any():
        raise InputError(
            f"link atoms stand on the bonds {partition.links.tolist()}",
            remedy="give pairs (QM atom, MM atom), rising, each once",
        )


def _check_electrons(partition: Partition) -> None:
    electrons, atoms = partition.n_electrons, len(partition.qm)
    if (partition.qm_numbers < 1).any():
        raise InputError(
            "the QM region holds a site without a nucleus", remedy="leave bare point charges to the MM region"
        )
    most = min(atoms + 3, partition.charge + electrons - 1)  # one electron is left
    if not -atoms - 1 <= partition.charge <= most:
        raise InputError(
            f"charge {partition.charge:+d} leaves {electrons} electrons on {atoms} atoms",
            remedy=f"give the charge of the whole QM region, between {-atoms - 1:+d} and {most:+d}",
        )
    if partition.multiplicity < 1 or (electrons + partition.multiplicity) % 2 == 0:
        legal = list(range(1 + electrons % 2, min(electrons, 5) + 2, 2))
        raise InputError(
            f"{electrons} electrons (charge {partition.charge:+d}) cannot have multiplicity "
            f"{partition.multiplicity}",
            remedy=f"use multiplicity {', '.join(map(str, legal))} (2S + 1), or correct the charge",
        )
    if partition.multiplicity - 1 > electrons:
        raise InputError(
            f"multiplicity {partition.multiplicity} needs {partition.multiplicity - 1} unpaired electrons, "
            f"there are {electrons}",
            remedy="give the multiplicity 2S + 1, not the number of electrons",
        )
