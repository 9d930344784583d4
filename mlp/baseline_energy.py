"""Energy of a baseline in torch: positions (bohr) in, energies (hartree) out, differentiable."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from drupe.mlp.ani2x import Ani2x
from drupe.mlp.baseline import LigandForceField

__all__ = ["Baseline", "BaselineEnergy", "EnergyOfFrames", "energy_of"]

Baseline = LigandForceField | Ani2x


class EnergyOfFrames(Protocol):
    """Positions of shape ``(frames, atoms, 3)`` in bohr to energies ``(frames,)`` in hartree.

    ``static``: whether its operations are the same at all positions.
    """

    static: bool

    def __call__(self, positions: Tensor) -> Tensor:
        """Energies of frames, differentiable."""


def energy_of(
    baseline: Baseline | None, numbers: NDArray[np.int64], dispersion: str | None = None
) -> EnergyOfFrames | None:
    """Energy function of the terms under a network; None for none.

    Parameters
    ----------
    baseline
        MM terms or ANI-2x, or None.
    numbers
        Atomic numbers, for the dispersion.
    dispersion
        Functional whose D3(BJ) is added, or None.

    Raises
    ------
    InputError
        If the weights of ANI-2x are missing or not those of the baseline, or there is no D3(BJ) of this
        functional.
    MachineError
        If dftd3 is asked for and not installed.
    """
    plain = None if baseline is None else _baseline_energy(baseline)
    if dispersion is None:
        return plain
    from drupe.mlp.dispersion_energy import DispersionEnergy

    added = DispersionEnergy(numbers, dispersion)
    return added if plain is None else _Sum(plain, added)


def _baseline_energy(baseline: Baseline) -> EnergyOfFrames:
    if isinstance(baseline, LigandForceField):
        return BaselineEnergy(baseline)
    from drupe.mlp.ani2x_energy import Ani2xEnergy  # TorchANI takes seconds to import

    return Ani2xEnergy(baseline)


class _Sum(nn.Module):
    """A baseline with dispersion, as one term."""

    static = False

    def __init__(self, one: EnergyOfFrames, other: EnergyOfFrames) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, positions: Tensor) -> Tensor:
        return self.one(positions) + self.other(positions)


class BaselineEnergy(nn.Module):
    """MM energy of the molecule for a batch of frames."""

    static = True
    bond_atoms: Tensor
    bonds: Tensor
    angle_atoms: Tensor
    angles: Tensor
    torsion_atoms: Tensor
    torsions: Tensor
    pair_atoms: Tensor
    pairs: Tensor

    def __init__(self, force_field: LigandForceField) -> None:
        super().__init__()
        for name in ("bond", "angle", "torsion", "pair"):
            atoms = torch.tensor(getattr(force_field, f"{name}_atoms"), dtype=torch.int64)
            self.register_buffer(f"{name}_atoms", atoms.T.contiguous(), persistent=False)
            table = torch.tensor(getattr(force_field, f"{name}s"), dtype=torch.float64)
            self.register_buffer(f"{name}s", table.T.contiguous(), persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        """Energies of frames.

        Parameters
        ----------
        positions
            Shape ``(frames, atoms, 3)``, bohr, float64.

        Returns
        -------
        Tensor
            Shape ``(frames,)``, hartree.
        """
        return (
            self._bonds(positions)
            + self._angles(positions)
            + self._torsions(positions)
            + self._pairs(positions)
        )

    def _bonds(self, positions: Tensor) -> Tensor:
        i, j = self.bond_atoms
        r0, k = self.bonds
        length = torch.linalg.vector_norm(positions[:, i] - positions[:, j], dim=-1)
        energy: Tensor = (k * (length - r0) ** 2).sum(-1) / 2
        return energy

    def _angles(self, positions: Tensor) -> Tensor:
        i, j, k = self.angle_atoms
        t0, stiffness = self.angles
        one, two = positions[:, i] - positions[:, j], positions[:, k] - positions[:, j]
        # atan2 keeps its accuracy near 0 and 180 degrees, where arccos does not.
        sine = torch.linalg.vector_norm(torch.linalg.cross(one, two), dim=-1)
        theta = torch.atan2(sine, (one * two).sum(-1))
        energy: Tensor = (stiffness * (theta - t0) ** 2).sum(-1) / 2
        return energy

    def _torsions(self, positions: Tensor) -> Tensor:
        i, j, k, m = self.torsion_atoms
        period, phase, height = self.torsions
        first, axis, last = (positions[:, b] - positions[:, a] for a, b in ((i, j), (j, k), (k, m)))
        one, two = torch.linalg.cross(first, axis), torch.linalg.cross(axis, last)
        sine = torch.linalg.vector_norm(axis, dim=-1) * (first * two).sum(-1)
        angle = torch.atan2(sine, (one * two).sum(-1))
        energy: Tensor = (height * (1 + torch.cos(period * angle - phase))).sum(-1)
        return energy

    def _pairs(self, positions: Tensor) -> Tensor:
        i, j = self.pair_atoms
        product, sigma, epsilon = self.pairs
        inverse = 1 / torch.linalg.vector_norm(positions[:, i] - positions[:, j], dim=-1)
        sixth = (sigma * inverse) ** 6
        energy: Tensor = (product * inverse + 4 * epsilon * (sixth**2 - sixth)).sum(-1)
        return energy
