"""Frames that wait for labels: a system, a partition, a level and positions in; labels out (atomic units)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.labeling import Label, Level, label
from drupe.embedding.regions.partition import Partition
from drupe.embedding.regions.periodic import surrounding_cluster
from drupe.embedding.system import MolecularSystem
from drupe.errors import InputError
from drupe.mlp.whole_numbers import whole_numbers
from drupe.records import frozen, register

if TYPE_CHECKING:
    from drupe.mlp.acquisition import Geometry

__all__ = ["Pool", "PoolFrame", "label_frame"]


@register(version=1)
@dataclass(frozen=True, eq=False)
class Pool:
    """Frames to choose from, and how each is labelled.

    ``positions`` ``(frames, atoms, 3)`` in bohr of ``system``; ``blocks`` ``(frames,)`` the stretch of
    trajectory each was drawn from; ``partition`` and ``level`` as in `drupe.embedding.label`.
    """

    system: MolecularSystem
    partition: Partition
    level: Level
    positions: NDArray[np.float64]
    blocks: NDArray[np.int64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", frozen(self.positions, np.float64))
        object.__setattr__(self, "blocks", frozen(whole_numbers("blocks", self.blocks), np.int64))
        atoms = len(self.system.numbers)
        if self.positions.ndim != 3 or self.positions.shape[1:] != (atoms, 3):
            raise InputError(
                f"frames of shape {self.positions.shape} for a system of {atoms} atoms",
                remedy="give positions of all atoms in bohr, shape (frames, atoms, 3)",
            )
        if not np.isfinite(self.positions).all():
            raise InputError(
                f"positions of frame {np.argwhere(~np.isfinite(self.positions))[0][0]} are not finite",
                remedy="leave this frame out",
            )
        if self.blocks.shape != (len(self.positions),):
            raise InputError(
                f"{self.blocks.shape} block numbers for {len(self.positions)} frames",
                remedy="give one number per frame: the run it was drawn from",
            )

    @property
    def which(self) -> Literal["high", "low"]:
        """The energy of its labels that is learned, as `drupe.mlp.Dataset.from_labels` calls it."""
        return "low" if self.level.core is None else "high"

    def frame(self, index: int) -> MolecularSystem:
        """The system at a frame."""
        return self.system.with_positions(self.positions[index])

    def surroundings(self, index: int) -> "Geometry":
        """What a label of this frame lists of positions and charges."""
        from drupe.mlp.acquisition import Geometry

        system, qm, mm = self.frame(index), self.partition.qm, self.partition.mm_atoms
        cluster = surrounding_cluster(system, qm, self.level)
        seen = system if cluster is None else cluster.whole
        return Geometry(seen.positions[qm], seen.positions[mm], seen.charges[mm], seen.residue_runs[mm])


@register(version=1)
@dataclass(frozen=True)
class PoolFrame:
    """Settings of `label_frame`: which frame."""

    index: int


def label_frame(settings: PoolFrame, pool: Pool) -> Label:
    """Label a frame of the pool."""
    return label(pool.frame(settings.index), pool.partition, pool.level)
