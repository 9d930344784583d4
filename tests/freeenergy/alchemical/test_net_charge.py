import math

import numpy as np
import openmm
import pytest
from scipy.integrate import quad

from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.freeenergy.alchemical.net_charge import (
    charging_correction,
    ligand_charge,
    net_charge_verdict,
    quadrupole_trace,
    self_potential,
)
from drupe.units import angstrom, kcal_per_mol, kj_per_mol, kt, nanometer

SHEARED = np.array([[2.4, 0, 0], [0.8, 2.2, 0], [-0.6, 0.8, 2.6]])
KCAL = kt(300.0) / kcal_per_mol


@pytest.mark.reference
def test_the_potential_of_a_cubic_lattice_is_the_published_constant():
    # -2.837297 / L: Nijboer and Ruijgrok, J. Stat. Phys. 53, 361 (1988).
    assert self_potential(np.eye(3)) == pytest.approx(-2.837297, abs=1e-6)
    assert self_potential(7.0 * np.eye(3)) == pytest.approx(-2.837297 / 7, abs=1e-6)


@pytest.mark.parametrize("box", [2.4 * np.eye(3), SHEARED], ids=["cubic", "triclinic"])
def test_a_lone_charge_under_pme_has_half_its_self_potential(box):
    system, pairs = openmm.System(), openmm.NonbondedForce()
    system.addParticle(1.0)
    pairs.addParticle(1.0, 0.2, 0.0)
    pairs.setNonbondedMethod(openmm.NonbondedForce.PME)
    pairs.setPMEParameters(3.5, 40, 40, 40)
    system.addForce(pairs)
    system.setDefaultPeriodicBoxVectors(*box)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions([[0.3, 0.4, 0.5]])
    found = context.getState(energy=True).getPotentialEnergy()._value * kj_per_mol
    # 1e-4: the mesh.
    assert found == pytest.approx(0.5 * self_potential(box * nanometer), rel=1e-4)


def correction(edge_nm=2.4, charge=1.0, **change):
    given = {"n_waters": 450, "quadrupole": 0.00764 * nanometer**2, "radius": 0.168 * nanometer}
    given = {**given, "temperature_k": 300.0, **change}
    return charging_correction(charge, edge_nm * nanometer * np.eye(3), **given)


def test_periodicity_and_undersolvation_leave_what_a_dielectric_does_not_screen():
    found = correction()
    left = 0.5 * 2.837297 / (2.4 * nanometer) / 97.0 / kt(300.0)
    assert found.periodicity + found.undersolvation == pytest.approx(left, rel=1e-6)
    assert found.periodicity > 0  # the images and their background hold a charge: the true cost is higher


def test_the_residual_term_is_the_potential_missing_in_the_ions_sphere():
    # What the mean potential of the box lacks: q (1 - 1/eps) (1/r - 1/R) inside a sphere of radius R.
    radius, screening = 0.168 * nanometer, 1 - 1 / 97.0
    missing = quad(lambda r: 4 * math.pi * r * r * screening * (1 / r - 1 / radius), 0, radius)[0]
    volume = (2.4 * nanometer) ** 3
    assert correction().residual == pytest.approx(missing / volume / kt(300.0), rel=1e-9)


@pytest.mark.reference
def test_terms_of_a_sodium_ion_are_those_of_the_published_formula():
    # Kastenholz and Huenenberger, J. Chem. Phys. 124, 224501 (2006), type B for lattice sums:
    # q^2/(8 pi eps0) (1 - 1/eps) [-2.837297/L + 4 pi R^2/(3 L^3) - 16 pi^2 R^5/(45 L^6)].
    edge, radius, screening = 2.4, 0.168, 1 - 1 / 97.0
    series = -2.837297 / edge + 4 * math.pi * radius**2 / (3 * edge**3)
    series -= 16 * math.pi**2 * radius**5 / (45 * edge**6)
    found = correction()
    ours = (found.undersolvation + found.residual + found.finite_radius) * kt(300.0) / kj_per_mol
    assert ours == pytest.approx(0.5 * 138.935456 * screening * series, rel=1e-6)


def test_the_quadrupole_of_tip3p_and_what_it_shifts():
    # 0.00764 e nm^2 about the oxygen (Rocklin et al. 2013): 2 x 0.417 e x (0.09572 nm)^2.
    angle = math.radians(104.52)
    arms = [[0, 0, 0], [0.09572, 0, 0], [0.09572 * math.cos(angle), 0.09572 * math.sin(angle), 0]]
    trace = quadrupole_trace([-0.834, 0.417, 0.417], np.array(arms) * nanometer)
    assert trace / nanometer**2 == pytest.approx(0.00764, abs=1e-5)
    shift = correction(quadrupole=trace).discrete_solvent * KCAL
    # -(1/(6 eps0)) g q N/V with 1/(4 pi eps0) = 332.0637 kcal A/mol/e^2.
    assert shift == pytest.approx(-4 * math.pi * 332.0637 / 6 * 0.764147 * 450 / 24.0**3, rel=1e-4)


def test_a_receptor_counts_by_its_charge_and_its_part_of_the_residual_is_named():
    alone, beside = correction(), correction(receptor_charge=-1.0)
    # (P + Q)^2 - P^2 changes its sign from +1 to -1 for P = -1, Q = 1.
    assert beside.periodicity == pytest.approx(-alone.periodicity)
    assert beside.residual == pytest.approx(0.0)
    assert not alone.receptor_left_out
    assert net_charge_verdict(1, periodic=True, correction=alone).level == "PASS"
    judged = net_charge_verdict(1, periodic=True, correction=beside)
    assert judged.level == "WARN"
    assert "Poisson-Boltzmann" in judged.reasons[0]


def test_the_correction_shrinks_with_the_box():
    sizes = [abs(correction(edge, quadrupole=0.0).total) for edge in (2.4, 3.6, 7.2)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_a_charged_ligand_with_nothing_done_about_it_fails():
    judged = net_charge_verdict(-2, periodic=True)
    assert judged.level == "FAIL"
    assert "-2" in judged.reasons[0]
    assert "counter-ion" in judged.reasons[0]
    for fine in (
        net_charge_verdict(0, periodic=True),
        net_charge_verdict(1, periodic=False),
        net_charge_verdict(1, periodic=True, counter_ions=True),
    ):
        assert fine.level == "PASS"


def test_the_charge_of_a_ligand_is_a_whole_number():
    atoms = MolecularSystem.from_atoms([6, 8, 1], np.eye(3) * angstrom, [0.3, -0.9, -0.398])
    assert ligand_charge(atoms, [0, 1, 2]) == -1
    with pytest.raises(InputError, match="add up to -0.6"):
        ligand_charge(atoms, [0, 1])


@pytest.mark.parametrize("change", [{"radius": -1.0}, {"permittivity": 0.5}, {"n_waters": -1}])
def test_no_solvent_at_all_is_refused(change):
    with pytest.raises(InputError, match="no solvent"):
        correction(**change)


@pytest.mark.parametrize("change", [{"temperature_k": 0.0}, {"charge": np.nan}, {"quadrupole": np.inf}])
def test_what_is_no_number_is_refused(change):
    with pytest.raises(InputError, match=r"temperature|is nan|is inf"):
        correction(**change)


def test_a_flat_box_is_refused():
    with pytest.raises(InputError, match="no volume"):
        self_potential(np.diag([1.0, 1.0, 0.0]))
