"""What the potential thinks of the frames along a switch: its memory in, a work with doubts (kT) out.

The force remembers its last evaluation, so that nothing is evaluated twice.
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
    ``sigma`` standard error of the potential's energy (kT), each ``(looks,)``.
    """

    part: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    novelty: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sigma: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("part", "novelty", "sigma"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))


class SwitchWatch:
    """Looks at the learned force of a mixed system while it is switched.

    Parameters
    ----------
    system
        Holds one learned force (`drupe.mlp.plugin`).
    spec
        The switch.
    """

    def __init__(self, system: openmm.System, spec: SwitchSpec) -> None:
        ((self._memory, _),) = learned_forces(system)
        self._spec = spec
        self._stride = max(1, spec.n_steps // _LOOKS)
        self._rows: list[tuple[float, float, float]] = []

    def look(self, done: int) -> None:
        """Note what the potential made of the frame of increment ``done``, every so often."""
        if (done - 1) % self._stride and done != self._spec.n_steps:
            return
        asked, committee = self._memory.asked, self._memory.committee
        assert asked is not None  # the increment needed the force
        sigma = float(committee.energy_error(asked.made).sigma) / kt(self._spec.temperature_k)
        self._rows.append((done / self._spec.n_steps, committee.novelty_of(asked.made), sigma))

    def seen_with(self, work: Work) -> WatchedWork:
        """Return the work together with what was seen on its way."""
        part, novelty, sigma = np.array(self._rows).reshape(-1, 3).T
        known = {one.name: getattr(work, one.name) for one in fields(Work)}
        return WatchedWork(**known, part=part, novelty=novelty, sigma=sigma)
