"""Energies of a hybrid potential as a quantum device would give them: bohr, e in; hartree out."""

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.mlp.committee import Committee
from drupe.mlp.readouts.shots import Measurement, measurement
from drupe.mlp.readouts.vqc import Vqc

__all__ = ["measurement_of"]


def measurement_of(
    committee: Committee,
    qm_positions: NDArray[np.float64],
    mm_positions: NDArray[np.float64],
    mm_charges: NDArray[np.float64],
    mm_groups: NDArray[np.int64] | None = None,
    border_atoms: NDArray[np.int64] | None = None,
) -> Measurement:
    """What measuring the circuits of one frame gives: its energy, known variance and samples.

    Parameters
    ----------
    committee
        Its members read energies with circuits.
    qm_positions, mm_positions, mm_charges, mm_groups, border_atoms
        As `Committee.predict` takes them.

    Raises
    ------
    InputError
        If the potential has no quantum readout.
    """
    readout = committee.stack.readout.energies
    if not isinstance(readout, Vqc):
        raise InputError(
            f"a potential with a {committee.header.readout} readout has no circuits to measure",
            remedy='train it with FitSpec(readout="vqc")',
        )
    made = committee.evaluate(
        qm_positions, mm_positions, mm_charges, mm_groups, border_atoms, fixed_coulomb=True
    )
    plain = measurement([readout], [committee.stack.fixed_charges.new_tensor(made.features)], 0.0)
    rest = float(made.energies.mean()) - plain.energy
    return Measurement(plain.probabilities, plain.values, plain.rest + rest)
