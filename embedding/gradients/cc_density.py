"""Densities of coupled cluster: a converged CCSD in PySCF in, one- and two-body densities out. Atomic units.

Door to PySCF's lambda equations and density intermediates. The orbitals are canonical, as the
triples want them; the two-body density is kept in blocks over pairs of orbitals, each symmetrised.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.gradients.relaxed_density import Correlation, whole_pairs
from drupe.embedding.gradients.triples import triples as perturbative_triples
from drupe.errors import ConvergenceError

__all__ = ["coupled_cluster_correlation", "memory_needed"]

Matrix = NDArray[np.float64]

# Where PySCF puts the blocks of its two-body density; it leaves out what follows by symmetry.
_PLACES = {"ovov": 0, "vvvv": 1, "oooo": 2, "oovv": 3, "ovvo": 4, "ovvv": 6, "ooov": 7}


def coupled_cluster_correlation(
    solver: Any, integrals: Any, tensor: Matrix, *, triples: bool, tolerance: float, four_index: bool
) -> Correlation:
    """Densities of CCSD or CCSD(T), without orbital response.

    Parameters
    ----------
    solver, integrals
        PySCF's CCSD with converged amplitudes, and its transformed integrals.
    tensor
        Three-index integrals in the solver's canonical orbitals, ``(n_aux, n, n)``.
    triples
        Whether the energy has (T).
    tolerance
        Change of the lambda amplitudes that ends their iterations.
    four_index
        Whether the density of the four-index integrals is wanted too.

    Raises
    ------
    ConvergenceError
        If the lambda equations do not converge.
    """
    from pyscf.cc import ccsd_lambda, ccsd_rdm

    t1, t2 = solver.t1, solver.t2
    extra = None
    if triples:
        blocks = {"ovvv": integrals.get_ovvv(), "ovoo": integrals.ovoo, "ovov": integrals.ovov}
        arrays = {name: np.asarray(block) for name, block in blocks.items()}
        extra = perturbative_triples(t1, t2, arrays, integrals.mo_energy)

    def update(*known: Any) -> tuple[Matrix, Matrix]:
        l1, l2 = ccsd_lambda.update_lambda(*known)
        return (l1, l2) if extra is None else (l1 + extra.singles, l2 + extra.doubles)

    converged, l1, l2 = ccsd_lambda.kernel(
        solver,
        integrals,
        t1,
        t2,
        max_cycle=solver.max_cycle,
        tol=tolerance,
        verbose=0,
        fupdate=update,
    )
    if not converged:
        raise ConvergenceError(
            f"the lambda equations of a core did not converge in {solver.max_cycle} iterations",
            remedy="one determinant may not describe this core: choose a larger one, or raise max_cycles",
        )
    oo, _, _, vv = ccsd_rdm._gamma1_intermediates(solver, t1, t2, l1, l2)
    found = ccsd_rdm._gamma2_intermediates(solver, t1, t2, l1, l2, compress_vvvv=True)
    two_body = {name: np.asarray(found[place]) for name, place in _PLACES.items()}
    if extra is not None:
        oo, vv = oo + extra.oo, vv + extra.vv
        two_body["ovov"] += extra.ovov
        two_body["ooov"] += extra.ooov
        two_body["ovvv"] += extra.ovvv
    o, n = t1.shape[0], sum(t1.shape)
    one = np.zeros((n, n))
    one[:o, :o], one[o:, o:] = oo + oo.T, vv + vv.T
    pairs = _pair_blocks(two_body)
    two = whole_pairs(pairs, o, n) if four_index else None
    return Correlation(one, _contract(pairs, tensor, o), two)


def memory_needed(n_occupied: int, virtual: int) -> float:
    """Rough peak of the densities in MB, for ``n_occupied`` and ``virtual`` orbitals."""
    # vv pairs: PySCF's block, ours, and (vv|vv) of CCSD; then triples and (ov|vv).
    return 8e-6 * (0.75 * virtual**4 + 9 * n_occupied * virtual**3 + 12 * (n_occupied * virtual) ** 2)


def _pair_blocks(found: dict[str, Matrix]) -> dict[str, Matrix]:
    """Two-body density over pairs: ``oo`` and ``vv`` are p >= q, ``ov`` all; symmetric in each pair."""
    ovov, vvvv, oooo, oovv = (found[name] for name in ("ovov", "vvvv", "oooo", "oovv"))
    ovvo, ovvv, ooov = (found[name] for name in ("ovvo", "ovvv", "ooov"))
    o, v = ovov.shape[:2]
    oo, vv = np.tril_indices(o), np.tril_indices(v)
    first = oooo + oooo.transpose(1, 0, 3, 2)
    first = 0.5 * (first + first.transpose(1, 0, 2, 3))
    first = first + first.transpose(0, 1, 3, 2)
    first = 0.5 * (first + first.transpose(2, 3, 0, 1))
    second = oovv + oovv.transpose(1, 0, 3, 2)
    second = 0.5 * (second + second.transpose(1, 0, 2, 3))
    exchanged = (ovvo + ovvo.transpose(3, 2, 1, 0)).transpose(0, 1, 3, 2)
    mixed = 0.5 * (ovov + ovov.transpose(2, 3, 0, 1) + exchanged).reshape(o * v, o * v)
    third = 0.5 * (ovvv + ovvv.transpose(0, 1, 3, 2))
    fourth = 0.5 * (ooov + ooov.transpose(1, 0, 2, 3))
    return {
        "oooo": first[oo[0], oo[1]][:, oo[0], oo[1]],
        "oovv": second[oo[0], oo[1]][:, vv[0], vv[1]],
        "ovov": mixed,
        "ovvv": third.reshape(o * v, v, v)[:, vv[0], vv[1]],
        "ooov": fourth[oo[0], oo[1]].reshape(-1, o * v),
        "vvvv": 2 * (vvvv + vvvv.T),
    }


def _contract(pairs: dict[str, Matrix], tensor: Matrix, o: int) -> Matrix:
    """sum_rs Gamma_pqrs L_rs over all r, s, shape ``(n_aux, n, n)``."""
    n_aux, n, _ = tensor.shape
    v = n - o
    oo, vv = np.tril_indices(o), np.tril_indices(v)
    # Off-diagonal pairs stand for two.
    weight_oo, weight_vv = np.where(oo[0] == oo[1], 1.0, 2.0), np.where(vv[0] == vv[1], 1.0, 2.0)
    in_oo = tensor[:, :o, :o][:, oo[0], oo[1]] * weight_oo
    in_ov = 2 * tensor[:, :o, o:].reshape(n_aux, -1)
    in_vv = tensor[:, o:, o:][:, vv[0], vv[1]] * weight_vv
    out_oo = in_oo @ pairs["oooo"] + in_ov @ pairs["ooov"].T + in_vv @ pairs["oovv"].T
    out_ov = in_oo @ pairs["ooov"] + in_ov @ pairs["ovov"] + in_vv @ pairs["ovvv"].T
    out_vv = in_oo @ pairs["oovv"] + in_ov @ pairs["ovvv"] + in_vv @ pairs["vvvv"]
    result = np.empty_like(tensor)
    result[:, :o, o:] = out_ov.reshape(n_aux, o, v)
    result[:, o:, :o] = result[:, :o, o:].transpose(0, 2, 1)
    for block, low, values in ((result[:, :o, :o], oo, out_oo), (result[:, o:, o:], vv, out_vv)):
        block[:, low[0], low[1]] = values
        block[:, low[1], low[0]] = values
    return result
