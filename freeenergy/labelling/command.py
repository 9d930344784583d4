"""Run ``drupe label``: a checked input in, a store with labels, exports and a summary out."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from drupe.embedding.export import write_extxyz, write_mm_arrays, write_qcschema
from drupe.embedding.labeling import Label
from drupe.errors import MachineError
from drupe.freeenergy.inputs.built import keep_built
from drupe.freeenergy.labelling.config import LabelConfig
from drupe.freeenergy.labelling.run import Job, prepare_labels
from drupe.freeenergy.tasks.placing import engine_for, slots_for
from drupe.freeenergy.tasks.progress import Progress
from drupe.freeenergy.tasks.runner import read_result, run_graph
from drupe.store import Row, Store

__all__ = ["run_labels"]


def run_labels(config: LabelConfig, input_file: Path, folder: Path, console: Console) -> dict[str, Any]:
    """Label every frame that is not labelled yet, write the exports, and say what there is.

    Parameters
    ----------
    config
        The input.
    input_file
        Where it was read from: relative paths start there, and a copy goes into the folder.
    folder
        The store's folder.
    console
        Where progress is shown.

    Returns
    -------
    dict
        Frames asked for and done, failures by name, trajectories with their hashes, energies (hartree),
        files written: the content of ``--json``.

    Raises
    ------
    InputError, MachineError
        Before anything is written, if the input or the machine cannot do it.
    """
    job = prepare_labels(config, input_file.resolve().parent, folder)
    slots_for(config.engine)
    with Store(folder) as store:
        shutil.copyfile(input_file, store.scratch / "campaign.toml")
        (store.scratch / "campaign.toml").replace(folder / "campaign.toml")
        store.keep_fact("trajectories", _files(job))
        if job.built is not None:
            keep_built(job.built, job.subject.system, store)
        engine, placed = engine_for(config.engine, store)
        console.print(
            f"labels {config.name}: {len(job.nodes)} frames, {placed}, folder {folder}", soft_wrap=True
        )
        with Progress(job.nodes, engine.slots, console) as progress:
            rows = run_graph(
                job.nodes, {"subject": job.subject}, store, engine, progress, timeout_s=config.engine.timeout
            )
        progress.keep(store)
        try:
            written = _export(config, job, rows, store)
        except OSError as error:
            raise MachineError(
                f"the exports cannot be written into {folder} ({error.strerror})",
                remedy="free space there and run the same command again: the labels are kept",
            ) from error
    return _summary(config, job, rows, folder, written)


def _done(job: Job, rows: Mapping[str, Row], store: Store) -> Iterator[tuple[str, Label]]:
    for node in job.nodes:
        row = rows.get(node.name)
        if row is not None and row.state == "done":
            yield node.name, read_result(store, row).label


def _export(config: LabelConfig, job: Job, rows: Mapping[str, Row], store: Store) -> dict[str, str]:
    written: dict[str, str] = {}
    if not any(row.state == "done" for row in rows.values()):
        return written
    if "extxyz" in config.export.formats:
        written["extxyz"] = str(store.folder / "labels.extxyz")
        write_extxyz(store.folder / "labels.extxyz", _done(job, rows, store))
        written["mm"] = str(store.folder / "labels-mm.npz")
        write_mm_arrays(store.folder / "labels-mm.npz", _done(job, rows, store))
    if "qcschema" in config.export.formats:
        regions = job.subject.partition
        written["qcschema"] = str(store.folder / "labels.qcschema.jsonl")
        write_qcschema(
            store.folder / "labels.qcschema.jsonl",
            ((name, one, regions.charge, regions.multiplicity) for name, one in _done(job, rows, store)),
        )
    return written


def _files(job: Job) -> list[dict[str, Any]]:
    return [
        {"path": str(one.path), "sha256": one.sha256, "frames": one.n_frames, "damage": one.damage}
        for one in job.trajectories
    ]


def _summary(
    config: LabelConfig, job: Job, rows: Mapping[str, Row], folder: Path, written: dict[str, str]
) -> dict[str, Any]:
    failures = {name: json.loads(row.error) for name, row in rows.items() if row.error is not None}
    for node in job.nodes:
        if node.name not in rows:
            failures[node.name] = {
                "error": "NotRun",
                "found": f"it needs {', '.join(n for n in node.needs if n != 'subject')}, which failed",
                "remedy": "see the failure of that frame",
            }
    return {
        "name": config.name,
        "folder": str(folder),
        "frames": len(job.nodes),
        "done": sum(row.state == "done" for row in rows.values()),
        "failures": failures,
        "trajectories": _files(job),
        "exports": written,
    }
