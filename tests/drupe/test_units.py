import pytest

from drupe import units


def test_conversions_agree_with_published_constants():
    # CODATA 2018/2022 values; 1e-8 relative covers the difference between the two sets.
    assert pytest.approx(0.529177210903, rel=1e-8) == 1 / units.angstrom
    assert pytest.approx(27.211386245988, rel=1e-8) == 1 / units.ev
    assert pytest.approx(627.5094740631, rel=1e-8) == 1 / units.kcal_per_mol
    assert units.kt(300.0) / units.kj_per_mol == pytest.approx(2.494338785, rel=1e-8)
    assert units.standard_volume_nm3 == pytest.approx(1.6605390, rel=1e-7)
