"""A folder of fits under way and done: a fit that was killed goes on from here, to the last bit.

Files are named by the content key of what fixes a fit (labels, specification, member, baseline, version), so
the state of another fit is never looked at. They are written whole or not at all, and hold no pickle.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from drupe.errors import InputError
from drupe.files import write_whole
from drupe.mlp.descent import DescentState
from drupe.mlp.fitted import Fitted
from drupe.records import pack, unpack

__all__ = ["FitFolder"]

log = logging.getLogger(__name__)


class FitFolder:
    """Where fits are kept.

    Parameters
    ----------
    path
        The folder; it is made when the first state is stored.
    every_s
        Seconds between stored states of a fit under way; 0 stores every step.

    Raises
    ------
    InputError
        If ``every_s`` is negative or no number, or a file is where the folder should be.
    """

    def __init__(self, path: str | Path, every_s: float = 60.0) -> None:
        if not every_s >= 0:
            raise InputError(
                f"states of a fit every {every_s} seconds", remedy="give a number of seconds from 0 on"
            )
        self.path, self.every_s = Path(path), every_s
        there = next(place for place in (self.path, *self.path.parents) if place.exists())
        if not there.is_dir():
            raise InputError(
                f"{there} is a file, and fits are kept in a folder", remedy="give the path of a folder"
            )
        self._last = time.monotonic()

    def state(self, key: str) -> DescentState | None:
        """Last stored state of the fit ``key``; None if there is none that can be used, which is logged."""
        found = self._read(self._state(key))
        if isinstance(found, DescentState) and found.fit == key:
            return found
        if found is not None:
            log.warning("%s holds the state of another fit: this fit starts anew", self._state(key))
        return None

    def save(self, state: Callable[[], DescentState]) -> None:
        """Store the state, if it is time to."""
        now = time.monotonic()
        if now - self._last < self.every_s:
            return
        made = state()
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self._state(made.fit), pack(made))
        self._last = now

    def done(self, key: str) -> Fitted | None:
        """Look up the finished fit ``key``; None if it is not finished."""
        found = self._read(self._done(key))
        return found if isinstance(found, Fitted) else None

    def finished(self) -> list[Fitted]:
        """All finished fits that are kept here, each with its learning curve (`Fitted.curve`)."""
        found = [self._read(path) for path in sorted(self.path.glob("*.done"))]
        return [one for one in found if isinstance(one, Fitted)]

    def finish(self, key: str, fitted: Fitted) -> None:
        """Store a finished fit, then drop its state."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self._done(key), pack(fitted))
        self._state(key).unlink(missing_ok=True)

    def _state(self, key: str) -> Path:
        return self.path / f"{key}.state"

    def _done(self, key: str) -> Path:
        return self.path / f"{key}.done"

    @staticmethod
    def _read(path: Path) -> object:
        if not path.is_file():
            return None
        try:
            return unpack(path.read_bytes())
        except InputError as error:
            # Nothing is lost but time: a fit that starts anew ends where this one would have ended.
            log.warning("%s cannot be read, the fit starts anew: %s", path, error.found)
            return None
