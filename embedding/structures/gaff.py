"""GAFF2 parameters with AM1-BCC charges: an RDKit molecule in, a `Structure` in vacuum (bohr, e) out.

AmberTools' antechamber, parmchk2 and tleap run as programs of their own in a scratch folder; they come
with the optional extra ``amber``. Wang et al., J. Comput. Chem. 25, 1157 (2004); Jakalian et al.,
J. Comput. Chem. 23, 1623 (2002).
"""

import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from drupe.embedding.structures.amber import read_amber
from drupe.embedding.structures.mechanics import Structure
from drupe.errors import InputError, MachineError
from drupe.units import angstrom

__all__ = ["find_programs", "parametrise"]

_PROGRAMS = ("antechamber", "parmchk2", "tleap")
_CHARGE_ERROR = 0.01

_LEAP = """source leaprc.gaff2
loadamberparams ligand.frcmod
LIG = loadmol2 ligand.mol2
check LIG
saveamberparm LIG ligand.prmtop ligand.inpcrd
quit
"""


def find_programs() -> dict[str, str]:
    """Paths of antechamber, parmchk2 and tleap.

    Raises
    ------
    MachineError
        If one is not installed; the message names the extra.
    """
    places = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    found = {name: shutil.which(name, path=places) for name in _PROGRAMS}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise MachineError(
            f"{', '.join(missing)} is not installed: GAFF2 parameters are made by AmberTools",
            remedy="pip install 'drupe[amber]', or parametrise the ligand yourself and give a prmtop",
        )
    return {name: path for name, path in found.items() if path is not None}


def parametrise(molecule: Any, *, time_limit_s: float = 3600.0) -> Structure:
    """Give a ligand GAFF2 parameters and AM1-BCC charges.

    Parameters
    ----------
    molecule
        RDKit molecule as `drupe.embedding.structures.ligand.read_ligand` returns it.
    time_limit_s
        For each program, seconds; the semi-empirical charges of a large ligand take minutes.

    Returns
    -------
    Structure
        The ligand as residue ``LIG``, atoms in the order of the molecule and where it has them.

    Raises
    ------
    MachineError
        If AmberTools is not installed, or runs out of time.
    InputError
        If a program refuses the ligand, a parameter is missing, or the charges do not add up.
    """
    from rdkit import Chem

    programs = find_programs()
    charge = Chem.GetFormalCharge(molecule)
    with tempfile.TemporaryDirectory(prefix="drupe-gaff-") as name:
        folder = Path(name)
        with Chem.SDWriter(str(folder / "ligand.sdf")) as writer:
            writer.write(molecule)
        (folder / "leap.in").write_text(_LEAP)
        steps = {
            "antechamber": "-i ligand.sdf -fi sdf -o ligand.mol2 -fo mol2 -c bcc -at gaff2 -rn LIG -pf y "
            f"-nc {charge}",
            "parmchk2": "-i ligand.mol2 -f mol2 -s gaff2 -o ligand.frcmod",
            "tleap": "-f leap.in",
        }
        made = {"antechamber": "ligand.mol2", "parmchk2": "ligand.frcmod", "tleap": "ligand.prmtop"}
        for program, arguments in steps.items():
            _run(programs[program], arguments.split(), folder, made[program], time_limit_s)
            if program == "parmchk2":
                _refuse_missing(folder / "ligand.frcmod")
        structure = read_amber(folder / "ligand.prmtop", folder / "ligand.inpcrd", implicit_solvent=None)
    return _checked(structure, molecule, charge)


def _run(program: str, arguments: list[str], folder: Path, made: str, time_limit_s: float) -> None:
    name = Path(program).name
    try:
        ended = subprocess.run(
            [program, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=time_limit_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MachineError(
            f"{name} did not end within {time_limit_s:g} s", remedy="allow it more time, or give a prmtop"
        ) from error
    if ended.returncode != 0 or not (folder / made).is_file():
        said = " ".join((ended.stdout + ended.stderr).split())[-400:]
        raise InputError(
            f"{name} refused the ligand (exit code {ended.returncode}): {said}",
            remedy="check bonds, charge and geometry of the SDF file, or give a prmtop of your own",
        )


def _refuse_missing(frcmod: Path) -> None:
    """parmchk2 writes zeros for what it does not know and marks the line."""
    lines = [" ".join(line.split()) for line in frcmod.read_text().splitlines() if "ATTN" in line]
    if lines:
        raise InputError(
            f"GAFF2 has no parameters for {len(lines)} terms of the ligand: {'; '.join(lines[:4])}",
            remedy="give a prmtop with fitted parameters for these terms",
        )


def _checked(structure: Structure, molecule: Any, charge: int) -> Structure:
    system = structure.system
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    bonds = {tuple(sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx()))) for b in molecule.GetBonds()}
    if system.numbers.tolist() != numbers or {tuple(pair) for pair in system.bonds.tolist()} != bonds:
        raise InputError(
            "the parametrised ligand has other atoms or bonds than the SDF file",
            remedy="give a prmtop of your own for this ligand",
        )
    total = float(system.charges.sum())
    if abs(total - charge) > _CHARGE_ERROR:
        raise InputError(
            f"the AM1-BCC charges add up to {total:+.3f}, the ligand has the charge {charge:+d}",
            remedy="check the formal charges in the SDF file",
        )
    positions = np.asarray(molecule.GetConformer().GetPositions(), dtype=np.float64) * angstrom
    return Structure(system.with_positions(positions), structure.openmm_xml, None)
