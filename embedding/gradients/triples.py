"""What (T) adds to the lambda equations and densities of CCSD: amplitudes in, arrays out. Atomic units.

Closed shells, canonical orbitals. All parts come from one pass over pairs of occupied orbitals, with
the triples of each pair and every third orbital in memory: about 10 o^3 v^4 operations and six
arrays of o v^3 numbers. Equations: Rendell and Lee, J. Chem. Phys. 94, 6219 (1991), in the spin-free
form of Ren, Liu and Li, J. Chem. Phys. 147, 044104 (2017).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Triples", "triples"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Triples:
    """Contributions of (T), occupied i, j and virtual a, b.

    Fields: ``singles`` ``(o, v)`` and ``doubles`` ``(o, o, v, v)`` sources of the lambda amplitudes;
    ``oo``, ``vv`` half of the one-body density; ``ovov``, ``ooov``, ``ovvv`` two-body density, both in the
    conventions of `pyscf.cc.ccsd_rdm`.
    """

    singles: Matrix
    doubles: Matrix
    oo: Matrix
    vv: Matrix
    ovov: Matrix
    ooov: Matrix
    ovvv: Matrix


def triples(t1: Matrix, t2: Matrix, integrals: dict[str, Matrix], energies: NDArray[np.float64]) -> Triples:
    """Contributions of the perturbative triples.

    Parameters
    ----------
    t1, t2
        CCSD amplitudes, ``(o, v)`` and ``(o, o, v, v)``.
    integrals
        ``"ovvv"``, ``"ovoo"`` and ``"ovov"``: (ia|bc), (ia|jk) and (ia|jb).
    energies
        Orbital energies, shape ``(o + v,)``, hartree.
    """
    from pyscf import lib

    o, v = t1.shape
    ovvv, ovoo, ovov = integrals["ovvv"], integrals["ovoo"], integrals["ovov"]
    gaps = energies[:o, None] - energies[None, o:]
    singles, doubles = np.zeros((o, v)), np.zeros((o, o, v, v))
    oo, vv, d_ovov = np.zeros((o, o)), np.zeros((v, v)), np.zeros((o, v, o, v))
    d_ooov, d_ovvv = np.zeros((o, o, o, v)), np.zeros((o, v, v, v))
    for upper in range(o):
        for lower in range(upper + 1):
            connected, disconnected = _amplitudes(upper, lower, t1, t2, ovvv, ovoo, ovov, gaps)
            for j, k in {(upper, lower), (lower, upper)}:
                w, u = connected, disconnected
                if j != upper:  # the same triples with b and c exchanged
                    w, u = (np.ascontiguousarray(x.transpose(0, 1, 3, 2)) for x in (w, u))
                both, turned = w + u, _spin_summed(w)
                oo -= 0.5 * both.reshape(o, -1) @ turned.reshape(o, -1).T
                vv += 0.5 * lib.einsum("iacd,ibcd->ab", both, turned)
                singles += 0.5 * np.tensordot(turned, ovov[j, :, k], axes=([2, 3], [0, 1]))
                d_ovov[:, :, j] += 0.5 * turned @ t1[k]
                both += w
                mixed = _for_amplitudes(both)
                doubles[:, j] += lib.einsum("iaef,fbe->iab", mixed, ovvv[k])
                doubles -= lib.einsum("cj,iabc->ijab", ovoo[k, :, j], mixed)
                turned = _spin_summed(both)
                d_ooov[j] -= lib.einsum("mbc,iabc->mia", t2[:, k], turned)
                d_ovvv += lib.einsum("cf,iabc->iafb", t2[k, j], turned)
    doubles = doubles + doubles.transpose(1, 0, 3, 2)
    doubles /= gaps[:, None, :, None] + gaps[None, :, None, :]
    return Triples(singles / gaps, doubles, oo, vv, d_ovov, d_ooov, d_ovvv)


def _amplitudes(
    j: int, k: int, t1: Matrix, t2: Matrix, ovvv: Matrix, ovoo: Matrix, ovov: Matrix, gaps: Matrix
) -> tuple[Matrix, Matrix]:
    """Connected and disconnected triples of all i with these j and k, each ``[i, a, b, c]``."""
    from pyscf import lib

    # The six orders of (ia), (jb), (kc) in (ia|fb) t_kj^cf - (ia|jm) t_mk^bc.
    connected = lib.einsum("iafb,cf->iabc", ovvv, t2[k, j])
    connected += lib.einsum("iafc,bf->iabc", ovvv, t2[j, k])
    connected += lib.einsum("bfa,icf->iabc", ovvv[j], t2[k])
    connected += lib.einsum("bfc,iaf->iabc", ovvv[j], t2[:, k])
    connected += lib.einsum("cfa,ibf->iabc", ovvv[k], t2[j])
    connected += lib.einsum("cfb,iaf->iabc", ovvv[k], t2[:, j])
    connected -= lib.einsum("iam,mbc->iabc", ovoo[:, :, j], t2[:, k])
    connected -= lib.einsum("iam,mcb->iabc", ovoo[:, :, k], t2[:, j])
    connected -= lib.einsum("bim,mac->iabc", ovoo[j], t2[:, k])
    connected -= lib.einsum("bm,mica->iabc", ovoo[j, :, k], t2)
    connected -= lib.einsum("cim,mab->iabc", ovoo[k], t2[:, j])
    connected -= lib.einsum("cm,miba->iabc", ovoo[k, :, j], t2)
    disconnected = np.einsum("iab,c->iabc", ovov[:, :, j], t1[k])
    disconnected += np.einsum("iac,b->iabc", ovov[:, :, k], t1[j])
    disconnected += np.einsum("ia,bc->iabc", t1, ovov[j, :, k])
    below = gaps[:, :, None, None] + gaps[j][:, None] + gaps[k]
    connected /= below
    disconnected /= below
    return connected, disconnected


def _spin_summed(values: Matrix) -> Matrix:
    """4 x_abc - 2 x_acb - 2 x_bac + x_bca + x_cab - 2 x_cba, in a new array."""
    return _permuted(values, "4-2-211-2")


def _for_amplitudes(values: Matrix) -> Matrix:
    """2 x_abc - x_acb - x_cba, in a new array."""
    return _permuted(values, "2-1000-1")


def _permuted(values: Matrix, pattern: str) -> Matrix:
    from pyscf.cc.ccsd_t_lambda import t3_symm_ip_py

    result: Matrix = t3_symm_ip_py(values.copy(), values.shape[0], values.shape[1], pattern)
    return result
