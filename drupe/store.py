"""The campaign folder: one SQLite ledger of finished tasks, and immutable blobs named by sha256.

A result is a file first (written aside, synced, renamed), then a row; a kill between the two leaves
a stray blob and no row, never a row without its blob. There is one writer, the driver, held by a
lock. The journal is SQLite's rollback journal on every disk: a campaign writes some hundred rows,
so write-ahead logging would save nothing, and it is unsafe on network disks.
"""

import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from drupe.errors import InputError, MachineError

__all__ = ["Row", "Store"]

SCHEMA: Final[int] = 1
#: Marks a database as a campaign's ledger ("DRUP").
APPLICATION: Final[int] = 0x44525550

#: What we leave in the tmp folder when we are killed.
_SCRATCH: Final = ("task-*", "given-*", "campaign.toml")

_TABLES: Final[str] = """
CREATE TABLE tasks (
    key       TEXT PRIMARY KEY,
    name      TEXT NOT NULL,
    kind      TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('done', 'failed')),
    blob      TEXT CHECK ((state = 'done') = (blob IS NOT NULL)),
    attempts  INTEGER NOT NULL CHECK (attempts >= 0),
    losses    INTEGER NOT NULL CHECK (losses >= 0),
    seconds   REAL NOT NULL CHECK (seconds >= 0),
    peak_mb   REAL NOT NULL CHECK (peak_mb >= 0),
    error     TEXT CHECK ((state = 'failed') = (error IS NOT NULL))
);
CREATE TABLE energies (
    task      TEXT NOT NULL REFERENCES tasks (key),
    term      TEXT NOT NULL,
    hartree   REAL NOT NULL CHECK (abs(hartree) < 1e6),
    PRIMARY KEY (task, term)
);
CREATE TABLE facts (
    name      TEXT PRIMARY KEY,
    value     TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class Row:
    """One finished task: what the ledger says of it."""

    key: str
    name: str
    kind: str
    state: Literal["done", "failed"]
    blob: str | None
    attempts: int
    losses: int
    seconds: float
    peak_mb: float
    error: str | None


class Store:
    """Results of one campaign, by content key.

    Parameters
    ----------
    folder
        The campaign folder; made when it is not there.

    Raises
    ------
    InputError
        If the folder was written by a newer version, or holds something that is no campaign.
    MachineError
        If another driver holds it, it cannot be written, or its ledger is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder / "tmp"
        self._blobs = folder / "blobs"
        try:
            _refuse_foreign(folder)
            for path in (folder, self.scratch, self._blobs):
                path.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / "LOCK").open("a+")
        except OSError as error:
            raise MachineError(
                f"the campaign folder {folder} cannot be written ({error.strerror})",
                remedy="choose another folder with --folder, or make this one writable",
            ) from error
        self._take_lock()
        try:
            self._db = sqlite3.connect(folder / "campaign.sqlite", isolation_level=None)
        except sqlite3.DatabaseError as error:
            self._lock.close()
            raise _damaged(folder, error) from error
        try:
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._open_schema()
        except InputError:
            self.close()
            raise
        except sqlite3.DatabaseError as error:
            self.close()
            raise _damaged(folder, error) from error
        for pattern in _SCRATCH:  # only now: the ledger says that the folder is ours
            for stray in self.scratch.glob(pattern):
                if stray.is_file():
                    stray.unlink()

    def close(self) -> None:
        """Give the campaign free for another driver."""
        self._db.close()
        self._lock.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def row(self, key: str) -> Row | None:
        """The row of a task, if it is finished and its blob is whole.

        A blob that is missing or does not hash to its name is put aside as ``*.damaged`` and its
        row is dropped, so that the task runs again.
        """
        found = self._db.execute("SELECT * FROM tasks WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        row = Row(*found)
        if row.blob is None or self._is_whole(row.blob):
            return row
        damaged = self.blob_path(row.blob)
        if damaged.exists():
            damaged.replace(damaged.with_suffix(".damaged"))
        with self._transaction():
            self._db.execute("DELETE FROM energies WHERE task = ?", (key,))
            self._db.execute("DELETE FROM tasks WHERE key = ?", (key,))
        return None

    def rows(self) -> list[Row]:
        """Every row, in the order in which the tasks finished."""
        return [Row(*found) for found in self._db.execute("SELECT * FROM tasks ORDER BY rowid")]

    def adopt(self, path: Path) -> str:
        """Take a finished file over as a blob and return its name (sha256); the file is moved."""
        try:
            name = _sha256(path)
            with path.open("rb") as file:
                os.fsync(file.fileno())
            target = self.blob_path(name)
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            raise self._full(error) from error
        return name

    def blob_path(self, name: str) -> Path:
        """Where the blob of that name lies."""
        return self._blobs / name[:2] / name

    def finish(self, row: Row, energies: Mapping[str, float] | None = None) -> None:
        """Write a finished task's row, and the energies (hartree) of its record, in one transaction."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.key, row.name, row.kind, row.state, row.blob,
                    row.attempts, row.losses, row.seconds, row.peak_mb, row.error,
                ),
            )  # fmt: skip
            self._db.executemany(
                "INSERT OR REPLACE INTO energies VALUES (?, ?, ?)",
                [(row.key, term, value) for term, value in (energies or {}).items()],
            )

    def fact(self, name: str) -> object:
        """A small JSON value kept beside the tasks, or None."""
        found = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def keep_fact(self, name: str, value: object) -> None:
        """Keep a small JSON value beside the tasks."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise self._full(error) from error
            raise

    def _full(self, error: Exception) -> MachineError:
        return MachineError(
            f"{self.folder} takes no more results ({error})",
            remedy="free space there and run the same command again: what is finished is kept",
        )

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise MachineError(
                f"the campaign {self.folder} is in use by another run (process {holder})",
                remedy="wait for it, stop it, or give this run another folder with --folder",
            ) from error
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    def _open_schema(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        mark = self._db.execute("PRAGMA application_id").fetchone()[0]
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and mark != APPLICATION:
            raise InputError(
                f"{self.folder / 'campaign.sqlite'} is the database of another program",
                remedy="give a new folder with --folder",
            )
        if version > SCHEMA:
            raise InputError(
                f"{self.folder} has schema {version}, this installation reads up to {SCHEMA}",
                remedy="upgrade drupe, or start a new campaign folder",
            )
        if version == 0:
            self._db.executescript(
                f"BEGIN; {_TABLES} PRAGMA application_id = {APPLICATION}; "
                f"PRAGMA user_version = {SCHEMA}; COMMIT;"
            )

    def _is_whole(self, name: str) -> bool:
        path = self.blob_path(name)
        return path.exists() and _sha256(path) == name


def read_rows(folder: Path) -> list[Row]:
    """Read a campaign's rows without taking its lock: for looking on while it runs.

    Raises
    ------
    InputError
        If there is no campaign in ``folder``.
    """
    path = folder / "campaign.sqlite"
    if not path.exists():
        raise InputError(
            f"{folder} holds no campaign (no campaign.sqlite)",
            remedy="give the folder that `drupe run` printed when it started",
        )
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)) as db:
        try:
            return [Row(*found) for found in db.execute("SELECT * FROM tasks ORDER BY rowid")]
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []  # the run is just making its ledger
            raise _damaged(folder, error) from error
        except sqlite3.DatabaseError as error:
            raise _damaged(folder, error) from error


def _refuse_foreign(folder: Path) -> None:
    """A campaign is made in a folder of its own: nothing of anybody else's may come near the sweep."""
    if not folder.is_dir() or (folder / "campaign.sqlite").exists():
        return
    # Killed before its ledger was made, a campaign leaves a lock and two empty folders.
    foreign = sorted(
        path.name
        for path in folder.iterdir()
        if not (path.name == "LOCK" or (path.name in ("tmp", "blobs") and not any(path.iterdir())))
    )
    if foreign:
        raise InputError(
            f"{folder} is no campaign and is not empty (it holds {', '.join(foreign[:4])})",
            remedy="give a new folder with --folder, or that of an earlier run",
        )


def _damaged(folder: Path, error: sqlite3.DatabaseError) -> MachineError:
    return MachineError(
        f"the ledger {folder / 'campaign.sqlite'} cannot be read ({error})",
        remedy="restore it from a backup, or start in a new folder with --folder",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
