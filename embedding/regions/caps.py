"""Link atoms and moved charges as functions of atoms: positions in, places and forces on atoms out (bohr).

A link atom stands on the line from its QM host to its MM host, at a fixed distance from the first; a moved
charge at a fixed linear combination of two MM atoms. Forces go back to the hosts by the chain rule.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["place_links", "scatter_forces"]

Matrix = NDArray[np.float64]
Indices = NDArray[np.int64]


def place_links(start: Matrix, end: Matrix, lengths: NDArray[np.float64]) -> tuple[Matrix, Matrix]:
    """Link atoms of cut bonds.

    Parameters
    ----------
    start, end
        QM and MM host of each, shape ``(links, 3)``, bohr.
    lengths
        Distance from the QM host, shape ``(links,)``, bohr.

    Returns
    -------
    positions, slopes
        ``(links, 3)`` bohr, and ``(links, 3, 3)`` d(link position) / d(MM host position); the QM host
        gets what is left of one.
    """
    bond = end - start
    apart = np.linalg.norm(bond, axis=1)[:, None]
    along = bond / apart
    reach = lengths[:, None]
    across = np.eye(3) - along[:, :, None] * along[:, None, :]
    return start + reach * along, (reach / apart)[:, :, None] * across


def scatter_forces(
    on_region: Matrix,
    on_points: Matrix,
    *,
    n_mm: int,
    link_hosts: Indices,
    link_slopes: Matrix,
    site_hosts: Indices,
    site_weights: Matrix,
) -> tuple[Matrix, Matrix]:
    """Forces on QM and MM atoms from those on a capped region and on charge sites.

    Parameters
    ----------
    on_region
        QM atoms, then link atoms, shape ``(qm + links, 3)``.
    on_points
        Shape ``(sites, 3)``.
    n_mm
        Number of MM atoms.
    link_hosts
        Row among the QM atoms and row among the MM atoms, ``(links, 2)``.
    link_slopes
        What `place_links` returned.
    site_hosts, site_weights
        Rows among the MM atoms, and what each counts in the position of the site, ``(sites, 2)``.

    Returns
    -------
    forces_qm, forces_mm
        Shapes ``(qm, 3)`` and ``(mm, 3)``, in the unit given. Their sum is the sum given, and their torque
        the torque given.
    """
    n_qm = len(on_region) - len(link_hosts)
    forces_qm = np.array(on_region[:n_qm])
    forces_mm = np.zeros((n_mm, 3))
    for side in range(2):
        np.add.at(forces_mm, site_hosts[:, side], site_weights[:, side, None] * on_points)
    on_links = on_region[n_qm:]
    to_mm = np.einsum("lxy,lx->ly", link_slopes, on_links)
    np.add.at(forces_mm, link_hosts[:, 1], to_mm)
    np.add.at(forces_qm, link_hosts[:, 0], on_links - to_mm)
    return forces_qm, forces_mm
