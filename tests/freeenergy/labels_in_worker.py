"""Labels that worker processes make in the tests of active learning: a water molecule with a known energy."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import numpy as np

from drupe.errors import ConvergenceError
from drupe.mlp.sources import Frame

NUMBERS = np.array([8, 1, 1])
CHARGES = np.array([-0.8, 0.4, 0.4])
LENGTH, STIFFNESS = 1.8, 0.5
NOTE = "DRUPE_TEST_LABELS"  # file that counts the calls
BAD = "DRUPE_TEST_BAD"  # what is wrong with which frame, JSON


def label(settings, pool):
    """Three springs; the frame of which the first oxygen coordinate is 99 bohr cannot be labelled."""
    with Path(os.environ[NOTE]).open("a") as note:
        note.write(f"{settings.index}\n")
    at = pool.positions[settings.index]
    if at[0, 0] > 90:
        raise ConvergenceError("the iteration stopped", remedy="leave it out")
    energy, forces = -76.0, np.zeros((3, 3))
    for i, j, length in ((0, 1, LENGTH), (0, 2, LENGTH), (1, 2, 1.6 * LENGTH)):
        apart = at[j] - at[i]
        r = np.linalg.norm(apart)
        energy += STIFFNESS / 2 * (r - length) ** 2
        pull = STIFFNESS * (r - length) * apart / r
        forces[i] += pull
        forces[j] -= pull
    return Frame(
        level="springs",
        qm_numbers=NUMBERS,
        qm_positions=at,
        energy=energy,
        energy_low=energy,
        forces_qm=forces,
        qm_fixed_charges=CHARGES,
        mm_positions=np.zeros((0, 3)),
        mm_charges=np.zeros(0),
    )


def label_and_die(settings, pool):
    """As `label`; the third call takes its process with it."""
    made = label(settings, pool)
    if len(Path(os.environ[NOTE]).read_text().split()) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return made


def label_or_not(settings, pool):
    """As `label`, with what is wrong with this frame."""
    made = label(settings, pool)
    match json.loads(os.environ[BAD]).get(str(settings.index)):
        case "nan":
            return dataclasses.replace(made, energy=np.nan, energy_low=np.nan)
        case "zero":
            return dataclasses.replace(made, energy=made.energy + 30, energy_low=made.energy_low + 30)
        case "level":
            return dataclasses.replace(made, level="ropes")
        case "atoms":
            return dataclasses.replace(made, qm_numbers=NUMBERS[::-1])
        case "raises":
            raise KeyError("SCF Done")
        case "licence":
            raise ConvergenceError("no licence found", remedy="buy one")
    return made
