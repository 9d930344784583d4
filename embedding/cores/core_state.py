"""Do charge, multiplicity and electrons of a core fit each other: counts in, silence or a refusal out.

Charges in e, multiplicities 2S + 1. Spins are those of one determinant: unpaired electrons are alpha.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.level import Level
from drupe.embedding.regions.geometry import bonds_across
from drupe.embedding.regions.partition import Core, Partition
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError

__all__ = ["check_active_electrons", "check_core_electrons", "check_core_spins", "occupations"]


def check_core_spins(partition: Partition) -> None:
    """Refuse cores whose multiplicities the QM region cannot have, before anything is computed.

    Raises
    ------
    InputError
        If a multiplicity is no positive number, a core of a closed-shell region is open, or the cores
        have more unpaired electrons together than the region.
    """
    free = partition.multiplicity - 1
    for core in partition.cores:
        if core.multiplicity < 1:
            raise InputError(
                f"the core {core.label!r} has multiplicity {core.multiplicity}",
                remedy="give 2S + 1: 1 for a closed shell, 2 for a radical",
            )
    unpaired = sum(core.multiplicity - 1 for core in partition.cores)
    if unpaired > free:
        names = ", ".join(
            f"{core.label!r} {core.multiplicity}" for core in partition.cores if core.multiplicity > 1
        )
        raise InputError(
            f"the cores have {unpaired} unpaired electrons (multiplicities: {names}), the QM region of "
            f"multiplicity {partition.multiplicity} has {free}",
            remedy=f"give the QM region at least multiplicity {unpaired + 1}; cores coupled to a lower spin "
            "need a broken-symmetry or multireference treatment, which is not available",
        )


def occupations(cores: Sequence[Core], level: Level) -> list[tuple[int, int] | None]:
    """Alpha and beta orbitals that ``level`` fixes for each core; None where it leaves them open.

    Raises
    ------
    InputError
        If a pair does not have the core's multiplicity, or one number is given for an open core.
    """
    given = level.n_occupied or (None,) * len(cores)
    found: list[tuple[int, int] | None] = []
    for core, count in zip(cores, given, strict=True):
        pair = (count, count) if isinstance(count, int) else count
        if pair is not None and pair[0] - pair[1] != core.multiplicity - 1:
            raise InputError(
                f"n_occupied={count} for the core {core.label!r} of multiplicity {core.multiplicity}",
                remedy=f"give it a pair (alpha, beta) with {core.multiplicity - 1} more of alpha",
            )
        found.append(pair)
    return found


def check_active_electrons(cores: Sequence[Core], level: Level) -> None:
    """Refuse an active space that is missing, or that no core of these multiplicities can have.

    Raises
    ------
    InputError
        If active orbitals hold another number of unpaired electrons than a core has.
    """
    if level.core is None or not level.core.startswith(("CASCI", "CASSCF")):
        return
    if level.active_space is None:
        raise InputError(
            f"{level.core} needs an active space", remedy="give Level.active_space=(electrons, orbitals)"
        )
    electrons, _ = level.active_space
    for core in cores:
        unpaired = core.multiplicity - 1
        if electrons < unpaired or (electrons - unpaired) % 2:
            raise InputError(
                f"active_space={level.active_space} for the core {core.label!r} of multiplicity "
                f"{core.multiplicity}",
                remedy=f"give it {unpaired} active electrons, or an even number more; cores of different "
                "multiplicity may need a label each",
            )


def check_core_electrons(
    system: MolecularSystem,
    partition: Partition,
    core: Core,
    nuclear_charge: float,
    electrons: tuple[int, int],
    gaps: tuple[float, ...],
) -> None:
    """Refuse a core that did not get the electrons its charge asks for.

    Parameters
    ----------
    system, partition, core
        What the core is a part of, and its declared state.
    nuclear_charge
        Of the core's atoms, e, less what effective core potentials stand for; link atoms included.
    electrons
        Alpha and beta electrons that the localisation or the level gave it.
    gaps
        Gaps of the localisation, for the message.

    Raises
    ------
    InputError
        If the charge is not the declared one: exactly where no covalent bond is cut, within one electron
        for each cut bond, since both electrons of such a bond go to one side.
    """
    if core.charge is None:
        return
    alpha, beta = electrons
    seen = f"{alpha} alpha and {beta} beta electrons (gaps " + ", ".join(f"{g:.2f}" for g in gaps) + ")"
    found = nuclear_charge - alpha - beta
    cut = bonds_across(system, core.indices, np.setdiff1d(partition.qm, core.indices))
    if abs(found - core.charge) > len(cut) + 1e-6:
        raise InputError(
            f"the core {core.label!r} of charge {core.charge:+d} gets {seen}: charge {found:+.0f}, and "
            + _cuts(system, cut),
            remedy="declare the charge the core has, fix n_occupied, or choose atoms around which they "
            "are localised",
        )


def _cuts(system: MolecularSystem, cut: NDArray[np.int64]) -> str:
    if len(cut) == 0:
        return "it cuts no covalent bond"
    i, j = cut[0].tolist()
    return f"it cuts {len(cut)} covalent bonds (such as {system.describe(i)} - {system.describe(j)})"
