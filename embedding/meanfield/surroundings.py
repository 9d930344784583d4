"""Which charges act on a QM region: system, regions and level in; a mean field out. Atomic units."""

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.level import Level
from drupe.embedding.meanfield.ewald import check_box, run_ewald
from drupe.embedding.meanfield.qmmm import MeanField, run_dft
from drupe.embedding.meanfield.restart import Restart
from drupe.embedding.meanfield.spillage import check_spillage
from drupe.embedding.regions.boundary import QuantumRegion
from drupe.embedding.regions.partition import Partition
from drupe.embedding.regions.periodic import gather
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError

__all__ = ["caveats", "check_surroundings", "gathered", "solve_mean_field"]

_LEAK = 0.03  # electrons on one charge that a label mentions; a hydrogen bond has 0.01


def gathered(system: MolecularSystem, partition: Partition, level: Level) -> MolecularSystem:
    """Atoms of an Ewald level at their images nearest to the whole QM region; others as they are.

    Raises
    ------
    InputError
        If an Ewald level meets a system without a box.
    """
    return gather(system, partition.qm) if level.environment == "ewald" else system


def check_surroundings(
    system: MolecularSystem, partition: Partition, region: QuantumRegion, level: Level
) -> None:
    """Refuse what QM/MM-Ewald cannot do, without computing anything.

    Raises
    ------
    InputError
        As `drupe.embedding.meanfield.ewald.check_box`, and for forces other than those of DFT/MM.
    """
    if level.environment != "ewald":
        return
    if level.forces not in ("low", "none"):
        raise InputError(
            f"QM/MM-Ewald with forces={level.forces!r}: the response of the images is not coded",
            remedy='use forces="low" or "none", or environment="cluster"',
        )
    assert system.box is not None
    check_box(region.positions, partition.charge, partition.multiplicity, region.charges, system.box)


def solve_mean_field(
    system: MolecularSystem,
    partition: Partition,
    region: QuantumRegion,
    level: Level,
    density: NDArray[np.float64] | Restart | None,
) -> MeanField:
    """DFT of the region in the charges that the level names; see `run_dft` and `run_ewald`.

    Raises
    ------
    InputError
        If electrons spill onto a charge.
    """
    state = region.numbers, region.positions, partition.charge, partition.multiplicity
    charges = region.points, region.charges
    if level.environment == "ewald":
        assert system.box is not None
        field: MeanField = run_ewald(*state, *charges, system.box, level, density, region.radii)
    else:
        field = run_dft(*state, *charges, level, density, region.radii)
    check_spillage(field.spillage, region.positions, *charges)
    return field


def caveats(field: MeanField, level: Level) -> tuple[str, ...]:
    """What the treatment of the charges leaves out, for the label."""
    found = []
    if level.environment == "ewald":
        found.append(
            "surroundings: QM/MM-Ewald; charges beyond half the shortest box edge, and the region's images, "
            "act on its atomic multipoles up to quadrupoles"
        )
    if field.spillage.electrons > _LEAK:
        found.append(
            f"charges: {field.spillage.electrons:.2f} electrons lie on one MM charge; charge_radii smears it"
        )
    return tuple(found)
