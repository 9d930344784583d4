"""Localised orbitals against the library's own, and the cores they make."""

import numpy as np
import pytest
from pyscf import gto, lo, scf

from drupe.embedding.cores.occupied import split_occupied
from drupe.errors import InputError

METHODS = ("spade", "ibo", "pipek-mezey")


@pytest.fixture(scope="module")
def methanol():
    atoms = "C -.046 .663 0; O -.046 -.755 0; H -1.086 .976 0; H .437 1.071 .89; H .437 1.071 -.89"
    atoms += "; H .869 -1.057 0"
    mol = gto.M(atom=atoms, basis="6-31g", verbose=0)
    mean_field = scf.RHF(mol).density_fit().run()
    return mol, mol.intor("int1e_ovlp"), mean_field.mo_coeff[:, mean_field.mo_occ > 0]


def test_the_libraries_optimiser_finds_nothing_more_local(methanol):
    mol, overlap, occupied = methanol
    functions = lo.orth.vec_lowdin(lo.iao.iao(mol, occupied), overlap)
    for method, power, library in (
        ("ibo", 4, lo.ibo.PM(mol, occupied, functions, overlap, 4)),
        ("pipek-mezey", 2, lo.PM(mol, occupied)),
    ):
        own = split_occupied(mol, overlap, occupied, np.array([1, 5]), None, method)
        ours = np.hstack([own.core, own.rest])
        how = None if method == "ibo" else "meta_lowdin"
        found = np.sum(library.atomic_pops(mol, ours, how, mode="pop") ** power)
        for start in (None, ours):  # from its own guess it stops at a less local stationary point
            theirs = library.atomic_pops(mol, library.kernel(start), how, mode="pop")
            assert found > np.sum(theirs**power) - 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_every_partition_keeps_the_occupied_space(methanol, method):
    mol, overlap, occupied = methanol
    split = split_occupied(mol, overlap, occupied, np.array([1, 5]), None, method)
    both = np.hstack([split.core, split.rest])
    assert both.T @ overlap @ both == pytest.approx(np.eye(9), abs=1e-10)
    assert both @ both.T == pytest.approx(occupied @ occupied.T, abs=1e-10)
    # O 1s, two lone pairs, the OH bond, and the CO bond that oxygen has the larger half of.
    assert split.core.shape[1] == 5
    assert split.gap > 0.5
    assert split_occupied(mol, overlap, occupied, np.array([1, 5]), 4, method).core.shape[1] == 4
    with pytest.raises(InputError, match="10 occupied orbitals"):
        split_occupied(mol, overlap, occupied, np.array([1, 5]), 10, method)


@pytest.mark.parametrize("method", METHODS)
def test_a_rotation_of_the_occupied_orbitals_changes_nothing(methanol, method):
    mol, overlap, occupied = methanol
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(9, 9)))
    first, second = (
        split_occupied(mol, overlap, given, np.array([1, 5]), 5, method)
        for given in (occupied, occupied @ turn)
    )
    assert first.core @ first.core.T == pytest.approx(second.core @ second.core.T, abs=1e-6)
    assert first.gap == pytest.approx(second.gap, abs=1e-7)
