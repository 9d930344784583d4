"""Integrals that PySCF's UCASSCF reads: three-index integrals of both spins in, an object out. Atomic units.

PySCF makes them itself only where there are as many orbitals as basis functions.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["active_integrals"]

Matrix = NDArray[np.float64]


def active_integrals(tensor: tuple[Matrix, Matrix], n_inactive: int, n_active: int) -> Any:
    """Integrals under PySCF's names: c inactive, a active, v not inactive, p all; capitals for beta.

    Parameters
    ----------
    tensor
        ``(aux, n, n)`` per spin, orbitals in the order inactive, active, empty.
    n_inactive, n_active
        Orbitals of each kind, the same for both spins.

    Returns
    -------
    object
        With arrays over (..|..) in chemists' notation, and ``vhf_c``, the mean field of the inactive ones.
    """
    made = SimpleNamespace()
    kinds = {
        "c": slice(0, n_inactive),
        "a": slice(n_inactive, n_inactive + n_active),
        "v": slice(n_inactive, None),
        "p": slice(None),
    }

    def part(spin: int, pair: str) -> Matrix:
        return tensor[spin][:, kinds[pair[0]], kinds[pair[1]]]

    def over(bra: tuple[int, str], ket: tuple[int, str]) -> Matrix:
        """Return (bra|ket) for pairs of kinds of one spin each."""
        return np.tensordot(part(*bra), part(*ket), axes=(0, 0))

    coulomb, exchange = [], []
    for one, other in ((0, 1), (1, 0)):
        own = part(one, "cc").diagonal(axis1=1, axis2=2)
        coulomb.append(np.tensordot(own, tensor[one], axes=(0, 0)))
        exchange.append(np.einsum("Xip,Xiq->ipq", part(one, "cp"), part(one, "cp"), optimize=True))
        across = np.tensordot(own.sum(axis=1), tensor[other], axes=(0, 0))
        setattr(made, "jc_PP" if one == 0 else "jC_pp", across)
        small = (lambda name: name) if one == 0 else str.swapcase
        setattr(made, "jkcpp" if one == 0 else "jkcPP", coulomb[one] - exchange[one])
        setattr(made, small("aapp"), over((one, "aa"), (one, "pp")))
        setattr(made, "aaPP" if one == 0 else "AApp", over((one, "aa"), (other, "pp")))
        setattr(made, small("appa"), over((one, "ap"), (one, "pa")))
        setattr(made, "apCV" if one == 0 else "APcv", over((one, "ap"), (other, "cv")))
        cvcv, ccvv = over((one, "cv"), (one, "cv")), over((one, "cc"), (one, "vv"))
        # 2 (ix|jy) - (ij|xy) - (iy|jx), and 2 (ap|ix) - (px|ia) - (pi|xa)
        setattr(
            made,
            "Icvcv" if one == 0 else "ICVCV",
            2 * cvcv - ccvv.transpose(0, 2, 1, 3) - cvcv.transpose(0, 3, 2, 1),
        )
        setattr(
            made,
            "Iapcv" if one == 0 else "IAPCV",
            2 * over((one, "ap"), (one, "cv"))
            - over((one, "pv"), (one, "ca")).transpose(3, 0, 2, 1)
            - over((one, "pc"), (one, "va")).transpose(3, 0, 1, 2),
        )
    made.apPA = over((0, "ap"), (1, "pa"))
    made.cvCV = over((0, "cv"), (1, "cv"))
    made.vhf_c = (made.jkcpp.sum(axis=0) + made.jC_pp, made.jkcPP.sum(axis=0) + made.jc_PP)
    return made
