"""What the potentials think of the frames along a switch: their memories in, a work with doubts (kT) out.

A force remembers its last evaluation, so that nothing is evaluated twice.
"""

from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np
import openmm
from numpy.typing import NDArray

from drupe.freeenergy.switches.switching import SwitchSpec, Work
from drupe.mlp.force import learned_forces
from drupe.records import frozen, register
from drupe.units import kt

__all__ = ["SwitchWatch", "WatchedWork"]

#: Looks along one switch.
_LOOKS: Final[int] = 20


@register(version=1)
@dataclass(frozen=True, eq=False)
class WatchedWork(Work):
    """A work with the doubts of the potential along its switch.

    ``part`` done of the switch (0 to 1), ``novelty`` distance from the training set (1 is its edge),
    ``sigma`` standard error of the potential's energy (kT), each ``(looks,)``; between two potentials the
    larger of both.
    """

    part: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    novelty: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sigma: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("part", "novelty", "sigma"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))


class SwitchWatch:
    """Looks at the learned forces of a mixed system while it is switched.

    Parameters
    ----------
    system
        Holds a learned force (`drupe.mlp.plugin`) or, between two potentials, both.
    spec
        The switch.
    """

    def __init__(self, system: openmm.System, spec: SwitchSpec) -> None:
        self._memories = [memory for memory, _ in learned_forces(system)]
        self._spec = spec
        self._stride = max(1, spec.n_steps // _LOOKS)
        self._rows: list[tuple[float, float, float]] = []

    def look(self, done: int) -> None:
        """Note what the potentials made of the frame of increment ``done``, every so often."""
        if (done - 1) % self._stride and done != self._spec.n_steps:
            return
        novelty, sigma = [], []
        for memory in self._memories:
            assert memory.asked is not None  # the increment needed the force
            made = memory.asked.made
            novelty.append(memory.committee.novelty_of(made))
            sigma.append(float(memory.committee.energy_error(made).sigma) / kt(self._spec.temperature_k))
        # np.max: a distance or an error that is not known makes the larger one unknown.
        self._rows.append((done / self._spec.n_steps, float(np.max(novelty)), float(np.max(sigma))))

    def seen_with(self, work: Work) -> WatchedWork:
        """Return the work together with what was seen on its way."""
        part, novelty, sigma = np.array(self._rows).reshape(-1, 3).T
        known = {one.name: getattr(work, one.name) for one in fields(Work)}
        return WatchedWork(**known, part=part, novelty=novelty, sigma=sigma)
