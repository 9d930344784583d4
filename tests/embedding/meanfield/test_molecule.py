"""Bases and core potentials by element, against plain PySCF; refusals where a number would be wrong."""

import numpy as np
import pytest
from pyscf import dft, gto

from drupe.embedding import Level, Partition, label
from drupe.embedding.meanfield.molecule import build_molecule
from drupe.embedding.meanfield.qmmm import run_dft
from drupe.errors import InputError
from drupe.records import pack, unpack

NOTHING = np.zeros((0, 3)), np.zeros(0)
HI = np.array([1, 53]), np.array([[0.0, 0, 0], [0, 0, 3.04]])


def test_a_core_potential_gives_the_plain_energy_and_its_slope():
    level = Level("PBE", "def2-SVP", ecp="def2-SVP", grid=3, scf_tolerance=1e-11, gradient_tolerance=1e-7)
    charge = np.array([[0.0, 4.0, 1.0]]), np.array([0.5])
    found = run_dft(*HI, 0, 1, *NOTHING, level)
    mol = gto.M(atom="H 0 0 0; I 0 0 3.04", unit="Bohr", basis="def2-SVP", ecp="def2-SVP", verbose=0)
    plain = dft.RKS(mol, xc="PBE").density_fit(auxbasis="def2-universal-jkfit")
    plain.grids.level = 3
    plain.conv_tol = 1e-11
    assert found.energy == pytest.approx(plain.kernel(), abs=1e-8)
    forces, _ = run_dft(*HI, 0, 1, *charge, level).forces()
    ends = []
    for move in (-2e-3, 2e-3):
        moved = HI[1] + np.array([[0, 0, 0], [0, 0, move]])
        ends.append(run_dft(HI[0], moved, 0, 1, *charge, level).energy)
    assert forces[1, 2] == pytest.approx((ends[0] - ends[1]) / 4e-3, abs=5e-5)  # the grid does not move


def test_bases_by_element_give_the_plain_energy():
    basis = {"O": "6-31G", "default": "sto-3g"}
    level = Level("PBE", basis, grid=2)
    numbers, positions = np.array([8, 1, 1]), np.array([[0, 0, 0.2], [0, 1.43, -0.9], [0, -1.43, -0.9]])
    found = run_dft(numbers, positions, 0, 1, *NOTHING, level)
    mol = gto.M(
        atom=list(zip(numbers.tolist(), positions.tolist(), strict=True)),
        unit="Bohr",
        basis={"O": "6-31G", "H": "sto-3g"},
        verbose=0,
    )
    plain = dft.RKS(mol, xc="PBE").density_fit(auxbasis="def2-universal-jkfit")
    plain.grids.level = 2
    assert found.engine.mol.nao == 11
    assert found.energy == pytest.approx(plain.kernel(), abs=1e-8)
    assert level == Level("PBE", tuple(reversed(basis.items())), grid=2)
    assert unpack(pack(level)) == level
    assert level.key != Level("PBE", "sto-3g", grid=2).key


@pytest.mark.parametrize(
    ("numbers", "settings", "found"),
    [
        ([53], {"basis": "def2-SVP"}, "core potential of 28 electrons"),
        ([53], {"basis": "sto-3g"}, "with all its electrons"),
        ([11], {"basis": "lanl2dz"}, "core potential of 10 electrons"),
        ([53], {"basis": "def2-SVP", "ecp": "sbkjc"}, "takes 46"),
        ([35], {"basis": "def2-SVP", "ecp": "lanl2dz"}, "core potential of 0 electrons"),
        ([8], {"basis": {"H": "sto-3g"}}, "names no basis for the element O"),
        ([53], {"basis": "def2-SVP", "ecp": "no-such-ecp"}, "no effective core potential 'no-such-ecp'"),
    ],
)
def test_an_element_without_what_it_needs_is_refused(numbers, settings, found):
    with pytest.raises(InputError, match=found):
        build_molecule(np.array(numbers), np.zeros((1, 3)), -1, 1, Level("PBE", **settings))


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"basis": {}}, "no element"),
        ({"basis": {"oxygen": "sto-3g"}}, "oxygen"),
        ({"basis": None}, "name it by text"),
        ({"basis": "sto-3g", "ecp": {"I": ""}}, "name it by text"),
        ({"basis": "sto-3g", "charge_radii": 0.0}, "positive radii"),
        ({"basis": "sto-3g", "charge_radii": {"O": -1.0}}, "positive radii"),
        ({"basis": "sto-3g", "dispersion": "d2"}, "dispersion"),
        ({"basis": "sto-3g", "environment": "cluster"}, "cluster_radius"),
        ({"basis": "sto-3g", "cluster_radius": 20.0}, "cluster_radius"),
        ({"basis": "sto-3g", "environment": "pme"}, "environment"),
    ],
)
def test_settings_without_sense_are_refused(settings, found):
    with pytest.raises(InputError, match=found):
        Level("PBE", **settings)


@pytest.mark.parametrize("basis", ["ccecp-cc-pvdz", "gth-dzvp", "bfd-vdz"])
@pytest.mark.parametrize("ecp", [None, "bfd-vdz"])
def test_a_basis_without_core_functions_needs_its_potential(build, basis, ecp):
    water = build("8 0 0 0; 1 0 0 0.96; 1 0.93 0 -0.24")
    partition = Partition.select(water, qm=[0, 1, 2], charge=0)
    with pytest.raises(InputError, match="made for a core potential"):
        label(water, partition, Level("HF", basis, ecp=ecp, forces="none"))


def test_a_basis_with_its_potential_is_taken(build):
    water = build("8 0 0 0; 1 0 0 0.96; 1 0.93 0 -0.24")
    partition = Partition.select(water, qm=[0, 1, 2], charge=0)
    found = label(water, partition, Level("HF", "ccecp-cc-pvdz", ecp="ccecp", auxbasis=None, forces="none"))
    assert -17.5 < found.energy < -16.0  # eight valence electrons
