"""The one call of this package: system, partition and level in; energy and forces out (hartree, bohr)."""

import dataclasses
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.accounting import approximations, diagnose, energy_terms
from drupe.embedding.boundary import quantum_region
from drupe.embedding.core import CoreResult, correct_core, localize_core
from drupe.embedding.directional import DirectionalSlopes, directional_slopes
from drupe.embedding.forces import check_forces, check_memory, force_name, needs_cores, region_forces
from drupe.embedding.hamiltonian import known_solver
from drupe.embedding.labels import Label
from drupe.embedding.level import Level
from drupe.embedding.localization import Localized
from drupe.embedding.partition import Partition
from drupe.embedding.periodic import surrounding_cluster
from drupe.embedding.qmmm import MeanField, check_level, run_dft
from drupe.embedding.restart import Restart
from drupe.embedding.solved import SolvedCore
from drupe.embedding.system import MolecularSystem
from drupe.errors import ConvergenceError, InputError

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
        All atoms, bohr; those outside the QM region act by their charges. In a periodic box the level
        says which: with ``environment="cluster"`` those of whole molecules around the QM region.
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
        ``energy = energy_low + sum of core corrections``. ``force_level`` names the energy whose forces it
        carries.

    Raises
    ------
    InputError
        If system, partition and level do not fit together.
    ConvergenceError
        If any iteration stops short: there is no label then.
    """
    started = time.perf_counter()
    check_request(system, partition, level)
    asked, cluster = system, surrounding_cluster(system, partition.qm, level)
    if cluster is not None:
        system = cluster.whole
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
    check_memory(field, level)
    solved: list[SolvedCore] = []
    keep = solved.append if needs_cores(level) else None
    cores = _correct_cores(field, partition, level, check, keep) if level.core else ()
    after_cores = time.perf_counter()
    forces = region_forces(field, solved, level)
    forces_qm, forces_mm = (None, None) if forces is None else region.scatter(*forces)
    slopes = _slopes(system, partition, level, field, cores) if level.forces == "directional" else None
    ended = time.perf_counter()
    charges, dipole = field.mulliken()
    diagnostics = diagnose(field, cores, region)
    diagnostics["seconds_scf"] = after_scf - started
    diagnostics["seconds_cores"] = after_cores - after_scf
    diagnostics["seconds_forces"] = ended - after_cores
    if cluster is not None:
        diagnostics.update(cluster.diagnostics)
    return Label(
        system=asked.key,
        partition=partition.key,
        level=level,
        energy_low=field.energy,
        energy=field.energy + sum(core.correction for core in cores),
        forces_qm=forces_qm,
        forces_mm=forces_mm,
        force_level=force_name(level),
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
        approximations=approximations(level, cores, region) + (() if cluster is None else (cluster.caveat,)),
        links=region.link_hosts,
        link_positions=region.positions[len(qm) :],
        link_charges=charges[len(qm) :],
        moved_charges=region.moved.charges,
        moved_hosts=region.moved.hosts,
        moved_weights=region.moved.weights,
        directions=None if slopes is None else slopes.directions,
        slopes=None if slopes is None else slopes.slopes,
        slope_errors=None if slopes is None else slopes.errors,
    )


def check_request(system: MolecularSystem, partition: Partition, level: Level) -> None:
    """Refuse what `label` could not compute, without computing anything.

    Raises
    ------
    InputError
        If the partition is not of this system, the region or its cores need what is not there yet,
        or the functional, the basis or the core solver is not known for these elements.
    """
    if system.box is not None and level.environment == "all":
        raise InputError(
            "the system has a periodic box: the charges of all its images do not end",
            remedy='use Level(environment="cluster", cluster_radius=...) for whole molecules within that '
            "distance of the QM region",
        )
    if system.box is None and level.environment != "all":
        raise InputError(
            f"the level has environment={level.environment!r}, the system has no periodic box",
            remedy='read the box with the system, or use environment="all"',
        )
    if level.environment == "ewald":
        raise InputError(
            'the level has environment="ewald", which is not available yet',
            remedy='use environment="cluster" with a cluster_radius',
        )
    cluster = surrounding_cluster(system, partition.qm, level)
    if cluster is not None:
        system = cluster.whole
    partition.check_fits(system)
    region = quantum_region(system, partition, level)
    check_level(region.numbers, region.positions, partition.charge, partition.multiplicity, level)
    closed = partition.multiplicity == 1 and all(core.multiplicity == 1 for core in partition.cores)
    check_forces(level, closed_shell=closed)
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
    field: MeanField,
    partition: Partition,
    level: Level,
    check: bool,
    keep: Callable[[SolvedCore], None] | None,
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
            keep=keep,
        )
        for core, atoms, own in zip(partition.cores, places, split, strict=True)
    )


def _slopes(
    system: MolecularSystem,
    partition: Partition,
    level: Level,
    field: MeanField,
    cores: tuple[CoreResult, ...],
) -> DirectionalSlopes:
    """Exact slopes of the energy along random directions of the QM atoms, numbers of orbitals held fixed."""
    quick = dataclasses.replace(level, forces="none", n_occupied=tuple(core.n_occupied for core in cores))
    if system.box is None:  # a cluster was cut already: all displaced energies belong to the same one
        quick = dataclasses.replace(quick, environment="all", cluster_radius=None)
    sizes = [core.n_virtual for core in cores]

    def energy(positions: NDArray[np.float64]) -> float:
        moved = system.positions.copy()
        moved[partition.qm] = positions
        found = label(system.with_positions(moved), partition, quick, density=field.restart)
        if [core.n_virtual for core in found.cores] != sizes:
            raise ConvergenceError(
                f"the cores have {sizes} virtual orbitals here and "
                f"{[core.n_virtual for core in found.cores]} nearby: their energy has a step",
                remedy="use virtual_shells=None, or another number of shells",
            )
        return found.energy

    return directional_slopes(
        energy,
        system.positions[partition.qm],
        level.n_directions,
        level.direction_seed,
        level.direction_step,
    )


def _residual(field: MeanField, own: Localized, split: list[Localized]) -> float:
    covered = own.core.T @ field.overlap
    return max((float(np.linalg.norm(covered @ o.core, 2)) for o in split if o is not own), default=0.0)
