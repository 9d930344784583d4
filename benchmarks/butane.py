"""Butane for benchmarks: its force field in OpenMM's terms and a start geometry (nm).

Bonded and van der Waals terms are GAFF's (Wang et al., J. Comput. Chem. 25, 1157 (2004)); charges are round
numbers near AM1-BCC's, neutral on each carbon with its hydrogens.
"""

import numpy as np
import openmm

NUMBERS = np.array([6] * 4 + [1] * 10)
BONDS = [(0, 1), (1, 2), (2, 3)] + [(0, h) for h in (4, 5, 6)] + [(1, 7), (1, 8), (2, 9), (2, 10)]
BONDS += [(3, h) for h in (11, 12, 13)]
DIHEDRAL = (0, 1, 2, 3)
_KCAL, _A = 4.184, 0.1
_BONDS = {"CC": (1.535, 303.1), "CH": (1.092, 337.3)}  # A, kcal/mol/A^2 of k x^2
_ANGLES = {"CCC": (110.63, 63.21), "CCH": (110.05, 46.37), "HCH": (108.35, 39.43)}  # degrees, kcal/mol/rad^2
_TORSIONS = {  # kcal/mol, periodicity, degrees
    "CCCC": ((0.18, 3, 0.0), (0.25, 2, 180.0), (0.20, 1, 180.0)),
    "CCCH": ((0.16, 3, 0.0),),
    "HCCH": ((0.15, 3, 0.0),),
}
_LJ = {"C": (1.9080, 0.1094), "H": (1.4870, 0.0157)}  # A of Rmin/2, kcal/mol
_CHARGES = {0: -0.096, 1: -0.08, 2: -0.08, 3: -0.096}


def system() -> openmm.System:
    """Butane in vacuum, all bonds flexible."""
    symbols = ["C" if z == 6 else "H" for z in NUMBERS]
    near: list[list[int]] = [[] for _ in NUMBERS]
    for i, j in BONDS:
        near[i].append(j)
        near[j].append(i)
    made = openmm.System()
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    torsions, pairs = openmm.PeriodicTorsionForce(), openmm.NonbondedForce()
    for i, j in BONDS:
        length, k = _BONDS["".join(sorted(symbols[i] + symbols[j]))]
        bonds.addBond(i, j, length * _A, 2 * k * _KCAL / _A**2)
    for j, others in enumerate(near):
        for a, i in enumerate(others):
            for m in others[:a]:
                ends = sorted(symbols[i] + symbols[m])
                degrees, k = _ANGLES[ends[0] + symbols[j] + ends[1]]
                angles.addAngle(i, j, m, np.radians(degrees), 2 * k * _KCAL)
    for j, k in BONDS:
        for i in near[j]:
            for m in near[k]:
                if len({i, j, k, m}) == 4:
                    ends = sorted(symbols[i] + symbols[m])
                    for height, n, phase in _TORSIONS[ends[0] + "CC" + ends[1]]:
                        torsions.addTorsion(i, j, k, m, n, np.radians(phase), height * _KCAL)
    for atom, symbol in enumerate(symbols):
        made.addParticle(12.011 if symbol == "C" else 1.008)
        charge = _CHARGES.get(atom)
        if charge is None:
            charge = 0.032 if near[atom][0] in (0, 3) else 0.04
        radius, depth = _LJ[symbol]
        pairs.addParticle(charge, 2 * radius * _A / 2 ** (1 / 6), depth * _KCAL)
    pairs.createExceptionsFromBonds(BONDS, 1 / 1.2, 0.5)
    for force in (bonds, angles, torsions, pairs):
        made.addForce(force)
    return made


def start() -> np.ndarray:
    """A geometry of RDKit's, nm."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    made = Chem.AddHs(Chem.MolFromSmiles("CCCC"))
    AllChem.EmbedMolecule(made, randomSeed=7)
    found = {tuple(sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx()))) for b in made.GetBonds()}
    assert found == {tuple(sorted(pair)) for pair in BONDS}
    return np.asarray(made.GetConformer().GetPositions()) / 10
