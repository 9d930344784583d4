"""Files named by a user: a path in, an existing file out, or an error that says what is there instead."""

import importlib.util
from pathlib import Path

from drupe.errors import InputError

__all__ = ["existing_file", "locate", "read_text", "unreadable"]


def existing_file(path: str | Path) -> Path:
    """Return ``path`` if it is a file.

    Raises
    ------
    InputError
        If it is not there; the message lists files of that kind in the folder.
    """
    found = Path(path)
    if found.is_file():
        return found
    folder = found.parent
    remedy = "check the path"
    if folder.is_dir():
        similar = sorted(p.name for p in folder.iterdir() if p.suffix == found.suffix)[:8]
        remedy += f"; files of this kind there: {', '.join(similar) or 'none'}"
    else:
        remedy += f"; there is no folder {folder}"
    raise InputError(f"there is no file {found}", remedy=remedy)


def locate(path: str, base: Path) -> Path:
    """Find a file named in a configuration.

    Parameters
    ----------
    path
        ``package:<package>/<file inside it>``, an absolute path, or one relative to ``base``.
    base
        Folder of the configuration file.

    Raises
    ------
    InputError
        If the package is not installed, the file is not there, or the path climbs out of the package.
    """
    if not path.startswith("package:"):
        try:
            return existing_file(base / Path(path).expanduser())
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{path[:80]!r} is no usable path ({error})", remedy="give a plain path"
            ) from error
    name, _, inside = path.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"{path!r} names the package {name!r}, which is not installed",
            remedy=f"pip install {name}, or give the path of a file",
        )
    if not inside or ".." in Path(inside).parts or Path(inside).is_absolute():
        raise InputError(
            f"{path!r} does not stay inside the package", remedy="write package:<package>/<folder>/<file>"
        )
    return existing_file(Path(spec.submodule_search_locations[0]) / inside)


def read_text(path: str | Path, kind: str) -> str:
    """Read a whole text file.

    Parameters
    ----------
    path
        The file.
    kind
        What it should be, for messages, such as ``"a PDB file"``.

    Raises
    ------
    InputError
        If it is not there, empty, or not text.
    """
    found = existing_file(path)
    try:
        text = found.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{found} is not text, so it cannot be {kind}", remedy="give the file in its text format"
        ) from error
    if "\x00" in text:
        raise InputError(
            f"{found} is not text, so it cannot be {kind}", remedy="give the file in its text format"
        )
    if not text.strip():
        raise InputError(f"{found} is empty, so it cannot be {kind}", remedy="write the file again")
    return text


def unreadable(path: Path, kind: str, error: Exception) -> InputError:
    """The error for a library that could not read ``path``."""
    said = " ".join(str(error).split())[:300]
    return InputError(
        f"{path} cannot be read as {kind} ({type(error).__name__}: {said})",
        remedy="the file is damaged or of another kind; write it again with the program it came from",
    )
