"""Benzene in water loses its charges: GROMACS windows of alchemtest and the numbers of alchemlyb's tests.

`benzene_coulomb.npz` holds (u_1 - u_0) / 1e-4 kT of all 20,005 frames in five windows at lambda 0, 0.25, 0.5,
0.75 and 1 (alchemtest 1.0, gmx/benzene/Coulomb, 300 K). Charges are scaled linearly: every other difference
is its lambda times this one, to 1e-4 kT in all frames of the files. The Lennard-Jones windows (26 MB of text)
were evaluated once: MBAR -3.0067875 +- 0.0451908, BAR -3.0329 kT, as alchemlyb has them.
"""

from pathlib import Path

import numpy as np
import pytest

from drupe.freeenergy.estimation.bennett import acceptance_root
from drupe.freeenergy.estimation.chain import mbar

pytestmark = pytest.mark.reference

LAMBDAS = np.linspace(0.0, 1.0, 5)
FRAMES = 4001


@pytest.fixture(scope="module")
def u():
    rise = np.load(Path(__file__).with_name("benzene_coulomb.npz"))["rise"] * 1e-4
    return np.outer(LAMBDAS, rise)


def test_mbar_of_all_windows(u):
    found = mbar(u, [FRAMES] * 5)
    assert found.total.value == pytest.approx(3.0411557, abs=1e-5)
    assert found.total.error == pytest.approx(0.0208789, abs=1e-6)
    assert found.verdict.level == "PASS"


def test_bar_from_window_to_window(u):
    total = 0.0
    for k in range(4):
        rise = (u[k + 1] - u[k]).reshape(5, FRAMES)
        total += acceptance_root(rise[k], -rise[k + 1])
    assert total == pytest.approx(3.044, abs=5e-4)
