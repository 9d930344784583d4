"""A restraint across the boundary of a box, the cycle it closes, and a bound pair from end to end."""

import math
import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
from scipy.integrate import quad

from drupe.embedding.structures.structure import Structure
from drupe.embedding.system import MolecularSystem
from drupe.freeenergy.alchemical.alchemy import Schedule, run_window
from drupe.freeenergy.alchemical.anchors import boresch_coordinates
from drupe.freeenergy.alchemical.restraints import (
    BoreschRestraint,
    choose,
    release_free_energy,
    restraint_force,
)
from drupe.freeenergy.estimation.chain import mbar, uncorrelated
from drupe.freeenergy.simulation.dynamics import advance, langevin_context, potential_kt
from drupe.freeenergy.simulation.sampling import SampleSpec
from drupe.units import angstrom, kcal_per_mol, kj_per_mol, kt, nanometer, standard_volume_nm3

sys.path.insert(0, str(Path(__file__).parents[1]))
from bound_pair import bound_pair

TEMPERATURE = 300.0
KT = kt(TEMPERATURE) / kj_per_mol
BOX = np.array([[2.4, 0, 0], [0.7, 2.3, 0], [-0.6, 0.8, 2.2]])  # nm
RESTRAINT = BoreschRestraint(
    np.array([2, 1, 0]), np.array([3, 4, 5]), 5.0 * angstrom, np.array([1.4, 1.8]),
    np.array([0.3, 3.0, -2.0]),
    5.0 * kcal_per_mol / angstrom**2, np.full(2, 40.0) * kcal_per_mol, np.full(3, 30.0) * kcal_per_mol,
)  # fmt: skip
STRENGTHS = np.array(
    [
        1.0,
        0.62,
        0.4,
        0.25,
        0.16,
        0.1,
        0.07,
        0.053,
        0.04,
        0.031,
        0.024,
        0.018,
        0.013,
        0.008,
        0.004,
        0.0015,
        0.0,
    ]
)


def six_points():
    """Anchors in the order of the restraint (R3, R2, R1, L1, L2, L3 are 0, 1, 2, 3, 4, 5), nm."""
    chain = np.array([[0.0, 0, 0], [0.15, 0.02, 0], [0.2, 0.15, 0.03]])
    return np.concatenate([chain, chain[::-1] * [1, -1, 1] + [0.35, 0.45, 0.3]])


def two_chains(periodic, arm=0.15):
    """Two bent chains of three atoms that see each other through the restraint only."""
    system, bonds, angles = openmm.System(), openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for _ in range(6):
        system.addParticle(12.0)
    for first in (0, 3):
        for i, j in ((0, 1), (1, 2)):
            bonds.addBond(first + i, first + j, arm, 2e4)
        angles.addAngle(first, first + 1, first + 2, 1.9, 400.0)
    system.addForce(bonds)
    system.addForce(angles)
    held = restraint_force(RESTRAINT, periodic=periodic)
    held.setForceGroup(1)
    system.addForce(held)
    system.setDefaultPeriodicBoxVectors(*BOX)
    return system


def context_of(system, x, seed=1, step_fs=2.0):
    return langevin_context(
        system, x * nanometer, temperature_k=TEMPERATURE, step_fs=step_fs, friction_per_ps=2.0, seed=seed,
        platform="Reference",
    )  # fmt: skip


def test_a_restraint_holds_the_nearest_image_wherever_the_box_puts_its_anchors():
    x = six_points()
    context = context_of(two_chains(periodic=True), x)
    plain = context_of(two_chains(periodic=False), x)
    want = potential_kt(plain, TEMPERATURE, frozenset({1}))
    assert want > 1.0
    pulled = plain.getState(forces=True, groups={1}).getForces(asNumpy=True)._value
    for shift in ([0, 0, 0], [1, 0, 0], [0, -2, 1], [-1, 1, 3]):
        for moved in ([3, 4, 5], [4], range(6)):  # the ligand, a torn ligand, everything
            there = x.copy()
            there[list(moved)] += np.array(shift) @ BOX
            context.setPositions(there)
            assert potential_kt(context, TEMPERATURE, frozenset({1})) == pytest.approx(want, rel=1e-9)
            found = context.getState(forces=True, groups={1}).getForces(asNumpy=True)._value
            assert found == pytest.approx(pulled, rel=1e-6, abs=1e-6)
    there = x.copy()
    there[3:] += BOX[0]
    plain.setPositions(there)
    assert potential_kt(plain, TEMPERATURE, frozenset({1})) > want + 1000  # what images are needed for


def test_a_box_changes_nothing_where_no_image_is_nearer():
    x = six_points() + 10.0
    energies = []
    for periodic in (True, False):
        context = context_of(two_chains(periodic), x)
        energies.append(potential_kt(context, TEMPERATURE))
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)


def test_the_choice_of_anchors_does_not_depend_on_how_frames_are_wrapped():
    rng = np.random.default_rng(5)
    chain = np.array([[n * 1.3, (n % 2) * 0.8, 0.04 * n] for n in range(4)])
    far = (chain + np.array([1.0, 0.0, 5.0])) @ np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1.0]])
    x = np.concatenate([chain, far]) * angstrom
    bonds = np.array([(0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (6, 7)])
    frames = x + rng.normal(scale=0.1 * angstrom, size=(60, 8, 3))
    # A barostat changes the box from frame to frame, and moves whole molecules to other images.
    boxes = BOX * nanometer * rng.uniform(0.98, 1.02, size=(60, 1, 1))
    images = rng.integers(-2, 3, size=(60, 2, 3))
    wrapped = frames + np.einsum("fmk,fkx->fmx", images, boxes)[:, [0] * 4 + [1] * 4]
    system = MolecularSystem.from_atoms(np.full(8, 6), x, bonds=bonds).with_box(boxes[0])
    structure = Structure(system, "", None)
    plain = choose(structure, [4, 5, 6, 7], frames, TEMPERATURE)
    found = choose(structure, [4, 5, 6, 7], wrapped, TEMPERATURE, boxes=boxes)
    assert found.anchors == plain.anchors
    assert found.distance == pytest.approx(plain.distance, rel=1e-9)
    assert found.k_dihedrals == pytest.approx(plain.k_dihedrals, rel=1e-6)
    assert found.dihedrals == pytest.approx(plain.dihedrals, abs=1e-9)


@pytest.mark.slow
def test_releasing_the_restraint_by_simulation_closes_with_the_integral():
    # A ligand that sees nothing, in a soft sphere of volume V: the simulated release ends in V, the integral
    # in the standard volume, so they differ by -ln(V / V0). Long arms and heavy atoms keep the dynamics true
    # near lines, where a dihedral pulls without bound. `benchmarks/exact_seeds.py` does it for twenty seeds.
    radius, wall = 1.2, 500.0
    sphere = openmm.CustomBondForce(f"{wall / 2} * max(0, r - {radius})^2")
    sphere.addBond(2, 3, [])
    system = two_chains(periodic=False, arm=0.3)
    system.addForce(sphere)
    columns, counts = [], []
    for index, strength in enumerate(STRENGTHS):
        context = context_of(system, 2 * six_points(), seed=index + 500)
        openmm.LocalEnergyMinimizer.minimize(context)
        context.setVelocitiesToTemperature(TEMPERATURE, index + 500)
        context.setParameter("lambda_restraint", strength)
        advance(context, 3000, TEMPERATURE)
        rows = []
        for _ in range(500):
            advance(context, 160, TEMPERATURE, watch_heat=False)
            context.setParameter("lambda_restraint", 1.0)
            full = potential_kt(context, TEMPERATURE, frozenset({1}))
            context.setParameter("lambda_restraint", strength)
            rows.append(STRENGTHS * full)
        u = np.array(rows).T
        kept = u[:, uncorrelated(u, index)]
        columns.append(kept)
        counts.append(kept.shape[1])
    got = mbar(np.concatenate(columns, axis=1), counts)

    def weight(r):
        return 4 * math.pi * r * r * math.exp(-0.5 * wall * max(0.0, r - radius) ** 2 / KT)

    volume = quad(weight, 0.0, 2 * radius, points=[radius])[0]
    want = release_free_energy(RESTRAINT, TEMPERATURE).numerical - math.log(volume / standard_volume_nm3)
    assert got.errors[-1] < 0.2
    assert got.values[-1] == pytest.approx(want, abs=2 * got.errors[-1])
    at_rest = boresch_coordinates(six_points())
    assert at_rest[0] > 0.3  # the start is no accident of the rest values


@pytest.mark.reference
@pytest.mark.parametrize(
    ("epsilon_kcal", "published", "above_the_sphere", "strengths"),
    [
        (1.0, -1.8172, -0.017, (1.0, 0.4, 0.1, 0.0)),
        (5.0, -3.2396, -1.439, (1.0, 0.7, 0.45, 0.25, 0.1, 0.0)),
        (10.0, -7.9268, -6.127, (1.0, 0.8, 0.6, 0.45, 0.33, 0.22, 0.1, 0.0)),
    ],
)
def test_a_pair_of_atoms_binds_with_its_exact_free_energy(
    epsilon_kcal, published, above_the_sphere, strengths
):
    # openmmtools' LennardJonesPair (sigma 3.35 A) at 300 K: -RT ln of the integral of exp(-u/kT) over
    # r < 6 sigma in standard volumes. The pair is decoupled by simulation while a harmonic bond holds it;
    # what the bond does at either end is an integral.
    sigma, epsilon, k, rest = 0.335, epsilon_kcal * 4.184, 400.0, 0.376
    reach = 6 * sigma

    def integral(lj, bond, end):
        def weight(r):
            pair = 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)
            return 4 * math.pi * r * r * math.exp(-(0.5 * bond * (r - rest) ** 2 + lj * pair) / KT)

        return quad(weight, 0.2 if lj else 0.0, end, points=[rest], limit=400)[0]

    structure = bound_pair(sigma, epsilon, rest, k)
    schedule = Schedule((0,) * len(strengths), (0,) * len(strengths), strengths)
    columns, counts = [], []
    for index in range(len(strengths)):
        spec = SampleSpec(
            TEMPERATURE, step_fs=8.0, friction_per_ps=2.0, n_equilibration=200, n_frames=60, stride=50,
            seed=index,
        )  # fmt: skip
        start = structure.system.positions
        found = run_window(structure, [1], schedule, index, None, spec, start, platform="CPU", threads=1)
        kept = found.u[:, uncorrelated(found.u, index)]
        columns.append(kept)
        counts.append(kept.shape[1])
    got = mbar(np.concatenate(columns, axis=1), counts)
    held, free = integral(1.0, k, reach), integral(0.0, k, 5.0)
    # dG = -[decoupling] - ln(held without the pair / V0) - ln(whole site / held with the pair)
    binding = (
        -got.values[-1] - math.log(free / standard_volume_nm3) - math.log(integral(1.0, 0.0, reach) / held)
    )
    to_kcal = kt(TEMPERATURE) / kcal_per_mol
    assert got.errors[-1] * to_kcal < 0.15
    # 3 standard errors, and the last digit of the reference.
    assert binding * to_kcal == pytest.approx(published, abs=3 * got.errors[-1] * to_kcal + 1e-4)
    # Most of that is the size of the site.
    site = math.log(4 / 3 * math.pi * reach**3 / standard_volume_nm3)
    assert (binding + site) * to_kcal == pytest.approx(
        above_the_sphere, abs=3 * got.errors[-1] * to_kcal + 1e-3
    )
