"""Benzene in water loses its charges, then itself: windows of alchemtest, numbers of alchemlyb's tests.

`benzene_coulomb.npz` holds (u_1 - u_0) / 1e-4 kT of all 20,005 frames in five windows at lambda 0, 0.25, 0.5,
0.75 and 1 (alchemtest 1.0, gmx/benzene/Coulomb, 300 K). Charges are scaled linearly: every other difference
is its lambda times this one, to 1e-4 kT in all frames of the files.

`benzene_lj.npy.xz` holds all 64,016 frames of the sixteen Lennard-Jones windows (gmx/benzene/VDW): energies
of the states 0 to 14 above the last one, in which benzene is gone, in units of 0.02 kT, at most 60 kT. They
are second differences over the states, counted from the last; a state that the files list twice is here once.
"""

import lzma
from pathlib import Path

import numpy as np
import pytest

from drupe.freeenergy.estimation.bennett import acceptance_root
from drupe.freeenergy.estimation.chain import mbar

pytestmark = pytest.mark.reference

HERE = Path(__file__).parent
FRAMES = 4001


@pytest.fixture(scope="module")
def charges():
    return np.outer(np.linspace(0.0, 1.0, 5), np.load(HERE / "benzene_coulomb.npz")["rise"] * 1e-4)


@pytest.fixture(scope="module")
def repulsion():
    with lzma.open(HERE / "benzene_lj.npy.xz") as file:
        steps = np.load(file).astype(np.int64)
    above = 0.02 * np.cumsum(np.cumsum(steps, axis=0), axis=0)
    return np.concatenate([above[::-1], np.zeros((1, above.shape[1]))])


def bar(u):
    """From window to window."""
    total = 0.0
    for k in range(len(u) - 1):
        rise = (u[k + 1] - u[k]).reshape(len(u), FRAMES)
        total += acceptance_root(rise[k], -rise[k + 1])
    return total


def test_charges_by_mbar_of_all_windows(charges):
    found = mbar(charges, [FRAMES] * 5)
    assert found.total.value == pytest.approx(3.0411557, abs=1e-5)
    assert found.total.error == pytest.approx(0.0208789, abs=1e-6)
    assert found.verdict.level == "PASS"


def test_charges_by_bar_from_window_to_window(charges):
    assert bar(charges) == pytest.approx(3.044, abs=5e-4)


def test_repulsion_by_mbar_of_all_windows(repulsion):
    found = mbar(repulsion, [FRAMES] * 16)
    # 64,016 frames in units of 0.02 kT leave some 1e-4.
    assert found.total.value == pytest.approx(-3.0067874, abs=2e-4)
    assert found.total.error == pytest.approx(0.0451902, abs=5e-6)
    # Rounded works are copies of each other, which is seen; nothing else is wrong with them.
    assert found.verdict.reasons
    assert all("copies" in reason for reason in (*found.verdict.reasons, *found.verdict.also))


def test_repulsion_by_bar_from_window_to_window(repulsion):
    assert bar(repulsion) == pytest.approx(-3.033, abs=5e-4)
