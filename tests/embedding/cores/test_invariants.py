"""What holds for every projector, with and without charges, for every cut, closed shells and open ones."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from drupe.embedding import Level
from drupe.embedding.cores.core import correct_core, localize_core
from drupe.embedding.cores.open_occupied import localize_open_core
from drupe.embedding.cores.open_shell import correct_open_core
from drupe.embedding.meanfield.qmmm import run_dft

BASE = Level(
    "PBE", "STO-3G", core="CCSD", scf_tolerance=1e-12, gradient_tolerance=1e-7, cc_tolerance=1e-10, grid=0
)
PROJECTORS = ("projected", "huzinaga", "level-shift")
# System, atoms of the core, and alpha and beta orbitals of an open-shell region's core.
CUTS = {
    "covalent": ("methanol", [1, 5], None),
    "non-covalent": ("water dimer", [0, 1, 2], None),
    "open shell, covalent": ("hydroxymethyl", [0, 3, 4], (4, 3)),
    "closed shell cut from a radical": ("hydroxymethyl", [1, 2], (5, 5)),
    "open shell, non-covalent": ("methyl and water", [0, 1, 2, 3], (5, 4)),
}
FAR = 1e9  # bohr


@pytest.fixture(scope="module")
def fields(build, methanol_in_charges, water_dimer):
    charges = [(0.7, 2.6, -1.6, 0.3), (-0.8, -2.5, -1.9, 0.6)]
    hydroxymethyl = build("6 0 0 0; 8 1.36 0 0; 1 1.67 .9 .1; 1 -.5 .93 .2; 1 -.55 -.92 .2", charges)
    pair = build(
        "6 0 0 0; 1 -.3 1 .1; 1 -.25 -.6 .85; 1 -.2 -.5 -.9; 8 3.1 .11 0; 1 2.15 .05 0; 1 3.4 -.37 .76",
        charges,
    )
    systems = {
        "methanol": (methanol_in_charges, 1),
        "water dimer": (water_dimer, 1),
        "hydroxymethyl": (hydroxymethyl, 2),
        "methyl and water": (pair, 2),
    }

    @cache
    def field(name, surroundings):
        system, multiplicity = systems[name]
        qm = system.numbers > 0
        numbers, positions = system.numbers[qm], system.positions[qm]
        points = system.positions[~qm] + (FAR if surroundings == "far" else 0.0)
        shown = slice(0, 0) if surroundings == "gas" else slice(None)
        charges = system.charges[~qm][shown]
        return run_dft(numbers, positions, 0, multiplicity, points[shown], charges, BASE)

    return lambda cut, surroundings: field(CUTS[cut][0], surroundings)


def corrected(field, cut, level, n_virtual=None, **options):
    _, indices, counts = CUTS[cut]
    atoms = np.array(indices)
    if field.is_closed_shell:
        own = localize_core(field, atoms, None, level)
        return correct_core(field, atoms, own, level, n_virtual=n_virtual, **options)
    own = localize_open_core(field, atoms, counts, level)
    both = None if n_virtual is None else (n_virtual, n_virtual)
    return correct_open_core(field, atoms, own, level, n_virtual=both, **options)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("surroundings", ["gas", "charges"])
@pytest.mark.parametrize("localization", ["spade", "ibo", "pipek-mezey"])
def test_the_functional_in_itself_is_the_functional(fields, cut, surroundings, localization):
    for projector in ("projected", "huzinaga"):
        level = dataclasses.replace(BASE, core="HF", projector=projector, localization=localization)
        found = corrected(fields(cut, surroundings), cut, level, check=True)
        assert abs(found.dft_in_dft_error) < 1e-10
        assert abs(found.correction) > 1e-3  # and another method does differ


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("surroundings", ["gas", "charges"])
def test_a_level_shift_misses_by_one_over_its_strength(fields, cut, surroundings):
    errors, energies = [], []
    for strength in (1e4, 1e5):
        level = dataclasses.replace(BASE, core="HF", projector="level-shift", level_shift=strength)
        found = corrected(fields(cut, surroundings), cut, level, check=True)
        errors.append(found.dft_in_dft_error)
        energies.append(found.e_hf)
    assert errors[0] < 0  # more freedom than the exact projector allows: always too low
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.01)
    exact = corrected(fields(cut, surroundings), cut, dataclasses.replace(BASE, core="HF")).e_hf
    # Richardson: what is left is of second order in 1/mu.
    assert energies[1] + (energies[1] - energies[0]) / 9 == pytest.approx(exact, abs=1e-8)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("surroundings", ["gas", "charges"])
@pytest.mark.parametrize("projector", PROJECTORS)
def test_all_shells_are_the_whole_virtual_space(fields, cut, surroundings, projector):
    chosen, field = dataclasses.replace(BASE, projector=projector), fields(cut, surroundings)
    whole, shells = (corrected(field, cut, dataclasses.replace(chosen, virtual_shells=n)) for n in (None, 40))
    assert whole.n_virtual == shells.n_virtual == whole.n_virtual_full
    # The same orbitals the other way round: the solver makes them canonical again; 1e-9 its threshold.
    assert shells.correction == pytest.approx(whole.correction, abs=1e-9)
    assert whole.mp2_truncation == pytest.approx(0.0, abs=1e-12)
    one = corrected(field, cut, chosen, n_virtual=1)
    assert one.n_virtual == (1 if field.is_closed_shell else (1, 1))
    assert abs(one.e_corr - whole.e_corr) > 1e-4


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("projector", PROJECTORS)
def test_charges_at_infinity_are_the_gas_phase(fields, cut, projector):
    chosen = dataclasses.replace(BASE, projector=projector)
    far, gas, near = (corrected(fields(cut, where), cut, chosen) for where in ("far", "gas", "charges"))
    assert far.correction == pytest.approx(gas.correction, abs=1e-8)  # q/r at 1e9 bohr; thresholds
    assert abs(near.correction - gas.correction) > 1e-6


@pytest.mark.parametrize("cut", CUTS)
def test_huzinaga_is_the_projected_fock_operator(fields, cut):
    """Its operator uncouples the surroundings exactly, so the same orbitals come out."""
    projected, huzinaga = (
        corrected(fields(cut, "charges"), cut, dataclasses.replace(BASE, projector=name))
        for name in ("projected", "huzinaga")
    )
    assert huzinaga.correction == pytest.approx(projected.correction, abs=1e-9)
    assert huzinaga.n_virtual_full == projected.n_virtual_full
