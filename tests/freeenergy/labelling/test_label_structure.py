"""`drupe label` of a complex that is built from a PDB and an SDF file, in a box of water too."""

import json

import numpy as np
import openmm
import pytest
from click.testing import CliRunner
from openmm import app, unit
from rdkit import Chem
from rdkit.Chem import AllChem

from drupe.embedding import Level, Partition, label
from drupe.embedding.structures import complexes, gaff
from drupe.embedding.structures.openmm_objects import read_openmm
from drupe.errors import MachineError
from drupe.freeenergy.cli import main
from drupe.freeenergy.labelling.config import read_label_config
from drupe.freeenergy.labelling.run import prepare_labels
from drupe.store import read_rows
from drupe.units import angstrom, nanometer

try:
    gaff.find_programs()
    have_amber = True
except MachineError:
    have_amber = False

INPUT = """
name = "built"
[structure]
topology = "protein.pdb"
ligand = "ligand.sdf"
solvent = "box"
ph = 6.5
padding = "9 A"
[partition]
qm = "resname LIG"
charge = 0
[level]
functional = "HF"
basis = "sto-3g"
environment = "cluster"
cluster_radius = "6 A"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "protein.pdb").write_text("END\n")
    (tmp_path / "ligand.sdf").write_text("ligand\n")
    (tmp_path / "in.toml").write_text(INPUT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small_box():
    """Two waters, one called LIG, in a box of 2 nm, with another position of a hydrogen each time."""
    topology = app.Topology()
    chain = topology.addChain()
    forces, pairs = openmm.System(), openmm.NonbondedForce()
    pairs.setNonbondedMethod(openmm.NonbondedForce.PME)
    pairs.setCutoffDistance(0.9)
    for name in ("LIG", "HOH"):
        residue = topology.addResidue(name, chain)
        oxygen, *hydrogens = (
            topology.addAtom(atom, app.Element.getBySymbol(atom[0]), residue) for atom in ("O", "H1", "H2")
        )
        for atom, charge in zip((oxygen, *hydrogens), (-0.834, 0.417, 0.417), strict=True):
            forces.addParticle(atom.element.mass)
            pairs.addParticle(charge, 0.3, 0.0)
        for hydrogen in hydrogens:
            topology.addBond(oxygen, hydrogen)
    forces.addForce(pairs)
    box = 2.0 * np.eye(3)
    forces.setDefaultPeriodicBoxVectors(*box)
    water = np.array([[0, 0, 0.0117], [0, 0.0757, -0.0469], [0, -0.0757, -0.0469]])
    nm = np.vstack([water, water + np.array([0.29, 0.02, 0.01])])
    nm[1] += 0.001 * np.random.default_rng().normal(size=3)
    return read_openmm(topology, forces, nm, box=box * nanometer)


@pytest.fixture
def built(monkeypatch):
    """`read_complex` without AmberTools: what it was asked for, each time."""
    asked = []

    def build(pdb, ligand, **settings):
        asked.append(settings)
        return small_box()

    monkeypatch.setattr(complexes, "read_complex", build)
    return asked


def call(*arguments):
    return CliRunner().invoke(main, list(arguments))


def test_a_box_of_water_comes_from_the_input_file_and_is_built_once(folder, built):
    result = call("label", "in.toml", "--json")
    assert result.exit_code == 0, result.output
    assert built == [{"solvent": "box", "ph": 6.5, "padding_nm": pytest.approx(0.9)}]
    rows = {row.key: row for row in read_rows(folder / "built")}
    result = call("label", "in.toml")
    assert result.exit_code == 0, result.output
    assert "1 of 1 frames labelled" in result.output
    assert len(built) == 1  # built with other positions it would be labelled again
    assert {row.key: row for row in read_rows(folder / "built")} == rows
    config = read_label_config(folder / "in.toml")
    subject = prepare_labels(config, folder, folder / "built").subject
    regions = Partition.select(subject.system, qm="resname LIG", charge=0)
    level = Level("HF", "sto-3g", environment="cluster", cluster_radius=6 * angstrom)
    mine = label(subject.system, regions, level)
    said = json.loads((folder / "built" / "labels.qcschema.jsonl").read_text())
    assert said["properties"]["return_energy"] == pytest.approx(mine.energy, abs=1e-8)

    assert len(built) == 1

    def prepare(text):
        (folder / "in.toml").write_text(text)
        prepare_labels(read_label_config(folder / "in.toml"), folder, folder / "built")
        return len(built)

    assert prepare(INPUT) == 1
    assert prepare(INPUT.replace("ph = 6.5", "ph = 7.5")) == 2
    (folder / "ligand.sdf").write_text("another ligand\n")
    assert prepare(INPUT) == 3
    (folder / "ligand.sdf").write_text("ligand\n")
    assert prepare(INPUT) == 3
    (folder / "built" / "blobs").rename(folder / "elsewhere")  # the ledger alone is no complex
    assert prepare(INPUT) == 4


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('solvent = "box"', 'solvent = "OBC2"', "structure.solvent"),
        ('solvent = "box"', 'solvents = "box"', "did you mean 'solvent'"),
        ('solvent = "box"\n', "", "padding is the room around the complex in water"),
        ('ligand = "ligand.sdf"\n', "", "padding, ph, solvent belongs to a complex that is built"),
        ("ph = 6.5", "ph = 65.0", "structure.ph"),
        ("ph = 6.5", 'ph = "6.5"', "structure.ph"),
        ('"9 A"', "0.9", "structure.padding: 0.9 has no unit"),
        ('"9 A"', '"9 K"', "is not a unit of length"),
        (
            'environment = "cluster"\ncluster_radius = "6 A"\n', "",
            "structure.solvent = 'box' with level.environment = 'all'",
        ),
        (
            'solvent = "box"\nph = 6.5\npadding = "9 A"\n', "",
            "structure.solvent = 'none' with level.environment = 'cluster'",
        ),
        ("ligand.sdf", "ligand.mol", "there is no file"),
        ('topology = "protein.pdb"', 'topology = "ligand.sdf"', "of no kind that is known"),
    ],
)  # fmt: skip
def test_settings_of_a_complex_that_do_not_go_together_cost_nothing(folder, built, old, new, says):
    assert old in INPUT
    (folder / "in.toml").write_text(INPUT.replace(old, new))
    result = call("label", "in.toml")
    assert result.exit_code == 2, result.output
    assert says in result.output
    assert "\n  -> " in result.output
    assert built == []
    assert not (folder / "built").exists()


@pytest.mark.slow
@pytest.mark.skipif(not have_amber, reason="AmberTools (drupe[amber]) is not installed")
def test_a_peptide_and_its_ligand_are_labelled_in_water(folder):
    write_peptide(folder / "protein.pdb")
    molecule = Chem.AddHs(Chem.MolFromSmiles("CO"))
    AllChem.EmbedMolecule(molecule, randomSeed=7)
    points = molecule.GetConformer().GetPositions() + np.array([4.0, 5.0, 7.0])
    for k, point in enumerate(points):
        molecule.GetConformer().SetAtomPosition(k, point.tolist())
    with Chem.SDWriter(str(folder / "ligand.sdf")) as writer:
        writer.write(molecule)
    result = call("label", "in.toml", "--json")
    assert result.exit_code == 0, result.output
    config = read_label_config(folder / "in.toml")
    system = prepare_labels(config, folder, folder / "built").subject.system
    again = prepare_labels(config, folder, folder / "built").subject.system
    assert again.key == system.key  # built anew, relaxed hydrogens and a water at the edge would differ
    assert sum(name == "HOH" for name in system.residue_names) > 600
    regions = Partition.select(system, qm="resname LIG", charge=0)
    mine = label(system, regions, config.make_level())
    said = json.loads((folder / "built" / "labels.qcschema.jsonl").read_text())
    assert said["properties"]["return_energy"] == pytest.approx(mine.energy, abs=1e-8)
    assert mine.diagnostics["cluster_atoms"] > 60


def write_peptide(path):
    """The blocked alanine of openmmtools without its hydrogens, which are added again."""
    from pathlib import Path

    from drupe.embedding.structures.structure import locate, openmm_topology, read_amber

    base = "package:openmmtools/data/alanine-dipeptide-gbsa/alanine-dipeptide."
    read = read_amber(locate(base + "prmtop", Path()), locate(base + "crd", Path()), implicit_solvent=None)
    heavy = np.flatnonzero(read.system.numbers > 1)
    system = read.system.subset(heavy)
    with path.open("w") as file:
        nm = system.positions / nanometer
        app.PDBFile.writeFile(openmm_topology(system), nm * unit.nanometer, file)
