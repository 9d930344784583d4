"""Distances in selections: ``within 4.5 A of (...)`` in, plain MDTraj language out.

The clause stands for all atoms of every residue of which one nucleus lies within the distance of one
nucleus of the inner selection, whose own residues are therefore among them. In a periodic box distances
are those of the nearest images.
"""

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.units import angstrom, nanometer

__all__ = ["replace_distances"]

_UNITS = {"a": angstrom, "angstrom": angstrom, "nm": nanometer, "bohr": 1.0}
_CLAUSE = re.compile(r"\bwithin\s+([-+.\w]+?)\s*(a|angstrom|nm|bohr)\s+of\s*\(", re.IGNORECASE)


def replace_distances(
    system: MolecularSystem,
    text: str,
    residues: NDArray[np.int64],
    evaluate: Callable[[str], NDArray[np.int64]],
) -> str:
    """Replace every clause by the residues it stands for.

    Parameters
    ----------
    system
        Positions in bohr, box.
    text
        Selection; clauses may be nested and combined with ``and``, ``or``, ``not``.
    residues
        Number of each atom's residue as ``resid`` counts them, shape ``(atoms,)``.
    evaluate
        Atoms of an inner selection; raises where there are none.

    Raises
    ------
    InputError
        If a clause has no positive distance, no unit, or no bracket that is closed.
    """
    while found := _CLAUSE.search(text):
        reach = _distance(found.group(1), text) * _UNITS[found.group(2).lower()]
        end = _closing(text, found.end() - 1)
        atoms = evaluate(text[found.end() : end])
        near = np.unique(residues[_near(system, atoms, reach)])
        text = f"{text[: found.start()]}(resid {' '.join(map(str, near.tolist()))}){text[end + 1 :]}"
    if re.search(r"\bwithin\b", text, re.IGNORECASE):
        raise InputError(
            f"a distance in the selection {text!r} cannot be read",
            remedy='write for example "within 4.5 A of (resname LIG)", unit (A, nm, bohr) and brackets',
        )
    return text


def _distance(word: str, text: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise InputError(
            f"{word!r} in the selection {text!r} is no distance",
            remedy='give a positive number with a unit, such as "within 4.5 A of (...)"',
        )
    return value


def _closing(text: str, start: int) -> int:
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise InputError(f"a bracket in the selection {text!r} stays open", remedy="close it")


def _near(system: MolecularSystem, atoms: NDArray[np.int64], reach: float) -> NDArray[np.int64]:
    """Nuclei within ``reach`` (bohr) of a nucleus among ``atoms``."""
    nuclei = np.flatnonzero(system.numbers > 0)
    points, centres = system.positions[nuclei], system.positions[atoms[system.numbers[atoms] > 0]]
    if system.box is not None:
        inverse = np.linalg.inv(system.box)
        points, centres = ((p @ inverse - np.floor(p @ inverse)) @ system.box for p in (points, centres))
        # 1 / |column of the inverse| is the distance between two faces: this many cells lie in reach.
        cells = (np.floor(reach * np.linalg.norm(inverse, axis=0)) + 1).astype(int)
        shifts = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in cells], indexing="ij"), axis=-1)
        centres = (centres[:, None] + shifts.reshape(-1, 3) @ system.box).reshape(-1, 3)
    if len(centres) == 0:
        return np.zeros(0, np.int64)
    distance, _ = cKDTree(centres).query(points, distance_upper_bound=reach * (1 + 1e-12))
    found: NDArray[np.int64] = nuclei[np.isfinite(distance)]
    return found
