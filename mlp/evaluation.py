"""One frame through a stack of potentials, with forces by the short way: bohr, e in; hartree(/bohr) out.

The network depends on the QM positions and the field only. Autograd therefore runs over the QM atoms,
and the closed form of `pull_back` carries the mean gradient to all MM atoms in one go.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from drupe.errors import ConvergenceError, InputError
from drupe.mlp.electrostatics import field_at, pull_back
from drupe.mlp.potential import Potential

__all__ = ["Evaluation", "evaluate"]


class Evaluation(NamedTuple):
    """Energies per member ``(members,)`` hartree, and forces of their mean, hartree/bohr."""

    energies: NDArray[np.float64]
    forces_qm: NDArray[np.float64]
    forces_mm: NDArray[np.float64]


def evaluate(
    stack: Potential,
    qm: NDArray[np.float64],
    mm: NDArray[np.float64],
    charges: NDArray[np.float64],
    *,
    fixed_coulomb: bool,
) -> Evaluation:
    """Evaluate one frame on one thread.

    Parameters
    ----------
    stack
        Potentials stacked in one module.
    qm, mm, charges
        Shapes ``(qm, 3)``, ``(mm, 3)`` in bohr and ``(mm,)`` in e; ``mm`` may be empty.
    fixed_coulomb
        True for the label's quantity; False leaves out sum q0 phi and the energy zero, as needed
        where another program computes the Coulomb energy of the fixed charges.

    Raises
    ------
    InputError
        If shapes do not fit the potential.
    ConvergenceError
        If an energy or a force is not finite.
    """
    if qm.shape != (len(stack.header.numbers), 3) or mm.shape != (len(charges), 3):
        raise InputError(
            f"positions of shape {qm.shape} and {mm.shape} with {len(charges)} charges do not fit "
            f"a potential of {len(stack.header.numbers)} atoms",
            remedy="pass the atoms the potential was trained on, and one charge per MM atom",
        )
    threads = torch.get_num_threads()
    if threads != 1:
        torch.set_num_threads(1)  # more threads are slower for molecules of this size
    try:
        energies, to_qm, to_mm = _gradient(stack, qm, mm, charges, fixed_coulomb)
    finally:
        if threads != 1:
            torch.set_num_threads(threads)
    if not (np.isfinite(energies).all() and np.isfinite(to_qm).all() and np.isfinite(to_mm).all()):
        raise ConvergenceError(
            "the learned potential returned an energy or force that is not finite",
            remedy="atoms lie on top of each other or positions are NaN: shorten the step or relax first",
        )
    return Evaluation(energies, -to_qm, -to_mm)


def _gradient(
    stack: Potential,
    qm: NDArray[np.float64],
    mm: NDArray[np.float64],
    charges: NDArray[np.float64],
    fixed_coulomb: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    # Distances are formed from squares, so the origin is put among the QM atoms.
    origin = qm.mean(axis=0)
    inner = torch.from_numpy(qm - origin)
    outer = torch.from_numpy(mm - origin)
    values = torch.from_numpy(np.array(charges))
    with torch.no_grad():
        damped = field_at(inner, outer, values, stack.header.damping)
    place = inner[None].requires_grad_()
    field = damped.field[None].requires_grad_()
    energy, terms = stack.learned(place, damped.potential[None], field)
    total = energy.mean()
    if stack.baseline is not None:
        base = stack.baseline(place)
        total = total + base[0]
    to_place, to_field = torch.autograd.grad(total, (place, field))
    with torch.no_grad():
        inner = inner.detach()
        to_qm, to_mm = pull_back(inner, outer, damped, terms.shift[:, 0].mean(0), to_field[0])
        to_qm = to_qm + to_place[0]
        energies = energy[:, 0].detach()
        if stack.baseline is not None:
            energies = energies + base
        if fixed_coulomb:
            bare = field_at(inner, outer, values, 0.0)
            more_qm, more_mm = pull_back(inner, outer, bare, stack.fixed_charges, torch.zeros_like(inner))
            to_qm, to_mm = to_qm + more_qm, to_mm + more_mm
            energies = energies + stack.header.energy_zero + stack.fixed_charges @ bare.potential
    return energies.numpy(), to_qm.numpy(), to_mm.numpy()
