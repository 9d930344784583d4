"""All replicas of a leg at one age, as plain arrays: bohr and bohr/ps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drupe.errors import ConvergenceError, InputError
from drupe.records import frozen, register

__all__ = ["Phase", "Replicas"]


@dataclass(frozen=True, eq=False)
class Phase:
    """One replica: positions ``(atoms, 3)``, bohr; velocities, bohr/ps; box ``(3, 3)``, bohr, or None."""

    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    box: NDArray[np.float64] | None = None


@register(version=1)
@dataclass(frozen=True, eq=False)
class Replicas:
    """All replicas of a leg at one age.

    ===========  ==========================  ========  ================================================
    field        shape                       unit      note
    ===========  ==========================  ========  ================================================
    positions    ``(replicas, atoms, 3)``    bohr
    velocities   ``(replicas, atoms, 3)``    bohr/ps
    box          ``(replicas, 3, 3)``        bohr      None without a periodic box
    state_of     ``(replicas,)``             --        the state each replica goes on in
    age          scalar                      --        iterations behind all of them
    ===========  ==========================  ========  ================================================
    """

    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    box: NDArray[np.float64] | None
    state_of: NDArray[np.int64]
    age: int

    def __post_init__(self) -> None:
        for name in ("positions", "velocities"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
        if self.box is not None:
            object.__setattr__(self, "box", frozen(self.box, np.float64))
        object.__setattr__(self, "state_of", frozen(self.state_of, np.int64))
        count = len(self.state_of)
        shapes = [self.positions.shape, self.velocities.shape]
        if (
            self.positions.ndim != 3
            or shapes[0] != shapes[1]
            or len(self.positions) != count
            or self.positions.shape[2] != 3
            or (self.box is not None and self.box.shape != (count, 3, 3))
            or sorted(self.state_of.tolist()) != list(range(count))
        ):
            raise InputError(
                f"{count} replicas have positions, velocities {shapes} and states {self.state_of.tolist()}",
                remedy="pass positions and velocities of shape (replicas, atoms, 3), every state once",
            )
        if not (np.isfinite(self.positions).all() and np.isfinite(self.velocities).all()):
            raise ConvergenceError(
                f"a replica of age {self.age} holds numbers that are not finite",
                remedy="soften the schedule or take a shorter step",
            )

    @classmethod
    def of(cls, phases: "list[Phase]", state_of: NDArray[np.int64], age: int) -> "Replicas":
        """Stack single replicas."""
        boxes = [phase.box for phase in phases if phase.box is not None]
        return cls(
            np.array([phase.positions for phase in phases]),
            np.array([phase.velocities for phase in phases]),
            np.array(boxes) if boxes else None,
            state_of,
            age,
        )

    def phase(self, replica: int) -> Phase:
        """One replica by itself."""
        box = None if self.box is None else self.box[replica]
        return Phase(self.positions[replica], self.velocities[replica], box)
