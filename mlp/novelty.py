"""How far a frame lies from the training set: features of its atoms in, a distance out (1 is the edge).

The distance is Mahalanobis' in the features that the members' networks compute anyway (latent distances:
Janet et al., Chem. Sci. 10, 7913 (2019); Gaussians on them: Zhu et al., J. Chem. Phys. 158, 164111 (2023)),
averaged over atoms and members. The edge is the conformal quantile of frames that were left out (Barber et
al., Ann. Stat. 49, 486 (2021)): of further frames like the training set's a known share lies beyond it. Large
errors do not follow from large distances, nor small ones from small distances.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from drupe.errors import InputError
from drupe.mlp.calibration import half_width_factor
from drupe.mlp.dataset import Dataset
from drupe.records import frozen, register
from drupe.units import angstrom

__all__ = ["Novelty", "alike", "refer", "shrunk_covariance"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

_BEYOND = 0.05  # share of frames like the training set's that may lie beyond the edge
_PARTS = 10  # the training set is cut into; each is judged by the others
_BOND = 1.3  # times the sum of covalent radii
_NARROW = 1e-3  # of the largest width of a feature: what hardly changed in training counts as this wide


@register(version=1)
@dataclass(frozen=True, eq=False)
class Novelty:
    """What is kept of a training set: Gaussians of the features of its atoms, and where its edge is.

    ===========  ==========================  ==================================================
    field        shape                       meaning
    ===========  ==========================  ==================================================
    kinds        ``(atoms,)``                of atoms and link atoms; those of one number share a
                                             Gaussian (`alike`)
    centre       ``(members, kinds, f)``     its mean
    whiten       ``(members, kinds, f, f)``  (x - centre) @ whiten has unit covariance
    edge         scalar                      mean squared distance; inf for too few frames
    beyond       scalar                      share of further such frames beyond the edge
    frames       scalar                      of the training set
    ===========  ==========================  ==================================================
    """

    kinds: Whole
    centre: Array
    whiten: Array
    edge: float
    beyond: float
    frames: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", frozen(self.kinds, np.int64))
        for name in ("centre", "whiten"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))

    @property
    def members(self) -> int:
        """Number of networks whose features are compared."""
        return len(self.centre)

    def of(self, features: Array) -> float:
        """Distance in units of the edge: above 1 is outside. Nan where the frames were too few for an edge.

        Parameters
        ----------
        features
            Of the atoms of one frame, ``(members, atoms, f)`` (`drupe.mlp.evaluation.Evaluation`).
        """
        if not np.isfinite(self.edge):
            return float("nan")
        centre, whiten = self._of_atoms
        apart = np.matmul((features - centre)[:, :, None], whiten)
        return float(np.sqrt((apart**2).mean() / self.edge))

    @cached_property
    def _of_atoms(self) -> tuple[Array, Array]:
        return self.centre[:, self.kinds], np.ascontiguousarray(self.whiten[:, self.kinds])


def refer(features: Array, dataset: Dataset, held_out: Sequence[Whole] = ()) -> Novelty:
    """Keep what is needed of a training set.

    The edge is measured as `Novelty.of` measures: the frames, in the order of blocks, are cut into ten
    parts, and each is compared with Gaussians of the other nine, by the members that did not see the frame
    (by all, if none held it out).

    Parameters
    ----------
    features
        Of the atoms of its frames, ``(frames, members, atoms, f)`` (`drupe.mlp.evaluation.Evaluation`).
    dataset
        The training set.
    held_out
        Frames that each member did not see, one array of indices per member; empty for none.
    """
    of_members = features.swapaxes(0, 1)
    kinds = alike(dataset.network_numbers, _places(dataset))
    judges = np.zeros((len(of_members), dataset.n_frames), bool)
    for member, frames in enumerate(held_out):
        judges[member, frames] = True
    judges[:, ~judges.any(0)] = True
    order = np.argsort(dataset.blocks, kind="stable")
    distances = np.zeros(judges.shape)
    for part in np.array_split(order, min(_PARTS, dataset.n_frames)):
        others = np.setdiff1d(order, part)
        for member, own in enumerate(of_members):
            centre, whiten = _gaussians(own[others], kinds)
            apart = np.einsum("iap,apq->iaq", own[part] - centre[kinds], whiten[kinds])
            distances[member, part] = (apart**2).mean((1, 2))
    scores = (distances * judges).sum(0) / judges.sum(0)
    made = [_gaussians(own, kinds) for own in of_members]
    return Novelty(
        kinds=kinds,
        centre=np.array([centre for centre, _ in made]),
        whiten=np.array([whiten for _, whiten in made]),
        edge=half_width_factor(scores, len(scores), 1 - _BEYOND),
        beyond=_BEYOND,
        frames=dataset.n_frames,
    )


def _places(dataset: Dataset) -> Array:
    """Positions of all the networks see, link atoms last, ``(frames, atoms, 3)``."""
    border = dataset.border
    if border is None:
        return dataset.positions
    found = []
    for i in range(dataset.n_frames):
        place, points, charges, groups, rows = dataset.frame(i)
        assert rows is not None  # a data set with a border has them
        found.append(border.cap(place, points, charges, groups, rows).positions)
    return np.array(found)


def alike(numbers: Whole, positions: Array) -> Whole:
    """Number the atoms so that those which the bonds do not tell apart have one number.

    Features do not change when like atoms trade places (a methyl group turns): one Gaussian serves them.
    Colour refinement (Weisfeiler and Leman 1968) of the graph of bonds, which are pairs nearer than 1.3 times
    the sum of their covalent radii in the median over the frames.

    Parameters
    ----------
    numbers
        Atomic numbers, ``(atoms,)``.
    positions
        ``(frames, atoms, 3)``, bohr.

    Returns
    -------
    NDArray
        Shape ``(atoms,)``, from 0 without gaps.
    """
    from ase.data import covalent_radii

    apart = np.median(np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1), axis=0)
    radii = covalent_radii[numbers] * angstrom
    bonded = apart < _BOND * (radii[:, None] + radii)
    np.fill_diagonal(bonded, False)
    found = np.unique(numbers, return_inverse=True)[1]
    while True:
        seen = [(found[i], *sorted(found[bonded[i]].tolist())) for i in range(len(found))]
        names = {name: k for k, name in enumerate(sorted(set(seen)))}
        if len(names) == found.max() + 1:
            return np.asarray(found, np.int64)
        found = np.array([names[name] for name in seen])


def shrunk_covariance(samples: Array) -> Array:
    """Covariance, shrunk towards its mean variance as much as few samples ask for.

    O. Ledoit and M. Wolf, J. Multivar. Anal. 88, 365 (2004), eqs. 13 to 15.

    Parameters
    ----------
    samples
        Shape ``(n, p)``, of mean zero.

    Returns
    -------
    NDArray
        Shape ``(p, p)``; positive definite unless all samples are zero.

    Raises
    ------
    InputError
        If there are no samples.
    """
    n, p = samples.shape
    if not n:
        raise InputError("no samples have no covariance", remedy="give two samples or more")
    plain = samples.T @ samples / n
    target = np.trace(plain) / p * np.eye(p)
    spread = ((plain - target) ** 2).sum()
    error = (((samples**2).sum(1) ** 2).sum() / n - (plain**2).sum()) / n
    share = min(error / spread, 1.0) if spread > 0 else 1.0
    return np.asarray(share * target + (1 - share) * plain)


def _gaussians(features: Array, kinds: Whole) -> tuple[Array, Array]:
    """Centres ``(kinds, f)`` and whitening maps ``(kinds, f, f)`` of features ``(frames, atoms, f)``."""
    centres, maps = [], []
    for kind in range(kinds.max() + 1):
        samples = features[:, kinds == kind].reshape(-1, features.shape[-1])
        centre, width = samples.mean(0), samples.std(0)
        width = np.maximum(width, _NARROW * max(float(width.max()), 1e-9))
        covariance = shrunk_covariance((samples - centre) / width) + 1e-9 * np.eye(len(width))
        maps.append(np.linalg.inv(np.linalg.cholesky(covariance)).T / width[:, None])
        centres.append(centre)
    return np.array(centres), np.array(maps)
