"""Selections in (MDTraj language with distances, index list, ``smarts:...``), rising atom indices out.

A door to MDTraj and RDKit. Bond orders are perceived for SMARTS, since topologies carry none;
hydrogens on matched heavy atoms come along.
"""

import difflib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.regions.neighbourhood import replace_distances
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.units import angstrom

__all__ = ["Selection", "perceive", "select"]

Indices = NDArray[np.int64]
Selection = str | Sequence[int] | NDArray[np.int64]

_LARGEST_PERCEIVED = 200  # atoms; bond perception is for ligands, not proteins


def select(
    system: MolecularSystem,
    selection: Selection,
    *,
    what: str,
    charge: int = 0,
    within: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Atom indices named by ``selection``, rising.

    Parameters
    ----------
    system
        Atoms with names.
    selection
        MDTraj selection, in which ``within 4.5 A of (<selection>)`` (or ``nm``, ``bohr``) stands for
        whole residues, those of the inner selection included; a list of indices; or
        ``smarts:<pattern>``.
    what
        Name of the region for messages.
    charge
        Total charge that bond perception has to reproduce.
    within
        Atoms a SMARTS pattern is matched on; None tries every small molecule of the system.

    Raises
    ------
    InputError
        If the selection is empty, unreadable, repeats an atom or leaves the system.
    """
    if not isinstance(selection, str):
        return _from_indices(system, selection, what)
    if selection.startswith("smarts:"):
        found = _from_smarts(system, selection.removeprefix("smarts:"), what, charge, within)
    else:
        found = _from_language(system, selection, what)
    if len(found) == 0:
        advice = _advice(system, selection)
        raise InputError(f"the selection {selection!r} for {what} is empty", remedy=advice)
    return found


def _from_indices(
    system: MolecularSystem, selection: Sequence[int] | NDArray[np.int64], what: str
) -> Indices:
    given = np.asarray(selection)
    if given.ndim != 1 or len(given) == 0 or given.dtype.kind not in "iu":
        raise InputError(
            f"{what} is given by an array of shape {given.shape} and type {given.dtype}",
            remedy="pass a list of whole numbers with at least one atom, counted from 0",
        )
    if given.min() < 0 or given.max() >= system.n_atoms:
        bad = int(given.min() if given.min() < 0 else given.max())
        raise InputError(
            f"{what} names atom {bad}, the system has atoms 0 to {system.n_atoms - 1}",
            remedy="count atoms from 0",
        )
    atoms, counts = np.unique(given.astype(np.int64), return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"{what} names atom {int(atoms[counts > 1][0])} more than once", remedy="give each atom once"
        )
    found: Indices = atoms
    return found


def _from_language(system: MolecularSystem, text: str, what: str) -> NDArray[np.int64]:
    import mdtraj

    from drupe.embedding.structures.structure import openmm_topology

    topology = mdtraj.Topology.from_openmm(openmm_topology(system))
    residues = np.array([atom.residue.index for atom in topology.atoms], np.int64)
    plain = replace_distances(
        system, text, residues, lambda inner: select(system, inner, what=f"a distance in {what}")
    )
    try:
        return np.asarray(topology.select(plain), dtype=np.int64)
    except Exception as error:  # MDTraj raises ValueError, AttributeError, NameError and parser errors alike
        raise InputError(
            f"the selection {text!r} for {what} is not MDTraj's language ({type(error).__name__}: {error})",
            remedy='write for example "resname LIG and name C1 H1", an index list, or "smarts:..."',
        ) from error


def _advice(system: MolecularSystem, text: str) -> str:
    present = sorted(set(system.residue_names))
    for clause in re.findall(r"\bresname\s+([^()&|]+)", text):
        for word in clause.replace("'", " ").replace('"', " ").split():
            if word in ("and", "or", "not"):
                break
            if word not in present and word != "==":
                close = difflib.get_close_matches(word.upper(), present, n=1, cutoff=0.5)
                hint = f"did you mean {close[0]!r}? " if close else ""
                return f"there is no residue {word!r}; {hint}residues present: {', '.join(present)}"
    return f"check names and numbers; residues present: {', '.join(present)}"


def _from_smarts(
    system: MolecularSystem, pattern: str, what: str, charge: int, within: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        query = Chem.MolFromSmarts(pattern)
    if query is None:
        raise InputError(f"{pattern!r} for {what} is not a SMARTS pattern", remedy="check its brackets")
    pieces = [within] if within is not None else _molecules(system)
    matches: list[NDArray[np.int64]] = []
    for piece in pieces:
        molecule = perceive(system, piece, charge, what)
        for match in molecule.GetSubstructMatches(query):
            atoms = set(match)
            for atom in match:
                neighbours = molecule.GetAtomWithIdx(atom).GetNeighbors()
                atoms |= {n.GetIdx() for n in neighbours if n.GetAtomicNum() == 1}
            matches.append(piece[sorted(atoms)])
    if len(matches) > 1:
        raise InputError(
            f"the pattern {pattern!r} for {what} matches {len(matches)} places: "
            + "; ".join(str(m.tolist()) for m in matches[:4]),
            remedy="write a pattern that matches once, or give one of these index lists",
        )
    return matches[0] if matches else np.zeros(0, np.int64)


def _molecules(system: MolecularSystem) -> list[NDArray[np.int64]]:
    """Bonded groups of 4 to 200 atoms; all atoms of a small system that lists no bonds."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if len(system.bonds) == 0 and system.n_atoms <= _LARGEST_PERCEIVED:
        return [np.flatnonzero(system.numbers > 0)]
    links = (np.ones(len(system.bonds)), (system.bonds[:, 0], system.bonds[:, 1]))
    _, group = connected_components(coo_array(links, shape=(system.n_atoms,) * 2), directed=False)
    groups = [np.flatnonzero(group == g) for g in np.unique(group)]
    return [g for g in groups if 3 < len(g) <= _LARGEST_PERCEIVED]


def perceive(system: MolecularSystem, atoms: NDArray[np.int64], charge: int, what: str) -> Any:
    """RDKit molecule of ``atoms``: bond orders perceived from listed bonds, or from distances without any.

    Parameters
    ----------
    system, atoms
        Positions in bohr; the molecule has the ``atoms``, shape ``(n,)``, in that order.
    charge
        Total charge that the bond orders have to reproduce, e.
    what
        Name of the region for messages.

    Raises
    ------
    InputError
        If no bond orders fit.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDetermineBonds
    from rdkit.Geometry import Point3D

    editable = Chem.RWMol()
    shape = Chem.Conformer(len(atoms))
    for place, atom in enumerate(atoms):
        editable.AddAtom(Chem.Atom(int(system.numbers[atom])))
        shape.SetAtomPosition(place, Point3D(*(system.positions[atom] / angstrom).tolist()))
    editable.AddConformer(shape)
    local = {int(atom): place for place, atom in enumerate(atoms)}
    listed = [(local[i], local[j]) for i, j in system.bonds.tolist() if i in local and j in local]
    for i, j in listed:
        editable.AddBond(i, j, Chem.BondType.SINGLE)
    molecule = editable.GetMol()
    try:
        with rdBase.BlockLogs():
            if listed:
                rdDetermineBonds.DetermineBondOrders(molecule, charge=charge)
            else:
                rdDetermineBonds.DetermineBonds(molecule, charge=charge)
            Chem.SanitizeMol(molecule)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"bond orders of {len(atoms)} atoms cannot be perceived for {what} with charge {charge:+d} "
            f"({str(error).splitlines()[0]})",
            remedy="check charge and hydrogens, or select by names or index lists instead of SMARTS",
        ) from error
    return molecule
