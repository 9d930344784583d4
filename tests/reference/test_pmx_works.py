"""Published free energies from published works.

pmx: 25 + 25 works of a relative free energy at 298 K and the numbers of its tests (Gapsys, Michielssens,
Seeliger, de Groot, J. Comput. Chem. 36, 348 (2015); github.com/deGrootLab/pmx). Its reverse works carry
the sign of dG, so they are negated here.
"""

import numpy as np
import pytest

from drupe.freeenergy.estimation.estimators import bar, crooks_gaussian, cumulant, jarzynski
from drupe.units import kj_per_mol, kt

pytestmark = pytest.mark.reference

# kJ/mol
forward = np.array([
    3.5591054, -5.2779945, 5.2045041, 0.063750555, 6.5676627, 2.4946391, -0.34827784, 0.27726805,
    0.75948694, 4.6673518, 5.861255, 1.8697935, 2.0787963, 1.5186216, 5.3689386, -2.7020671, -4.3668132,
    10.060532, 15.087273, 4.249992, 4.2680873, 8.4783927, 5.4503226, 6.9235172, -0.4742681,
])  # fmt: skip
reverse = np.array([
    0.83223646, -1.8899857, 0.50135665, 0.6694492, -5.1046573, 5.2314506, -5.2771319, 3.0611802,
    -7.4810117, 3.0571058, -2.5324212, -7.0166379, -1.2512061, -6.9739325, -9.859437, -7.394742,
    -1.0280861, -6.1135634, -2.6761709, 1.8581393, 4.124639, 1.2854072, -1.4031445, -0.932014, 3.9064948,
])  # fmt: skip

unit = kt(298.0) / kj_per_mol


@pytest.fixture
def works():
    return forward / unit, -reverse / unit


# 1e-4 kJ/mol: pmx prints five decimals, and its gas constant has six digits.
def test_bar(works):
    assert bar(*works, seed=1).value * unit == pytest.approx(0.85325, abs=1e-4)


def test_jarzynski_both_ways(works):
    w_f, w_r = works
    assert jarzynski(w_f, seed=1).value * unit == pytest.approx(-0.03630, abs=1e-4)
    reverse_value = jarzynski(w_r, seed=1, direction="reverse").value
    assert reverse_value * unit == pytest.approx(0.98735, abs=1e-4)


def test_crooks_gaussian_intersection(works):
    assert crooks_gaussian(*works, seed=1).value * unit == pytest.approx(0.93124, abs=1e-4)


def test_second_order_cumulant_both_ways(works):
    w_f, w_r = works
    assert cumulant(w_f, seed=1).value * unit == pytest.approx(-0.8332, abs=1e-4)
    assert cumulant(w_r, seed=1, direction="reverse").value * unit == pytest.approx(1.9406, abs=1e-4)
