"""A ligand's SDF file in, one checked RDKit molecule with all hydrogens and 3D coordinates (angstrom) out."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from drupe.embedding.structures.input_files import existing_file, read_text
from drupe.errors import InputError

__all__ = ["read_ligand"]

_FLAT_A = 1e-3
_BOND = (0.75, 1.30)  # of the sum of covalent radii
_SHOWN = 6


def read_ligand(sdf: str | Path) -> Any:
    """Read the one molecule of an SDF file.

    Parameters
    ----------
    sdf
        One record: explicit hydrogens, a three-dimensional geometry, formal charges.

    Returns
    -------
    rdkit.Chem.Mol
        Sanitised, with stereochemistry assigned from the coordinates.

    Raises
    ------
    InputError
        Naming the file and the reason: several molecules or conformers, an unreadable record, an
        impossible valence, missing hydrogens, a flat drawing, an unspecified stereocentre, several
        fragments, unpaired electrons.
    """
    from rdkit import Chem, rdBase

    path = existing_file(sdf)
    with rdBase.BlockLogs():
        molecule = _only_record(path, read_text(path, "an SDF file"))
        problems = Chem.DetectChemistryProblems(molecule)
        if problems:
            raise InputError(
                f"{path}: {problems[0].Message()} ({len(problems)} such problems)",
                remedy="correct bonds and formal charges in the file; atoms are counted from 0",
            )
        Chem.SanitizeMol(molecule)
        _check_complete(path, molecule)
        _check_geometry(path, molecule)
        _check_stereo(path, molecule)
    return molecule


def _only_record(path: Path, text: str) -> Any:
    from rdkit import Chem

    records = [block for block in re.split(r"^\$\$\$\$\s*?\n?", text, flags=re.MULTILINE) if block.strip()]
    read = [Chem.MolFromMolBlock(block, sanitize=False, removeHs=False) for block in records]
    unreadable = [k + 1 for k, molecule in enumerate(read) if molecule is None or molecule.GetNumAtoms() == 0]
    if unreadable:
        raise InputError(
            f"{path}: record {unreadable[0]} of {len(read)} cannot be read as a molecule (its counts line or "
            "its atom block is damaged)",
            remedy="write the SDF file again, with V2000 or V3000 records",
        )
    if len(read) > 1:
        for molecule in read:
            molecule.UpdatePropertyCache(strict=False)
        same = len({Chem.MolToSmiles(molecule, isomericSmiles=False) for molecule in read}) == 1
        raise InputError(
            f"{path} holds {len(read)} {'conformers of one molecule' if same else 'different molecules'}",
            remedy="write the one you mean into a file of its own",
        )
    return read[0]


def _check_complete(path: Path, molecule: Any) -> None:
    from rdkit import Chem

    bare = [a for a in molecule.GetAtoms() if a.GetTotalNumHs(includeNeighbors=False) > 0]
    if bare:
        missing = sum(a.GetTotalNumHs(includeNeighbors=False) for a in bare)
        raise InputError(
            f"{path} lacks {missing} hydrogens, on {_names(bare)}",
            remedy="add the hydrogens of the protonation state you mean, with 3D coordinates",
        )
    if len(Chem.GetMolFrags(molecule)) > 1:
        raise InputError(
            f"{path} holds {len(Chem.GetMolFrags(molecule))} molecules in one record (a salt or a solvate?)",
            remedy="keep the ligand alone",
        )
    radicals = [a for a in molecule.GetAtoms() if a.GetNumRadicalElectrons()]
    if radicals:
        raise InputError(
            f"{path} has unpaired electrons on {_names(radicals)}",
            remedy="correct valences and charges: AM1-BCC charges need a closed shell",
        )


def _check_geometry(path: Path, molecule: Any) -> None:
    from rdkit import Chem

    points = molecule.GetConformer().GetPositions()
    if not np.isfinite(points).all():
        raise InputError(f"{path} has a coordinate that is not finite", remedy="write the SDF file again")
    saturated = any(
        a.GetHybridization() == Chem.HybridizationType.SP3 and a.GetTotalDegree() >= 3
        for a in molecule.GetAtoms()
    )
    header = path.read_text().split("\n")[1:2]
    is_drawing = bool(re.match(r".{20}2D", header[0])) if header else False
    if is_drawing or (np.ptp(points[:, 2]) < _FLAT_A and saturated):
        raise InputError(
            f"{path} is a flat drawing, not a three-dimensional structure",
            remedy="give the pose of the ligand in the complex",
        )
    table = Chem.GetPeriodicTable()
    for bond in molecule.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        reach = sum(table.GetRcovalent(molecule.GetAtomWithIdx(k).GetAtomicNum()) for k in (i, j))
        length = float(np.linalg.norm(points[i] - points[j]))
        if not _BOND[0] * reach < length < _BOND[1] * reach:
            ends = _names([bond.GetBeginAtom(), bond.GetEndAtom()])
            raise InputError(
                f"{path}: the bond between {ends} is {length:.2f} A long",
                remedy="give a three-dimensional structure in angstrom, with the bonds that are there",
            )


def _check_stereo(path: Path, molecule: Any) -> None:
    from rdkit import Chem

    Chem.AssignStereochemistryFrom3D(molecule)
    unknown = [
        info
        for info in Chem.FindPotentialStereo(molecule)
        if info.specified == Chem.StereoSpecified.Unspecified
        and info.type == Chem.StereoType.Atom_Tetrahedral
    ]
    if unknown:
        centres = [molecule.GetAtomWithIdx(info.centeredOn) for info in unknown]
        if any(a.GetAtomicNum() != 7 for a in centres):  # amines invert
            raise InputError(
                f"{path} leaves the stereochemistry of {_names(centres)} open: the centre is flat",
                remedy="give a structure with the configuration you mean",
            )


def _names(atoms: Any) -> str:
    shown = [f"atom {a.GetIdx()} ({a.GetSymbol()})" for a in atoms]
    return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
