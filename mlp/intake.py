"""Labels that come back one by one: which make one data set, and why the others do not (atomic units).

Each is looked at alone and beside those that are there, with the checks of `Dataset.from_labels`, at a cost
that hardly grows with their number. Labels that do not fit each other make groups and the largest is taken:
one odd label, even the first, does not spoil those that come after it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.labels import Label
from drupe.errors import InputError
from drupe.mlp.dataset import Dataset
from drupe.mlp.fingerprints import known_frames
from drupe.mlp.offsets import check_offsets
from drupe.mlp.reading import core_potentials_of
from drupe.mlp.sources import Frame

__all__ = ["Intake"]


@dataclass(frozen=True, eq=False)
class _Row:
    """A label that can be read: atoms and link atoms, fingerprint ``(6,)``, energies (nan for none)."""

    label: Any
    numbers: NDArray[np.int64]
    fingerprint: NDArray[np.float64]
    energies: tuple[float, float]


_Group = dict[int, _Row]


class Intake:
    """Labels of one molecule, by the numbers of their frames.

    Parameters
    ----------
    numbers
        Atomic numbers of the molecule, in the order of its frames.
    which
        The energy that is learned, as in `Dataset.from_labels`.
    """

    def __init__(self, numbers: NDArray[np.int64], which: Literal["high", "low"]) -> None:
        self._numbers, self._which = numbers, which
        self._groups: list[_Group] = []
        self._unreadable: dict[int, InputError] = {}

    def let_in(self, frame: int, label: Any) -> None:
        """Look at a label; one of the same frame that was there goes."""
        self.leave(frame)
        try:
            row = self._read(frame, label)
        except InputError as error:
            self._unreadable[frame] = _of_frame(frame, error)
            return
        for group in self._by_size():
            if self._conflict(frame, row, group) is None:
                group[frame] = row
                return
        self._groups.append({frame: row})

    def leave(self, frame: int) -> None:
        """Forget a label."""
        self._unreadable.pop(frame, None)
        for group in self._groups:
            group.pop(frame, None)
        self._groups = [group for group in self._groups if group]

    @property
    def usable(self) -> frozenset[int]:
        """Frames whose labels make one data set."""
        return frozenset(self._by_size()[0]) if self._groups else frozenset()

    @property
    def refused(self) -> Mapping[int, InputError]:
        """Why the labels of the other frames do not belong to it."""
        found = dict(self._unreadable)
        for group in self._by_size()[1:]:
            for frame, row in group.items():
                error = self._conflict(frame, row, self._by_size()[0])
                found[frame] = error or InputError(
                    f"the label of frame {frame} did not fit those that were there when it came back",
                    remedy="label this frame again",
                )
        return found

    def _by_size(self) -> list[_Group]:
        return sorted(self._groups, key=len, reverse=True)  # of equal ones the older

    def _read(self, frame: int, label: Any) -> _Row:
        if not isinstance(label, Label | Frame):
            raise InputError(
                f"it is a {type(label).__name__}",
                remedy="return a drupe.embedding.Label or a drupe.mlp.sources.Frame",
            )
        if not np.array_equal(label.qm_numbers, self._numbers):
            raise InputError(
                f"it has the atomic numbers {label.qm_numbers.tolist()}, the frames have "
                f"{self._numbers.tolist()}",
                remedy="label the QM atoms of the frame, in their order",
            )
        alone = _dataset({frame: label}, self._which)
        energies = (
            float(alone.energy[0]) if alone.has_energy[0] else np.nan,
            float(alone.energy_low[0]) if alone.has_energy_low[0] else np.nan,
        )
        return _Row(label, alone.network_numbers, alone.prints[0], energies)

    def _conflict(self, frame: int, row: _Row, group: _Group) -> InputError | None:
        """Why a label does not fit a group; None where it does."""
        others = list(group)
        try:
            twins = known_frames(np.array([group[i].fingerprint for i in others]), row.fingerprint[None])
            if len(twins):
                raise InputError(
                    f"it is of the same geometry as that of frame {others[twins[0]]}",
                    remedy="give each snapshot once: a copy would make errors look smaller than they are",
                )
            for which in range(2):
                energies = np.array([row.energies[which], *(group[i].energies[which] for i in others)])
                there = ~np.isnan(energies)
                frames, ecp = np.array([frame, *others]), core_potentials_of([row.label])
                check_offsets(energies[there], frames[there], row.numbers, core_potentials=ecp)
            _dataset({others[0]: group[others[0]].label, frame: row.label}, self._which)
        except InputError as error:
            return _of_frame(frame, error)
        return None


def _dataset(labels: Mapping[int, Any], which: Literal["high", "low"]) -> Dataset:
    """A data set whose refusals count labels by their frames."""
    try:
        return Dataset.from_labels(labels.values(), which=which, least=1)
    except InputError as error:
        frames = list(labels)
        found = re.sub(r"(?<=\blabel )\d+", lambda place: str(frames[int(place[0])]), error.found)
        raise InputError(found, remedy=error.remedy) from None


def _of_frame(frame: int, error: InputError) -> InputError:
    return InputError(f"the label of frame {frame} cannot be used: {error.found}", remedy=error.remedy)
