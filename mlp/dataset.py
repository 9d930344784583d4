"""Labels of one molecule at one level, as padded arrays: hartree, bohr, e.

Anything a label does not have is masked, never zero; a split is made of whole blocks (stretches of
trajectory), never of single frames.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.mlp.border import Border, common_border
from drupe.mlp.dataset_versions import UPGRADES
from drupe.mlp.dispersion import UNKNOWN, dispersion_of
from drupe.mlp.duplicates import twins
from drupe.mlp.fingerprints import prints_of
from drupe.mlp.offsets import ENERGIES, check_offsets
from drupe.mlp.plausibility import check_apart, check_directions, check_finite
from drupe.mlp.reading import (
    ACCEPTED,
    LabelLike,
    check_labels,
    core_potentials_of,
    force_kind,
    known_energies,
    level_of,
    low_level_of,
    padded_groups,
    padded_slopes,
)
from drupe.mlp.stored import StoredLabel
from drupe.mlp.whole_numbers import rows_of, whole_numbers
from drupe.records import frozen, record_key, register

__all__ = ["Dataset", "LabelLike"]

_FAR_AWAY = 1e4  # bohr; where padded charges (of zero) are put
# e; fixed charges of a whole molecule miss a whole number by rounding only (2e-3 in shipped AM1-BCC files)
_WHOLE = 1e-2
_MASKS = ("has_energy", "has_energy_low", "has_forces_qm", "has_forces_mm", "has_slopes")
_COUNTED = ("has_energy", "has_forces_qm", "has_forces_mm", "has_slopes")
_WHOLE_NUMBERS = ("numbers", "mm_counts", "blocks", "mm_groups", "border_atoms")
_FINITE = (
    *("positions", "mm_positions", "mm_charges", "energy", "energy_low", "forces_qm", "forces_mm"),
    *("directions", "slopes", "slope_errors"),
)


class FrameArrays(NamedTuple):
    """One frame: positions bohr, charges e; residues and rows of border atoms, None where there are none."""

    qm_positions: NDArray[np.float64]
    mm_positions: NDArray[np.float64]
    mm_charges: NDArray[np.float64]
    mm_groups: NDArray[np.int64] | None
    border_atoms: NDArray[np.int64] | None


@register(version=8, upgrades=UPGRADES)
@dataclass(frozen=True, eq=False)
class Dataset:
    """Frames of one molecule in surroundings of point charges.

    ===============  ======================  =============  =======================================
    field            shape                   unit           note
    ===============  ======================  =============  =======================================
    numbers          ``(qm,)``               --             atomic numbers, one order for all frames
    fixed_charges    ``(qm,)``               e              MM charges q0 of these atoms
    positions        ``(frames, qm, 3)``     bohr
    mm_positions     ``(frames, mm, 3)``     bohr           padded, see ``mm_counts``
    mm_charges       ``(frames, mm)``        e              padded with zero
    mm_counts        ``(frames,)``           --             MM atoms that are really there
    energy           ``(frames,)``           hartree        at ``level``
    energy_low       ``(frames,)``           hartree        before core corrections
    forces_qm        ``(frames, qm, 3)``     hartree/bohr   only where ``has_forces_qm``
    forces_mm        ``(frames, mm, 3)``     hartree/bohr   only where ``has_forces_mm``
    has_energy       ``(frames,)``           --             a frame without energy is masked
    has_energy_low   ``(frames,)``           --
    has_forces_qm    ``(frames,)``           --
    has_forces_mm    ``(frames,)``           --
    blocks           ``(frames,)``           --             number of the stretch of trajectory
    level            string                  --             name of the level of the energies
    forces_of        ``(frames,)`` strings   --             ``"energy"`` of this data set, ``"MP2"`` (see
                                                            `from_labels`) or ``"nothing"``
    directions       ``(frames, k, qm, 3)``  --             of norm 1; padded, as are the next two
    slopes           ``(frames, k)``         hartree/bohr   d ``energy`` / ds, where ``has_slopes``
    slope_errors     ``(frames, k)``         hartree/bohr   of the labels
    has_slopes       ``(frames, k)``         --
    mm_groups        ``(frames, mm)``        --             residue of each MM atom; -1 where not known
    border           record                                 of a molecule cut out of another, else None
    border_atoms     ``(frames, b)``         --             rows of its border atoms among the MM atoms
    dispersion       string                  --             in the energies: ``"PBE-d3bj"``, ``"none"`` or
                                                            ``"unknown"``
    energies         string                  --             ``"total"``, or ``"relative"`` where they
                                                            have a zero of their own
    level_low        string                  --             of ``energy_low``; empty where not known
    ===============  ======================  =============  =======================================
    """

    numbers: NDArray[np.int64]
    fixed_charges: NDArray[np.float64]
    positions: NDArray[np.float64]
    mm_positions: NDArray[np.float64]
    mm_charges: NDArray[np.float64]
    mm_counts: NDArray[np.int64]
    energy: NDArray[np.float64]
    energy_low: NDArray[np.float64]
    forces_qm: NDArray[np.float64]
    forces_mm: NDArray[np.float64]
    has_energy: NDArray[np.bool_]
    has_energy_low: NDArray[np.bool_]
    has_forces_qm: NDArray[np.bool_]
    has_forces_mm: NDArray[np.bool_]
    blocks: NDArray[np.int64]
    level: str
    forces_of: tuple[str, ...]
    directions: NDArray[np.float64]
    slopes: NDArray[np.float64]
    slope_errors: NDArray[np.float64]
    has_slopes: NDArray[np.bool_]
    mm_groups: NDArray[np.int64]
    border: Border | None
    border_atoms: NDArray[np.int64]
    dispersion: str = UNKNOWN
    energies: str = ENERGIES[0]
    level_low: str = ""

    def __post_init__(self) -> None:
        kinds: dict[str, type] = dict.fromkeys(_WHOLE_NUMBERS, np.int64)
        kinds |= dict.fromkeys(_MASKS, np.bool_)
        object.__setattr__(self, "forces_of", tuple(self.forces_of))
        for name in self.__dataclass_fields__:
            if name not in ("level", "level_low", "forces_of", "border", "dispersion", "energies"):
                value = getattr(self, name)
                value = whole_numbers(name, value) if name in _WHOLE_NUMBERS else value
                object.__setattr__(self, name, frozen(value, kinds.get(name, np.float64)))
        frames, qm, mm = len(self.energy), len(self.numbers), self.mm_charges.shape[1]
        slopes = self.slopes.shape[1]
        shapes = {
            "fixed_charges": (qm,),
            "positions": (frames, qm, 3),
            "mm_positions": (frames, mm, 3),
            "mm_charges": (frames, mm),
            "forces_qm": (frames, qm, 3),
            "forces_mm": (frames, mm, 3),
            "energy_low": (frames,),
            "blocks": (frames,),
            "directions": (frames, slopes, qm, 3),
            "slopes": (frames, slopes),
            "slope_errors": (frames, slopes),
            "has_slopes": (frames, slopes),
            "mm_groups": (frames, mm),
            "border_atoms": (frames, 0 if self.border is None else self.border.n_atoms),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise InputError(
                    f"{name} has shape {getattr(self, name).shape}, expected {shape}",
                    remedy="build data sets with Dataset.from_labels",
                )

    @classmethod
    def from_labels(
        cls,
        labels: Iterable[LabelLike | StoredLabel],
        *,
        which: Literal["high", "low"] = "high",
        blocks: Sequence[int] | None = None,
        accept_forces: Collection[str] = ("energy",),
        groups: Sequence[NDArray[np.int64]] | None = None,
        energies: str = ENERGIES[0],
        least: int = 2,
    ) -> "Dataset":
        """Collect labels.

        Parameters
        ----------
        labels
            Labels of the same QM atoms in the same order, also those of `labels_of_store`; their MM atoms may
            differ in number.
        which
            ``"high"`` takes ``label.energy`` (with core corrections) and its slopes, ``"low"`` takes
            ``label.energy_low``. Forces of the energy that is taken are read, forces of another energy
            are masked; `summary` says how many of each there are.
        blocks
            One whole number per label: the stretch of trajectory it was drawn from (`blocks_of` for those of
            a store). Left out, all labels count as one stretch, and nothing can be held out.
        accept_forces
            With ``"high"``: ``("energy", "MP2")`` also reads forces of ``Level(forces="mp2")``, which stand
            for those of the cores' method and are not the slope of the energy; ``()`` reads none.
        groups
            Residue of each MM atom, ``(mm,)`` for each label, any whole numbers from 0 on: for labels that do
            not know theirs. A potential with a reach needs them.
        energies
            ``"total"`` energies are compared with those of free atoms (`drupe.mlp.offsets`); ``"relative"``
            ones, such as those without core electrons or counted from free atoms, with each other only. A
            model keeps the word.
        least
            Fewest labels: 1 looks at a single one, from which nothing can be learned.

        Raises
        ------
        InputError
            If there are fewer than ``least``, levels or atoms differ, a number is not finite, an energy
            is more than 20 eV per atom away from the others or from free atoms, a geometry comes twice, a QM
            atom and another one or an MM charge are less than 0.3 bohr apart, or ``which``,
            ``accept_forces`` or ``energies`` names something else.
        """
        items = [one.label if isinstance(one, StoredLabel) else one for one in labels]
        if len(items) < least:
            raise InputError(
                f"{len(items)} label(s) cannot make a data set",
                remedy="label at least two different snapshots; about twenty are a useful start",
            )
        if blocks is not None and len(blocks) != len(items):
            raise InputError(
                f"{len(blocks)} block numbers were given for {len(items)} labels",
                remedy="give one block number per label, in the same order",
            )
        if which not in ("high", "low"):
            raise InputError(f"which={which!r} of the labels' energies", remedy='use "high" or "low"')
        if not set(accept_forces) <= set(ACCEPTED):
            raise InputError(
                f"accept_forces={tuple(accept_forces)!r} for core-corrected energies",
                remedy=f'name some of {ACCEPTED}; low-level forces belong to which="low"',
            )
        check_labels(items)
        border, border_atoms = common_border(items)
        level, level_low = level_of(items, which), low_level_of(items)
        kinds = tuple(force_kind(label, which, accept_forces) for label in items)
        counts = np.array([len(label.mm_charges) for label in items])
        frames, qm, mm = len(items), len(items[0].qm_numbers), int(counts.max())
        data: dict[str, Any] = {
            "positions": np.zeros((frames, qm, 3)),
            "mm_positions": np.full((frames, mm, 3), _FAR_AWAY),
            "mm_charges": np.zeros((frames, mm)),
            "forces_qm": np.zeros((frames, qm, 3)),
            "forces_mm": np.zeros((frames, mm, 3)),
            "mm_groups": padded_groups(items, groups),
        }
        for i, label in enumerate(items):
            data["positions"][i] = label.qm_positions
            data["mm_positions"][i, : counts[i]] = label.mm_positions
            data["mm_charges"][i, : counts[i]] = label.mm_charges
            if label.forces_qm is not None and kinds[i] != "nothing":
                data["forces_qm"][i] = label.forces_qm
            if label.forces_mm is not None and kinds[i] != "nothing":
                data["forces_mm"][i, : counts[i]] = label.forces_mm
        energy_low = known_energies([label.energy_low for label in items])
        chosen = energy_low if which == "low" else known_energies([label.energy for label in items])
        has_energy = ~np.isnan(chosen)
        read = np.array([kind != "nothing" for kind in kinds])
        made = cls(
            numbers=items[0].qm_numbers,
            fixed_charges=items[0].qm_fixed_charges,
            mm_counts=counts,
            energy=np.where(has_energy, chosen, 0.0),
            energy_low=np.where(np.isnan(energy_low), 0.0, energy_low),
            has_energy=has_energy,
            has_energy_low=~np.isnan(energy_low),
            has_forces_qm=read & np.array([label.forces_qm is not None for label in items]),
            has_forces_mm=read & np.array([label.forces_mm is not None for label in items]),
            blocks=np.zeros(frames, np.int64) if blocks is None else np.array(blocks),
            level=level,
            level_low=level_low,
            dispersion=dispersion_of(items),
            energies=energies,
            forces_of=kinds,
            border=border,
            border_atoms=border_atoms,
            **padded_slopes(items, which),
            **data,
        )
        for values in (chosen, energy_low):
            there = np.flatnonzero(~np.isnan(values))
            check_offsets(values[there], there, made.network_numbers, energies, core_potentials_of(items))
        made._check_values()
        if not any(getattr(made, name).any() for name in _COUNTED):
            raise InputError(
                f"none of the {frames} labels has an energy, a force or a slope of the level asked for",
                remedy='look at which="low" or "high", and at the names of the columns that were read',
            )
        return made

    def __repr__(self) -> str:
        """Say in words what was read."""
        return f"<Dataset of {self.n_frames} labels, {self.level}: {self.summary}>"

    @property
    def n_frames(self) -> int:
        """Number of labels."""
        return len(self.energy)

    @property
    def summary(self) -> str:
        """What was read, in words."""
        there = {name: getattr(self, name) for name in _COUNTED}
        there["has_forces_mm"] = there["has_forces_mm"] & (self.mm_counts > 0)  # forces on no atoms are none
        counts = [int(mask.sum()) for mask in there.values()]
        told = "{:,} energies, {:,} QM forces, {:,} MM forces, {:,} slopes read".format(*counts)
        replaced = self.forces_of.count("MP2")
        return f"{told}; forces of {replaced} labels are MP2's" if replaced else told

    @property
    def network_numbers(self) -> NDArray[np.int64]:
        """Atomic numbers of all the network sees: the atoms, then a hydrogen for each link atom."""
        links = 0 if self.border is None else self.border.n_links
        return np.concatenate([self.numbers, np.ones(links, np.int64)])

    @property
    def total_charge(self) -> int:
        """Whole total charge of the molecule, its link atoms included, e."""
        return round(float(self.fixed_charges.sum())) if self.border is None else self.border.total_charge

    @cached_property
    def key(self) -> str:
        """Content name: equal data have equal keys, on any machine."""
        return record_key(self)

    def frame(self, i: int) -> FrameArrays:
        """What a potential is asked about frame ``i``, in the order of `Committee.predict`."""
        count = int(self.mm_counts[i])
        groups = self.mm_groups[i, :count]
        known = None if (groups < 0).any() else groups
        atoms = None if self.border is None else self.border_atoms[i]
        return FrameArrays(
            self.positions[i], self.mm_positions[i, :count], self.mm_charges[i, :count], known, atoms
        )

    def take(self, frames: Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]) -> "Dataset":
        """Keep the frames ``frames``, in that order, or those where a mask ``(frames,)`` is true.

        Raises
        ------
        InputError
            If there is no such frame, or a mask has another length.
        """
        chosen = rows_of(frames, self.n_frames)
        whole = {"numbers", "fixed_charges", "level", "level_low", "border", "dispersion", "energies"}
        fields = {
            name: getattr(self, name) if name in whole else getattr(self, name)[chosen]
            for name in self.__dataclass_fields__
            if name != "forces_of"
        }
        return Dataset(**fields, forces_of=tuple(np.array(self.forces_of)[chosen].tolist()))

    def split(self, held_out: Collection[int] | NDArray[np.int64]) -> tuple["Dataset", "Dataset"]:
        """Split into frames outside and inside the blocks ``held_out``.

        Raises
        ------
        InputError
            If one side would be empty, a block does not exist, or a geometry lies on both sides, also
            turned, moved or rounded.
        """
        known, asked = set(self.blocks.tolist()), set(whole_numbers("blocks", held_out).ravel().tolist())
        if not asked <= known or not asked or asked == known:
            raise InputError(
                f"blocks {sorted(asked)} cannot be held out of the blocks {sorted(known)}",
                remedy="name some, but not all, of the blocks; number each stretch of trajectory",
            )
        inside = np.isin(self.blocks, list(asked))
        both = sum(bool(inside[i] != inside[j]) for i, j in self.twins)
        if both:
            raise InputError(
                f"{both} geometries lie on both sides of the split, some perhaps turned or moved",
                remedy="remove duplicate snapshots, or give duplicates the same block number",
            )
        return self.take(np.flatnonzero(~inside)), self.take(np.flatnonzero(inside))

    @property
    def n_geometries(self) -> int:
        """Number of different geometries; copies that were turned, moved or rounded count once."""
        return self.n_frames - len({later for _, later in self.twins})

    @property
    def prints(self) -> NDArray[np.float64]:
        """Fingerprints of the frames, see `drupe.mlp.fingerprints`."""
        return prints_of(*self._around)

    @cached_property
    def twins(self) -> list[tuple[int, int]]:
        """Pairs of frames with one geometry, also turned, moved or rounded."""
        return twins(*self._around)

    @property
    def _around(self) -> tuple[NDArray[np.float64], list[NDArray[np.float64]], list[NDArray[np.float64]]]:
        counts = self.mm_counts.tolist()
        mm = [place[:n] for place, n in zip(self.mm_positions, counts, strict=True)]
        charges = [values[:n] for values, n in zip(self.mm_charges, counts, strict=True)]
        return self.positions, mm, charges

    def _check_values(self) -> None:
        check_finite({name: getattr(self, name) for name in _FINITE})
        check_directions(self.directions, self.has_slopes)
        check_apart(self.positions, self.mm_positions, self.mm_counts)
        rest = abs(float(self.fixed_charges.sum()) - self.total_charge)
        if rest > _WHOLE and self.border is None:
            raise InputError(
                f"the fixed charges of the QM atoms add to {self.fixed_charges.sum():.5f} e, no whole number",
                remedy="take whole molecules, or labels that know their link atoms: those of a store",
            )
        for i, j in self.twins:
            raise InputError(
                f"labels {i} and {j} are of the same geometry",
                remedy="give each snapshot once: a copy would make errors look smaller than they are",
            )
