"""Door to PySCF's UCCSD: canonical three-index integrals of both spins in, a solver out. Atomic units."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["coupled_cluster_bytes", "coupled_cluster_engine"]

Matrix = NDArray[np.float64]
Pair = tuple[Matrix, Matrix]

# What UCCSD and its triples read, in chemists' notation; the second list packs the pair v >= v.
# fmt: off
_FULL = (
    "oooo", "ovoo", "ovov", "oovv", "ovvo", "OOOO",
    "OVOO", "OVOV", "OOVV", "OVVO", "ooOO", "ovOO",
    "ovOV", "ooVV", "ovVO", "OVoo", "OOvv", "OVvo",
)
# fmt: on
_HALF_PACKED = ("ovvv", "OVVV", "ovVV", "OVvv")
_IN_CORE = 1.5e9  # bytes of integrals over four virtual orbitals that are kept; else made when needed


def coupled_cluster_engine(
    tensor: Pair, energies: Pair, counts: tuple[int, int], *, tolerance: float, max_cycles: int
) -> tuple[Any, Any]:
    """PySCF's UCCSD object and its integrals.

    Parameters
    ----------
    tensor
        ``(aux, n, n)`` per spin in canonical orbitals, occupied first.
    energies
        Orbital energies ``(n,)`` per spin, hartree.
    counts
        Occupied orbitals per spin.
    tolerance, max_cycles
        Energy change in hartree that ends the iterations, and their number.

    Returns
    -------
    engine, integrals
        Call ``engine.kernel(eris=integrals)`` and ``engine.ccsd_t(eris=integrals)``.
    """
    from pyscf import cc, gto, scf

    mol = gto.M(verbose=0)
    mol.nelectron, mol.spin = sum(counts), counts[0] - counts[1]
    mean_field = scf.UHF(mol)
    mean_field._chkfile.close()  # else an open file stays behind each core
    mean_field.chkfile = None
    mean_field.mo_coeff = tuple(np.eye(len(e)) for e in energies)
    mean_field.mo_occ = tuple(
        np.where(np.arange(len(e)) < n, 1.0, 0.0) for e, n in zip(energies, counts, strict=True)
    )
    mean_field.mo_energy = energies
    mean_field.e_tot, mean_field.converged = 0.0, True
    engine = cc.UCCSD(mean_field)
    engine.get_e_hf = lambda *_args, **_options: 0.0  # the caller knows the reference energy
    engine.conv_tol, engine.conv_tol_normt, engine.max_cycle = tolerance, 100 * tolerance, max_cycles
    engine.verbose = 0
    return engine, _integrals(engine, tensor, energies, counts)


def coupled_cluster_bytes(sizes: tuple[int, int], counts: tuple[int, int], n_aux: int) -> float:
    """Memory that the integrals of `coupled_cluster_engine` take.

    Parameters
    ----------
    sizes, counts
        Orbitals and occupied orbitals per spin.
    n_aux
        Auxiliary functions.
    """
    long: dict[str, float] = {}
    for size, n, (o, v) in zip(sizes, counts, (("o", "v"), ("O", "V")), strict=True):
        long[o], long[v] = n, size - n
    packed = {v + v: long[v] * (long[v] + 1) / 2 for v in "vV"}
    numbers = float(sum(np.prod([long[one] for one in name]) for name in _FULL))
    numbers += sum(long[name[0]] * long[name[1]] * packed[name[2:]] for name in _HALF_PACKED)
    four = packed["vv"] ** 2 + packed["vv"] * packed["VV"] + packed["VV"] ** 2
    # Kept, or made from the three-index integrals of packed pairs when needed.
    numbers += four if 8 * four <= _IN_CORE else n_aux * sum(packed.values())
    return 8 * numbers


def _integrals(engine: Any, tensor: Pair, energies: Pair, counts: tuple[int, int]) -> Any:
    """Integrals under PySCF's names: lower case for alpha, upper case for beta."""
    from pyscf import lib
    from pyscf.cc import dfuccsd, uccsd

    virtual = [len(e) - n for e, n in zip(energies, counts, strict=True)]
    packed = [v * (v + 1) // 2 for v in virtual]
    needed = 8 * (packed[0] ** 2 + packed[0] * packed[1] + packed[1] ** 2)
    eris = (uccsd if needed <= _IN_CORE else dfuccsd)._ChemistsERIs(engine.mol)
    eris.nocc, eris.mo_energy = counts, energies
    eris.mo_coeff = engine.mo_coeff
    eris.focka, eris.fockb = eris.fock = tuple(np.diag(e) for e in energies)
    eris.naux = len(tensor[0])
    full: dict[str, Matrix] = {}
    pairs: dict[str, Matrix] = {}
    for three, n, (o, v) in zip(tensor, counts, (("o", "v"), ("O", "V")), strict=True):
        full[o + o], full[o + v] = three[:, :n, :n], three[:, :n, n:]
        full[v + o], full[v + v] = three[:, n:, :n], three[:, n:, n:]
        pairs[v + v] = lib.pack_tril(np.ascontiguousarray(full[v + v]))
    for name in _FULL:
        setattr(eris, name, _product(full[name[:2]], full[name[2:]]))
    for name in _HALF_PACKED:
        setattr(eris, name, _product(full[name[:2]], pairs[name[2:]]))
    if needed <= _IN_CORE:
        for name in ("vvvv", "VVVV", "vvVV"):
            setattr(eris, name, _product(pairs[name[:2]], pairs[name[2:]]))
    else:
        eris.vvL, eris.VVL = (np.ascontiguousarray(pairs[name].T) for name in ("vv", "VV"))
    return eris


def _product(bra: Matrix, ket: Matrix) -> Matrix:
    """Sum over the auxiliary functions; the other indices stay as they are."""
    flat = bra.reshape(len(bra), -1).T @ ket.reshape(len(ket), -1)
    result: Matrix = flat.reshape(bra.shape[1:] + ket.shape[1:])
    return result
