"""An open-shell core ready for any solver: integrals of both spins in one record. Atomic units.

The counterpart of `drupe.embedding.solvers.hamiltonian` for unequal spins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.kernels.unrestricted import (
    canonical_pair,
    determinant_energy,
    first_orbitals,
    fock_pair,
)
from drupe.errors import InputError
from drupe.records import frozen

__all__ = ["UnrestrictedHamiltonian", "freeze_pair", "padded"]

Matrix = NDArray[np.float64]
Pair = tuple[Matrix, Matrix]

_DECOUPLED = 1e4  # hartree; energy of orbitals that only fill up the smaller of two bases


@dataclass(frozen=True, eq=False)
class UnrestrictedHamiltonian:
    """Electrons of an open-shell core in the field of everything else.

    =============  =======================  ====================================================
    field          shape                    note
    =============  =======================  ====================================================
    h              two of ``(n, n)``        one-electron parts (alpha, beta), hartree,
                                            in orthonormal orbitals; n may differ between spins
    tensor         two of ``(aux, n, n)``   (ij|kl) = sum_P L_Pij L_Pkl, for aa, ab and bb
    n_alpha        scalar                   the first n_alpha alpha orbitals are the reference's
    n_beta         scalar                   likewise; at most n_alpha
    constant       scalar                   hartree, added to every energy
    =============  =======================  ====================================================
    """

    h: Pair
    tensor: Pair
    n_alpha: int
    n_beta: int
    constant: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "h", tuple(frozen(h, np.float64) for h in self.h))
        views = tuple(np.asarray(t, dtype=np.float64).view() for t in self.tensor)
        for view in views:
            view.flags.writeable = False
        object.__setattr__(self, "tensor", views)
        shapes = [h.shape for h in self.h], [t.shape for t in self.tensor]
        if any(three[1:] != one or one[0] != one[1] for one, three in zip(*shapes, strict=True)):
            raise InputError(
                f"h has the shapes {shapes[0]} and the tensor {shapes[1]}",
                remedy="give both in the same orbitals: (n, n) and (aux, n, n) for each spin",
            )
        sizes = self.sizes
        if not 0 <= self.n_beta <= self.n_alpha or not 0 < self.n_alpha <= sizes[0] or self.n_beta > sizes[1]:
            raise InputError(
                f"a core of {self.n_alpha} alpha and {self.n_beta} beta electrons in {sizes[0]} and "
                f"{sizes[1]} orbitals",
                remedy="cores need at least one electron, no more beta than alpha ones, and orbitals for all",
            )

    @property
    def counts(self) -> tuple[int, int]:
        """Alpha and beta electrons."""
        return self.n_alpha, self.n_beta

    @property
    def sizes(self) -> tuple[int, int]:
        """Alpha and beta orbitals."""
        return len(self.h[0]), len(self.h[1])

    @property
    def reference_energy(self) -> float:
        """Energy of the reference determinant, hartree, with the constant."""
        return determinant_energy(self.h, self.tensor, self.counts) + self.constant

    def canonical(self) -> tuple["UnrestrictedHamiltonian", Pair]:
        """Return the same core in canonical orbitals, and the orbital energies ``(n,)`` per spin."""
        turns, energies = canonical_pair(self.h, self.tensor, self.counts)
        h = [u.T @ h @ u for u, h in zip(turns, self.h, strict=True)]
        tensor = [u.T @ (t @ u) for u, t in zip(turns, self.tensor, strict=True)]
        turned = UnrestrictedHamiltonian(
            (h[0], h[1]), (tensor[0], tensor[1]), self.n_alpha, self.n_beta, self.constant
        )
        return turned, energies


def freeze_pair(hamiltonian: UnrestrictedHamiltonian, n_frozen: int) -> UnrestrictedHamiltonian:
    """Fold the ``n_frozen`` occupied orbitals of the lowest energy of each spin into the rest.

    See `drupe.embedding.solvers.hamiltonian.freeze`; the orbitals that are left are canonical.

    Raises
    ------
    InputError
        If no occupied orbital would be left, or a spin has fewer.
    """
    if not 0 <= n_frozen <= hamiltonian.n_beta or n_frozen == hamiltonian.n_alpha:
        raise InputError(
            f"{n_frozen} frozen orbitals in a core of {hamiltonian.n_alpha} alpha and {hamiltonian.n_beta} "
            "beta ones",
            remedy="choose a larger core, or leave frozen_core out",
        )
    turned, _ = hamiltonian.canonical()
    frozen_counts = (n_frozen, n_frozen)
    dressed = fock_pair(turned.h, turned.tensor, first_orbitals(turned.h, frozen_counts))
    return UnrestrictedHamiltonian(
        (dressed[0][n_frozen:, n_frozen:], dressed[1][n_frozen:, n_frozen:]),
        (turned.tensor[0][:, n_frozen:, n_frozen:], turned.tensor[1][:, n_frozen:, n_frozen:]),
        hamiltonian.n_alpha - n_frozen,
        hamiltonian.n_beta - n_frozen,
        hamiltonian.constant + determinant_energy(turned.h, turned.tensor, frozen_counts),
    )


def padded(hamiltonian: UnrestrictedHamiltonian, sizes: tuple[int, int]) -> UnrestrictedHamiltonian:
    """Fill the bases up to ``sizes`` orbitals with some that couple to nothing, far above all others."""
    if sizes == hamiltonian.sizes:
        return hamiltonian
    h, tensor = [], []
    for one, three, size in zip(hamiltonian.h, hamiltonian.tensor, sizes, strict=True):
        extra = size - len(one)
        wide = np.pad(one, (0, extra))
        wide[len(one) :, len(one) :] = _DECOUPLED * np.eye(extra)
        h.append(wide)
        tensor.append(np.pad(three, ((0, 0), (0, extra), (0, extra))))
    return UnrestrictedHamiltonian(
        (h[0], h[1]), (tensor[0], tensor[1]), *hamiltonian.counts, hamiltonian.constant
    )
