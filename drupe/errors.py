"""What can go wrong: one root, three kinds by who must act. Every message has a fact and a remedy."""

__all__ = ["ConvergenceError", "DrupeError", "InputError", "MachineError"]


class DrupeError(Exception):
    """Root of the tree.

    Parameters
    ----------
    found
        The fact, in one sentence.
    remedy
        The next action of whoever reads it.
    """

    retry = False

    def __init__(self, found: str, *, remedy: str) -> None:
        self.found = found
        self.remedy = remedy
        super().__init__(found, remedy)

    def __str__(self) -> str:
        return f"{self.found}\n  -> {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        # A keyword-only exception does not survive pickling unless it says how.
        return _rebuild, (type(self), self.found, self.remedy)


class InputError(DrupeError, ValueError):
    """The caller must change what was passed in."""


class MachineError(DrupeError, RuntimeError):
    """The same call may work on other hardware or on a second try."""

    retry = True


class ConvergenceError(DrupeError, RuntimeError):
    """An iteration stopped short; looser or different settings may work."""


def _rebuild(kind: type[DrupeError], found: str, remedy: str) -> DrupeError:
    return kind(found, remedy=remedy)
