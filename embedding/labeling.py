"""The one call of this package: system, partition and level in; energy and forces out (hartree, bohr)."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.core import CoreResult, correct_core, localize_core
from drupe.embedding.hamiltonian import known_solver
from drupe.embedding.level import Level
from drupe.embedding.localization import Localized
from drupe.embedding.partition import Partition
from drupe.embedding.qmmm import MeanField, check_level, run_dft
from drupe.embedding.system import MolecularSystem
from drupe.errors import ConvergenceError, InputError
from drupe.records import content_key, frozen, register

__all__ = ["Label", "Level", "check_request", "label"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class Label:
    """Energy and forces of the QM region in the field of the MM charges. Converged, or it does not exist.

    ===================  ============  ============  =====================================================
    field                shape         unit          note
    ===================  ============  ============  =====================================================
    system, partition    keys                        what was computed
    level                record
    energy_low           scalar        hartree       DFT of the QM region in the MM charges
    energy               scalar        hartree       with the corrections of all cores
    forces_qm            ``(qm, 3)``   hartree/bohr  of ``energy_low``; None if not asked for
    forces_mm            ``(mm, 3)``   hartree/bohr  of ``energy_low`` alone: no force between MM atoms
    force_level          text                        which energy the forces belong to
    cores                tuple                       one `CoreResult` per core
    charges_qm           ``(qm,)``     e             Mulliken
    dipole               ``(3,)``      e bohr        about the centroid of the QM atoms
    diagnostics          mapping                     iterations, T1, gaps, seconds per part
    qm_numbers           ``(qm,)``
    qm_positions         ``(qm, 3)``   bohr
    qm_fixed_charges     ``(qm,)``     e             MM charges of the QM atoms
    mm_positions         ``(mm, 3)``   bohr
    mm_charges           ``(mm,)``     e
    seconds              scalar        s             wall time
    versions             mapping                     of the packages that computed it
    ===================  ============  ============  =====================================================
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

    def __post_init__(self) -> None:
        n_qm, n_mm = len(self.qm_numbers), len(self.mm_charges)
        shapes = {
            "forces_qm": (n_qm, 3),
            "forces_mm": (n_mm, 3),
            "charges_qm": (n_qm,),
            "dipole": (3,),
            "qm_positions": (n_qm, 3),
            "qm_fixed_charges": (n_qm,),
            "mm_positions": (n_mm, 3),
            "mm_charges": (n_mm,),
        }
        object.__setattr__(self, "qm_numbers", frozen(self.qm_numbers, np.int64))
        object.__setattr__(self, "cores", tuple(self.cores))
        if not np.isfinite([self.energy, self.energy_low]).all():
            raise ConvergenceError(f"a label of energy {self.energy}", remedy="compute it again")
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is None:
                continue
            object.__setattr__(self, name, frozen(value, np.float64))
            if np.shape(value) != shape or not np.isfinite(value).all():
                raise ConvergenceError(
                    f"{name} of a label has shape {np.shape(value)}, wanted {shape}, or is not finite",
                    remedy="compute the label again: its parts do not belong together",
                )

    @cached_property
    def key(self) -> str:
        """Content name of the question: same system, regions and level, same key."""
        asked = {"system": self.system, "partition": self.partition, "level": self.level.key}
        return content_key("Label", asked)


def label(
    system: MolecularSystem,
    partition: Partition,
    level: Level,
    *,
    check: bool = False,
    density: NDArray[np.float64] | None = None,
) -> Label:
    """Compute the energy and forces of the QM region, and the corrections of its cores.

    Parameters
    ----------
    system
        All atoms, bohr; those outside the QM region act by their charges.
    partition
        QM region and cores.
    level
        Level of theory.
    check
        Also prove for each core that the functional embedded in itself gives the DFT energy to 1e-8.
    density
        Density matrix to start the SCF from; changes the label only within the thresholds.

    Returns
    -------
    Label
        ``energy = energy_low + sum of core corrections``. The forces are those of ``energy_low``.

    Raises
    ------
    InputError
        If system, partition and level do not fit together.
    ConvergenceError
        If any iteration stops short: there is no label then.
    """
    started = time.perf_counter()
    check_request(system, partition, level)
    qm, mm = partition.qm, partition.mm_atoms
    active = mm[system.charges[mm] != 0.0]
    field = run_dft(
        system.numbers[qm],
        system.positions[qm],
        partition.charge,
        partition.multiplicity,
        system.positions[active],
        system.charges[active],
        level,
        density,
    )
    after_scf = time.perf_counter()
    forces_qm = forces_mm = None
    if level.forces == "low":
        forces_qm, on_active = field.forces()
        forces_mm = np.zeros((len(mm), 3))
        forces_mm[np.searchsorted(mm, active)] = on_active
    after_forces = time.perf_counter()
    cores = _correct_cores(field, partition, level, check) if level.core else ()
    ended = time.perf_counter()
    charges, dipole = field.mulliken()
    diagnostics = _diagnose(field, cores)
    diagnostics["seconds_scf"] = after_scf - started
    diagnostics["seconds_forces"] = after_forces - after_scf
    diagnostics["seconds_cores"] = ended - after_forces
    return Label(
        system=system.key,
        partition=partition.key,
        level=level,
        energy_low=field.energy,
        energy=field.energy + sum(core.correction for core in cores),
        forces_qm=forces_qm,
        forces_mm=forces_mm,
        force_level="DFT/MM" if level.forces == "low" else "none",
        cores=cores,
        charges_qm=charges,
        dipole=dipole,
        diagnostics=diagnostics,
        qm_numbers=system.numbers[qm],
        qm_positions=system.positions[qm],
        qm_fixed_charges=system.charges[qm],
        mm_positions=system.positions[mm],
        mm_charges=system.charges[mm],
        seconds=time.perf_counter() - started,
        versions={name: version(name) for name in ("drupe", "pyscf", "numpy")},
    )


def check_request(system: MolecularSystem, partition: Partition, level: Level) -> None:
    """Refuse what `label` could not compute, without computing anything.

    Raises
    ------
    InputError
        If the partition is not of this system, the region or its cores need what is not there yet,
        or the functional, the basis or the core solver is not known for these elements.
    """
    if system.box is not None:
        raise InputError(
            "the system has a periodic box",
            remedy="periodic labels are not available yet: use a cluster of whole molecules",
        )
    partition.check_fits(system)
    chosen = partition.qm
    check_level(
        system.numbers[chosen], system.positions[chosen], partition.charge, partition.multiplicity, level
    )
    if level.core is None:
        return
    known_solver(level.core)
    if not partition.cores:
        raise InputError(
            f"the level asks for {level.core} cores, the partition has none",
            remedy="give Partition.select(..., cores=[...]), or set core=None",
        )
    if partition.multiplicity != 1 or any(c.multiplicity != 1 or c.charge for c in partition.cores):
        raise InputError(
            f"cores with multiplicity or charge of their own in a QM region of multiplicity "
            f"{partition.multiplicity}",
            remedy="cores need a closed shell in this version, and get their electrons from n_occupied",
        )
    if level.n_occupied is not None and len(level.n_occupied) != len(partition.cores):
        raise InputError(
            f"n_occupied has {len(level.n_occupied)} numbers for {len(partition.cores)} cores",
            remedy="give one number per core, or None",
        )


def _correct_cores(
    field: MeanField, partition: Partition, level: Level, check: bool
) -> tuple[CoreResult, ...]:
    places = [np.searchsorted(partition.qm, core.indices) for core in partition.cores]
    counts = level.n_occupied or (None,) * len(places)
    split = [localize_core(field, atoms, n) for atoms, n in zip(places, counts, strict=True)]
    return tuple(
        correct_core(
            field,
            atoms,
            own,
            level,
            label=core.label,
            residual_overlap=_residual(field, own, split),
            check=check,
        )
        for core, atoms, own in zip(partition.cores, places, split, strict=True)
    )


def _residual(field: MeanField, own: Localized, split: list[Localized]) -> float:
    covered = own.core.T @ field.overlap
    return max((float(np.linalg.norm(covered @ o.core, 2)) for o in split if o is not own), default=0.0)


def _diagnose(field: MeanField, cores: tuple[CoreResult, ...]) -> dict[str, float]:
    found = {"scf_iterations": float(field.iterations), "n_basis": float(len(field.overlap))}
    if not field.is_closed_shell:
        found["spin_square"] = float(field.engine.spin_square()[0])
    if cores:
        found["spade_gap_min"] = min(core.spade_gap for core in cores)
        found["residual_overlap_max"] = max(core.residual_overlap for core in cores)
        found["t1_max"] = max((core.t1 for core in cores if core.t1 is not None), default=0.0)
    return found
