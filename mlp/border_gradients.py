"""Gradients at link atoms and charge sites in; gradients on QM and MM atoms out, as tensors for training."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drupe.mlp.border import Capped

__all__ = ["BackToAtoms"]


class BackToAtoms:
    """The chain rule of one capped frame.

    Parameters
    ----------
    capped
        The frame.
    charged
        Which of its points carry a charge, ``(c,)``: gradients are given for these.
    """

    def __init__(self, capped: Capped, charged: NDArray[np.int64]) -> None:
        self._capped, self._charged = capped, charged
        links, n_qm = len(capped.link_hosts), len(capped.positions) - len(capped.link_hosts)
        eye = np.eye(3)
        on_qm, on_mm = np.zeros((n_qm, 3, links, 3)), np.zeros((links, 3, capped.n_mm, 3))
        for k, (q, m) in enumerate(capped.link_hosts):
            on_qm[q, :, k] = eye - capped.link_slopes[k].T
            on_mm[k, :, m] = capped.link_slopes[k]
        #: What gradients at link atoms add to those on QM atoms, ``(3 qm, 3 links)``.
        self.links_on_qm = torch.from_numpy(on_qm.reshape(3 * n_qm, 3 * links))
        self._links_on_mm = torch.from_numpy(on_mm.reshape(3 * links, 3 * capped.n_mm))

    def gradients(self, on_region: Tensor, on_points: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients on QM atoms ``(qm, 3)`` and MM atoms ``(mm, 3)``.

        Parameters
        ----------
        on_region, on_points
            Shapes ``(qm + links, 3)`` and ``(c, 3)``.
        """
        everywhere = np.zeros((len(self._capped.points), 3))
        everywhere[self._charged] = on_points.numpy()
        on_qm, on_mm = self._capped.scatter(on_region.numpy(), everywhere)
        return torch.from_numpy(on_qm), torch.from_numpy(on_mm)

    def responses(self, to_region: Tensor, to_points: Tensor) -> Tensor:
        """Derivatives of gradients on MM atoms, ``(m + 3 links, 3 mm)``.

        Parameters
        ----------
        to_region
            H, ``(3 (qm + links), m)``: what z adds to the gradient on the region.
        to_points
            A, ``(m, 3 c)``: what it adds at the charges.

        Returns
        -------
        Tensor
            Rows for z, then for the network's own gradient at the link atoms.
        """
        capped = self._capped
        n_mm, count = capped.n_mm, len(to_points)
        given = to_points.reshape(count, -1, 3)
        there = self._charged < n_mm
        own = torch.from_numpy(self._charged[there])
        found = given.new_zeros(count, n_mm, 3).index_add(1, own, given[:, torch.from_numpy(there)])
        sites = torch.from_numpy(self._charged[~there] - n_mm)
        moved = given[:, torch.from_numpy(~there)]
        hosts, weights = torch.from_numpy(capped.site_hosts), torch.tensor(capped.site_weights)
        for side in range(2):
            found = found.index_add(1, hosts[sites, side], weights[sites, side, None] * moved)
        at_links = to_region[len(to_region) - len(self._links_on_mm) :]
        whole = found.reshape(count, -1) + at_links.T @ self._links_on_mm
        return torch.cat([whole, self._links_on_mm])
