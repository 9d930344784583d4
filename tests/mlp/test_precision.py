"""A network in single precision: the same potential to rounding; the terms under it stay in double."""

import dataclasses
import pickle
import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from openmm import unit
from openmmml import MLPotential

from drupe.errors import InputError
from drupe.mlp import Committee, passes
from drupe.mlp.force import LearnedForce, learned_forces
from drupe.mlp.potential import Potential
from drupe.units import nanometer

sys.path.insert(0, str(Path(__file__).parents[1] / "freeenergy"))
from learned_molecule import committee, force_field, molecule


def of_kind(model, **changes):
    """Random weights, none of them zero."""
    header = dataclasses.replace(model.header, **changes)
    made = []
    for seed in range(2):
        one, draw = Potential(header, seed=seed), torch.Generator().manual_seed(seed)
        for weight in one.readout.parameters():
            if not weight.any():
                torch.nn.init.normal_(weight, std=0.3, generator=draw)
        made.append(one.stored())
    return Committee(tuple(made))


@pytest.mark.parametrize(
    "backbone",
    ["painn", "tensornet", "acsf", pytest.param("equivariant", marks=pytest.mark.needs("e3nn"))],
)
@pytest.mark.parametrize("readout", ["classical", "vqc"])
def test_energies_and_forces_are_those_of_double_precision_to_rounding(
    random_committee, scene, backbone, readout
):
    model = of_kind(random_committee, backbone=backbone, readout=readout, settings=None)
    exact = model.evaluate(*scene, fixed_coulomb=False)
    rounded = model.evaluate(*scene, fixed_coulomb=False, precision="single")
    off = rounded.energies - exact.energies
    assert off.any()
    assert np.abs(off).max() < 1e-6  # hartree; some 1e-7 of energies of a few tenths
    for name in ("forces_qm", "forces_mm"):
        want = getattr(exact, name)
        assert getattr(rounded, name).dtype == np.float64
        # Some hundred roundings of 6e-8 in a row.
        assert np.abs(getattr(rounded, name) - want).max() < 2e-5 * np.abs(want).max()
    for one, other in zip(rounded.apart()[:2], exact.apart()[:2], strict=True):
        assert np.abs(one - other).max() < 2e-5 * np.abs(other).max()


def test_terms_under_the_network_are_not_rounded(random_committee, scene):
    silent = Committee(tuple(Potential(random_committee.header, seed=seed).stored() for seed in range(2)))
    exact, rounded = (
        silent.evaluate(*scene, fixed_coulomb=True, precision=kind) for kind in ("double", "single")
    )
    # Double precision is 1e-16 of the energies; one rounding to single would be 6e-8.
    assert np.abs(rounded.energies - exact.energies).max() < 1e-12 * np.abs(exact.energies).max()
    assert np.abs(rounded.forces_qm - exact.forces_qm).max() < 1e-12


def test_the_frozen_graph_gives_the_same_bits(random_committee, frames, scene, monkeypatch):
    _, mm, charges = scene
    want = [
        random_committee.evaluate(qm, mm, charges, fixed_coulomb=True, precision="single")
        for qm in frames[:6]
    ]
    monkeypatch.setattr(passes, "_WORTH_IT", 2)
    quick = Committee(random_committee.members)
    for qm, here in zip(frames[:6], want, strict=True):
        made = quick.evaluate(qm, mm, charges, fixed_coulomb=True, precision="single")
        assert np.array_equal(made.energies, here.energies)
        assert np.array_equal(made.forces_qm, here.forces_qm)
    assert quick.network(precision="single").frozen
    assert not quick.network().frozen


def kilojoules(system):
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(molecule().positions / nanometer)
    state = context.getState(energy=True, forces=True)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole), forces


def build(model, way, **options):
    door, found = MLPotential("drupe", model=model, **options), molecule()
    if way == "alone":
        return door.createSystem(found.topology)
    return door.createMixedSystem(
        found.topology, force_field(), list(range(6)), embedding=way, interpolate=way == "electrostatic"
    )


@pytest.mark.filterwarnings("ignore:mechanical embedding")
@pytest.mark.parametrize("way", ["alone", "electrostatic", "mechanical"])
def test_openmm_gets_the_precision_it_was_asked_for(way):
    model = committee()
    exact, plain, rounded = (
        kilojoules(build(model, way, **options))
        for options in ({"precision": "double"}, {}, {"precision": "single"})
    )
    assert plain[0] == exact[0]
    # kJ/mol: 4e-7 hartree, and forces as above.
    assert 0 < abs(rounded[0] - exact[0]) < 1e-3
    assert 0 < np.abs(rounded[1] - exact[1]).max() < 2e-5 * np.abs(exact[1]).max()


def test_the_two_precisions_do_not_answer_for_each_other_and_survive_a_copy():
    model = committee()
    nothing = np.zeros(0)
    double, single = LearnedForce(model, nothing), LearnedForce(model, nothing, precision="single")
    assert double.key != single.key
    assert pickle.loads(pickle.dumps(single)).key == single.key
    system = build(model, "alone", precision="single")
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    assert kilojoules(again)[0] == kilojoules(system)[0]
    ((memory, _),) = learned_forces(again)
    assert memory.precision == "single"


@pytest.mark.parametrize("wrong", ["half", "float32", 1, ["single"]])
def test_an_unknown_precision_is_refused(wrong):
    with pytest.raises(InputError, match="precision is") as refused:
        build(committee(), "alone", precision=wrong)
    assert '"single"' in str(refused.value)
