"""The one call of this package: system, partition and level in; energy and forces out (hartree, bohr)."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.accounting import approximations, diagnose, energy_terms, net_force
from drupe.embedding.cores.core import CoreResult
from drupe.embedding.cores.core_state import (
    check_active_electrons,
    check_core_electrons,
    check_core_spins,
    occupations,
)
from drupe.embedding.cores.corrections import correct_cores
from drupe.embedding.cores.open_cores import correct_open_cores
from drupe.embedding.cores.solved import SolvedCore
from drupe.embedding.elementwise import for_element
from drupe.embedding.gradients.directional import DirectionalSlopes, directional_slopes
from drupe.embedding.gradients.forces import (
    check_forces,
    check_memory,
    force_name,
    needs_cores,
    region_forces,
)
from drupe.embedding.kernels.localization import Localized
from drupe.embedding.labels import Label
from drupe.embedding.level import Level
from drupe.embedding.meanfield.qmmm import MeanField, check_level
from drupe.embedding.meanfield.restart import Restart
from drupe.embedding.meanfield.surroundings import caveats, check_surroundings, gathered, solve_mean_field
from drupe.embedding.regions.boundary import quantum_region
from drupe.embedding.regions.partition import Partition
from drupe.embedding.regions.periodic import surrounding_cluster
from drupe.embedding.solvers.hamiltonian import is_local, known_solver
from drupe.embedding.solvers.spin_solvers import known_unrestricted_solver
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
        All atoms, bohr; those outside the QM region act by their charges. In a periodic box the level
        says which: with ``environment="cluster"`` those of whole molecules around the QM
        region, with ``"ewald"`` all of them and their images.
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
    system = gathered(system, partition, level) if cluster is None else cluster.whole
    qm, mm = partition.qm, partition.mm_atoms
    region = quantum_region(system, partition, level)
    field = solve_mean_field(system, partition, region, level, density)
    if on_restart is not None:
        on_restart(field.restart)
    after_scf = time.perf_counter()
    check_memory(field, level)
    solved: list[SolvedCore] = []
    keep = solved.append if needs_cores(level) else None
    cores: tuple[CoreResult, ...] = ()
    pairs: Mapping[str, float] = {}
    if level.core:
        places = [partition.core_rows(core) for core in partition.cores]
        names = [core.label for core in partition.cores]
        admit = partial(_admit, system, partition, field)
        if field.is_closed_shell:
            cores, pairs = correct_cores(
                field, places, names, level, check=check, keep=keep, admit=lambda n, own: admit(n, (own, own))
            )
        else:
            cores, pairs = correct_open_cores(field, places, partition.cores, level, check=check, admit=admit)
    after_cores = time.perf_counter()
    forces = region_forces(field, solved, level)
    forces_qm, forces_mm = (None, None) if forces is None else region.scatter(*forces)
    slopes = _slopes(system, partition, level, field, cores) if level.forces == "directional" else None
    ended = time.perf_counter()
    charges, dipole = field.mulliken()
    diagnostics = diagnose(field, cores, region)
    remarks = approximations(level, cores, region) + caveats(field, level)
    if cluster is not None:
        diagnostics.update(cluster.diagnostics)
        remarks += (cluster.caveat,)
    if forces is not None:
        diagnostics["net_force"] = float(np.linalg.norm(np.vstack(forces).sum(axis=0)))
        remarks += net_force(diagnostics["net_force"], level)
    if partition.cores and level.core is None:
        remarks += (f"cores: the level asks for none of the {len(partition.cores)} of the partition",)
    diagnostics.update({f"pair_term {names}": value for names, value in pairs.items()})
    diagnostics["seconds_scf"] = after_scf - started
    diagnostics["seconds_cores"] = after_cores - after_scf
    diagnostics["seconds_forces"] = ended - after_cores
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
        versions={name: version(name) for name in _packages(level)},
        terms=energy_terms(field.terms, cores),
        approximations=remarks,
        links=region.link_hosts,
        link_positions=region.positions[len(qm) :],
        link_charges=charges[len(qm) :],
        moved_charges=region.moved.charges,
        moved_hosts=region.moved.hosts,
        moved_weights=region.moved.weights,
        directions=None if slopes is None else slopes.directions,
        slopes=None if slopes is None else slopes.slopes,
        slope_errors=None if slopes is None else slopes.errors,
        mm_groups=system.residue_runs[mm],
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
    cluster = surrounding_cluster(system, partition.qm, level)
    system = gathered(system, partition, level) if cluster is None else cluster.whole
    partition.check_fits(system)
    region = quantum_region(system, partition, level)
    _check_link_basis(partition, level)
    check_level(region.numbers, region.positions, partition.charge, partition.multiplicity, level)
    check_surroundings(system, partition, region, level)
    closed = partition.multiplicity == 1 and all(core.multiplicity == 1 for core in partition.cores)
    check_forces(level, closed_shell=closed)
    if level.core is None:
        return
    if partition.multiplicity == 1:
        known_solver(level.core)
    else:
        known_unrestricted_solver(level.core)
    if not partition.cores:
        raise InputError(
            f"the level asks for {level.core} cores, the partition has none",
            remedy="give Partition.select(..., cores=[...]), or set core=None",
        )
    check_core_spins(partition)
    for name, numbers in (("n_occupied", level.n_occupied), ("n_virtual", level.n_virtual)):
        if numbers is not None and len(numbers) != len(partition.cores):
            raise InputError(
                f"{name} has {len(numbers)} numbers for {len(partition.cores)} cores",
                remedy="give one number per core, or None",
            )
    most = (partition.n_electrons + partition.multiplicity) // 2 + len(partition.links)
    for core, asked in zip(partition.cores, level.n_occupied or (), strict=False):
        if max(asked if isinstance(asked, tuple) else (asked,)) > most:
            raise InputError(
                f"n_occupied gives {core.label!r} {asked} orbitals, the QM region has at most {most}",
                remedy="lower n_occupied, or set it to None, which takes the largest gap",
            )
    occupations(partition.cores, level)
    check_active_electrons(partition.cores, level)


def _packages(level: Level) -> tuple[str, ...]:
    """Packages whose versions belong to the number."""
    local = level.core is not None and is_local(level.core)
    return ("drupe", "pyscf", "numpy", *(("pyscf-forge",) if local else ()))


def _check_link_basis(partition: Partition, level: Level) -> None:
    """Link atoms are hydrogens also where the region has none of its own."""
    count = len(partition.links)
    if count and 1 not in partition.qm_numbers and for_element(level.basis, "H") is None:
        raise InputError(
            f"the level names no basis for H: the QM region has none, but its {count} cut "
            f"bond{' gets a link hydrogen' if count == 1 else 's get link hydrogens'}",
            remedy='add basis={"H": ...}, or a "default"',
        )


def _admit(
    system: MolecularSystem,
    partition: Partition,
    field: MeanField,
    number: int,
    own: tuple[Localized, Localized],
) -> None:
    """Refuse a core whose orbitals do not hold the electrons of its declared charge."""
    core = partition.cores[number]
    nuclear = float(field.engine.mol.atom_charges()[partition.core_rows(core)].sum())
    electrons = (own[0].core.shape[1], own[1].core.shape[1])
    gaps = tuple(one.gap for one in own)
    check_core_electrons(system, partition, core, nuclear, electrons, gaps)


def _slopes(
    system: MolecularSystem,
    partition: Partition,
    level: Level,
    field: MeanField,
    cores: tuple[CoreResult, ...],
) -> DirectionalSlopes:
    """Exact slopes of the energy along random directions of the QM atoms, numbers of orbitals held fixed."""
    # Orbitals are counted as in this label: nearby counts would make steps.
    quick = dataclasses.replace(
        level,
        forces="none",
        n_occupied=tuple(core.n_occupied for core in cores),
        n_virtual=tuple(core.n_virtual for core in cores),
        pair_terms=False,
        core_growth=False,
    )
    if system.box is None:  # a cluster was cut already: all displaced energies belong to the same one
        quick = dataclasses.replace(quick, environment="all", cluster_radius=None)

    def energy(positions: NDArray[np.float64]) -> float:
        moved = system.positions.copy()
        moved[partition.qm] = positions
        return label(system.with_positions(moved), partition, quick, density=field.restart).energy

    return directional_slopes(
        energy,
        system.positions[partition.qm],
        level.n_directions,
        level.direction_seed,
        level.direction_step,
    )
