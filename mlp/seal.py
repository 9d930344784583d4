"""A hash inside a model file: bytes of a stored record in, the same bytes with the hash of their content out.

It tells a file that was edited or damaged from one that was written whole. It is no signature: who means to
deceive can make it anew.
"""

import hashlib
import json
import logging
from typing import Any

from drupe.errors import InputError

__all__ = ["check_seal", "seal"]

_log = logging.getLogger(__name__)

_NAME = "sha256"
_SIZE = 8  # bytes that hold the length of the header in a safetensors file


def seal(data: bytes) -> bytes:
    """Add the hash of header and weights to what `drupe.records.pack` made."""
    header, weights = _parts(data)
    header["__metadata__"] = {**header["__metadata__"], _NAME: _digest(header, weights)}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _SIZE)  # tensors begin at a multiple of eight
    return len(text).to_bytes(_SIZE, "little") + text + weights


def check_seal(data: bytes, kind: str, since: int) -> None:
    """Refuse content that is not what was written.

    Parameters
    ----------
    data
        Bytes of a file. What is no stored record, or one of another kind, passes: reading it says so.
    kind, since
        Name of the record, and its version from which on files have a hash; older ones pass with a line in
        the log.

    Raises
    ------
    InputError
        If header or weights are not those the hash was made of, or the hash was taken out.
    """
    try:
        header, weights = _parts(data)
        kept = header["__metadata__"].get(_NAME)
        tree = json.loads(header["__metadata__"]["drupe"])
        found, version = tree["$record"], tree["version"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    if kept is None and found != kind:
        return
    if kept is None and version < since:
        _log.info("the model was written by an earlier version and has no hash: edits cannot be told")
    elif kept != _digest(header, weights):
        raise InputError(
            "the content of the model file is not what was written: its hash "
            + ("is missing" if kept is None else "does not fit"),
            remedy="the file is damaged or edited: take the original, or train and save the model again",
        )


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:_SIZE], "little")
    return json.loads(data[_SIZE : _SIZE + length]), data[_SIZE + length :]


def _digest(header: dict[str, Any], weights: bytes) -> str:
    """Of names, shapes and places of all arrays, of the JSON header, and of the weights."""
    plain = {key: value for key, value in header["__metadata__"].items() if key != _NAME}
    told = json.dumps({**header, "__metadata__": plain}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(told.encode() + b"\0" + weights).hexdigest()
