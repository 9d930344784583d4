"""From scalar features to energy (hartree), charge (e) and polarizability (bohr^3) of each atom.

The last layer starts at zero: before training every output is that of the fixed-charge model. Energies may
have a readout of their own (`drupe.mlp.readouts`); charges and polarizabilities always come from here.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from drupe.mlp.backbones.stacked import StackedLinear
from drupe.mlp.readouts.registry import EnergyReadout

__all__ = ["AtomTerms", "Readout"]

CHARGE_BOUND = 0.5  # e; the largest shift of one charge before the shifts are made to add to zero


class AtomTerms(NamedTuple):
    """Outputs per member, frame and atom, shape ``(members, frames, atoms)`` each.

    ``energy`` hartree; ``shift`` q - q0 in e, adding up to the exact total charge; ``polarizability``
    bohr^3, never negative; ``features`` what they were made of, one more axis.
    """

    energy: Tensor
    shift: Tensor
    polarizability: Tensor
    features: Tensor


class Readout(nn.Module):
    """Two-layer network on each atom's scalars.

    Parameters
    ----------
    features
        Width of the scalars.
    energy_scale, energy_bound
        hartree: what an output of one means, and the bound no atom's energy can pass.
    charge_scale
        e: what an output of one means for a charge shift.
    polarizability_scale
        bohr^3: what an output of one means.
    missing_charge
        e: total charge minus the sum of the fixed charges, spread evenly.
    energies
        Readout of the energies, with bound; None makes them here, beside the charges.
    """

    def __init__(
        self,
        features: int,
        *,
        energy_scale: float,
        energy_bound: float,
        charge_scale: float,
        polarizability_scale: float,
        missing_charge: float,
        members: int = 1,
        energies: EnergyReadout | None = None,
    ) -> None:
        super().__init__()
        self.energy_scale, self.energy_bound = energy_scale, energy_bound
        self.charge_scale, self.polarizability_scale = charge_scale, polarizability_scale
        self.missing_charge = missing_charge
        self.inner = StackedLinear(members, features, features)
        self.last = StackedLinear(members, features, 3 if energies is None else 2, zero=True)
        self.energies = energies

    def forward(self, scalar: Tensor, frames: int) -> AtomTerms:
        """Turn features into outputs; features of shape ``(members, frames * atoms, features)``."""
        members, rows, _ = scalar.shape
        out = self.last(functional.silu(self.inner(scalar))).reshape(members, frames, rows // frames, -1)
        *first, charge, root = out.unbind(-1)
        if self.energies is None:
            energy = self.energy_bound * torch.tanh(first[0] * (self.energy_scale / self.energy_bound))
        else:
            energy = self.energies(scalar).reshape(charge.shape)
        charge = CHARGE_BOUND * torch.tanh(charge * (self.charge_scale / CHARGE_BOUND))
        shift = charge + (self.missing_charge / charge.shape[-1] - charge.mean(-1, keepdim=True))
        features = scalar.reshape(members, frames, rows // frames, -1)
        return AtomTerms(energy, shift, self.polarizability_scale * root * root, features)

    def hold(self) -> None:
        """Prepare for weights that do not change any more."""
        if self.energies is not None:
            self.energies.hold()
