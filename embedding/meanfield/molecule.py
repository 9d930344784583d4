"""PySCF's molecule from arrays (atomic numbers, bohr) with the bases and core potentials of a level.

Nothing is guessed: an element without a basis, a basis that was made for an effective core potential
but got none, and an element beyond krypton with all its electrons are refused.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.elementwise import for_element
from drupe.embedding.level import Level
from drupe.errors import InputError

__all__ = ["build_molecule"]

_NO_CORE = 2  # helium has no core electrons
_TIGHT = 1.5
_HEAVIEST = 36  # beyond krypton relativity moves everything: an effective core potential carries it


def build_molecule(
    numbers: NDArray[np.int64], positions: NDArray[np.float64], charge: int, multiplicity: int, level: Level
) -> Any:
    """Molecule of the QM region.

    Parameters
    ----------
    numbers, positions, charge, multiplicity
        ``(qm,)``, ``(qm, 3)`` bohr, e, 2S + 1.
    level
        Its basis and effective core potentials.

    Raises
    ------
    InputError
        If an element has no basis or not the core potential it needs, or electrons exceed orbitals.
    """
    from pyscf import gto
    from pyscf.lib.exceptions import BasisNotFoundError

    symbols = [gto.mole.elements.ELEMENTS[int(z)] for z in sorted(set(numbers.tolist()))]
    potentials = {symbol: _core_potential(symbol, level) for symbol in symbols}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mol = gto.M(
                atom=[(int(z), tuple(r)) for z, r in zip(numbers, positions, strict=True)],
                unit="Bohr",
                basis={symbol: for_element(level.basis, symbol) for symbol in symbols},
                ecp={symbol: name for symbol, name in potentials.items() if name is not None},
                charge=charge,
                spin=multiplicity - 1,
                verbose=0,
                max_memory=level.max_memory_mb,
            )
    except (BasisNotFoundError, KeyError, RuntimeError) as error:
        raise InputError(
            f"the basis {level.basis!r} cannot be used for this QM region ({error})",
            remedy="check the name, and that the basis has all its elements",
        ) from error
    if max(mol.nelec) > mol.nao:
        raise InputError(
            f"{mol.nelec[0]} electrons of one spin do not fit into {mol.nao} basis functions",
            remedy="correct the charge, or use a larger basis",
        )
    return mol


def _core_potential(symbol: str, level: Level) -> str | None:
    """Name of the core potential for an element, None if it keeps all electrons."""
    from pyscf.data.elements import charge as number_of

    basis = for_element(level.basis, symbol)
    if basis is None:
        raise InputError(
            f"the level names no basis for the element {symbol}",
            remedy=f'add basis={{"{symbol}": ...}}, or a "default"',
        )
    name = None if level.ecp is None else for_element(level.ecp, symbol)
    given = 0 if name is None else _removed_electrons(name, symbol)
    if name is not None and given is None:
        raise InputError(
            f"PySCF has no effective core potential {name!r} for {symbol}",
            remedy=f'name one that it has, such as ecp={{"{symbol}": "{basis}"}}',
        )
    own = _potential(basis, symbol)
    valence_only = _is_valence_only(basis, symbol)
    made_for = f"of {own[0]} electrons" if own else "it does not name" if valence_only else "of 0 electrons"
    fits = bool(given) == (bool(own) or valence_only)
    if fits and own and name is not None:
        fits = _potential(name, symbol) == own
    if not fits:
        raise InputError(
            f"the basis {basis!r} of {symbol} is made for a core potential {made_for}, the level's "
            f"ecp={level.ecp!r} is another and takes {given}",
            remedy=f'set ecp={{"{symbol}": "{basis}"}}, or the potential it was made for (such as "ccecp")'
            if own or valence_only
            else f"leave {symbol} out of ecp, or take a basis made for it",
        )
    if number_of(symbol) > _HEAVIEST and not given:
        raise InputError(
            f"the QM region holds the element {symbol} with all its electrons",
            remedy='elements beyond Kr need an effective core potential: ecp="def2-SVP" with a def2 basis',
        )
    return name if given else None


def _removed_electrons(name: str, symbol: str) -> int | None:
    """Electrons that the core potential ``name`` takes from ``symbol``; None if PySCF does not know it."""
    found = _potential(name, symbol)
    return None if found is None else int(found[0]) if found else 0


def _potential(name: str, symbol: str) -> list[Any] | None:
    """Core potential in PySCF's form; empty where it has none for this element, None if it is not known."""
    from pyscf import gto
    from pyscf.lib.exceptions import BasisNotFoundError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unknown name warns, then raises
            return list(gto.basis.load_ecp(name, symbol))
    except (BasisNotFoundError, KeyError, OSError, RuntimeError, TypeError):
        return None


def _is_valence_only(name: str, symbol: str) -> bool:
    """Whether a basis has no function tight enough for 1s electrons: PySCF knows no mark for such bases.

    The tightest s function of a minimal basis for all electrons has about twice the exponent Z^2.
    """
    from pyscf import gto
    from pyscf.data.elements import charge as number_of
    from pyscf.lib.exceptions import BasisNotFoundError

    number = number_of(symbol)
    if number <= _NO_CORE:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shells = gto.basis.load(name, symbol)
    except (BasisNotFoundError, KeyError, OSError, RuntimeError, TypeError):
        return False  # an unknown basis is refused where the molecule is built
    exponents = [row[0] for shell in shells if shell[0] == 0 for row in shell[1:] if isinstance(row, list)]
    return bool(exponents) and max(exponents) < _TIGHT * number**2
