"""Is a fitting basis one: elements and its name in, silence or a refusal out (hartree).

PySCF fits with any basis it knows, orbital bases too, and says nothing. Here the Coulomb and the exchange
energy of the minimal atomic orbitals of each element are computed with and without the fit: bases made
for fitting miss less than 0.001 hartree of what they were made for, orbital bases 0.1 and more.
"""

import warnings
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from drupe.errors import InputError

__all__ = ["check_fitting", "fitting_errors"]

_COULOMB = 5e-3  # hartree for each atom
_EXCHANGE = 4e-4  # bases for exchange miss up to 1.3e-4, those for Coulomb alone from 4.8e-4 (C) on
_HEAVIEST = 36  # core potentials take the electrons of heavier elements, and the minimal orbitals with them
_NEGLIGIBLE = 1e-10


def check_fitting(numbers: Iterable[int], auxbasis: str, *, exchange: bool) -> None:
    """Refuse a fitting basis that misses too much of the energy of an atom.

    Parameters
    ----------
    numbers
        Atomic numbers of atoms without core potential; those beyond krypton are not looked at.
    auxbasis
        Name of a fitting basis that PySCF knows for all of them.
    exchange
        Whether exchange is fitted too: with hybrid functionals, Hartree-Fock and quantum cores.

    Raises
    ------
    InputError
        Naming the element and the energy.
    """
    for number in sorted({n for n in numbers if 0 < n <= _HEAVIEST}):
        coulomb, exact = fitting_errors(number, auxbasis)
        found = [("Coulomb", coulomb)] if coulomb > _COULOMB else []
        found += [("exchange", exact)] if exchange and exact > _EXCHANGE else []
        for name, error in found:
            from pyscf.data.elements import ELEMENTS

            raise InputError(
                f"the fitting basis {auxbasis!r} misses {error:.2g} hartree of the {name} energy of one "
                f"{ELEMENTS[number]} atom: it is no basis made for fitting {name}",
                remedy='set auxbasis="def2-universal-jkfit" (for both), or None for exact integrals',
            )


@lru_cache(maxsize=256)
def fitting_errors(number: int, auxbasis: str) -> tuple[float, float]:
    """What a fit misses of the Coulomb and of the exchange energy of minimal orbitals, one electron in each.

    Parameters
    ----------
    number
        Atomic number, up to krypton.
    auxbasis
        Fitting basis.

    Returns
    -------
    coulomb, exchange
        Hartree, both positive: sum over ij of (ii|jj)/2 and of (ij|ij), exact less fitted in the Coulomb
        metric (Whitten, J. Chem. Phys. 58, 4496 (1973)).
    """
    from pyscf import df, gto
    from pyscf.data.elements import ELEMENTS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        atom = gto.M(atom=[(ELEMENTS[number], (0, 0, 0))], basis="minao", spin=number % 2, verbose=0)
        fit = df.addons.make_auxmol(atom, auxbasis)
    n = atom.nao
    exact = atom.intor("int2e").reshape(n, n, n, n)
    values, vectors = np.linalg.eigh(fit.intor("int2c2e"))
    kept = values > _NEGLIGIBLE * values.max()
    three = df.incore.aux_e2(atom, fit, "int3c2e").reshape(n * n, -1)
    tensor = three @ (vectors[:, kept] / np.sqrt(values[kept]))
    missed = exact - (tensor @ tensor.T).reshape(n, n, n, n)
    return float(np.einsum("iijj->", missed)) / 2, float(np.einsum("ijij->", missed))
