"""What a committee misses of labels: stacked potentials and a `Dataset` in, `Misses` out (atomic units)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drupe.mlp.dataset import Dataset
from drupe.mlp.dispersion import check_dispersion_of
from drupe.mlp.evaluation import Apart, evaluate
from drupe.mlp.fitted import Fitted
from drupe.mlp.noise import Misses
from drupe.mlp.potential import Potential

__all__ = ["Judged", "held_out_misses", "unseen_misses"]

Array = NDArray[np.float64]


class Judged(NamedTuple):
    """Stacked members, and the zeros that their energies are compared from, ``(members,)``, hartree."""

    stack: Potential
    zeros: Array


def held_out_misses(judged: Judged, fits: Sequence[Fitted], dataset: Dataset) -> Misses:
    """Misses of each member on the frames it held out.

    Parameters
    ----------
    judged
        The members, in the order of ``fits``.
    fits
        What they were stored from.
    dataset
        Labels they were fitted to.
    """
    pairs = [(int(i), k) for k, fit in enumerate(fits) for i in fit.held_out]
    return _collect(judged, dataset, sorted(pairs))


def unseen_misses(judged: Judged, dataset: Dataset) -> Misses:
    """Misses of the committee's mean on labels that no member saw."""
    return _collect(judged, dataset, [(i, None) for i in range(dataset.n_frames)])


def _collect(judged: Judged, dataset: Dataset, pairs: Sequence[tuple[int, int | None]]) -> Misses:
    """Misses of (frame, member); member None is the mean."""
    stack = judged.stack
    check_dispersion_of(stack.header.dispersion, dataset)
    rows = _Rows(judged.zeros)
    for i, member in pairs:
        made = evaluate(stack, *dataset.frame(i), fixed_coulomb=True)
        rows.add(dataset, i, member, made.energies, made.apart(), made.features)
    return rows.whole(stack, len(dataset.numbers))


class _Rows:
    """Columns of `Misses` while they grow."""

    def __init__(self, zeros: Array) -> None:
        self.zeros = zeros
        # Several members may hold out one frame: it counts once.
        self.frames: dict[str, set[int]] = {"energy": set(), "force": set(), "mm": set()}
        self.energy: list[tuple[float, float, Array]] = []
        self.force: list[tuple[Array, Array, Array]] = []
        self.mm: list[tuple[Array, Array, Array]] = []

    def add(
        self, dataset: Dataset, i: int, member: int | None, energies: Array, apart: Apart, features: Array
    ) -> None:
        def chosen(values: Array) -> Array:
            return np.asarray(values.mean(0) if member is None else values[member])

        if dataset.has_energy[i]:
            missed = float(chosen(energies)) - float(dataset.energy[i])
            self.frames["energy"].add(i)
            self.energy.append((missed, float(np.var(energies - self.zeros, ddof=1)), features))
        if dataset.has_forces_qm[i]:
            missed_qm = chosen(apart.forces_qm) - dataset.forces_qm[i]
            self.frames["force"].add(i)
            self.force.append((missed_qm, _spread(apart.forces_qm), features[:, : len(missed_qm)]))
        count = int(dataset.mm_counts[i])
        if dataset.has_forces_mm[i] and count:
            missed_mm = chosen(apart.forces_mm) - dataset.forces_mm[i, :count]
            self.frames["mm"].add(i)
            self.mm.append((missed_mm, _spread(apart.forces_mm), apart.mm_charge))

    def whole(self, stack: Potential, atoms: int) -> Misses:
        shape = (0, stack.members, atoms, stack.header.features)
        return Misses(
            energy=np.array([row[0] for row in self.energy]),
            energy_spread=np.array([row[1] for row in self.energy]),
            energy_features=np.array([row[2] for row in self.energy]) if self.energy else np.zeros(shape),
            force=np.array([row[0] for row in self.force]).reshape(-1, atoms, 3),
            force_spread=np.array([row[1] for row in self.force]).reshape(-1, atoms),
            force_features=np.array([row[2] for row in self.force]) if self.force else np.zeros(shape),
            mm_force=np.concatenate([np.zeros((0, 3)), *(row[0] for row in self.mm)]),
            mm_spread=np.concatenate([np.zeros(0), *(row[1] for row in self.mm)]),
            mm_charge=np.concatenate([np.zeros(0), *(row[2] for row in self.mm)]),
            energy_frames=len(self.frames["energy"]),
            force_frames=len(self.frames["force"]),
            mm_frames=len(self.frames["mm"]),
        )


def _spread(forces: Array) -> Array:
    """Variance over members, mean over components; ``(members, atoms, 3)`` in, ``(atoms,)`` out."""
    return np.asarray(np.var(forces, axis=0, ddof=1).mean(-1))
