"""Complexes that are built once: what makes one in, the one that was built before out of a folder's store.

Building a complex from a PDB and an SDF file takes minutes, its added hydrogens are relaxed to slightly other
places each time (with them single waters come and go), and the same command must go on with the same atoms.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drupe.records import content_key, pack, unpack
from drupe.store import Row, Store, read_rows

__all__ = ["built_key", "find_built", "keep_built"]


def built_key(files: Sequence[Path], how: dict[str, Any]) -> str:
    """Content name of a complex to be built, by its files and by how that is done."""
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return content_key("built", {"files": hashes, **how})


def keep_built(key: str, record: object, store: Store) -> None:
    """Keep a built complex for the next run of the same command."""
    if store.row(key) is not None:
        return
    path = store.scratch / "given-structure"
    path.write_bytes(pack(record))
    store.finish(Row(key, "structure", "given", "done", store.adopt(path), 1, 0, 0.0, 0.0, None))


def find_built(key: str, folder: Path | None) -> Any:
    """Look up the complex ``key`` in the store of ``folder``; None if it is not there whole."""
    if folder is None or not (folder / "campaign.sqlite").exists():
        return None
    for row in read_rows(folder):
        if row.key == key and row.blob is not None:
            path = folder / "blobs" / row.blob[:2] / row.blob
            data = path.read_bytes() if path.is_file() else b""
            if hashlib.sha256(data).hexdigest() == row.blob:
                return unpack(data)
    return None
