"""Noise of labels from features of atoms: log-variance heads, fitted after the means (hartree, bohr, e).

Heteroscedastic Gaussian likelihood with the means held fixed: training mean and variance together spoils
the means where the variance is large (Seitzer et al., ICLR 2022, arXiv 2203.09168; with their beta of 1 the
mean is that of the squared loss); stopping the gradient into mean and features keeps them to the last bit
(Stirn et al., AISTATS 2023, arXiv 2212.09184). The likelihood has the variance noise(x) + b s(x)^2, with s
the spread of the committee, so that what the spread explains is not called noise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drupe.embedding.settings import plain_value
from drupe.records import frozen, register

__all__ = ["Misses", "Noise", "fit_noise"]

Array = NDArray[np.float64]

_RANGE = 3.0  # log-variance: how far features move it from its mean, at most
_SMALLEST = 1e-16  # of a variance, hartree^2 or (hartree/bohr)^2


class Misses(NamedTuple):
    """What a committee misses of labels it did not see, and what it knows about itself there.

    ================  ==========================  ====================================================
    field             shape                       meaning
    ================  ==========================  ====================================================
    energy            ``(e,)``                    predicted minus label, hartree
    energy_spread     ``(e,)``                    variance over members
    energy_features   ``(e, members, n, f)``      of the atoms
    force             ``(f, n, 3)``               predicted minus label, hartree/bohr
    force_spread      ``(f, n)``                  variance over members, mean over components
    force_features    ``(f, members, n, f)``
    mm_force          ``(m, 3)``                  of all MM atoms of all frames
    mm_spread         ``(m,)``
    mm_charge         ``(m,)``                    variance of a component if each QM charge had one of 1 e^2
    *_frames          scalar                      number of frames these are of: one that several members held
                                                  out counts once
    ================  ==========================  ====================================================
    """

    energy: Array
    energy_spread: Array
    energy_features: Array
    force: Array
    force_spread: Array
    force_features: Array
    mm_force: Array
    mm_spread: Array
    mm_charge: Array
    energy_frames: int
    force_frames: int
    mm_frames: int


@register(version=1)
@dataclass(frozen=True, eq=False)
class Noise:
    """Variance of label noise as a function of the features of each member.

    ``centre``, ``width`` ``(members, features)`` put features on one scale; ``energy``, ``force`` the same
    shape, weights of the log-variance of an atom's energy and of a component of its force; ``energy_base``,
    ``force_base`` its mean; ``mm_floor`` (hartree/bohr)^2 and ``mm_charge`` e^2 the variance of a force on an
    MM atom that is the same for all, and that of noise in the QM charges (of total zero).
    """

    centre: Array
    width: Array
    energy: Array
    energy_base: float
    force: Array
    force_base: float
    mm_floor: float
    mm_charge: float

    def __post_init__(self) -> None:
        for name in ("centre", "width", "energy", "force"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
        for name in ("energy_base", "force_base", "mm_floor", "mm_charge"):
            object.__setattr__(self, name, plain_value(name, float, getattr(self, name), "the noise"))

    def of_energy(self, features: Array) -> Array:
        """Variance of energies, ``(frames,)``, of features ``(frames, members, atoms, f)``."""
        return np.asarray(self._atoms(features, self.energy, self.energy_base).sum(-1))

    def of_forces(self, features: Array) -> Array:
        """Variance of a component of the force on each atom, ``(frames, atoms)``."""
        return self._atoms(features, self.force, self.force_base)

    def of_mm_forces(self, charge: Array) -> Array:
        """Variance of a component of the force on each MM atom; ``charge`` as in `Misses`."""
        return self.mm_floor + self.mm_charge * charge

    def _atoms(self, features: Array, weights: Array, base: float) -> Array:
        z = (features - self.centre[:, None]) / self.width[:, None]
        moved = _RANGE * np.tanh(np.einsum("...maf,mf->...ma", z, weights) / _RANGE)
        return np.asarray(np.exp(base + moved).mean(-2))


def fit_noise(misses: Misses) -> Noise:
    """Fit the heads by maximum likelihood, with a prior of one on the spread of each log-variance.

    Parameters
    ----------
    misses
        Of labels that the members did not see. A quantity without labels gets no noise.
    """
    given = [part for part in (misses.energy_features, misses.force_features) if len(part)]
    flat = np.concatenate([part.transpose(0, 2, 1, 3).reshape(-1, *part.shape[1::2]) for part in given])
    centre, width = flat.mean(0), flat.std(0) + 1e-6
    energy = _fit_head(
        (misses.energy_features - centre[:, None]) / width[:, None],
        misses.energy[:, None],
        misses.energy_spread,
        whole_frames=True,
    )
    force = _fit_head(
        (misses.force_features - centre[:, None]) / width[:, None],
        misses.force,
        misses.force_spread,
        whole_frames=False,
    )
    floor, charge = _fit_mm(misses)
    return Noise(centre, width, energy[0], energy[1], force[0], force[1], floor, charge)


def _fit_head(features: Array, missed: Array, spread: Array, *, whole_frames: bool) -> tuple[Array, float]:
    """Weights and base; ``missed (frames, 1)`` for whole frames, else ``(frames, atoms, 3)``."""
    members, count = features.shape[1], features.shape[3]
    if not len(missed):
        return np.zeros((members, count)), math.log(_SMALLEST)
    z = torch.from_numpy(np.ascontiguousarray(features))
    square, explained = torch.from_numpy((missed**2).sum(-1)), torch.from_numpy(np.array(spread))
    atoms = features.shape[2] if whole_frames else 1
    start = math.log(max(float((missed**2).mean()) / atoms, _SMALLEST))
    weights = torch.zeros(members, count, dtype=torch.float64, requires_grad=True)
    others = torch.tensor([start, 0.0], dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        moved = _RANGE * torch.tanh(torch.einsum("fmak,mk->fma", z, weights) / _RANGE)
        noise = torch.exp(others[0] + moved).mean(1)
        variance = (noise.sum(-1) if whole_frames else noise) + torch.exp(others[1]) * explained + _SMALLEST
        likelihood: Tensor = (missed.shape[-1] * torch.log(variance) + square / variance).sum() / 2
        # Priors of one standard deviation: features move a log-variance by 1, and log b is within 1 of 0.
        prior: Tensor = (count * (weights**2).sum() + others[1] ** 2) / 2
        return prior + likelihood

    _minimise(loss, [weights, others])
    return weights.detach().numpy(), float(others[0].detach())


def _fit_mm(misses: Misses) -> tuple[float, float]:
    if not len(misses.mm_force):
        return 0.0, 0.0
    square = torch.from_numpy((misses.mm_force**2).sum(-1))
    explained, charge = torch.from_numpy(misses.mm_spread), torch.from_numpy(misses.mm_charge)
    mean, felt = float(square.mean()) / 3, float(charge.mean())
    # Where no charge is felt (mechanical embedding), the floor carries it all.
    per_unit = mean / felt if felt > 0 else 0.0
    start = [math.log(max(mean / 10, _SMALLEST)), math.log(max(per_unit, _SMALLEST)), 0.0]
    others = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    each = misses.mm_frames / len(square)  # atoms of one frame are not independent: a frame counts as one

    def loss() -> Tensor:
        variance = others[0].exp() + others[1].exp() * charge + others[2].exp() * explained + _SMALLEST
        likelihood: Tensor = each * (3 * torch.log(variance) + square / variance).sum() / 2
        prior: Tensor = others[2] ** 2 / 2
        return likelihood + prior

    _minimise(loss, [others])
    floor, per_charge, _ = others.detach().exp().tolist()
    return floor, per_charge


def _minimise(loss: Callable[[], Tensor], parameters: list[Tensor]) -> None:
    optimiser = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(closure)  # type: ignore[no-untyped-call]
