"""D3(BJ) and D4: their parts, their forces, and how a core counts them once."""

import builtins

import numpy as np
import pytest

from drupe.embedding import Level, Partition, label
from drupe.embedding.labeling import check_request
from drupe.embedding.meanfield.dispersion import check_dispersion, disperse
from drupe.errors import InputError, MachineError

TIGHT = {"scf_tolerance": 1e-12, "gradient_tolerance": 1e-7, "auxbasis": None}


@pytest.mark.parametrize("model", ["d3bj", "d4"])
def test_forces_are_slopes_and_pairs_add_up(water_dimer, model):
    numbers, positions = water_dimer.numbers[:6], water_dimer.positions[:6]
    level = Level("PBE", "sto-3g", dispersion=model)
    found = disperse(numbers, positions, 0, level)
    move = np.zeros((6, 3))
    move[3, 0] = 1e-3
    ends = [disperse(numbers, positions + sign * move, 0, level).energy for sign in (-1, 1)]
    assert found.forces[3, 0] == pytest.approx((ends[0] - ends[1]) / 2e-3, abs=1e-9)
    assert found.forces.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)
    everything = found.within(np.arange(6))
    # D3(BJ) has pairs only; the three-body term of D4 is small.
    assert everything == pytest.approx(found.energy, abs=1e-12 if model == "d3bj" else 1e-6)
    halves = [found.within(np.arange(3)), found.within(np.arange(3, 6))]
    assert everything < sum(halves) < 0


def test_a_label_holds_the_dispersion_and_its_core_counts_it_once(water_dimer):
    regions = Partition.select(water_dimer, qm=list(range(6)), charge=0, cores=[[0, 1, 2]])
    settings = {"functional": "PBE", "basis": "sto-3g", "grid": 1, "core": "MP2", **TIGHT}
    plain = label(water_dimer, regions, Level(**settings))
    dispersed = label(water_dimer, regions, Level(**settings, dispersion="d3bj"))
    alone = disperse(
        water_dimer.numbers[:6], water_dimer.positions[:6], 0, Level(**settings, dispersion="d3bj")
    )
    assert dispersed.energy_low - plain.energy_low == pytest.approx(alone.energy, abs=1e-10)
    assert dispersed.terms["dispersion"] == alone.energy
    assert dispersed.forces_qm - plain.forces_qm == pytest.approx(alone.forces, abs=1e-8)
    once = alone.energy - alone.within(np.arange(3))
    assert dispersed.energy - plain.energy == pytest.approx(once, abs=1e-9)
    assert sum(dispersed.terms.values()) == pytest.approx(dispersed.energy, abs=1e-9)


@pytest.mark.parametrize(
    ("functional", "model", "found"),
    [
        ("PBE,LYP", "d3bj", "no d3bj parameters"),
        ("b3lyp5", "d4", "no d4 parameters"),
        ("wb97m-v", "d4", "non-local"),
        ("wb97x", "d3bj", "non-local"),
    ],
)
def test_parameters_of_another_functional_are_not_used(functional, model, found):
    with pytest.raises(InputError, match=found):
        check_dispersion(Level(functional, "sto-3g", dispersion=model))


@pytest.mark.parametrize("name", ["PBE-D3", "b3lyp-d4", "wb97x-d", "wB97X_D", "b97-d", "hyb_gga_xc_wb97x_d"])
def test_dispersion_in_the_name_of_a_functional_is_not_left_out_in_silence(water_dimer, name):
    with pytest.raises(InputError, match="dispersion correction by its name"):
        check_request(
            water_dimer, Partition.select(water_dimer, qm=range(6), charge=0), Level(name, "sto-3g")
        )


def test_what_the_library_would_stumble_over_later_is_refused_first(water_dimer):
    whole = Partition.select(water_dimer, qm=range(6), charge=0)
    with pytest.raises(InputError, match="'r2scan-3c' .* cannot be used"):
        check_request(water_dimer, whole, Level("r2scan-3c", "sto-3g"))


def test_a_missing_package_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("dftd4"):
            raise ImportError("No module named 'dftd4'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MachineError, match=r"drupe\[dispersion\]"):
        check_dispersion(Level("PBE", "sto-3g", dispersion="d4"))
