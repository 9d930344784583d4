"""From labels to a potential to a free energy, where the answer is known: the truth is a force field.

A second force field labels geometries, a potential learns them, and switching from MM to the potential has to
give what switching from MM to the second force field itself gives.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openmm
import pytest
from openmm import unit

from drupe.freeenergy.estimation.estimators import bar
from drupe.freeenergy.simulation.sampling import SampleSpec, sample
from drupe.freeenergy.switches.end_states import between
from drupe.freeenergy.switches.switching import SwitchSpec, switch
from drupe.freeenergy.switches.work_sets import paired_works
from drupe.mlp import Dataset, FitSpec, train
from drupe.mlp.baseline import LigandForceField
from drupe.units import kj_per_mol, kt, nanometer

sys.path.insert(0, str(Path(__file__).parents[1]))
from learned_molecule import force_field, mixed, molecule

RUNS, SWITCHES, HERE = 3, 15, {"platform": "CPU", "threads": 1}


def truth():
    """Methanol with a barrier of four times the height, softer angles and larger charges."""
    return force_field(barrier=4.0, angle=0.85, charge=1.25)


def sampled(system, seed, frames=10):
    """Frames of three runs, a picosecond's half apart: decorrelated for a molecule of six atoms."""
    found = []
    for run in range(RUNS):
        spec = SampleSpec(step_fs=0.5, n_equilibration=200, n_frames=frames, stride=60, seed=seed + run)
        found.append(sample(system, molecule().positions, spec, **HERE).positions)
    return np.concatenate(found)


def labelled(frames):
    """Energies and forces of the truth, as labels in vacuum (hartree, hartree/bohr)."""
    system, own = truth(), LigandForceField.from_system(force_field(), range(6))
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    made = []
    for place in frames:
        context.setPositions(place / nanometer)
        state = context.getState(energy=True, forces=True)
        forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * kj_per_mol
        made.append(
            SimpleNamespace(
                level="truth",
                energy=energy,
                energy_low=energy,
                forces_qm=np.array(forces) * kj_per_mol / nanometer,
                forces_mm=None,
                qm_numbers=molecule().numbers,
                qm_positions=place,
                qm_fixed_charges=own.charges,
                mm_positions=np.zeros((0, 3)),
                mm_charges=np.zeros(0),
                forces_of="energy_low",
                directions=None,
                slopes=None,
                slope_errors=None,
            )
        )
    return made


def free_energy(system, at_first, at_second):
    """BAR of switches from sampled frames of both ends, none of them twice."""
    sides = []
    for direction, frames in (("forward", at_first), ("reverse", at_second)):
        spec = SwitchSpec(60, 0.5, direction=direction)
        sides.append([switch(system, x, spec, k, **HERE) for k, x in enumerate(frames[::2][:SWITCHES])])
    return bar(*paired_works(*sides), seed=1)


@pytest.mark.slow
def test_switching_to_a_potential_gives_what_switching_to_its_truth_gives():
    first, second = force_field(), truth()
    at_first, at_second = sampled(first, 1), sampled(second, 11)
    # Half of the frames of each end are for labels, the others for starts.
    frames = np.concatenate([at_first[1::2], at_second[1::2]])
    blocks = [k // 5 for k in range(len(frames))]
    data = Dataset.from_labels(labelled(frames), which="low", blocks=blocks, energies="relative")
    spec = FitSpec(members=2, seed=1, steps=300, features=16, batch=10)
    model = train(data, spec, LigandForceField.from_system(first, range(6)))
    at_learned = sampled(mixed(model, interpolate=False), 21)
    learned = free_energy(mixed(model, interpolate=True), at_first, at_learned)
    direct = free_energy(between(first, second), at_first, at_second)
    for found in (learned, direct):
        assert found.verdict.level != "FAIL", str(found.verdict)
        assert found.error < 0.5
    # The potential's energies in OpenMM are counted from its own zero.
    value = learned.value + model.header.energy_zero / kt(300.0)
    assert abs(direct.value) > 0.5
    assert value == pytest.approx(direct.value, abs=4 * float(np.hypot(learned.error, direct.error)))
