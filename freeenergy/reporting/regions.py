"""Interactive 3D view of the regions: a region record (bohr) goes in, a Plotly figure (angstrom) comes out.

Colours that begin with ``@`` are names; the page replaces them by those of its light or dark theme.
"""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.freeenergy.outcomes.figure_data import RegionGeometry
from drupe.freeenergy.reporting.ribbon import ribbon, spheres, sticks
from drupe.units import angstrom

__all__ = ["encoded", "region_figure"]

Figure = dict[str, Any]

_colours = {
    1: "#e8e4df",
    6: "#6f757d",
    7: "#3b6fd4",
    8: "#d8433b",
    9: "#5dbb63",
    15: "#e08a2e",
    16: "#d9b82b",
    17: "#43a047",
    35: "#8d4b2d",
    53: "#7b3fa0",
}
_symbols = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F", 15: "P", 16: "S", 17: "Cl", 35: "Br", 53: "I"}
_matte = {"ambient": 0.78, "diffuse": 0.55, "specular": 0.1, "roughness": 0.8, "fresnel": 0.05}


def encoded(array: NDArray[Any]) -> dict[str, str]:
    """Array in Plotly's binary form: smaller than digits and exact; nan makes a gap in a line."""
    kinds = {"f": ("f4", "<f4"), "i": ("u4", "<u4")}
    name, stored = kinds[array.dtype.kind]
    return {"dtype": name, "bdata": base64.b64encode(array.astype(stored).tobytes()).decode()}


def region_figure(regions: RegionGeometry) -> Figure:
    """Draw backbone, MM atoms, pocket, QM region, cores and restraint as traces with a ``meta`` name each."""
    xyz = regions.positions / angstrom
    in_qm = np.zeros(len(xyz), bool)
    in_qm[regions.qm] = True
    near = _pocket(regions, xyz, in_qm)
    in_pocket = near[regions.bonds].all(axis=1) & ~in_qm[regions.bonds].any(axis=1)
    traces = [
        *_backbone(regions, xyz, in_qm),
        _dots(regions, xyz, ~in_qm & ~near, "MM atoms"),
        _lines(regions, xyz, regions.bonds[in_pocket]),
        *_ball_and_stick(regions, xyz, in_qm),
        *_halo(regions, xyz),
        *_restraint(regions, xyz),
    ]
    whole, middle = xyz.mean(axis=0), xyz[regions.qm].mean(axis=0)
    reach = 0.9 * float(np.linalg.norm(xyz - whole, axis=1).max())
    views = {
        "whole": _cube(whole, reach),
        "pocket": _cube(middle, float(np.ptp(xyz[regions.qm], axis=0).max()) + 2.0),
    }
    layout = {
        "height": 560,
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "showlegend": False,
        "scene": {
            **{a: {"visible": False, "range": r} for a, r in views["whole"].items()},
            "aspectmode": "cube",
            "dragmode": "orbit",
            "camera": {
                "eye": _eye(xyz, in_qm, np.isin(regions.atom_names, ("N", "CA", "C", "O"))),
                "projection": {"type": "perspective"},
            },
        },
        "hoverlabel": {"font": {"size": 13}},
    }
    return {"data": traces, "layout": layout, "views": views}


def _eye(xyz: NDArray[np.float64], in_qm: NDArray[np.bool_], backbone: NDArray[np.bool_]) -> dict[str, float]:
    """Look from where the least backbone stands before the QM region, rather onto its broad face.

    Of 200 directions spread over the sphere, count the backbone atoms in front of the region
    and near the line of sight; looking along its plane costs as much as five of them.
    """
    k = np.arange(200) + 0.5
    polar, around = np.arccos(1.0 - 2.0 * k / 200), np.pi * (1.0 + 5.0**0.5) * k
    ways = np.stack([np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar), np.cos(polar)], axis=1)
    region = xyz[in_qm] - xyz[in_qm].mean(axis=0)
    others = xyz[backbone & ~in_qm] - xyz[in_qm].mean(axis=0)
    depth = others @ ways.T
    aside = np.sqrt(np.maximum((others**2).sum(axis=1)[:, None] - depth**2, 0.0))
    hidden = ((depth > 0.0) & (aside < np.linalg.norm(region, axis=1).max() + 1.5)).sum(axis=0)
    normal = np.linalg.svd(region)[2][-1]
    x, y, z = 1.25 * ways[np.argmin(hidden - 5.0 * np.abs(ways @ normal))]
    return {"x": float(x), "y": float(y), "z": float(z)}


def _cube(centre: NDArray[np.float64], half: float) -> dict[str, list[float]]:
    return {f"{a}axis": [float(c - half), float(c + half)] for a, c in zip("xyz", centre, strict=True)}


def _pocket(regions: RegionGeometry, xyz: NDArray[np.float64], in_qm: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Atoms of residues that come within 5 angstrom of the QM region."""
    close = np.linalg.norm(xyz[:, None] - xyz[None, regions.qm], axis=2).min(axis=1) < 5.0
    residue = np.stack([regions.chain_ids, regions.residue_ids], axis=1)
    _, number = np.unique(residue, axis=0, return_inverse=True)
    near: NDArray[np.bool_] = np.isin(number, number[close & ~in_qm]) & ~in_qm
    return near


def _atom_texts(regions: RegionGeometry, atoms: NDArray[np.int64], what: str) -> list[str]:
    return [
        f"{regions.residue_names[i]} {regions.residue_ids[i]} · {regions.atom_names[i]} "
        f"({_symbols.get(int(regions.numbers[i]), f'Z={regions.numbers[i]}')})<br>{what}"
        for i in atoms
    ]


def _mesh(points: NDArray[np.float64], faces: NDArray[np.int64], name: str, **more: Any) -> Figure:
    x, y, z = (encoded(points[:, a]) for a in range(3))
    i, j, k = (encoded(faces[:, a]) for a in range(3))
    flat = {"type": "mesh3d", "x": x, "y": y, "z": z, "i": i, "j": j, "k": k}
    return {
        **flat,
        "name": name,
        "meta": name,
        "hoverinfo": "skip",
        "lighting": _matte,
        "flatshading": False,
        **more,
    }


def _backbone(regions: RegionGeometry, xyz: NDArray[np.float64], in_qm: NDArray[np.bool_]) -> list[Figure]:
    atoms: dict[tuple[int, int], dict[str, int]] = {}
    for i, name in enumerate(regions.atom_names):
        if name in ("CA", "C", "O") and not in_qm[i]:
            atoms.setdefault((int(regions.chain_ids[i]), int(regions.residue_ids[i])), {})[name] = i
    residues = [found for found in atoms.values() if len(found) == 3]
    pieces: list[list[dict[str, int]]] = []
    for found in residues:
        broken = not pieces or np.linalg.norm(xyz[found["CA"]] - xyz[pieces[-1][-1]["CA"]]) > 4.5
        if broken:
            pieces.append([])
        pieces[-1].append(found)
    steps = 6 if len(residues) < 1000 else 3
    meshes = []
    for piece in pieces:
        if len(piece) < 2:
            continue
        alpha = xyz[[found["CA"] for found in piece]]
        across = xyz[[found["O"] for found in piece]] - xyz[[found["C"] for found in piece]]
        points, faces = ribbon(alpha, across / np.linalg.norm(across, axis=1, keepdims=True), steps=steps)
        meshes.append(_mesh(points, faces, "Backbone", color="@ribbon", opacity=1.0))
    return meshes


def _dots(regions: RegionGeometry, xyz: NDArray[np.float64], chosen: NDArray[np.bool_], name: str) -> Figure:
    atoms = np.flatnonzero(chosen & (regions.numbers != 1))
    x, y, z = (encoded(xyz[atoms, a]) for a in range(3))
    marker = {"size": 1.7, "color": "@mm", "opacity": 0.55, "line": {"width": 0}}
    return {
        "type": "scatter3d",
        "mode": "markers",
        "x": x,
        "y": y,
        "z": z,
        "marker": marker,
        "name": name,
        "meta": name,
        "text": _atom_texts(regions, atoms, "MM"),
        "hoverinfo": "text",
    }


def _lines(regions: RegionGeometry, xyz: NDArray[np.float64], bonds: NDArray[np.int64]) -> Figure:
    gap = np.full((len(bonds), 1, 3), np.nan)
    path = np.concatenate([xyz[bonds], gap], axis=1).reshape(-1, 3)
    gaps: list[list[float | None]] = [
        [None if np.isnan(value) else round(float(value), 3) for value in path[:, a]] for a in range(3)
    ]
    texts = _atom_texts(
        regions, np.append(bonds, bonds[:, :1], axis=1).ravel(), "MM, within 5 Å of the QM region"
    )
    return {
        "type": "scatter3d",
        "mode": "lines",
        "x": gaps[0],
        "y": gaps[1],
        "z": gaps[2],
        "text": texts,
        "line": {"width": 3.5, "color": "@pocket"},
        "name": "Pocket",
        "meta": "Pocket",
        "hoverinfo": "text",
    }


def _ball_and_stick(
    regions: RegionGeometry, xyz: NDArray[np.float64], in_qm: NDArray[np.bool_]
) -> list[Figure]:
    atoms, numbers = regions.qm, regions.numbers[regions.qm]
    radii = np.where(numbers == 1, 0.24, 0.36)
    balls, ball_faces = spheres(xyz[atoms], radii)
    colours = np.repeat([_colours.get(int(n), "#b06fb8") for n in numbers], len(balls) // max(1, len(atoms)))
    bonds = regions.bonds[in_qm[regions.bonds].all(axis=1)]
    rods, rod_faces = sticks(xyz[bonds[:, 0]], xyz[bonds[:, 1]], 0.13)
    x, y, z = (encoded(xyz[atoms, a]) for a in range(3))
    hover = {
        "type": "scatter3d",
        "mode": "markers",
        "x": x,
        "y": y,
        "z": z,
        "name": "QM region",
        "meta": "QM region",
        "marker": {"size": 9, "opacity": 0.0},
        "hoverinfo": "text",
        "text": _atom_texts(regions, atoms, "QM region"),
    }
    return [
        _mesh(rods, rod_faces, "QM region", color="@qm"),
        _mesh(balls, ball_faces, "QM region", vertexcolor=colours.tolist()),
        hover,
    ]


def _halo(regions: RegionGeometry, xyz: NDArray[np.float64]) -> list[Figure]:
    halos = []
    for core, label in zip(regions.cores, regions.core_labels, strict=True):
        points, faces = spheres(xyz[core], np.where(regions.numbers[core] == 1, 0.62, 0.92))
        halos.append(_mesh(points, faces, "Quantum core", color="@core", opacity=0.38, text=label))
    return halos


def _restraint(regions: RegionGeometry, xyz: NDArray[np.float64]) -> list[Figure]:
    if len(regions.anchors) != 6:
        return []
    x, y, z = (encoded(xyz[regions.anchors, a]) for a in range(3))
    return [
        {
            "type": "scatter3d",
            "mode": "lines+markers",
            "x": x,
            "y": y,
            "z": z,
            "name": "Restraint",
            "meta": "Restraint",
            "line": {"width": 5, "color": "@s1", "dash": "dash"},
            "marker": {"size": 4, "color": "@s1"},
            "hoverinfo": "text",
            "text": _atom_texts(regions, regions.anchors, "restraint anchor"),
        }
    ]
