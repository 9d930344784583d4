import dataclasses

import numpy as np
import openmm
import pytest

from drupe.embedding import MolecularSystem
from drupe.embedding.structures.structure import cut_out, locate, openmm_system, openmm_topology, read_amber
from drupe.errors import InputError
from drupe.records import pack, unpack
from drupe.units import nanometer


def energies(structure, positions):
    """kJ/mol by kind of force, on the double-precision reference platform."""
    forces = openmm_system(structure)
    for group, force in enumerate(forces.getForces()):
        force.setForceGroup(group)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(forces, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions / nanometer)
    return {
        type(force).__name__: context.getState(energy=True, groups={group}).getPotentialEnergy()._value
        for group, force in enumerate(forces.getForces())
    }


def ligand_atoms(system):
    return [i for i, name in enumerate(system.residue_names) if name == "TMP"]


def test_the_complex_is_read_with_elements_charges_and_bonds(t4l):
    system = t4l.system
    assert system.n_atoms == 2621
    assert np.unique(system.numbers).tolist() == [1, 6, 7, 8, 16]
    # 2e-3: the topology rounds 2,621 charges to about 1e-7 e each, and the total was printed as +8.
    assert system.charges.sum() == pytest.approx(8.0, abs=2e-3)
    assert system.numbers[ligand_atoms(system)].tolist() == [6] * 8 + [1] * 10
    lengths = np.linalg.norm(np.diff(system.positions[system.bonds], axis=1)[:, 0], axis=1)
    assert 1.7 < lengths.min() < lengths.max() < 4.2  # bohr: X-H to S-S
    assert unpack(pack(t4l)).system.key == system.key


def test_a_cut_out_ligand_has_the_energy_of_its_own_topology(t4l, t4l_file):
    ligand = cut_out(t4l, ligand_atoms(t4l.system))
    own = read_amber(t4l_file("ligand.prmtop"), t4l_file("ligand-minimized.crd"))
    ours, theirs = (energies(s, own.system.positions) for s in (ligand, own))
    assert ours.keys() == theirs.keys()
    for kind, energy in theirs.items():
        # 1e-9 relative, but the two topologies print the phase pi with different digits.
        rel = 1e-4 if kind == "PeriodicTorsionForce" else 1e-9
        assert ours[kind] == pytest.approx(energy, rel=rel), kind
    assert ligand.system.bonds.tolist() == own.system.bonds.tolist()


def test_a_cut_respects_the_order_asked_for(t4l):
    atoms = ligand_atoms(t4l.system)
    forward, backward = cut_out(t4l, atoms), cut_out(t4l, atoms[::-1])
    a = energies(forward, forward.system.positions)
    b = energies(backward, backward.system.positions)
    assert b == pytest.approx(a, rel=1e-9)


def test_a_force_without_a_rule_is_refused_by_name(t4l):
    forces = openmm_system(t4l)
    forces.addForce(openmm.CustomExternalForce("x"))
    odd = dataclasses.replace(t4l, openmm_xml=openmm.XmlSerializer.serialize(forces))
    with pytest.raises(InputError, match="CustomExternalForce"):
        cut_out(odd, ligand_atoms(t4l.system))


@pytest.mark.parametrize(
    "poison",
    [
        '<Force type="PythonForce" version="1"/>',
        '<Force type = "PythonForce"/>',
        "<Force type='&#80;ythonForce'/>",
        '<Force type="CustomCVForce"/>',
    ],
)
def test_a_stored_force_field_with_foreign_forces_is_not_loaded(t4l, poison):
    xml = t4l.openmm_xml.replace("</Forces>", poison + "</Forces>")
    with pytest.raises(InputError, match="stored force field"):
        openmm_system(dataclasses.replace(t4l, openmm_xml=xml))


def test_an_entity_in_a_stored_force_field_is_refused(t4l):
    xml = '<!DOCTYPE x [<!ENTITY a "b">]>' + t4l.openmm_xml
    with pytest.raises(InputError, match="not a plain OpenMM System"):
        openmm_system(dataclasses.replace(t4l, openmm_xml=xml))


def test_vacuum_has_no_born_term(t4l_file):
    files = t4l_file("ligand.prmtop"), t4l_file("ligand.crd")
    vacuum = openmm_system(read_amber(*files, implicit_solvent=None))
    assert not any(isinstance(f, openmm.GBSAOBCForce) for f in vacuum.getForces())
    assert vacuum.getNumConstraints() == 0


def test_files_that_do_not_belong_together_are_refused(t4l_file, tmp_path):
    with pytest.raises(InputError, match="18 atoms"):
        read_amber(t4l_file("complex.prmtop"), t4l_file("ligand.crd"))
    with pytest.raises(InputError, match="there is no file"):
        read_amber(tmp_path / "none.prmtop", t4l_file("ligand.crd"))
    cut = tmp_path / "cut.prmtop"
    cut.write_text(t4l_file("ligand.prmtop").read_text()[:4000])
    with pytest.raises(InputError, match=r"cut\.prmtop cannot be read"):
        read_amber(cut, t4l_file("ligand.crd"))
    with pytest.raises(InputError, match="OBC7"):
        read_amber(t4l_file("ligand.prmtop"), t4l_file("ligand.crd"), implicit_solvent="OBC7")


def test_a_wrong_coordinate_is_refused_with_its_atom(t4l_file, tmp_path):
    text = t4l_file("ligand.crd").read_text().split("\n")
    text[2] = "         nan" + text[2][12:]
    bad = tmp_path / "bad.crd"
    bad.write_text("\n".join(text))
    with pytest.raises(InputError, match=r"atom 0 \(C1 of TMP 1\) is not finite|cannot be read"):
        read_amber(t4l_file("ligand.prmtop"), bad)


def test_an_element_that_does_not_fit_its_mass_is_refused(t4l_file, tmp_path):
    lines = t4l_file("ligand.prmtop").read_text().split("\n")
    first = next(i for i, line in enumerate(lines) if line.startswith("%FLAG ATOM_NAME"))
    # Without atomic numbers the name decides: an atom called CA is read as calcium.
    assert not any("ATOMIC_NUMBER" in line for line in lines)
    lines[first + 2] = "CL1 " + lines[first + 2][4:]
    bad = tmp_path / "bad.prmtop"
    bad.write_text("\n".join(lines))
    with pytest.raises(InputError, match="its mass is 12.01"):
        read_amber(bad, t4l_file("ligand.crd"), implicit_solvent=None)


def test_the_topology_keeps_chains_residues_and_bonds(t4l):
    topology = openmm_topology(t4l.system)
    assert topology.getNumAtoms() == 2621
    assert topology.getNumResidues() == 163
    assert topology.getNumBonds() == len(t4l.system.bonds)
    assert [r.name for r in topology.residues()][-1] == "TMP"


def test_from_amber_is_the_structure_without_forces(t4l, t4l_file):
    read = MolecularSystem.from_amber(t4l_file("complex.prmtop"), str(t4l_file("complex-minimized.crd")))
    assert read.key == t4l.system.key


def test_files_are_located_in_packages_and_beside_the_configuration(t4l_file, tmp_path):
    (tmp_path / "here.crd").write_text("x")
    assert locate("here.crd", tmp_path) == tmp_path / "here.crd"
    for path, found in {
        "package:openmmtools/data/none.prmtop": "there is no file",
        "package:openmmtools/../openmm/version.py": "does not stay inside",
        "package:no_such_package/x": "not installed",
        "none.crd": "there is no file",
    }.items():
        with pytest.raises(InputError, match=found):
            locate(path, tmp_path)
