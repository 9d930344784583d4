"""Electrons on a bare charge: found in a bad case, not in a hydrogen bond."""

import numpy as np
import pytest

from drupe.embedding import Level, Partition, label
from drupe.errors import InputError

WATER = "8 0 0 .117; 1 0 .757 -.470; 1 0 -.757 -.470"
#: 0.3 A beyond a hydrogen, on the line from the oxygen; and a hydrogen bond to the lone pairs.
BAD, GOOD = (2.0, 0, 0.995, -0.655), (0.45, 0, 0, 1.717)


def test_electrons_on_a_charge_are_refused_by_name(build):
    system = build(WATER, [GOOD, BAD])
    regions = Partition.select(system, qm=[0, 1, 2], charge=0)
    with pytest.raises(InputError, match=r"0\.7. electrons spill onto the MM charge of \+2\.00 e") as caught:
        label(system, regions, Level("PBE", "6-31G", grid=1))
    assert "charge_radii" in str(caught.value)
    smeared = label(system, regions, Level("PBE", "6-31G", grid=1, charge_radii=3.0))
    assert smeared.diagnostics["spilled_electrons"] < 0.1


@pytest.mark.parametrize("basis", ["6-31G", "6-31++G**"])
def test_a_hydrogen_bond_is_no_leak(build, basis):
    system = build(WATER, [GOOD])
    regions = Partition.select(system, qm=[0, 1, 2], charge=0)
    found = label(system, regions, Level("PBE", basis, grid=1, forces="none"))
    assert 1e-3 < found.diagnostics["spilled_electrons"] < 0.02


def test_charges_that_are_far_or_negative_count_nothing(build):
    system = build(WATER, [(5.0, 0, 0, 9.0), (-1.0, 0, 0, 2.5)])
    regions = Partition.select(system, qm=[0, 1, 2], charge=0)
    found = label(system, regions, Level("PBE", "sto-3g", grid=1, forces="none"))
    assert found.diagnostics["spilled_electrons"] == 0.0
    assert np.isfinite(found.energy)
