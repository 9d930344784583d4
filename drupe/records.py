"""Frozen records whose fields are plain arrays: read-only, named by content, stored without pickle.

A record is a ``@dataclass(frozen=True, eq=False)`` that was passed through `register`. Its fields
hold numbers, strings, booleans, None, bytes, arrays, tuples of these, string-keyed mappings of
these, or other records. `pack` writes one to bytes (a safetensors file with a JSON header),
`unpack` reads it back, `content_key` names it.
"""

import base64
import dataclasses
import hashlib
import importlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import safetensors.numpy
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError

from drupe.errors import InputError

__all__ = ["content_key", "frozen", "pack", "record_key", "register", "unpack"]

T = TypeVar("T")
Step = Callable[[dict[str, Any]], dict[str, Any]]

_classes: dict[str, tuple[type[Any], int, Mapping[int, Step]]] = {}


def frozen(array: object, dtype: DTypeLike) -> NDArray[Any]:
    """Own, contiguous, read-only copy of ``array`` with ``dtype``."""
    owned = np.array(array, dtype=dtype, order="C")
    owned.flags.writeable = False
    return owned


def register(version: int = 1, upgrades: Mapping[int, Step] | None = None) -> Callable[[type[T]], type[T]]:
    """Make a dataclass storable under its class name.

    Parameters
    ----------
    version
        Schema version; raise it when a field changes.
    upgrades
        ``upgrades[n]`` takes the field dictionary of version n to version n + 1.

    Raises
    ------
    TypeError
        If another module registered a class of that name: a stored record would be read as the other.
    """

    def add(cls: type[T]) -> type[T]:
        known = _classes.get(cls.__name__)
        if known is not None and known[0].__module__ != cls.__module__:
            raise TypeError(f"{cls.__module__} and {known[0].__module__} both register a {cls.__name__}")
        _classes[cls.__name__] = (cls, version, upgrades or {})
        return cls

    return add


def content_key(kind: str, fields: Mapping[str, object]) -> str:
    """Name of a value: equal content gives an equal key on any machine.

    Parameters
    ----------
    kind
        First part of the key, usually a class name.
    fields
        What the value is made of; arrays count with dtype, shape and bytes.

    Returns
    -------
    str
        ``"<kind>-<32 hexadecimal digits of sha256>"``.
    """
    digest = hashlib.sha256()
    _feed(digest.update, kind)
    _feed(digest.update, fields)
    return f"{kind}-{digest.hexdigest()[:32]}"


def record_key(record: object) -> str:
    """Content key of a registered record."""
    name, version, fields = _parts(record)
    return content_key(name, {"version": version, **fields})


def pack(record: object) -> bytes:
    """Write a record to bytes: no pickle, the same bytes for the same content."""
    arrays: dict[str, NDArray[Any]] = {}
    tree = _encode(record, arrays)
    header = json.dumps(tree, sort_keys=True, allow_nan=True)
    data: bytes = safetensors.numpy.save(arrays, metadata={"drupe": header})
    return data


def unpack(data: bytes) -> Any:
    """Read a record written by `pack`.

    Raises
    ------
    InputError
        If the bytes are no record, name a class that nobody registered, or carry a newer schema.
    """
    try:
        arrays = safetensors.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        tree = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["drupe"])
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(
            f"{len(data)} bytes are not a stored record ({error})",
            remedy="the file is damaged or was not written by drupe; delete it and run again",
        ) from error
    try:
        return _decode(tree, arrays)
    except InputError:
        raise
    except (AttributeError, KeyError, ModuleNotFoundError, TypeError, ValueError) as error:
        raise InputError(
            f"the stored record does not hold what its kind needs ({type(error).__name__}: {error})",
            remedy="the file is damaged or edited; delete it and make it again",
        ) from error


def _parts(record: object) -> tuple[str, int, dict[str, object]]:
    name = type(record).__name__
    if name not in _classes or not dataclasses.is_dataclass(record):
        raise TypeError(f"{name} is not a registered record")
    fields = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    return name, _classes[name][1], fields


def _feed(write: Callable[[bytes], object], value: object) -> None:
    """Canonical bytes of a value: every item starts with a type tag and its length."""
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        write(b"a" + f"{array.dtype.str}{array.shape}".encode())
        write(array.tobytes())
    elif value is None or isinstance(value, bool | np.bool_):
        write(b"n" if value is None else b"t" if value else b"f")
    elif isinstance(value, int | np.integer):
        write(b"i" + str(int(value)).encode() + b";")
    elif isinstance(value, float | np.floating):
        write(b"d" + (0.0 + float(value)).hex().encode() + b";")
    elif isinstance(value, str | bytes):
        raw = value.encode() if isinstance(value, str) else value
        write((b"s" if isinstance(value, str) else b"b") + str(len(raw)).encode() + b":" + raw)
    elif isinstance(value, Mapping):
        write(b"m" + str(len(value)).encode() + b":")
        for key in sorted(value):
            _feed(write, key)
            _feed(write, value[key])
    elif isinstance(value, tuple | list):
        write(b"l" + str(len(value)).encode() + b":")
        for item in value:
            _feed(write, item)
    else:
        name, version, fields = _parts(value)
        # A record may count settings without effect as left out.
        fields = getattr(value, "content", fields)
        _feed(write, {"record": name, "version": version, "fields": fields})


def _encode(value: object, arrays: dict[str, NDArray[Any]]) -> object:
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = np.ascontiguousarray(value)
        return {"$array": name}
    if isinstance(value, np.generic):
        return _encode(value.item(), arrays)
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_encode(item, arrays) for item in value]
    if isinstance(value, Mapping):
        return {"$map": {str(key): _encode(item, arrays) for key, item in value.items()}}
    name, version, fields = _parts(value)
    return {
        "$record": name,
        "module": type(value).__module__,
        "version": version,
        "fields": {key: _encode(item, arrays) for key, item in fields.items()},
    }


def _decode(tree: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(tree, list):
        return tuple(_decode(item, arrays) for item in tree)
    if not isinstance(tree, dict):
        return tree
    if "$array" in tree:
        return frozen(arrays[tree["$array"]], arrays[tree["$array"]].dtype)
    if "$bytes" in tree:
        return base64.b64decode(tree["$bytes"])
    if "$float" in tree:
        return float(tree["$float"])
    if "$map" in tree:
        return {key: _decode(item, arrays) for key, item in tree["$map"].items()}
    return _decode_record(tree, arrays)


def _decode_record(tree: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    name, version = tree["$record"], tree["version"]
    if name not in _classes and str(tree["module"]).startswith("drupe."):
        try:
            importlib.import_module(tree["module"])  # the module registers its own records
        except ModuleNotFoundError as error:
            # A module of ours that has moved names no record; one of others' that is missing is a fault.
            if not str(error.name).startswith("drupe."):
                raise
    if name not in _classes:
        raise InputError(
            f"the stored record is of the unknown kind {name!r}",
            remedy="upgrade drupe, or import the module that defines this record before reading it",
        )
    cls, newest, upgrades = _classes[name]
    if version > newest:
        raise InputError(
            f"the stored {name} has schema {version}, this installation reads up to {newest}",
            remedy="upgrade drupe, or export the record with the version that wrote it",
        )
    fields = {key: _decode(item, arrays) for key, item in tree["fields"].items()}
    for step in range(version, newest):
        fields = upgrades[step](fields)
    return cls(**fields)
