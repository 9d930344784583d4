import numpy as np
import pytest

from drupe.embedding.suggestions.groups import find_groups
from drupe.errors import InputError
from drupe.units import angstrom


def molecule(smiles):
    """Numbers, positions in bohr, bonds and formal charge by RDKit's embedding."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=3)
    return (
        np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()]),
        angstrom * np.array(mol.GetConformer().GetPositions()),
        np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]).reshape(-1, 2),
        Chem.GetFormalCharge(mol),
    )


@pytest.mark.parametrize(
    ("smiles", "names"),
    [
        ("Cc1ccc(O)cc1", ["aromatic ring", "hydroxyl", "methyl"]),
        ("NC(=[NH2+])c1ccccc1", ["amidinium + aromatic ring"]),
        ("CC(=O)[O-]", ["carboxylate", "methyl"]),
        ("CC(=O)O", ["carboxyl", "methyl"]),
        ("CC(=O)NC", ["amide", "methyl", "methyl"]),
        ("NC(=O)N", ["amide"]),
        ("NC(=[NH2+])NCC", ["guanidinium", "methyl", "methylene"]),
        ("C[NH3+]", ["ammonium", "methyl"]),
        ("CN", ["amine", "methyl"]),
        ("CC#N", ["methyl", "nitrile"]),
        ("CN(=O)=O", ["methyl", "nitro"]),
        ("CS", ["methyl", "thiol"]),
        ("COC", ["ether", "methyl", "methyl"]),
        ("CC(=O)C", ["carbonyl", "methyl", "methyl"]),
        ("FC(F)F", ["halogen", "halogen", "halogen", "methine"]),
        ("C=CC=C", ["alkene"]),
        ("C=CCC=C", ["alkene", "alkene", "methylene"]),
        ("c1ccccc1-c1ccccc1", ["aromatic ring"]),
        ("O.O", ["water", "water"]),
    ],
)
def test_groups_are_named_and_found(smiles, names):
    assert sorted(group.name for group in find_groups(*molecule(smiles))) == names


@pytest.mark.parametrize(
    "smiles", ["Cc1ccc(C=CC(=O)NC)cc1", "OC(=O)C=Cc1ccncc1", "CC(C#N)=CC", "O=C1C=CC(=O)C=C1"]
)
def test_no_group_ends_inside_a_pi_system(smiles):
    """By RDKit's own chemistry of the SMILES, not by the perceived bond orders."""
    from rdkit import Chem

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    groups = find_groups(*molecule(smiles))
    owner = {row: number for number, group in enumerate(groups) for row in group.rows}
    cut = [b for b in mol.GetBonds() if owner[b.GetBeginAtomIdx()] != owner[b.GetEndAtomIdx()]]
    assert sorted(owner) == list(range(mol.GetNumAtoms()))
    assert all(b.GetBondTypeAsDouble() == 1.0 and 1 not in ends(b) for b in cut)
    sp3 = Chem.HybridizationType.SP3
    assert all(sp3 in (b.GetBeginAtom().GetHybridization(), b.GetEndAtom().GetHybridization()) for b in cut)


def ends(bond):
    return bond.GetBeginAtom().GetAtomicNum(), bond.GetEndAtom().GetAtomicNum()


def test_neighbours_are_the_bonds_between_groups():
    groups = find_groups(*molecule("Cc1ccc(O)cc1"))
    names = {number: group.name for number, group in enumerate(groups)}
    around = {group.name: {names[n] for n in group.neighbours} for group in groups}
    assert around == {
        "methyl": {"aromatic ring"},
        "aromatic ring": {"methyl", "hydroxyl"},
        "hydroxyl": {"aromatic ring"},
    }


def test_bonds_are_perceived_where_none_are_listed():
    numbers, positions, bonds, charge = molecule("CC(=O)NC")
    assert find_groups(numbers, positions, bonds[:0], charge) == find_groups(
        numbers, positions, bonds, charge
    )


def test_groups_do_not_depend_on_the_order_of_atoms():
    numbers, positions, bonds, charge = molecule("NC(=[NH2+])NCC(=O)[O-]")
    order = np.random.default_rng(5).permutation(len(numbers))
    back = np.argsort(order)
    plain = {(g.name, frozenset(g.rows)) for g in find_groups(numbers, positions, bonds, charge)}
    mixed = find_groups(numbers[order], positions[order], back[bonds], charge)
    assert {(g.name, frozenset(order[list(g.rows)].tolist())) for g in mixed} == plain


def test_a_wrong_charge_is_refused():
    numbers, positions, bonds, _ = molecule("CC(=O)NC")
    with pytest.raises(InputError, match="cannot be perceived"):
        find_groups(numbers, positions, bonds, 2)


def test_atoms_without_a_known_group_are_refused():
    with pytest.raises(InputError, match="no functional group"):
        find_groups(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 1.4]]), np.array([[0, 1]]), 0)
