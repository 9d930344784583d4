"""Array kernels of the 3D view: positions in angstrom go in, triangle meshes come out."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["ribbon", "spheres", "sticks"]

Vectors = NDArray[np.float64]
Mesh = tuple[Vectors, NDArray[np.int64]]


def ribbon(alpha: Vectors, across: Vectors, *, steps: int = 6, sides: int = 10) -> Mesh:
    """Smooth ribbon through a chain of alpha carbons, wide in helices and strands.

    Parameters
    ----------
    alpha
        Alpha carbons of one unbroken chain, shape ``(residues, 3)``, at least two.
    across
        Direction of the C=O bond of each residue, shape ``(residues, 3)``: along a helix axis, in
        the plane of a sheet, so it is the wide direction.
    steps, sides
        Points per residue along the chain and around it.

    Returns
    -------
    tuple
        Vertices ``(n, 3)`` and triangles ``(m, 3)``.
    """
    wide = across.copy()
    for i in range(1, len(wide)):  # a strand's C=O alternates: a ribbon must not twist by 180 degrees
        if wide[i] @ wide[i - 1] < 0.0:
            wide[i] = -wide[i]
    path, side = _spline(alpha, steps), _spline(_smooth(wide), steps)
    half_width = _spline(_half_width(alpha)[:, None], steps)
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    side -= (side * along).sum(axis=1, keepdims=True) * along
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    normal = np.cross(along, side)
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    rings = (
        path[:, None]
        + np.cos(angle)[None, :, None] * (half_width * side)[:, None]
        + 0.28 * np.sin(angle)[None, :, None] * normal[:, None]
    )
    return rings.reshape(-1, 3), _tube_faces(len(path), sides)


def spheres(centres: Vectors, radii: NDArray[np.float64], rings: int = 9) -> Mesh:
    """Spheres as one mesh: ``centres`` ``(n, 3)``, ``radii`` ``(n,)``; vertices stay grouped by sphere."""
    turns = 2 * rings
    polar = np.linspace(0.0, np.pi, rings + 1)[1:-1]
    around = np.linspace(0.0, 2.0 * np.pi, turns, endpoint=False)
    body = np.stack(
        [
            np.outer(np.sin(polar), np.cos(around)),
            np.outer(np.sin(polar), np.sin(around)),
            np.outer(np.cos(polar), np.ones(turns)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    unit = np.concatenate([body, [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]])
    top, last = len(body), (rings - 2) * turns
    k = np.arange(turns)
    after = (k + 1) % turns
    caps = [
        np.stack([np.full(turns, top), k, after], 1),
        np.stack([np.full(turns, top + 1), last + after, last + k], 1),
    ]
    faces = np.concatenate([_tube_faces(rings - 1, turns), *caps])
    points = centres[:, None] + radii[:, None, None] * unit[None]
    shifts = len(unit) * np.arange(len(centres))
    return points.reshape(-1, 3), (faces[None] + shifts[:, None, None]).reshape(-1, 3)


def sticks(starts: Vectors, ends: Vectors, radius: float, sides: int = 10) -> Mesh:
    """Open cylinders as one mesh; ``starts`` and ``ends`` have shape ``(n, 3)``."""
    along = ends - starts
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    aside = np.where(np.abs(along[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    u = np.cross(along, aside)
    u /= np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-9)
    v = np.cross(along, u)
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    circle = radius * (np.cos(angle)[:, None] * u[:, None] + np.sin(angle)[:, None] * v[:, None])
    points = np.stack([starts[:, None] + circle, ends[:, None] + circle], axis=1)  # (n, 2, sides, 3)
    shifts = 2 * sides * np.arange(len(starts))
    return points.reshape(-1, 3), (_tube_faces(2, sides)[None] + shifts[:, None, None]).reshape(-1, 3)


def _half_width(alpha: Vectors) -> NDArray[np.float64]:
    """1.25 in helices, 1.0 in strands, 0.28 in loops, from distances of alpha carbons alone."""
    width = np.full(len(alpha), 0.28)
    if len(alpha) < 5:
        return width
    third = np.linalg.norm(alpha[3:] - alpha[:-3], axis=1)
    second = np.linalg.norm(alpha[2:] - alpha[:-2], axis=1)
    for i in range(len(third)):
        if 4.5 < third[i] < 6.0 and second[i] < 6.0:
            width[i : i + 4] = 1.25
    for i in range(len(second) - 2):
        if second[i : i + 3].min() > 6.1 and width[i : i + 5].max() < 1.0:
            width[i + 1 : i + 4] = 1.0
    return width


def _smooth(vectors: Vectors) -> Vectors:
    padded = np.concatenate([vectors[:1], vectors, vectors[-1:]])
    smooth = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    unit: Vectors = smooth / np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-9)
    return unit


def _spline(points: Vectors, steps: int) -> Vectors:
    """Catmull-Rom curve through ``points``, ``steps`` points per interval."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = (np.arange(steps) / steps)[None, :, None]
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    curve = 0.5 * (
        2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return np.concatenate([curve.reshape(-1, points.shape[1]), points[-1:]])


def _tube_faces(rings: int, sides: int) -> NDArray[np.int64]:
    ring, k = np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing="ij")
    here, there = ring * sides + k, ring * sides + (k + 1) % sides
    lower = np.stack([here, there, here + sides], axis=-1)
    upper = np.stack([there, there + sides, here + sides], axis=-1)
    return np.concatenate([lower.reshape(-1, 3), upper.reshape(-1, 3)])
