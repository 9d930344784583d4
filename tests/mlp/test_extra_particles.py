"""Water of four sites around a learned molecule: charges without mass, whose forces OpenMM spreads."""

import numpy as np
import openmm
import pytest
import torch
from openmm import unit
from openmmml import MLPotential

from drupe.mlp.baseline_energy import BaselineEnergy
from drupe.units import kj_per_mol, nanometer

ATOMS = list(range(13))
REACH = 12.0  # bohr


def context_of(system, positions):
    made = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    made.setPositions(positions / nanometer)
    made.computeVirtualSites()
    return made


def energy_of(context):
    found = context.getState(energy=True).getPotentialEnergy()
    return found.value_in_unit(unit.kilojoule_per_mole) * kj_per_mol


@pytest.mark.parametrize("embedding", ["electrostatic", "mechanical"])
def test_energy_and_forces_are_those_of_the_formula(four_sites, phenol_committee, embedding):
    deaf = embedding == "mechanical"
    committee = phenol_committee(0.0 if deaf else REACH)
    system, place = four_sites.system, four_sites.positions
    mixed = MLPotential("drupe", model=committee).createMixedSystem
    options = {"embedding": "electrostatic", "removeConstraints": False, "returnInfo": True}
    if deaf:
        with pytest.warns(UserWarning, match="mechanical"):
            made = mixed(four_sites.topology, system, ATOMS, **{**options, "embedding": "mechanical"})
    else:
        made = mixed(four_sites.topology, system, ATOMS, **options)
    assert [a.element for a in made["topology"].atoms()] == [a.element for a in four_sites.topology.atoms()]
    charges = np.array(
        [
            next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
            .getParticleParameters(i)[0]
            .value_in_unit(unit.elementary_charge)
            for i in range(system.getNumParticles())
        ]
    )
    sites = [i for i in range(13, len(charges)) if system.isVirtualSite(i)]
    assert len(sites) > 200
    assert (charges[sites] < -1).all()
    residues = np.array([atom.residue.index for atom in four_sites.topology.atoms()])
    learned = committee.predict(place[ATOMS], place[13:], charges[13:], residues[13:])
    apart = np.linalg.norm(place[ATOMS][:, None] - place[13:], axis=2)
    fixed = float((charges[ATOMS][:, None] * charges[13:] / apart).sum())
    own = float(BaselineEnergy(committee.header.baseline)(torch.tensor(place[ATOMS][None])))
    plain, context = context_of(system, place), context_of(made["system"], place)
    want = energy_of(plain) + learned.energy - fixed - committee.header.energy_zero - own
    # The MM system has no terms for constrained bonds, the model's own MM terms have them.
    field = committee.header.baseline
    held = {frozenset(system.getConstraintParameters(k)[:2]) for k in range(system.getNumConstraints())}
    for (i, j), (length, stiffness) in zip(field.bond_atoms.tolist(), field.bonds, strict=True):
        if frozenset((i, j)) in held:
            want += stiffness / 2 * (np.linalg.norm(place[i] - place[j]) - length) ** 2
    # 2e-6 hartree: OpenMM's Coulomb constant in nine digits over some hartree of Coulomb terms.
    assert energy_of(context) == pytest.approx(want, abs=2e-6)
    if deaf:
        return
    near = 13 + int(np.argmin(np.linalg.norm(place[sites] - place[6], axis=1))) * 4  # the oxygen of its water
    assert system.getParticleMass(near)._value > 15
    forces = [
        np.array(
            one.getState(forces=True)
            .getForces(asNumpy=True)
            .value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        )
        for one in (context, plain)
    ]
    learned_forces = (forces[0] - forces[1])[near] * kj_per_mol / nanometer
    assert np.abs(learned_forces).max() > 1e-5  # it has no charge of its own: all of it comes from its site
    step = 1e-3
    for axis in range(3):
        ends = []
        for sign in (1, -1):
            moved = place.copy()
            moved[near, axis] += sign * step
            found = []
            for one in (context, plain):
                one.setPositions(moved / nanometer)
                one.computeVirtualSites()
                found.append(energy_of(one))
            ends.append(found[0] - found[1])
        assert learned_forces[axis] == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=1e-6)
