"""A molecule of three atoms among charges whose exact energy is a short formula: labels for a cent."""

import numpy as np
import torch
from numpy.typing import NDArray

from drupe.mlp.electrostatics import field_at
from drupe.mlp.sources import Frame
from drupe.units import angstrom

NUMBERS = np.array([8, 1, 1])
FIXED = np.array([-0.8, 0.4, 0.4])
PLACE = np.array([[0.0, 0.0, 0.115], [0.0, 0.754, -0.459], [0.0, -0.754, -0.459]]) * angstrom
#: bohr; displacements at 300 K, roughly.
THERMAL = 0.08


def energy(qm: torch.Tensor, mm: torch.Tensor, charges: torch.Tensor) -> torch.Tensor:
    """Morse bonds, a stiff angle, charges that differ from the fixed ones and a polarizability."""
    bonds = torch.linalg.norm(qm[1:] - qm[0], dim=-1)
    morse = (0.2 * (1 - torch.exp(-1.1 * (bonds - 1.8))) ** 2).sum()
    spread = (torch.linalg.norm(qm[1] - qm[2]) - 2.85) ** 2
    made = field_at(qm, mm, charges, 1.5)
    bare = field_at(qm, mm, charges, 0.0)
    shift = torch.tensor([-0.1, 0.05, 0.05], dtype=qm.dtype)
    induced = (torch.tensor([4.0, 1.0, 1.0], dtype=qm.dtype) * (made.field**2).sum(-1)).sum() / 2
    return (
        morse + 0.08 * spread - 76.0 + torch.tensor(FIXED) @ bare.potential + shift @ made.potential - induced
    )


def label(
    qm: NDArray, mm: NDArray, charges: NDArray, noise: float = 0.0, rng: np.random.Generator | None = None
) -> Frame:
    """Label with Gaussian noise of ``noise`` hartree on the energy, hartree/bohr on forces on the atoms."""
    at, around = torch.tensor(qm, requires_grad=True), torch.tensor(mm, requires_grad=True)
    value = energy(at, around, torch.tensor(charges))
    to_qm, to_mm = torch.autograd.grad(value, (at, around))
    draw = np.random.default_rng(0) if rng is None else rng
    return Frame(
        level="toy",
        qm_numbers=NUMBERS,
        qm_positions=qm,
        energy=float(value.detach()) + noise * draw.normal(),
        forces_qm=-to_qm.numpy() + noise * draw.normal(size=qm.shape),
        qm_fixed_charges=FIXED,
        mm_positions=mm,
        mm_charges=charges,
        forces_mm=-to_mm.numpy(),
    )


def scene(seed: int, amplitude: float = 1.0) -> tuple[NDArray, NDArray, NDArray]:
    """Displaced atoms and eight charges of a neutral neighbourhood."""
    rng = np.random.default_rng([17, seed])
    qm = PLACE + amplitude * THERMAL * rng.normal(size=PLACE.shape)
    ways = rng.normal(size=(8, 3))
    mm = ways / np.linalg.norm(ways, axis=1, keepdims=True) * rng.uniform(5.5, 9.0, size=(8, 1))
    charges = 0.4 * rng.normal(size=8)
    return qm, mm, charges - charges.mean()
