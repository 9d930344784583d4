"""Mass moved onto hydrogens: as OpenMM itself does it, water apart."""

from importlib.resources import files

import numpy as np
import openmm
import pytest
from openmm import app, unit

from drupe.embedding.structures.amber import read_amber
from drupe.embedding.structures.masses import with_hydrogen_mass
from drupe.embedding.structures.structure import openmm_system
from drupe.errors import InputError

DATA = files("openmmtools") / "data"


def masses(system):
    return np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])


def test_without_water_masses_are_those_of_openmm():
    folder = DATA / "T4-lysozyme-L99A-implicit"
    paths = folder / "complex.prmtop", folder / "complex-minimized.crd"
    plain = read_amber(*paths)
    heavy = with_hydrogen_mass(plain, 3.0)
    theirs = app.AmberPrmtopFile(str(paths[0])).createSystem(hydrogenMass=3.0 * unit.dalton)
    np.testing.assert_allclose(masses(openmm_system(heavy)), masses(theirs), atol=1e-9)
    assert heavy.implicit_solvent == "OBC2"
    before, after = (openmm_system(one) for one in (plain, heavy))
    assert masses(after).sum() == pytest.approx(masses(before).sum(), abs=1e-6)
    assert [openmm.XmlSerializer.serialize(f) for f in before.getForces()] == [
        openmm.XmlSerializer.serialize(f) for f in after.getForces()
    ]


def test_water_keeps_its_masses():
    folder = DATA / "cb7-b2"
    paths = folder / "complex-explicit.prmtop", folder / "complex-explicit.inpcrd"
    plain = read_amber(*paths, implicit_solvent=None)
    heavy = with_hydrogen_mass(plain, 3.0)
    names = np.array(plain.system.residue_names)
    hydrogens = plain.system.numbers == 1
    found, before = masses(openmm_system(heavy)), masses(openmm_system(plain))
    np.testing.assert_array_equal(found[names == "HOH"], before[names == "HOH"])
    np.testing.assert_allclose(found[hydrogens & (names != "HOH")], 3.0)


def test_a_mass_that_leaves_nothing_to_the_heavy_atom_is_refused():
    folder = DATA / "T4-lysozyme-L99A-implicit"
    plain = read_amber(folder / "ligand.prmtop", folder / "ligand.crd")
    with pytest.raises(InputError, match=r"C4 of TMP 1\) a mass of -1.47"):
        with_hydrogen_mass(plain, 5.5)
