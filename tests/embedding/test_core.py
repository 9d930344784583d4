"""Exactness of the embedding: what must hold for every cut, with charges around."""

import dataclasses

import numpy as np
import pytest

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.embedding.core import localize_core
from drupe.embedding.embedded import embed
from drupe.embedding.hartree_fock import hartree_fock
from drupe.embedding.localization import symmetric_root
from drupe.embedding.projection import projected_fock
from drupe.embedding.qmmm import run_dft
from drupe.embedding.tensors import to_orbitals

# Tight: DFT in DFT is compared to 1e-10 hartree. The identities hold on any grid, so a small one.
TIGHT = {"scf_tolerance": 1e-12, "gradient_tolerance": 1e-7, "forces": "none", "grid": 1}


def level(functional="PBE", basis="6-31G", **changes):
    return Level(functional, basis, core=changes.pop("core", "CCSD(T)"), **{**TIGHT, **changes})


def regions(system, cores):
    n_qm = int((system.numbers > 0).sum())
    return Partition.select(system, qm=list(range(n_qm)), charge=0, cores=cores)


def field_of(system, partition, chosen):
    qm, mm = partition.qm, partition.mm_atoms
    return run_dft(
        system.numbers[qm], system.positions[qm], 0, 1, system.positions[mm], system.charges[mm], chosen
    )


@pytest.mark.parametrize("functional", ["PBE", "B3LYP"])
@pytest.mark.parametrize("auxbasis", ["def2-universal-jkfit", None])
def test_the_functional_in_itself_is_the_functional(methanol_in_charges, water_dimer, functional, auxbasis):
    chosen = level(functional, auxbasis=auxbasis, core="HF")
    for system, core in ((methanol_in_charges, [1, 5]), (water_dimer, [0, 1, 2])):
        result = label(system, regions(system, [core]), chosen, check=True).cores[0]
        assert abs(result.dft_in_dft_error) < 1e-10
        assert abs(result.correction) > 1e-3  # and the other method does differ


def test_the_energy_does_not_depend_on_the_shift(methanol_in_charges):
    """Roothaan iterations in the AO basis with the projected Fock operator, at two shifts."""
    chosen = level(auxbasis=None)
    field = field_of(methanol_in_charges, regions(methanol_in_charges, [[1, 5]]), chosen)
    localized = localize_core(field, np.array([1, 5]), None)
    embedded = embed(field, localized, chosen)
    tensor = to_orbitals(field.tensor, embedded.basis)
    wanted = hartree_fock(embedded.h, tensor, embedded.guess, gradient=1e-9, cycles=99).energy
    inverse_root = np.linalg.inv(symmetric_root(field.overlap))
    eri = field.engine.mol.intor("int2e")
    n_core = localized.core.shape[1]
    energies = []
    for shift in (10.0, 1000.0):
        density = localized.core @ localized.core.T
        for _ in range(150):
            coulomb = np.einsum("ijkl,kl->ij", eri, density, optimize=True)
            exchange = np.einsum("ikjl,kl->ij", eri, density, optimize=True)
            fock = embedded.h_ao + 2 * coulomb - exchange
            energy = float(np.sum(density * (embedded.h_ao + fock)))
            shifted = projected_fock(fock, field.overlap, localized.rest, shift)
            _, vectors = np.linalg.eigh(inverse_root @ shifted @ inverse_root)
            orbitals = (inverse_root @ vectors)[:, :n_core]
            density = 0.4 * density + 0.6 * orbitals @ orbitals.T
        energies.append(energy)
    # 1e-9: plain damped iterations end there; the two shifts agree far better with each other.
    assert energies == pytest.approx([wanted, wanted], abs=1e-9)
    assert energies[0] == pytest.approx(energies[1], abs=1e-11)


def test_all_shells_are_the_whole_virtual_space(methanol_in_charges):
    partition = regions(methanol_in_charges, [[1, 5]])
    whole, last, first = (
        label(methanol_in_charges, partition, level("PBE", "6-31G*", virtual_shells=shells)).cores[0]
        for shells in (None, 40, 0)
    )
    assert whole.n_virtual == last.n_virtual == whole.n_virtual_full
    assert last.correction == pytest.approx(whole.correction, abs=1e-7)  # coupled-cluster thresholds
    assert whole.mp2_truncation == last.mp2_truncation == 0.0
    assert first.n_virtual < whole.n_virtual
    # Shell 0 lacks 2.2e-3 of correlation, the MP2 difference brings back 2.0e-3 of it.
    assert abs(first.e_corr - whole.e_corr) > 2e-3
    assert first.correction == pytest.approx(whole.correction, abs=3e-4)


def test_a_core_that_is_everything_is_the_method_itself(water_dimer):
    from pyscf import gto, qmmm, scf

    chosen = level("PBE", auxbasis=None, core="CCSD(T)", virtual_shells=None, cc_tolerance=1e-10)
    result = label(water_dimer, regions(water_dimer, [[0, 1, 2, 3, 4, 5]]), chosen)
    atoms = [(int(z), r) for z, r in zip(water_dimer.numbers, water_dimer.positions, strict=True) if z]
    mol = gto.M(atom=atoms, unit="B", basis="6-31G", verbose=0)
    points = water_dimer.numbers == 0
    mean_field = qmmm.mm_charge(
        scf.RHF(mol), water_dimer.positions[points], water_dimer.charges[points], unit="B"
    )
    mean_field.run(conv_tol=1e-12)
    full = mean_field.CCSD().set(conv_tol=1e-10, conv_tol_normt=1e-8).run()
    # The grid energy of PBE cancels exactly; 1e-8 from the two coupled-cluster iterations.
    assert result.energy == pytest.approx(full.e_tot + full.ccsd_t(), abs=1e-8)
    assert result.cores[0].n_occupied == 10


def test_two_cores_of_a_dimer_nearly_give_the_full_method(water_dimer):
    chosen = level("PBE", "cc-pVDZ", auxbasis=None, virtual_shells=None)
    apart = label(water_dimer, regions(water_dimer, [[0, 1, 2], [3, 4, 5]]), chosen)
    together = label(water_dimer, regions(water_dimer, [[0, 1, 2, 3, 4, 5]]), chosen)
    assert [core.n_occupied for core in apart.cores] == [5, 5]
    # Not an identity: PBE keeps the interaction of the two, so it depends on the basis (seen: 1.3e-3 in
    # 6-31G, 3.7e-4 in 6-31G*, 0.8e-4 in cc-pVDZ, the same on grids 1 and 3). One core alone misses by 0.09.
    assert apart.energy == pytest.approx(together.energy, abs=1.5e-4)
    # Cores that share out all atoms have the same singular vectors, so they are orthogonal.
    assert apart.cores[0].residual_overlap < 1e-9


def test_cores_that_leave_atoms_over_report_their_overlap(methanol_in_charges):
    both = label(methanol_in_charges, regions(methanol_in_charges, [[1, 5], [0, 2]]), level(core="HF"))
    one = label(methanol_in_charges, regions(methanol_in_charges, [[1, 5]]), level(core="HF"))
    first, second = both.cores
    assert first.residual_overlap == pytest.approx(second.residual_overlap, abs=1e-10)
    assert first.residual_overlap > 1e-3
    assert both.diagnostics["residual_overlap_max"] == first.residual_overlap
    assert one.cores[0].residual_overlap == 0.0
    # A core's own correction does not know of the other: they add.
    assert first.correction == pytest.approx(one.cores[0].correction, abs=1e-10)
    assert both.energy == pytest.approx(both.energy_low + first.correction + second.correction, abs=1e-12)


def test_charges_at_infinity_are_the_gas_phase(methanol_in_charges):
    atoms = methanol_in_charges.numbers > 0
    positions = methanol_in_charges.positions.copy()
    positions[~atoms] += 1e9
    far = methanol_in_charges.with_positions(positions)
    gas = methanol_in_charges.subset(np.flatnonzero(atoms))
    chosen = level(core="MP2")
    near, alone = (label(s, regions(s, [[1, 5]]), chosen) for s in (far, gas))
    assert near.energy_low == pytest.approx(alone.energy_low, abs=2e-9)  # q/r at 1e9 bohr
    assert near.cores[0].correction == pytest.approx(alone.cores[0].correction, abs=1e-9)


def test_the_number_of_orbitals_can_be_fixed(methanol_in_charges):
    partition = regions(methanol_in_charges, [[1, 5]])
    chosen = level(core="MP2")
    free = label(methanol_in_charges, partition, chosen).cores[0]
    fixed = label(methanol_in_charges, partition, dataclasses.replace(chosen, n_occupied=(free.n_occupied,)))
    fewer = label(methanol_in_charges, partition, dataclasses.replace(chosen, n_occupied=(2,)), check=True)
    assert fixed.cores[0].correction == pytest.approx(free.correction, abs=1e-9)
    assert fewer.cores[0].n_occupied == 2
    assert fewer.cores[0].spade_gap < free.spade_gap
    assert abs(fewer.cores[0].dft_in_dft_error) < 1e-10  # exact for any number


def test_the_correction_does_not_change_when_the_molecule_turns(methanol_in_charges: MolecularSystem):
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    turned = methanol_in_charges.with_positions(methanol_in_charges.positions @ turn)
    chosen = level("HF", core="CCSD(T)")  # no grid, whose orientation is fixed in space
    pair = [label(s, regions(s, [[1, 5]]), chosen) for s in (methanol_in_charges, turned)]
    assert pair[0].energy == pytest.approx(pair[1].energy, abs=5e-8)  # coupled-cluster thresholds
