"""The one call of this package: system, partition and level in; energy and forces out (hartree, bohr)."""

import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.accounting import approximations, diagnose, energy_terms
from drupe.embedding.boundary import quantum_region
from drupe.embedding.core import CoreResult, correct_core, localize_core
from drupe.embedding.hamiltonian import known_solver
from drupe.embedding.labels import Label
from drupe.embedding.level import Level
from drupe.embedding.localization import Localized
from drupe.embedding.partition import Partition
from drupe.embedding.qmmm import MeanField, check_level, run_dft
from drupe.embedding.restart import Restart
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError

__all__ = ["Label", "Level", "check_request", "label"]


def label(
    system: MolecularSystem,
    partition: Partition,
    level: Level,
    *,
    check: bool = False,
    density: NDArray[np.float64] | Restart | None = None,
    on_restart: Callable[[Restart], None] | None = None,
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
        Where to start the SCF: what ``on_restart`` was given by the label of a near snapshot, or a density
        matrix; changes the label only within the thresholds.
    on_restart
        Called with the start for the next snapshot once the SCF is done; it is not kept in the label.

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
    region = quantum_region(system, partition, level)
    field = run_dft(
        region.numbers,
        region.positions,
        partition.charge,
        partition.multiplicity,
        region.points,
        region.charges,
        level,
        density,
        region.radii,
    )
    if on_restart is not None:
        on_restart(field.restart)
    after_scf = time.perf_counter()
    forces_qm = forces_mm = None
    if level.forces == "low":
        forces_qm, forces_mm = region.scatter(*field.forces())
    after_forces = time.perf_counter()
    cores = _correct_cores(field, partition, level, check) if level.core else ()
    ended = time.perf_counter()
    charges, dipole = field.mulliken()
    diagnostics = diagnose(field, cores, region)
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
        charges_qm=charges[: len(qm)],
        dipole=dipole,
        diagnostics=diagnostics,
        qm_numbers=system.numbers[qm],
        qm_positions=system.positions[qm],
        qm_fixed_charges=system.charges[qm],
        mm_positions=system.positions[mm],
        mm_charges=system.charges[mm],
        seconds=time.perf_counter() - started,
        versions={name: version(name) for name in ("drupe", "pyscf", "numpy")},
        terms=energy_terms(field.terms, cores),
        approximations=approximations(level, cores, region),
        links=region.link_hosts,
        link_positions=region.positions[len(qm) :],
        link_charges=charges[len(qm) :],
        moved_charges=region.moved.charges,
        moved_hosts=region.moved.hosts,
        moved_weights=region.moved.weights,
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
    if level.environment != "all":
        raise InputError(
            f"the level has environment={level.environment!r}, the system has no periodic box",
            remedy='read the box with the system, or use environment="all"',
        )
    partition.check_fits(system)
    region = quantum_region(system, partition, level)
    check_level(region.numbers, region.positions, partition.charge, partition.multiplicity, level)
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
    places = [partition.core_rows(core) for core in partition.cores]
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
