"""Cores chosen from chemistry: a system and its QM region in, ranked cores with their estimates out.

Energies in hartree, lengths in bohr. The functional groups that touch the surroundings are grown group by
group up to the whole region; each core met on the way gets its correction in every frame, from one DFT
calculation per frame. What a core misses is the correction of the whole region less its own, as a relative
energy between frames: constants cancel in free energies. The estimate is CCSD(T) in half of the virtual
orbitals: MP2 is cheaper and misleads, see docs/core-selection.md.
"""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from drupe.embedding.cores.core import correct_core, localize_core
from drupe.embedding.labeling import check_request
from drupe.embedding.level import Level
from drupe.embedding.meanfield.qmmm import MeanField
from drupe.embedding.meanfield.surroundings import solve_mean_field
from drupe.embedding.regions.boundary import QuantumRegion, quantum_region
from drupe.embedding.regions.partition import Partition
from drupe.embedding.suggestions.groups import Group, find_groups
from drupe.embedding.suggestions.ranking import (
    electric_field,
    grow,
    growth_ladders,
    rank,
    relative_spread,
    spread_error,
)
from drupe.embedding.suggestions.suggestion import Candidate, Suggestion
from drupe.embedding.system import MolecularSystem
from drupe.errors import ConvergenceError, InputError
from drupe.units import angstrom, kcal_per_mol

__all__ = ["suggest"]

log = logging.getLogger(__name__)

_LARGEST_REGION = 60  # atoms; the yardstick is coupled cluster of the whole region
_CLOSED_GAP = 0.1  # of the singular values: below, another frame may sort the orbitals otherwise
_ESTIMATES = {"HF": "HF", "MP2": "MP2", "CCSD": "FNO-CCSD"}
_DEFAULT_LEVEL = Level("PBE", "def2-SVP")


def suggest(
    system: MolecularSystem,
    region: Partition,
    *,
    snapshots: Sequence[ArrayLike] = (),
    level: Level | None = None,
    tolerance: float = 0.5 * kcal_per_mol,
    contact: float = 4.0 * angstrom,
    largest_core: int = 10,
) -> Suggestion:
    """Rank cores of ``region`` by what they miss; arguments as in `Partition.suggest`."""
    whole = dataclasses.replace(region, cores=())
    estimate = _estimate_level(level or _DEFAULT_LEVEL)
    geometries = [np.asarray(frame, dtype=np.float64) for frame in snapshots]
    _check(whole, estimate, geometries, tolerance, largest_core)
    first = system.with_positions(geometries[0]) if geometries else system
    check_request(first, whole, dataclasses.replace(estimate, core=None))
    place = quantum_region(first, whole, estimate)
    groups = find_groups(place.numbers, place.positions, _bonds(first, whole), whole.charge)
    distances = _distances(first, whole, place)
    seeds, refused = _seeds(groups, len(whole.qm), distances, contact)
    neighbours = [group.neighbours for group in groups]
    offered = []
    for core in growth_ladders(seeds, neighbours):
        made = _grown(groups, core)
        heavy = int(np.count_nonzero(place.numbers[made.rows] > 1))
        if heavy > largest_core:
            refused.append(f"{made.name}: {heavy} heavy atoms, at most {largest_core} are allowed")
        else:
            offered.append(core)
    everything = frozenset(range(len(groups)))
    asked = [everything, *offered, *(grow(core, neighbours) for core in offered)]
    cores = {core: _grown(groups, core) for core in asked}
    for number, frame in enumerate(_frames(system, whole, geometries, estimate), start=1):
        for made in cores.values():
            _correct(frame, made, estimate, is_whole=made is cores[everything])
        log.info("frame %d: %d cores", number, len(cores))
    found = []
    for core in offered:
        made, grown = cores[core], cores[grow(core, neighbours)]
        if made.failure:
            refused.append(f"{made.name}: {made.failure}")
            continue
        missing = _change(made, cores[everything])
        found.append(
            Candidate(
                name=made.name,
                atoms=whole.qm[made.rows[made.rows < len(whole.qm)]],
                contact=float(distances[made.rows].min()),
                field=electric_field(place.positions[made.rows], place.points, place.charges),
                n_occupied=made.n_occupied or 0,
                spade_gap=min(made.gaps),
                correction=made.corrections[0],
                growth=None if grown.failure else _change(made, grown),
                missing=missing,
                # Two states of one geometry are no sample.
                missing_error=spread_error(missing, len(geometries)) if geometries else 0.0,
                reason="",
            )
        )
    if not found:
        raise InputError(
            "no core can be suggested: " + "; ".join(refused),
            remedy="raise largest_core or contact, or name the core: Partition.select(..., cores=[...])",
        )
    uncorrected = relative_spread(cores[everything].corrections)
    order = rank(
        [core.missing for core in found],
        [core.missing_error for core in found],
        [core.n_occupied for core in found],
        tolerance,
    )
    return Suggestion(
        region=whole,
        candidates=_explained([found[number] for number in order], tolerance, uncorrected),
        refused=tuple(refused),
        compared="snapshots" if geometries else "field",
        n_frames=len(geometries) or 2,
        uncorrected=uncorrected,
        tolerance=tolerance,
        level=estimate,
    )


@dataclass(eq=False)
class _Grown:
    """A core on its way through the frames: ``rows`` in the QM region with its link atoms at the end."""

    name: str
    rows: NDArray[np.int64]
    corrections: list[float] = dataclasses.field(default_factory=list)
    gaps: list[float] = dataclasses.field(default_factory=list)
    n_occupied: int | None = None
    failure: str = ""


def _estimate_level(level: Level) -> Level:
    return dataclasses.replace(
        level,
        core=_ESTIMATES.get(level.core or "", "FNO-CCSD(T)"),
        frozen_core=True,
        virtual_shells=None,
        n_occupied=None,
        n_virtual=None,
        active_space=None,
        pair_terms=False,
        core_growth=False,
        forces="none",
    )


def _check(
    whole: Partition,
    level: Level,
    geometries: list[NDArray[np.float64]],
    tolerance: float,
    largest_core: int,
) -> None:
    count = len(whole.qm)
    if count > _LARGEST_REGION:
        raise InputError(
            f"the QM region has {count} atoms; cores are suggested for at most {_LARGEST_REGION}, since each "
            "frame takes coupled cluster of the whole region",
            remedy="suggest with a smaller region around the same groups, or name the cores by hand",
        )
    if whole.multiplicity != 1:
        raise InputError(
            f"the QM region has multiplicity {whole.multiplicity}",
            remedy="cores are suggested for closed shells; name those of an open shell by hand",
        )
    if level.environment != "all":
        raise InputError(
            f"the level has environment={level.environment!r}",
            remedy='suggest with environment="all" in a cluster of whole molecules without a box',
        )
    if len(geometries) == 1:
        raise InputError(
            "one snapshot gives no relative energy",
            remedy="pass two or more, or none: then the field of the surroundings is switched on and off",
        )
    if not tolerance > 0 or largest_core < 1:
        raise InputError(
            f"tolerance={tolerance}, largest_core={largest_core}",
            remedy="give a positive energy in hartree and at least one heavy atom",
        )


def _bonds(system: MolecularSystem, whole: Partition) -> NDArray[np.int64]:
    """Bonds inside the region and to its link atoms, by row."""
    place = np.full(system.n_atoms, -1, np.int64)
    place[whole.qm] = np.arange(len(whole.qm))
    inner = place[system.bonds]
    inner = inner[(inner >= 0).all(axis=1)]
    ends = np.arange(len(whole.links)) + len(whole.qm)
    return np.vstack([inner, np.stack([place[whole.links[:, 0]], ends], axis=1)])


def _distances(system: MolecularSystem, whole: Partition, place: QuantumRegion) -> NDArray[np.float64]:
    """Shortest distance of each row of the region to an MM atom that is no host of a link atom."""
    mm = np.setdiff1d(whole.mm_atoms, whole.links[:, 1])
    if len(mm) == 0:
        raise InputError(
            "the QM region has no surroundings that its groups could touch",
            remedy="suggest cores in the complex and use the same partition elsewhere",
        )
    shortest: NDArray[np.float64] = cdist(place.positions, system.positions[mm]).min(axis=1)
    return shortest


def _seeds(
    groups: Sequence[Group], n_qm: int, distances: NDArray[np.float64], contact: float
) -> tuple[list[int], list[str]]:
    """Groups to grow from, and why the others are not: far, at a cut bond, or carbon beside better ones."""
    refused: list[str] = []
    near: list[int] = []
    for number, group in enumerate(groups):
        distance = float(distances[list(group.rows)].min())
        if group.rows[-1] >= n_qm:
            refused.append(f"{group.name}: it ends in a link atom, so it always touches the surroundings")
        elif distance <= contact:
            near.append(number)
        else:
            refused.append(
                f"{group.name}: {distance / angstrom:.1f} A from the surroundings, "
                f"contact is {contact / angstrom:.1f} A"
            )
    if not near:
        raise InputError(
            "no functional group touches the surroundings: " + "; ".join(refused),
            remedy="raise contact, or name the core: Partition.select(..., cores=[...])",
        )
    functional = [number for number in near if not groups[number].is_skeleton]
    for number in near:
        if functional and groups[number].is_skeleton:
            refused.append(f"{groups[number].name}: saturated carbon is grown into, not started from")
    return functional or near, refused


def _grown(groups: Sequence[Group], core: frozenset[int]) -> _Grown:
    names = [groups[number].name for number in sorted(core)]
    counts = {name: names.count(name) for name in names}
    name = ", ".join(f"{count} {name}" if count > 1 else name for name, count in counts.items())
    rows = sorted(row for number in core for row in groups[number].rows)
    return _Grown(name, np.array(rows, np.int64))


def _frames(
    system: MolecularSystem, whole: Partition, geometries: list[NDArray[np.float64]], level: Level
) -> Iterator[MeanField]:
    """DFT of each snapshot in the MM charges; of one geometry with and without them."""
    start = None
    for positions, strength in [(x, 1.0) for x in geometries] or [(system.positions, s) for s in (1.0, 0.0)]:
        moved = system.with_positions(positions)
        whole.check_fits(moved)
        place = quantum_region(moved, whole, level)
        place = dataclasses.replace(place, charges=strength * place.charges)
        field = solve_mean_field(moved, whole, place, level, start)
        start = field.restart
        yield field


def _correct(frame: MeanField, core: _Grown, level: Level, *, is_whole: bool) -> None:
    """Add the correction of ``core`` in one more frame; a core that fails once is out."""
    if core.failure:
        return
    orbitals = localize_core(frame, core.rows, core.n_occupied, level)
    core.n_occupied = orbitals.core.shape[1]
    core.gaps.append(orbitals.gap)
    if orbitals.gap < _CLOSED_GAP and not is_whole:
        core.failure = f"its SPADE gap closes ({orbitals.gap:.2f})"
        return
    try:
        core.corrections.append(correct_core(frame, core.rows, orbitals, level, label=core.name).correction)
    except ConvergenceError as error:
        if is_whole:
            raise
        core.failure = error.found


def _change(core: _Grown, grown: _Grown) -> float:
    return relative_spread(np.subtract(grown.corrections, core.corrections))


def _explained(ranked: list[Candidate], tolerance: float, uncorrected: float) -> tuple[Candidate, ...]:
    allowed = f"{tolerance / kcal_per_mol:.2f}"
    explained = []
    for number, core in enumerate(ranked):
        error = f" +- {core.missing_error / kcal_per_mol:.2f}" if core.missing_error else ""
        misses = f"misses {core.missing / kcal_per_mol:.2f}{error} kcal/mol"
        if core.surely_missing > tolerance:
            reason = f"{misses}, more than {allowed}"
            if core.missing >= uncorrected:
                reason += f" and than DFT without a core ({uncorrected / kcal_per_mol:.2f})"
        elif number == 0:
            reason = f"chosen: {misses}, at most {allowed}, and no smaller core does"
        else:
            reason = f"{misses}, at most {allowed}, with more electrons"
        explained.append(dataclasses.replace(core, reason=reason))
    return tuple(explained)
