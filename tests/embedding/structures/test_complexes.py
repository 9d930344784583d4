"""A protein from a PDB file and a ligand from an SDF file, with GAFF2 by AmberTools."""

import shutil
import subprocess

import numpy as np
import openmm
import pytest
from openmm import app, unit
from rdkit import Chem
from rdkit.Chem import AllChem

from drupe.embedding.structures import gaff
from drupe.embedding.structures.complexes import read_complex
from drupe.embedding.structures.ligand import read_ligand
from drupe.embedding.structures.structure import (
    cut_out,
    locate,
    openmm_system,
    openmm_topology,
    read_amber,
    read_structure,
)
from drupe.errors import InputError, MachineError
from drupe.units import nanometer

try:
    gaff.find_programs()
    have_amber = True
except MachineError:
    have_amber = False
needs_amber = pytest.mark.skipif(not have_amber, reason="AmberTools (drupe[amber]) is not installed")


def embedded(smiles, seed=7):
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=seed)
    return molecule


def write_sdf(path, *molecules):
    with Chem.SDWriter(str(path)) as writer:
        for molecule in molecules:
            writer.write(molecule)
    return path


@pytest.fixture(scope="module")
def phenol(tmp_path_factory):
    """Phenol, 8 A away from the peptide along z."""
    molecule = embedded("Oc1ccccc1")
    positions = molecule.GetConformer().GetPositions() + np.array([4.0, 5.0, 8.0])
    for k, point in enumerate(positions):
        molecule.GetConformer().SetAtomPosition(k, point.tolist())
    return write_sdf(tmp_path_factory.mktemp("sdf") / "phenol.sdf", molecule)


@pytest.fixture(scope="module")
def peptide(tmp_path_factory):
    """ACE-ALA-NME with all its atoms, as a PDB file."""
    from pathlib import Path

    base = "package:openmmtools/data/alanine-dipeptide-gbsa/alanine-dipeptide."
    read = read_amber(locate(base + "prmtop", Path()), locate(base + "crd", Path()), implicit_solvent=None)
    path = tmp_path_factory.mktemp("pdb") / "peptide.pdb"
    with path.open("w") as file:
        positions = read.system.positions / nanometer * unit.nanometer
        app.PDBFile.writeFile(openmm_topology(read.system), positions, file)
    return path


def energies(structure):
    forces = openmm_system(structure)
    for group, force in enumerate(forces.getForces()):
        force.setForceGroup(group)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(forces, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(structure.system.positions / nanometer)
    return {
        type(force).__name__: context.getState(energy=True, groups={group}).getPotentialEnergy()._value
        for group, force in enumerate(forces.getForces())
    }


def by_tleap(peptide, phenol, folder):
    """The same complex, built by AmberTools alone."""
    programs = gaff.find_programs()
    shutil.copy(phenol, folder / "ligand.sdf")
    (folder / "protein.pdb").write_text(
        "".join(line for line in peptide.read_text().splitlines(True) if not line.startswith("CONECT"))
    )
    (folder / "leap.in").write_text(
        "source leaprc.protein.ff14SB\nsource leaprc.gaff2\nloadamberparams l.frcmod\nLIG = loadmol2 l.mol2\n"
        "set default PBRadii mbondi2\nP = loadpdb protein.pdb\nC = combine {P LIG}\n"
        "saveamberparm C c.prmtop c.inpcrd\nquit\n"
    )
    for command in (
        [
            programs["antechamber"],
            *["-i", "ligand.sdf", "-fi", "sdf", "-o", "l.mol2", "-fo", "mol2"],
            *["-c", "bcc", "-at", "gaff2", "-rn", "LIG"],
        ],
        [programs["parmchk2"], "-i", "l.mol2", "-f", "mol2", "-s", "gaff2", "-o", "l.frcmod"],
        [programs["tleap"], "-f", "leap.in"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return read_amber(folder / "c.prmtop", folder / "c.inpcrd", implicit_solvent="OBC2")


def names(system):
    return list(zip(system.residue_names, system.atom_names, strict=True))


@needs_amber
@pytest.mark.slow
def test_a_complex_has_the_energies_that_amber_gives_it(peptide, phenol, tmp_path):
    ours = read_complex(peptide, phenol, solvent="OBC2")
    theirs = by_tleap(peptide, phenol, tmp_path)
    place = {name: k for k, name in enumerate(names(theirs.system))}
    order = [place[name] for name in names(ours.system)]
    # Theirs at our coordinates: tleap has an order of its own.
    theirs = cut_out(theirs, order)
    assert theirs.system.numbers.tolist() == ours.system.numbers.tolist()
    assert theirs.system.charges == pytest.approx(ours.system.charges, abs=2e-6)
    at_ours = type(theirs)(
        theirs.system.with_positions(ours.system.positions), theirs.openmm_xml, theirs.implicit_solvent
    )
    mine, amber = energies(ours), energies(at_ours)
    assert mine.keys() >= amber.keys()
    for kind, energy in amber.items():
        # 1e-4: the files print charges, 1-4 factors, screening factors and pi with different digits.
        assert mine[kind] == pytest.approx(energy, rel=1e-4), kind
    assert read_structure(peptide, ligand=phenol, implicit_solvent="OBC2").system.key == ours.system.key


@needs_amber
@pytest.mark.slow
def test_a_ligand_keeps_its_own_energies_inside_a_box_of_water(peptide, phenol):
    boxed = read_complex(peptide, phenol, solvent="box", padding_nm=0.8)
    system = boxed.system
    ligand = [k for k, name in enumerate(system.residue_names) if name == "LIG"]
    waters = sum(name == "HOH" for name in system.residue_names)
    assert len(ligand) == 13
    assert waters % 3 == 0
    assert waters > 600
    assert system.box is not None
    assert openmm_system(boxed).getNumConstraints() == 0
    alone = gaff.parametrise(read_ligand(phenol))
    assert system.positions[ligand] == pytest.approx(alone.system.positions, abs=1e-6)
    assert system.charges[ligand] == pytest.approx(alone.system.charges, abs=1e-12)
    vacuum = cut_out(read_complex(peptide, phenol), range(22, 35))
    assert energies(vacuum) == pytest.approx({k: energies(alone)[k] for k in energies(vacuum)}, rel=1e-6)


@needs_amber
def test_missing_terms_are_refused_not_ignored(tmp_path):
    odd = tmp_path / "odd.frcmod"
    odd.write_text("BOND\nx -y    0.00   0.000       ATTN, need revision\n")
    with pytest.raises(InputError, match="no parameters for 1 terms of the ligand: x -y"):
        gaff._refuse_missing(odd)
    boron = write_sdf(tmp_path / "boron.sdf", embedded("OB(O)c1ccccc1"))
    with pytest.raises(InputError, match=r"refused the ligand|no parameters for"):
        gaff.parametrise(read_ligand(boron))


def test_without_ambertools_the_extra_is_named(monkeypatch, phenol):
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(MachineError, match=r"antechamber, parmchk2, tleap is not installed") as caught:
        gaff.parametrise(read_ligand(phenol))
    assert "pip install 'drupe[amber]'" in caught.value.remedy


def test_a_good_ligand_is_read_with_its_stereochemistry(tmp_path):
    path = write_sdf(tmp_path / "a.sdf", embedded("C[C@H](O)C(=O)[O-]"))
    molecule = read_ligand(path)
    assert Chem.GetFormalCharge(molecule) == -1
    assert Chem.FindMolChiralCenters(molecule) == [(1, "S")] or Chem.FindMolChiralCenters(molecule)[0][0] == 1


def flat(smiles):
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.Compute2DCoords(molecule)
    return molecule


def moved(molecule, factor):
    copy = Chem.Mol(molecule)
    for k, point in enumerate(copy.GetConformer().GetPositions()):
        copy.GetConformer().SetAtomPosition(k, (factor * point).tolist())
    return copy


@pytest.mark.parametrize(
    ("molecules", "says"),
    [
        (lambda: [Chem.RemoveHs(embedded("CCO"))], r"lacks 6 hydrogens, on atom 0 \(C\)"),
        (lambda: [flat("CCO")], "flat drawing"),
        (lambda: [flat("c1ccccc1")], "flat drawing"),
        (lambda: [embedded("CCO"), embedded("CCO", seed=8)], "2 conformers of one molecule"),
        (lambda: [embedded("CCO"), embedded("CCN")], "2 different molecules"),
        (lambda: [embedded("CCO.O")], "2 molecules in one record"),
        (lambda: [embedded("C[CH]C")], r"unpaired electrons on atom 1 \(C\)"),
        (lambda: [moved(embedded("CCO"), 2.0)], "A long"),
    ],
)
def test_a_bad_ligand_is_refused_by_name(tmp_path, molecules, says):
    path = write_sdf(tmp_path / "bad.sdf", *molecules())
    with pytest.raises(InputError, match=says) as caught:
        read_ligand(path)
    assert "bad.sdf" in str(caught.value)


def test_a_flat_stereocentre_is_refused(tmp_path):
    molecule = embedded("C[C@H](O)F")
    points = molecule.GetConformer()
    centre = points.GetPositions()[1]
    around = [a.GetIdx() for a in molecule.GetAtomWithIdx(1).GetNeighbors()]
    for k, atom in enumerate(around):  # four neighbours in one plane
        angle = np.pi / 2 * k
        points.SetAtomPosition(atom, (centre + 1.3 * np.array([np.cos(angle), np.sin(angle), 0.0])).tolist())
    molecule = Chem.RWMol(molecule)
    editable = [a.GetIdx() for a in molecule.GetAtoms() if a.GetIdx() not in [1, *around]]
    for atom in editable:  # whatever else there is keeps its bond length
        neighbour = molecule.GetAtomWithIdx(atom).GetNeighbors()[0].GetIdx()
        here = points.GetPositions()[neighbour]
        offset = np.array([0.5, 0.5, 0.75 if atom % 2 else -0.75])
        molecule.GetConformer().SetAtomPosition(
            atom, (here + 1.05 * offset / np.linalg.norm(offset)).tolist()
        )
    path = write_sdf(tmp_path / "bad.sdf", molecule)
    with pytest.raises(InputError, match=r"stereochemistry of atom 1 \(C\) open|A long"):
        read_ligand(path)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda t: t.replace("  9  8  0", " xx  8  0"), "record 1 of 1 cannot be read"),
        (lambda t: t[: len(t) // 3], "cannot be read"),
        (lambda t: "", "is empty"),
        (lambda t: "\x00\x01\x02" + t, "is not text"),
        (lambda t: t.replace(" H  ", " C  ", 1).replace("M  END", "M  END"), "lacks|A long"),
    ],
)
def test_a_damaged_sdf_is_refused(tmp_path, edit, says):
    path = write_sdf(tmp_path / "bad.sdf", embedded("CCO"))
    path.write_text(edit(path.read_text()))
    with pytest.raises(InputError, match=says):
        read_ligand(path)


def test_a_carbon_with_five_bonds_is_refused(tmp_path):
    molecule = Chem.RWMol(embedded("C"))
    extra = molecule.AddAtom(Chem.Atom(1))
    molecule.AddBond(0, extra, Chem.BondType.SINGLE)
    molecule.GetConformer().SetAtomPosition(extra, [0.9, 0.6, 0.0])
    path = write_sdf(tmp_path / "bad.sdf", molecule)
    with pytest.raises(InputError, match=r"valence for atom # 0 C, 5"):
        read_ligand(path)


def test_a_foreign_residue_in_the_protein_points_to_the_sdf(peptide, phenol, tmp_path):
    path = tmp_path / "odd.pdb"
    path.write_text(peptide.read_text().replace("END\n", "") + (
        "HETATM   99  C1  XYZ B   1      20.000  20.000  20.000  1.00  0.00           C  \nEND\n"
    ))  # fmt: skip
    with pytest.raises(InputError, match="No template found for residue") as caught:
        read_complex(path, phenol)
    assert "SDF" in caught.value.remedy


def test_a_ligand_on_top_of_the_protein_is_refused(peptide, tmp_path):
    molecule = embedded("O")
    first = np.array(app.PDBFile(str(peptide)).getPositions()[4].value_in_unit(unit.angstrom))
    shift = first - molecule.GetConformer().GetPositions()[0] + 0.1
    for k, point in enumerate(molecule.GetConformer().GetPositions()):
        molecule.GetConformer().SetAtomPosition(k, (point + shift).tolist())
    with pytest.raises(InputError, match=r"atom 0 of the ligand is 0\.17 A from C of ACE 1"):
        read_complex(peptide, write_sdf(tmp_path / "w.sdf", molecule))
