"""Files that are whole or not there at all: bytes in, a file on disk out."""

import os
import tempfile
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(target: Path, data: bytes) -> None:
    """Write a file beside its place, bring it to disk, then put it into its place in one step.

    Parameters
    ----------
    target
        The file; its folder must be there. What stood there is replaced.
    data
        The content.
    """
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
