"""What createMixedSystem refuses, and two molecules in one System."""

import copy
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit
from openmmml import MLPotential

from drupe.errors import InputError
from drupe.mlp import Committee
from drupe.mlp.monitor import Monitor, MonitorSpec, uncertainty
from drupe.units import nanometer

PDB = Path(__file__).parents[2] / "examples" / "pocket-labels" / "phenol.pdb"
ONE, OTHER = list(range(13)), list(range(13, 26))


@pytest.fixture(scope="module")
def pair():
    """Two phenols 1.2 nm apart: topology and positions."""
    pdb = app.PDBFile(str(PDB))
    made = app.Modeller(pdb.topology, pdb.positions)
    shift = openmm.Vec3(0, 0, 1.2) * unit.nanometer
    made.add(pdb.topology, [place + shift for place in pdb.positions])
    return made.topology, np.array(made.positions.value_in_unit(unit.nanometer)) * nanometer


@pytest.fixture(scope="module")
def committee(phenol_committee):
    return phenol_committee()


@pytest.fixture
def system(pair, phenol_field):
    return phenol_field.createSystem(pair[0], constraints=None)


def mixed(pair, committee, system, atoms, **options):
    given = {"embedding": "electrostatic", **options}
    return MLPotential("drupe", model=committee).createMixedSystem(pair[0], system, atoms, **given)


@pytest.mark.parametrize("interpolate", [False, True])
def test_the_same_atoms_are_not_mixed_twice(pair, committee, system, interpolate):
    made = mixed(pair, committee, system, ONE, interpolate=interpolate)
    with pytest.raises(InputError, match=r"13 of the ML atoms .* already have a learned force"):
        mixed(pair, committee, made, ONE, interpolate=interpolate)
    # A file of it would hold the force too.
    with pytest.raises(InputError, match="already have a learned force"):
        mixed(pair, committee, copy.deepcopy(made), ONE, embedding="mechanical")


def test_two_equal_molecules_have_a_force_and_a_spread_each(pair, committee, system, tmp_path):
    made = mixed(pair, committee, mixed(pair, committee, system, ONE), OTHER)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(pair[0], made, openmm.VerletIntegrator(0.0005), platform)
    place = pair[1].copy()
    place[OTHER] *= 1.001  # so that they differ
    simulation.context.setPositions(place / nanometer)
    charges = committee.header.fixed_charges
    for mine, others in ((ONE, OTHER), (OTHER, ONE)):
        found = uncertainty(simulation, atoms=mine[2:5])
        single = [Committee((m,)).predict(place[mine], place[others], charges) for m in committee.members]
        spread = np.linalg.norm(np.std([one.forces_qm for one in single], axis=0, ddof=1), axis=1)
        assert found.forces == pytest.approx(spread, rel=1e-6)
    monitors = [
        Monitor(tmp_path / str(mine[0]), MonitorSpec(1e2, 1e3, every=5), mine) for mine in (ONE, OTHER)
    ]
    simulation.reporters += monitors
    simulation.step(5)
    assert monitors[0].last.energy != monitors[1].last.energy
    with pytest.raises(InputError, match=r"holds 2 learned forces; all .* \[0, .*\n.*give atoms="):
        uncertainty(simulation)
    with pytest.raises(InputError, match=r"holds 0 learned forces of the atoms \[3, 14\]"):
        uncertainty(simulation, atoms=[3, 14])


def test_unknown_keywords_are_refused_with_the_nearest_name(pair, committee, system):
    for embedding in ("electrostatic", "mechanical"):
        with pytest.raises(InputError, match=r"no keyword 'removeConstraint'\n.*mean 'removeConstraints'\?"):
            mixed(pair, committee, system, ONE, removeConstraint=False, embedding=embedding)
    with pytest.raises(InputError, match="createSystem has no keyword 'removeCMmotion'"):
        MLPotential("drupe", model=committee).createSystem(
            app.PDBFile(str(PDB)).topology, removeCMmotion=False
        )
    with pytest.raises(InputError, match=r"no keyword 'modle'\n.*did you mean 'model'"):
        MLPotential("drupe", modle="ligand.drupe")


def test_a_model_that_is_neither_file_nor_committee_is_refused():
    with pytest.raises(InputError, match="got 5 of type int as its model"):
        MLPotential("drupe", model=5)


def without_bonds(topology, lost):
    made = copy.deepcopy(topology)
    made._bonds = [bond for bond in made.bonds() if not lost(bond.atom1.index, bond.atom2.index)]
    return made


@pytest.mark.parametrize("constraints", [None, app.HBonds])
@pytest.mark.parametrize("embedding", ["electrostatic", "mechanical"])
def test_a_topology_without_the_bonds_of_the_system_is_refused(
    pair, committee, phenol_field, constraints, embedding
):
    system = phenol_field.createSystem(pair[0], constraints=constraints)
    bare = without_bonds(pair[0], lambda i, j: True)
    torsions = next(k for k, f in enumerate(system.getForces()) if isinstance(f, openmm.PeriodicTorsionForce))
    for _ in range(2):
        with pytest.raises(
            InputError,
            match=r"lacks 13 bond\(s\) of the System between ML atoms.*\n.*CONECT.*topology.addBond",
        ):
            mixed((bare, pair[1]), committee, system, ONE, embedding=embedding)
        if embedding == "electrostatic" and system.getNumForces() > torsions:
            system.removeForce(torsions)


def test_one_bond_that_is_missing_is_named(pair, committee, system):
    torn = without_bonds(pair[0], lambda i, j: {i, j} == {0, 1})
    with pytest.raises(InputError, match=r"lacks 1 bond\(s\) .* the first is that of the atoms 0 and 1"):
        mixed((torn, pair[1]), committee, system, ONE)


def test_a_cut_that_only_the_system_knows_is_refused_and_a_restraint_is_none(pair, committee, system):
    restraint = openmm.HarmonicBondForce()
    restraint.addBond(0, 13, 1.2, 100.0)
    system.addForce(restraint)
    mixed(pair, committee, system, ONE)
    nonbonded = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    nonbonded.addException(0, 13, 0.0, 1.0, 0.0)
    with pytest.raises(InputError, match=r"lacks 1 bond\(s\) .* ML and MM atoms, where a molecule is cut"):
        mixed(pair, committee, system, ONE)


def test_urey_bradley_terms_are_no_missing_bonds(pair, committee, system):
    near = {i: set() for i in ONE}
    for bond in pair[0].bonds():
        if bond.atom1.index in near:
            near[bond.atom1.index].add(bond.atom2.index)
            near[bond.atom2.index].add(bond.atom1.index)
    terms = openmm.HarmonicBondForce()
    for around in near.values():
        for i in around:
            for j in around:
                if i < j:
                    terms.addBond(i, j, 0.25, 1000.0)
    assert terms.getNumBonds() > 12
    system.addForce(terms)
    mixed(pair, committee, system, ONE)
