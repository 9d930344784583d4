"""Labels in a store: a campaign's folder in; labels with their keys and runs out (atomic units)."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from drupe.embedding.labels import Label
from drupe.errors import InputError
from drupe.records import unpack
from drupe.store import read_rows

__all__ = ["StoredLabel", "blocks_of", "labels_of_store"]


@dataclass(frozen=True, eq=False)
class StoredLabel:
    """A label of a store.

    ``key`` is its content key, ``Label.key``: equal for the same system, partition and level on any machine;
    ``name`` what the campaign calls it; ``run`` the stretch of trajectory that its frame was drawn from.
    """

    key: str
    name: str
    run: str
    label: Label


def labels_of_store(
    folder: str | Path, keys: Collection[str] | None = None, *, matching: str = "*"
) -> list[StoredLabel]:
    """Read finished labels, in the order of their names; also while a campaign makes more of them.

    Labels are what tasks of a kind that begins with "label" returned: a `Label`, or a record that has one.

    Parameters
    ----------
    folder
        Folder of `drupe run`, of `drupe label`, or of any other store.
    keys
        Content keys of the labels that are wanted; None takes all.
    matching
        Pattern of their names, as in a shell: ``"complex/*"``.

    Raises
    ------
    InputError
        If there is no store, no label in it, or a key has none.
    """
    found = [one for one in _read(Path(folder), matching) if keys is None or one.key in keys]
    missing = sorted(set(keys or ()) - {one.key for one in found})
    if missing:
        raise InputError(
            f"{len(missing)} of the keys have no label in {folder}, the first is {missing[0]}",
            remedy="label these frames first, or leave their keys out",
        )
    if not found:
        raise InputError(
            f"{folder} has no finished label with a name like {matching!r}",
            remedy="wait until labels are done, or give another pattern; names look like complex/label/3",
        )
    return sorted(found, key=lambda one: one.name)


def blocks_of(labels: Sequence[StoredLabel]) -> list[int]:
    """Number of the run of each label: what `Dataset.from_labels` takes as blocks."""
    runs = sorted({one.run for one in labels})
    return [runs.index(one.run) for one in labels]


def _read(folder: Path, matching: str) -> Iterator[StoredLabel]:
    for row in read_rows(folder):
        if row.blob is None or not row.kind.startswith("label") or not fnmatchcase(row.name, matching):
            continue
        record = unpack((folder / "blobs" / row.blob[:2] / row.blob).read_bytes())
        label = record if isinstance(record, Label) else getattr(record, "label", None)
        if isinstance(label, Label):
            # Campaigns say which run a snapshot is of; elsewhere it is the name without the frame.
            start = row.name.rpartition("/")[0]
            run = f"{start}/{record.run}" if hasattr(record, "run") else start
            yield StoredLabel(label.key, row.name, run, label)
