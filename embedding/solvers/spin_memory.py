"""Do the integrals of an unrestricted core fit into memory: numbers of orbitals in, silence or refusal out.

Sizes in MB of 10^6 bytes.
"""

from drupe.embedding.level import Level
from drupe.embedding.solvers.spin_integrals import coupled_cluster_bytes
from drupe.errors import InputError

__all__ = ["check_integrals"]


def check_integrals(level: Level, sizes: tuple[int, int], counts: tuple[int, int], n_aux: int) -> None:
    """Refuse a core whose integrals need more than the level's ``max_memory_mb``.

    Parameters
    ----------
    level
        Names the solver.
    sizes, counts
        Orbitals that the solver sees and occupied orbitals, per spin.
    n_aux
        Auxiliary functions of the three-index tensor.

    Raises
    ------
    InputError
        With what is needed.
    """
    assert level.core is not None
    # Two copies of the three-index integrals: as given, and in canonical orbitals.
    needed = 16e-6 * n_aux * sum(n**2 for n in sizes) + 1e-6 * _four_index(level.core, sizes, counts, n_aux)
    if needed > level.max_memory_mb:
        raise InputError(
            f"the integrals of a core with {sizes[0]} alpha and {sizes[1]} beta orbitals need {needed:.0f} "
            f"MB, max_memory_mb is {level.max_memory_mb}",
            remedy="raise max_memory_mb, lower virtual_shells, or take a smaller core or basis",
        )


def _four_index(method: str, sizes: tuple[int, int], counts: tuple[int, int], n_aux: int) -> float:
    """Bytes of the two-electron integrals."""
    if method.startswith("CCSD"):
        return coupled_cluster_bytes(sizes, counts, n_aux)
    if method == "FCI":
        return 24.0 * max(sizes) ** 4  # three spin blocks, unpacked
    # What an active space holds, and a bound for a solver of one's own: integrals over packed pairs of the
    # orbitals of both spins together, and their part without pairs of unequal spin while they are made.
    n = max(sizes)
    pairs, of_one_spin = n * (2 * n + 1), n * (n + 1)
    return 8.0 * (pairs**2 + of_one_spin**2)
