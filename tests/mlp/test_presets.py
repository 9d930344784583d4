"""Presets are whole specifications; single precision changes the last digits of a fit, not the fit."""

import dataclasses

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.mlp import FitSpec
from drupe.mlp.evaluation import evaluate
from drupe.mlp.presets import PRESETS
from drupe.mlp.training import train_member


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_is_a_specification_that_changes_fit_into(name):
    spec = FitSpec.preset(name, members=2, seed=7)
    assert (spec.members, spec.seed) == (2, 7)
    assert spec.backbone == PRESETS[name]["backbone"]
    assert FitSpec.preset(name, backbone="painn").backbone == "painn"


def test_refuses_presets_and_fields_that_do_not_exist():
    with pytest.raises(InputError, match="no preset 'acurate'.*\n.*did you mean 'accurate'"):
        FitSpec.preset("acurate")
    with pytest.raises(InputError, match="no field 'feature'.*\n.*did you mean 'features'"):
        FitSpec.preset("fast", feature=3)
    with pytest.raises(InputError, match="precision = 'float16'"):
        FitSpec(precision="float16")


@pytest.mark.parametrize("backbone", ["painn", "tensornet", "acsf"])
def test_single_precision_fits_the_same_potential(low_data, scene, backbone):
    """Energies are near -300 hartree: counted from zero, single precision would round them to 3e-5."""
    spec = FitSpec(backbone=backbone, members=1, steps=8, features=6, layers=1, radial=4, plateau=None)
    double = train_member(low_data, spec, 0).potential
    single = train_member(low_data, dataclasses.replace(spec, precision="float32"), 0)
    assert {value.dtype for value in single.stored.weights.values()} == {np.dtype(np.float64)}
    want = evaluate(double, *scene, fixed_coulomb=False)
    found = evaluate(single.potential, *scene, fixed_coulomb=False)
    fresh = np.abs(want.forces_qm).max()
    assert fresh > 1e-5
    # 1e-3: eight steps of Adam carry rounding of 1e-7 through divisions by small second moments.
    assert found.forces_qm == pytest.approx(want.forces_qm, abs=1e-3 * fresh)
    assert found.energies == pytest.approx(want.energies, abs=1e-6)
