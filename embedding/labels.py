"""The answer: energies (hartree), forces (hartree/bohr) and what they were computed from (bohr, e)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.accounting import energy_terms
from drupe.embedding.cores.core import CoreResult
from drupe.embedding.level import Level
from drupe.errors import ConvergenceError
from drupe.records import content_key, frozen, register

__all__ = ["Label"]

_SUM_OF_TERMS = 1e-9  # hartree; rounding of a sum of some tens of hartree leaves 1e-12


def _whole_molecules(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had no cut bonds, and its energy no named parts; they follow from the cores it kept."""
    empty = np.zeros(0)
    return {
        **fields,
        "terms": energy_terms({"DFT": fields["energy_low"]}, fields["cores"]),
        "approximations": (),
        "links": np.zeros((0, 2), np.int64),
        "link_positions": np.zeros((0, 3)),
        "link_charges": empty,
        "moved_charges": empty,
        "moved_hosts": np.zeros((0, 2), np.int64),
        "moved_weights": np.zeros((0, 2)),
    }


def _without_slopes(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 2 had no directional derivatives; the fields for them may be left out."""
    return fields


def _without_groups(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 3 did not say which MM atoms belong together; the field may be left out."""
    return fields


@register(version=4, upgrades={1: _whole_molecules, 2: _without_slopes, 3: _without_groups})
@dataclass(frozen=True, eq=False)
class Label:
    """Energy and forces of the QM region in the field of the MM charges. Converged, or it does not exist.

    ===================  ==============  ============  ===================================================
    field                shape           unit          note
    ===================  ==============  ============  ===================================================
    system, partition    keys                          what was computed
    level                record
    energy_low           scalar          hartree       DFT of the QM region in the MM charges
    energy               scalar          hartree       with the corrections of all cores
    forces_qm            ``(qm, 3)``     hartree/bohr  of the energy ``force_level``; None if not asked for
    forces_mm            ``(mm, 3)``     hartree/bohr  the same, without any force between MM atoms
    force_level          text                          which energy the forces belong to
    cores                tuple                         one `CoreResult` per core
    charges_qm           ``(qm,)``       e             Mulliken
    dipole               ``(3,)``        e bohr        about the centroid of the QM atoms
    diagnostics          mapping                       iterations, T1, gaps, seconds per part
    qm_numbers           ``(qm,)``
    qm_positions         ``(qm, 3)``     bohr
    qm_fixed_charges     ``(qm,)``       e             MM charges of the QM atoms
    mm_positions         ``(mm, 3)``     bohr
    mm_charges           ``(mm,)``       e
    seconds              scalar          s             wall time
    versions             mapping                       of the packages that computed it
    directions           ``(k, qm, 3)``  --            of norm 1, for ``slopes``; None without
    slopes               ``(k,)``        hartree/bohr  exact d ``energy`` / ds along them
    slope_errors         ``(k,)``        hartree/bohr  a third of the change from step 2h to h
    mm_groups            ``(mm,)``       --            number of the residue of each MM atom; None if unknown
    ===================  ==============  ============  ===================================================
    """

    system: str
    partition: str
    level: Level
    energy_low: float
    energy: float
    forces_qm: NDArray[np.float64] | None
    forces_mm: NDArray[np.float64] | None
    force_level: str
    cores: tuple[CoreResult, ...]
    charges_qm: NDArray[np.float64]
    dipole: NDArray[np.float64]
    diagnostics: Mapping[str, float]
    qm_numbers: NDArray[np.int64]
    qm_positions: NDArray[np.float64]
    qm_fixed_charges: NDArray[np.float64]
    mm_positions: NDArray[np.float64]
    mm_charges: NDArray[np.float64]
    seconds: float
    versions: Mapping[str, str]
    terms: Mapping[str, float]
    approximations: tuple[str, ...]
    links: NDArray[np.int64]
    link_positions: NDArray[np.float64]
    link_charges: NDArray[np.float64]
    moved_charges: NDArray[np.float64]
    moved_hosts: NDArray[np.int64]
    moved_weights: NDArray[np.float64]
    directions: NDArray[np.float64] | None = None
    slopes: NDArray[np.float64] | None = None
    slope_errors: NDArray[np.float64] | None = None
    mm_groups: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n_qm, n_mm = len(self.qm_numbers), len(self.mm_charges)
        n_links, n_moved = len(self.links), len(self.moved_charges)
        shapes = {
            "forces_qm": (n_qm, 3),
            "forces_mm": (n_mm, 3),
            "charges_qm": (n_qm,),
            "dipole": (3,),
            "qm_positions": (n_qm, 3),
            "qm_fixed_charges": (n_qm,),
            "mm_positions": (n_mm, 3),
            "mm_charges": (n_mm,),
            "links": (n_links, 2),
            "link_positions": (n_links, 3),
            "link_charges": (n_links,),
            "moved_charges": (n_moved,),
            "moved_hosts": (n_moved, 2),
            "moved_weights": (n_moved, 2),
            "mm_groups": (n_mm,),
        }
        if self.directions is not None:
            n_directions = len(self.directions)
            shapes["directions"] = (n_directions, n_qm, 3)
            shapes["slopes"] = shapes["slope_errors"] = (n_directions,)
        whole = ("links", "moved_hosts", "mm_groups")
        object.__setattr__(self, "qm_numbers", frozen(self.qm_numbers, np.int64))
        object.__setattr__(self, "cores", tuple(self.cores))
        object.__setattr__(self, "approximations", tuple(self.approximations))
        if not np.isfinite([self.energy, self.energy_low]).all():
            raise ConvergenceError(f"a label of energy {self.energy}", remedy="compute it again")
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is None:
                continue
            object.__setattr__(self, name, frozen(value, np.int64 if name in whole else np.float64))
            if np.shape(value) != shape or not np.isfinite(value).all():
                raise ConvergenceError(
                    f"{name} of a label has shape {np.shape(value)}, wanted {shape}, or is not finite",
                    remedy="compute the label again: its parts do not belong together",
                )
        rest = self.energy - sum(self.terms.values())
        if not abs(rest) <= _SUM_OF_TERMS:
            raise ConvergenceError(
                f"the terms of a label miss its energy by {rest:.1e} hartree ({dict(self.terms)})",
                remedy="compute the label again: its parts do not belong together",
            )

    @property
    def forces_of(self) -> Literal["energy", "energy_low", "MP2", "nothing"]:
        """Which energy of this label the forces are the slope of; ``"MP2"`` is neither of the two.

        ``"MP2"`` are forces of the energy with MP2 in all virtual orbitals in place of the cores' method;
        where MP2 in all virtual orbitals is the cores' method, they are those of ``"energy"``.
        """
        if self.forces_qm is None:
            return "nothing"
        whole = (
            self.level.core == "MP2" and self.level.virtual_shells is None and self.level.n_virtual is None
        )
        if not self.cores or self.level.forces == "exact" or (self.level.forces == "mp2" and whole):
            return "energy"
        return "MP2" if self.level.forces == "mp2" else "energy_low"

    @cached_property
    def key(self) -> str:
        """Content name of the question: same system, regions and level, same key."""
        asked = {"system": self.system, "partition": self.partition, "level": self.level.key}
        return content_key("Label", asked)
