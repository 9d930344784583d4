import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from drupe.errors import InputError
from drupe.mlp.baseline import LigandForceField
from drupe.mlp.baseline_energy import BaselineEnergy
from drupe.units import kj_per_mol, nanometer


def of_openmm(system, positions):
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(positions / nanometer)
    state = context.getState(getEnergy=True, getForces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return energy * kj_per_mol, np.array(forces) * kj_per_mol / nanometer


def test_equals_openmm(ligand, frames):
    evaluated = BaselineEnergy(ligand.force_field)
    place = torch.tensor(np.array(frames[:5]), requires_grad=True)
    energies = evaluated(place)
    (slope,) = torch.autograd.grad(energies.sum(), place)
    energies = energies.detach()
    for i in range(5):
        energy, forces = of_openmm(ligand.system, frames[i])
        # 1e-6: OpenMM's Coulomb constant has nine digits, its Reference platform is double precision.
        assert float(energies[i]) == pytest.approx(energy, rel=1e-6)
        assert -slope[i].numpy() == pytest.approx(forces, rel=1e-6, abs=1e-6 * np.abs(forces).max())


def test_atoms_may_come_in_another_order(ligand, frames):
    order = np.arange(18)[::-1]
    turned = LigandForceField.from_system(ligand.system, order)
    there = BaselineEnergy(turned)(torch.tensor(frames[0][order][None]))
    here = BaselineEnergy(ligand.force_field)(torch.tensor(frames[0][None]))
    assert float(there) == pytest.approx(float(here), abs=1e-14)


def test_refuses_part_of_a_molecule(ligand):
    with pytest.raises(InputError, match="crosses the border"):
        LigandForceField.from_system(ligand.system, range(5))


def test_refuses_constraints_and_unknown_forces(ligand):
    rigid = openmm.XmlSerializer.clone(ligand.system)
    rigid.addConstraint(0, 1, 0.1)
    with pytest.raises(InputError, match="constrained"):
        LigandForceField.from_system(rigid, range(18))
    strange = openmm.XmlSerializer.clone(ligand.system)
    strange.addForce(openmm.CustomBondForce("r"))
    with pytest.raises(InputError, match="CustomBondForce"):
        LigandForceField.from_system(strange, range(18))
