"""D3(BJ) and D4 dispersion of a set of atoms: a door to dftd3 and dftd4 (bohr in; hartree, hartree/bohr out).

Sources: Grimme, Ehrlich, Goerigk, J. Comput. Chem. 32, 1456 (2011), without the three-body term; Caldeweyher
et al., J. Chem. Phys. 150, 154122 (2019), with it. Parameters are those published for the functional.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.level import Level
from drupe.errors import InputError, MachineError

__all__ = ["D3Energy", "Dispersion", "check_dispersion", "core_dispersion_forces", "disperse"]

Matrix = NDArray[np.float64]

_STEP = 5e-3  # bohr; of a fourth-order difference, whose error is below 1e-9 hartree/bohr

#: Their published parameters belong to the functional without its own non-local correlation, which PySCF's
#: functional of that name is not.
_OTHER_FUNCTIONAL = re.compile(r"w?b97[mx]")


@dataclass(frozen=True, eq=False)
class Dispersion:
    """Dispersion energy and its parts.

    Fields: ``energy`` hartree; ``forces`` ``(atoms, 3)`` hartree/bohr; ``pairs`` ``(atoms, atoms)`` hartree,
    symmetric two-body energies whose sum over all entries is the two-body energy.
    """

    energy: float
    forces: Matrix
    pairs: Matrix

    def within(self, atoms: NDArray[np.int64]) -> float:
        """Two-body energy of the pairs inside ``atoms``, with the coefficients they have in the whole.

        A correlated core holds the dispersion between its own atoms already; the three-body term of D4 is
        left where it is (below 1e-6 hartree for a core of a few atoms).
        """
        return float(self.pairs[np.ix_(atoms, atoms)].sum())


def disperse(numbers: NDArray[np.int64], positions: Matrix, charge: int, level: Level) -> Dispersion:
    """Dispersion of the QM region at the level's functional; see `check_dispersion` for what is refused.

    Parameters
    ----------
    numbers, positions
        ``(atoms,)`` and ``(atoms, 3)``, bohr.
    charge
        Total charge, e; D4's atomic charges add up to it.
    """
    if level.dispersion is None:
        nothing = np.zeros((len(numbers), 3))
        return Dispersion(0.0, nothing, np.zeros((len(numbers), len(numbers))))
    damping = check_dispersion(level)
    model: Any
    if level.dispersion == "d3bj":
        from dftd3.interface import DispersionModel

        model = DispersionModel(numbers, positions)
    else:
        from dftd4.interface import DispersionModel

        model = DispersionModel(numbers, positions, charge=float(charge))
    found = model.get_dispersion(damping, grad=True)
    pairs = model.get_pairwise_dispersion(damping)["additive pairwise energy"]
    return Dispersion(float(found["energy"]), -np.asarray(found["gradient"]), np.asarray(pairs))


class D3Energy:
    """D3(BJ) energy of the same atoms at many geometries; see `check_dispersion` for what is refused.

    Parameters
    ----------
    numbers
        Atomic numbers, ``(atoms,)``.
    functional
        Whose parameters are used.
    """

    def __init__(self, numbers: NDArray[np.int64], functional: str) -> None:
        self._numbers = np.array(numbers)
        self._damping = check_dispersion(Level(functional, "sto-3g", dispersion="d3bj"))
        self._model: Any = None

    def __call__(self, positions: Matrix) -> tuple[float, Matrix]:
        """Energy in hartree and forces ``(atoms, 3)`` in hartree/bohr at positions ``(atoms, 3)``, bohr."""
        if self._model is None:
            from dftd3.interface import DispersionModel

            self._model = DispersionModel(self._numbers, positions)
        else:
            self._model.update(positions)
        found = self._model.get_dispersion(self._damping, grad=True)
        return float(found["energy"]), -np.asarray(found["gradient"])


def core_dispersion_forces(
    numbers: NDArray[np.int64],
    positions: Matrix,
    charge: int,
    level: Level,
    groups: Sequence[NDArray[np.int64]],
) -> Matrix:
    """Forces of the sum over ``groups`` of `Dispersion.within`, shape ``(atoms, 3)``, hartree/bohr.

    The pairs of a group change with all atoms, through their coordination numbers (and charges); neither
    package differentiates a part of the pairs, so this is a fourth-order difference of cheap energies.
    """
    result = np.zeros_like(positions)
    if level.dispersion is None:
        return result
    for atom, axis in np.ndindex(*positions.shape):
        for count, weight in ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)):
            moved = positions.copy()
            moved[atom, axis] += count * _STEP
            found = disperse(numbers, moved, charge, level)
            result[atom, axis] -= weight * sum(found.within(group) for group in groups) / (12 * _STEP)
    return result


def check_dispersion(level: Level) -> Any:
    """Return the damping parameters of the level's functional for its dispersion model.

    Raises
    ------
    MachineError
        If the package of the model is not installed.
    InputError
        If there are no parameters for this functional, or it has non-local correlation of its own.
    """
    from pyscf.dft import libxc

    try:
        if level.dispersion == "d3bj":
            from dftd3.interface import RationalDampingParam as Damping
        else:
            from dftd4.interface import DampingParam as Damping
    except ImportError as error:
        raise MachineError(
            f"the level asks for {level.dispersion} dispersion, whose package is not installed ({error})",
            remedy="pip install 'drupe[dispersion]', or set dispersion=None",
        ) from error
    name = level.functional.lower().replace("_", "-")
    try:
        nonlocal_correlation = libxc.is_nlc(level.functional)
    except KeyError as error:
        raise InputError(
            f"there is no functional {level.functional!r} ({error.args[0]})",
            remedy="give a functional by PySCF's name, such as PBE or B3LYP",
        ) from error
    if nonlocal_correlation or _OTHER_FUNCTIONAL.match(name):
        raise InputError(
            f"the functional {level.functional!r} has, or was fitted with, non-local correlation",
            remedy="set dispersion=None; wB97M-V and wB97X-V bring their own",
        )
    # "m062x" is "m06-2x" there.
    spellings = [name, name.replace("-", ""), re.sub(r"^(m0[568])(2x|hf|l)$", r"\1-\2", name)]
    for spelling in spellings:
        try:
            # The three-body term: D4 has it, D3(BJ) as published for functionals does not.
            return (
                Damping(method=spelling) if level.dispersion == "d4" else Damping(method=spelling, atm=False)
            )
        except RuntimeError as error:
            reason = str(error)
    raise InputError(
        f"there are no {level.dispersion} parameters for the functional {level.functional!r} ({reason})",
        remedy="use a functional that has them, such as PBE, B3LYP or PBE0, or set dispersion=None",
    )
