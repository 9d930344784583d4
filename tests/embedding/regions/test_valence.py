import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from drupe.embedding import MolecularSystem, Partition
from drupe.embedding.regions.valence import check_hydrogens
from drupe.errors import InputError
from drupe.units import angstrom

# Every kind of valence that a ligand may have, hot or strained ones included.
WHOLE = [
    "O", "C", "CC#C", "CC#N", "C=C=C", "[C-]#[O+]", "C[N+]#[C-]", "[C-]#N", "N#N", "O=C=O", "CN=[N+]=[N-]",
    "c1ccccc1", "Cc1ccc(C)cc1", "CC(=O)[O-]", "C[NH3+]", "CSC", "CS(=O)(=O)N", "C1CC1", "C#CC#C",
    "COP(=O)([O-])[O-]",
    "C1=CCCCC1", "FC(F)(F)c1ccncc1", "C1CC2CCC1C2", "C1CCCC#CCC1", "[CH3+]", "C[O-]", "[O-]c1ccccc1", "BrCCl",
]  # fmt: skip


def system_of(molecule, bonds=True):
    pairs = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]
    return MolecularSystem.from_atoms(
        [a.GetAtomicNum() for a in molecule.GetAtoms()],
        molecule.GetConformer().GetPositions() * angstrom,
        bonds=pairs if bonds and pairs else None,
    )


def embedded(smiles):
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=3)
    return molecule


@pytest.mark.parametrize("smiles", WHOLE)
@pytest.mark.parametrize("bonds", [True, False])
def test_a_whole_molecule_passes_with_and_without_listed_bonds(smiles, bonds):
    system = system_of(embedded(smiles), bonds)
    check_hydrogens(system, np.arange(system.n_atoms))


@pytest.mark.parametrize("smiles", ["O", "C", "CC", "c1ccccc1", "CCO", "CNC", "CC(=O)C", "C1CCCCC1", "CSC"])
@pytest.mark.parametrize("bonds", [True, False])
def test_a_molecule_without_its_hydrogens_is_refused(smiles, bonds):
    system = system_of(Chem.RemoveHs(embedded(smiles)), bonds)
    with pytest.raises(InputError, match=r"open valence: atom 0 "):
        check_hydrogens(system, np.arange(system.n_atoms))
    check_hydrogens(system, np.arange(system.n_atoms), multiplicity=3)


def test_bare_oxygen_is_refused_by_the_partition_and_can_be_meant():
    oxygen = MolecularSystem.from_atoms([8], [[0.0, 0.0, 0.0]])
    with pytest.raises(InputError, match=r"1 QM atoms have an open valence: atom 0 \(A1 of MOL 1\)"):
        Partition.select(oxygen, qm=[0], charge=0)
    assert Partition.select(oxygen, qm=[0], charge=0, allow_open_valence=True).n_electrons == 8
    assert Partition.select(oxygen, qm=[0], charge=0, multiplicity=3).n_electrons == 8


def test_two_hydrogens_of_one_carbon_are_missed_in_a_protein(t4l):
    system = t4l.system
    ligand = [i for i, name in enumerate(system.residue_names) if name == "TMP"]
    methyl = [i for i in ligand if system.atom_names[i] in ("H8", "H9")]
    keep = np.setdiff1d(np.arange(system.n_atoms), methyl)
    cut = system.subset(keep)
    with pytest.raises(InputError, match=r"atom 2\d\d\d \(C8 of TMP 163\)"):
        Partition.select(cut, qm="resname TMP", charge=0)
