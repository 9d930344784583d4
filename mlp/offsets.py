"""Do energies have the zero they should? Energies (hartree) of one molecule in, refusal or silence out.

A total energy is near the sum of those of its free atoms: bonds are worth a few eV per atom. Levels differ by
more, most in the cores of heavy atoms, so each element has a range: from the deepest energy that a level in
use gives to the highest. What lies more than 20 eV per atom outside of the range of the molecule is
no total energy in hartree.
"""

import logging

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.units import ev

__all__ = ["ENERGIES", "FREE_ATOMS", "check_offsets"]

_log = logging.getLogger(__name__)

#: What energies can be: of all electrons and nuclei, or counted from a zero of their own.
ENERGIES = ("total", "relative")

_ABSURD = 20 * ev  # hartree per atom

#: hartree; free neutral atoms in their ground states, lowest and highest of PySCF 2.14: scalar-relativistic
#: X2C-UKS BLYP in uncontracted ANO-RCC, and UKS LDA (SVWN5) in STO-3G. Elements beyond Kr are left out: their
#: labels nearly always lack core electrons. (The lower number of Br is to 0.01; of the basis of Cl and Br
#: only what is occupied was taken.)
FREE_ATOMS: dict[int, tuple[float, float]] = {
    1: (-0.500, -0.436),
    6: (-37.865, -36.953),
    7: (-54.623, -53.407),
    8: (-75.144, -73.451),
    9: (-99.857, -97.589),
    15: (-342.105, -336.047),
    16: (-399.228, -392.244),
    17: (-461.592, -453.576),
    35: (-2606.41, -2542.168),
}


def check_offsets(
    energies: NDArray[np.float64],
    labels: NDArray[np.int64],
    numbers: NDArray[np.int64],
    kind: str = ENERGIES[0],
    core_potentials: bool = False,
) -> None:
    """Refuse energies of another zero or unit.

    Parameters
    ----------
    energies
        Those that are there, hartree.
    labels
        The number of the label of each.
    numbers
        Atomic numbers of the molecule, link atoms included.
    kind
        Of `ENERGIES`; relative ones are compared with each other only.
    core_potentials
        Whether the level takes core electrons away: then the same.

    Raises
    ------
    InputError
        If one is more than 20 eV per atom away from the others, or all are from the free atoms; or there is
        no such kind.
    """
    if kind not in ENERGIES:
        raise InputError(
            f"energies={kind!r} of a data set", remedy=f"use one of: {', '.join(map(repr, ENERGIES))}"
        )
    if not len(energies):
        return
    middle = float(np.median(energies))
    off = np.abs(energies - middle) / len(numbers)
    worst = int(np.argmax(off))
    if off[worst] > _ABSURD:
        raise InputError(
            f"energy of label {labels[worst]} is {off[worst] / ev:.0f} eV per atom away from the others",
            remedy="look at its units and level: all energies of a data set share one zero, in hartree",
        )
    unknown = sorted(set(numbers.tolist()) - set(FREE_ATOMS))
    if kind == ENERGIES[0] and (unknown or core_potentials):
        reason = (
            "core electrons are missing" if core_potentials else f"no energies of the free atoms {unknown}"
        )
        _log.info("%s: the labels' energies are compared with each other only", reason)
    elif kind == ENERGIES[0]:
        lowest, highest = np.array([FREE_ATOMS[number] for number in numbers.tolist()]).sum(0)
        beyond = max(lowest - middle, middle - highest) / len(numbers)
        if beyond > _ABSURD:
            raise InputError(
                f"the labels' energies are near {middle:.6g} hartree, {beyond / ev:.0f} eV per atom away "
                f"from those of free atoms ({lowest:.6g} to {highest:.6g} hartree together)",
                remedy="give total energies in hartree; where they lack core electrons or have a zero of "
                'their own, say so: Dataset.from_labels(..., energies="relative")',
            )
