"""Energies against those of free atoms: what is no total energy is refused, whatever all labels share."""

import numpy as np
import pytest
from pyscf import dft, gto

from drupe.embedding import Level
from drupe.errors import InputError
from drupe.mlp import Dataset
from drupe.mlp.offsets import FREE_ATOMS, check_offsets
from drupe.mlp.reading import core_potentials_of
from drupe.mlp.sources import Frame, frames_of_arrays
from drupe.records import pack, unpack
from drupe.units import ev, kcal_per_mol

NUMBERS = np.array([8, 1, 1])
PLACES = np.random.default_rng(3).normal(size=(4, 3, 3))
ENERGIES = np.array([-76.101, -76.102, -76.103, -76.1015])


def data_of(values, **given):
    frames = frames_of_arrays(NUMBERS, PLACES, level="known", energies=values, total_charge=0)
    return Dataset.from_labels(frames, **given)


@pytest.mark.parametrize(
    "wrong", [ENERGIES / ev, ENERGIES / kcal_per_mol, ENERGIES + 58.9, ENERGIES + 76.0, -ENERGIES]
)
def test_a_whole_set_of_another_unit_or_zero_is_refused(wrong):
    """In eV, in kcal/mol, without core electrons, counted from free atoms, of the wrong sign."""
    with pytest.raises(InputError, match="eV per atom away from those of free atoms"):
        data_of(wrong)


def test_energies_of_another_zero_are_read_when_it_is_said_and_the_data_set_keeps_the_word():
    made = data_of(ENERGIES + 58.9, energies="relative")
    assert made.energies == unpack(pack(made)).take([0, 1]).energies == "relative"
    assert data_of(ENERGIES).energies == "total"
    with pytest.raises(InputError, match="away from the others"):
        data_of([*(ENERGIES + 58.9)[:3], ENERGIES[3]], energies="relative")
    with pytest.raises(InputError, match="energies='valence'"):
        data_of(ENERGIES, energies="valence")


def test_low_level_energies_beside_right_ones_are_looked_at_too():
    frames = [
        Frame(
            "known",
            NUMBERS,
            place,
            e,
            np.zeros((3, 3)),
            np.zeros(3),
            np.zeros((0, 3)),
            np.zeros(0),
            None,
            low,
        )
        for place, e, low in zip(PLACES, ENERGIES, ENERGIES / ev, strict=True)
    ]
    with pytest.raises(InputError, match="away from those of free atoms"):
        Dataset.from_labels(frames)


@pytest.mark.parametrize(("atoms", "apart"), [("H", 0.74), ("N", 1.1), ("F", 1.41), ("Cl", 1.99)])
def test_total_energies_of_the_poorest_level_in_use_are_read(atoms, apart):
    mol = gto.M(atom=f"{atoms} 0 0 0; {atoms} 0 0 {apart}", basis="sto-3g", verbose=0)
    energy = dft.RKS(mol, xc="LDA,VWN").kernel()
    check_offsets(np.array([energy]), np.array([0]), mol.atom_charges())
    with pytest.raises(InputError, match="free atoms"):
        check_offsets(np.array([energy / ev]), np.array([0]), mol.atom_charges())


@pytest.mark.parametrize(("symbol", "unpaired"), [("H", 1), ("O", 2), ("S", 2)])
def test_the_upper_ends_of_the_table_are_what_its_comment_says(symbol, unpaired):
    mol = gto.M(atom=f"{symbol} 0 0 0", basis="sto-3g", spin=unpaired, verbose=0)
    # 1e-3: the table has three decimals, and an open shell has several orientations on a grid.
    assert dft.UKS(mol, xc="LDA,VWN").kernel() == pytest.approx(FREE_ATOMS[gto.charge(symbol)][1], abs=1e-3)


def test_of_elements_without_a_number_the_labels_are_compared_with_each_other_and_the_log_says_so(caplog):
    with caplog.at_level("INFO", logger="drupe.mlp.offsets"):
        check_offsets(np.array([-297.0, -297.1]), np.arange(2), np.array([53]))
        check_offsets(np.array([-13.0, -13.1]), np.arange(2), np.array([17]), core_potentials=True)
    assert "no energies of the free atoms [53]" in caplog.text
    assert "core electrons are missing" in caplog.text
    with pytest.raises(InputError, match="label 1 is .* away from the others"):
        check_offsets(np.array([-297.0, -7000.0, -297.1]), np.arange(3), np.array([53]))


def test_a_level_says_whether_core_electrons_are_missing(labels):
    from dataclasses import replace

    plain, cut = Level("PBE", "def2-SVP"), Level("PBE", "def2-SVP", ecp="def2-SVP")
    assert not core_potentials_of([replace(labels[0], level=plain)])
    assert core_potentials_of([replace(labels[0], level=cut)])
    assert not core_potentials_of(labels[:2])
