"""Errors of scripts as two lines for people: what was found and what to do."""

from collections.abc import Callable

from drupe.errors import DrupeError

__all__ = ["run_plainly"]


def run_plainly(main: Callable[[], object]) -> None:
    """Call a script's main function; exit status 1 with the error's words where it was refused."""
    try:
        main()
    except DrupeError as error:
        raise SystemExit(str(error)) from error
