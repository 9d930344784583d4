"""Fitting bases fit; orbital bases in their place are refused."""

import pytest

from drupe.embedding import Level, Partition, label
from drupe.embedding.labeling import check_request
from drupe.embedding.meanfield.fitting import check_fitting, fitting_errors
from drupe.errors import InputError


@pytest.fixture
def water(build):
    system = build("8 0 0 0; 1 0 0 0.96; 1 0.93 0 -0.24")
    return system, Partition.select(system, qm=[0, 1, 2], charge=0, cores=[[0, 1, 2]])


@pytest.mark.parametrize(
    ("auxbasis", "functional", "core", "says"),
    [
        ("sto-3g", "PBE", None, "misses .* of the Coulomb energy of one H atom"),
        ("def2-SVP", "PBE", None, "misses .* of the Coulomb energy of one O atom"),
        ("cc-pvqz", "PBE", None, "Coulomb energy of one O atom"),
        ("def2-qzvp", "HF", None, "misses .* of the exchange energy of one O atom"),
        ("def2-qzvp", "PBE0", None, "exchange energy of one O atom"),
        ("def2-qzvp", "camb3lyp", None, "exchange energy of one O atom"),
        ("def2-qzvp", "PBE", "MP2", "exchange energy of one O atom"),
        ("def2-universal-jfit", "PBE", "MP2", "exchange energy of one O atom"),
    ],
)
def test_an_orbital_basis_is_no_fitting_basis(water, auxbasis, functional, core, says):
    level = Level(functional, "sto-3g", auxbasis=auxbasis, core=core)
    with pytest.raises(InputError, match=says) as caught:
        check_request(*water, level)
    assert "def2-universal-jkfit" in caught.value.remedy


@pytest.mark.parametrize(
    "level",
    [
        Level("PBE", "sto-3g", auxbasis="weigend"),
        Level("HF", "cc-pvdz", auxbasis="cc-pvdz-jkfit", core="MP2"),
        Level("PBE", "def2-SVP", auxbasis="def2-universal-jfit"),
        Level("PBE", "sto-3g", auxbasis="def2-qzvp"),  # large enough for Coulomb alone
    ],
)
def test_a_basis_that_fits_is_taken(water, level):
    check_request(*water, level)


@pytest.mark.parametrize("number", [1, 2, 3, 6, 7, 8, 9, 11, 14, 16, 17, 20, 26])
def test_the_default_fits_the_elements_up_to_krypton(number):
    coulomb, exchange = fitting_errors(number, "def2-universal-jkfit")
    assert 0 < coulomb < 2e-4
    assert 0 < exchange < 2e-4


def test_a_coulomb_fit_does_for_a_pure_functional_and_not_for_exchange():
    check_fitting([16], "def2-universal-jfit", exchange=False)
    with pytest.raises(InputError, match="exchange energy of one S atom"):
        check_fitting([16], "def2-universal-jfit", exchange=True)


def test_the_error_that_is_measured_is_that_of_the_energy(water):
    """Pure functional: what the fit misses in the molecule is about what it misses in its atoms."""
    exact, fitted = (
        label(*water, Level("PBE", "sto-3g", auxbasis=name, forces="none")).energy
        for name in (None, "def2-universal-jkfit")
    )
    assert abs(fitted - exact) < 1e-3


def test_elements_with_a_core_potential_are_left_alone(build):
    iodide = build("1 0 0 0; 53 0 0 1.61")
    regions = Partition.select(iodide, qm=[0, 1], charge=0)
    check_request(iodide, regions, Level("PBE", "def2-SVP", ecp="def2-SVP"))
