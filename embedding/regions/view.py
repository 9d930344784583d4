"""The regions of a system in 3D: system and partition in, a Plotly figure (angstrom) out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.regions.boundary import link_atoms
from drupe.embedding.regions.partition import Partition
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.units import angstrom

__all__ = ["view"]

# Colours that stay apart for readers with red-green blindness: Okabe and Ito, Color Universal Design (2008).
_MM, _QM, _LINK = "#999999", "#0072B2", "#F0E442"
_CORES = ("#D55E00", "#009E73", "#CC79A7", "#E69F00")
_FAINT = 0.35
_SIZES = {0: 2.0, 1: 3.0}
_HEAVY = 6.0


def view(system: MolecularSystem, partition: Partition, *, around: float = 5.0) -> Any:
    """Draw MM atoms, QM region, link atoms and cores, each a layer that the legend switches on and off.

    Parameters
    ----------
    system
        Positions in bohr.
    partition
        Made for this system.
    around
        MM atoms within this distance of a QM atom are drawn, angstrom.

    Returns
    -------
    plotly.graph_objects.Figure
        Save it with ``write_html``.

    Raises
    ------
    InputError
        If the partition was not made for this system, or ``around`` is negative.
    """
    import plotly.graph_objects as go
    from scipy.spatial import cKDTree

    if not around >= 0:
        raise InputError(f"around={around}", remedy="give a distance in angstrom, 0 for no MM atoms")
    partition.check_fits(system)
    points = system.positions / angstrom
    apart, _ = cKDTree(points[partition.qm]).query(points[partition.mm_atoms])
    near = partition.mm_atoms[apart <= around]
    cores = [core.indices for core in partition.cores]
    plain = np.setdiff1d(partition.qm, np.concatenate(cores)) if cores else partition.qm
    figure = go.Figure()
    _layer(figure, system, near, np.concatenate([near, partition.qm]), "MM", _MM)
    _layer(figure, system, plain, partition.qm, "QM region", _QM)
    for number, core in enumerate(partition.cores):
        name = f"core: {core.label}"
        _layer(figure, system, core.indices, partition.qm, name, _CORES[number % len(_CORES)])
    _link_layer(figure, system, partition)
    hidden = {"visible": False}
    figure.update_layout(
        scene={"xaxis": hidden, "yaxis": hidden, "zaxis": hidden, "aspectmode": "data"},
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        legend={"orientation": "h", "x": 0, "y": 0, "yanchor": "top"},
        scene_camera={"eye": {"x": 0.9, "y": 0.9, "z": 0.5}},
        height=560,
    )
    return figure


def _link_layer(figure: Any, system: MolecularSystem, partition: Partition) -> None:
    import plotly.graph_objects as go

    if len(partition.links) == 0:
        return
    points = link_atoms(system, partition.links)[0] / angstrom
    hosts = [f"link atom between {system.describe(q)} and {system.describe(m)}" for q, m in partition.links]
    x, y, z = points.T
    figure.add_trace(
        go.Scatter3d(
            x=x,
            y=y,
            z=z,
            mode="markers",
            name=f"link atoms ({len(points)})",
            marker={"size": 5.0, "color": _LINK, "line": {"color": "#000000", "width": 1}},
            text=hosts,
            hoverinfo="text",
        )
    )


def _layer(
    figure: Any,
    system: MolecularSystem,
    atoms: NDArray[np.int64],
    partners: NDArray[np.int64],
    name: str,
    colour: str,
) -> None:
    """Atoms as balls, and their bonds to ``partners`` as sticks, in one colour and one legend entry."""
    import plotly.graph_objects as go

    if len(atoms) == 0:
        return
    points = system.positions / angstrom
    own, known = np.zeros(system.n_atoms, bool), np.zeros(system.n_atoms, bool)
    own[atoms], known[partners] = True, True
    drawn = system.bonds[own[system.bonds].any(axis=1) & known[system.bonds].all(axis=1)]
    # A half stick from each own atom to the middle of its bond; None lifts the pen.
    path: list[list[float | None]] = [[], [], []]
    for i, j in np.concatenate([drawn, drawn[:, ::-1]]).tolist() if len(drawn) else []:
        if own[i]:
            for axis in range(3):
                path[axis] += [points[i, axis], float(points[i, axis] + points[j, axis]) / 2, None]
    faint = colour == _MM
    size = [_SIZES.get(int(z), _HEAVY) for z in system.numbers[atoms]]
    x, y, z = points[atoms].T
    figure.add_trace(
        go.Scatter3d(
            x=x,
            y=y,
            z=z,
            mode="markers",
            name=f"{name} ({len(atoms)} atoms)",
            legendgroup=name,
            marker={"size": size, "color": colour, "opacity": _FAINT if faint else 1.0},
            text=[system.describe(int(i)) for i in atoms],
            hoverinfo="text",
        )
    )
    figure.add_trace(
        go.Scatter3d(
            x=path[0],
            y=path[1],
            z=path[2],
            mode="lines",
            legendgroup=name,
            showlegend=False,
            opacity=_FAINT if faint else 1.0,
            line={"color": colour, "width": 2 if faint else 9},
            hoverinfo="skip",
        )
    )
