import sqlite3
import subprocess
import sys

import pytest

from drupe.errors import InputError, MachineError
from drupe.store import Row, Store, read_rows


def put(store, key="t-1", content=b"result", energies=None):
    path = store.scratch / "x"
    path.write_bytes(content)
    row = Row(key, "name", "kind", "done", store.adopt(path), 1, 0, 1.0, 10.0, None)
    store.finish(row, energies)
    return row


def test_a_finished_task_is_there_after_reopening(tmp_path):
    with Store(tmp_path) as store:
        row = put(store)
    with Store(tmp_path) as store:
        assert store.row("t-1") == row
        assert store.blob_path(row.blob).read_bytes() == b"result"
        assert store.row("t-2") is None


@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_blob_is_put_aside_and_its_task_forgotten(tmp_path, damage):
    with Store(tmp_path) as store:
        path = store.blob_path(put(store, energies={"total": -1.0}).blob)
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(b"res" if damage == "cut" else b"resulT")
        assert store.row("t-1") is None
        assert store.rows() == []
        assert path.with_suffix(".damaged").exists() == (damage != "gone")


@pytest.mark.parametrize("energy", [float("nan"), float("inf"), 2e6])
def test_an_impossible_energy_is_refused_and_leaves_no_row(tmp_path, energy):
    with Store(tmp_path) as store:
        with pytest.raises(sqlite3.IntegrityError):
            put(store, energies={"total": energy})
        assert store.rows() == []


def test_a_done_row_needs_a_blob_and_a_failed_one_a_reason(tmp_path):
    with Store(tmp_path) as store:
        for state, blob, error in (("done", None, None), ("failed", None, None), ("failed", "b", "e")):
            with pytest.raises(sqlite3.IntegrityError):
                store.finish(Row("k", "n", "k", state, blob, 1, 0, 0.0, 0.0, error))


def test_a_second_driver_is_refused_while_the_first_lives(tmp_path):
    other = f"from pathlib import Path; from drupe.store import Store; Store(Path({str(tmp_path)!r}))"
    with Store(tmp_path):
        refused = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=False)
        assert "in use by another run" in refused.stderr
    subprocess.run([sys.executable, "-c", other], check=True)


def test_strays_are_swept_and_newer_schemas_refused(tmp_path):
    with Store(tmp_path) as store:
        (store.scratch / "task-1.result.part").write_bytes(b"half")
        (store.scratch / "notes.txt").write_text("not ours")
    with Store(tmp_path) as store:
        assert [path.name for path in store.scratch.iterdir()] == ["notes.txt"]
    with sqlite3.connect(tmp_path / "campaign.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(InputError, match="schema 99"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MachineError, match="cannot be written"):
        Store(tmp_path / "file" / "campaign")


def test_a_full_disk_loses_nothing_that_was_finished(tmp_path):
    with Store(tmp_path) as store:
        put(store)
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(MachineError, match="takes no more results .*full"):
            for n in range(200):
                put(store, key=f"more-{n}" + "x" * 500, content=str(n).encode())
    with Store(tmp_path) as store:
        assert store.row("t-1") is not None


def test_rows_can_be_read_while_the_campaign_runs(tmp_path):
    with Store(tmp_path) as store:
        put(store)
        assert [row.key for row in read_rows(tmp_path)] == ["t-1"]
    with pytest.raises(InputError, match="no campaign"):
        read_rows(tmp_path / "nowhere")


def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "precious.txt").write_text("mine")
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"no campaign and is not empty \(it holds thesis.tex, tmp"):
        Store(tmp_path)
    assert (tmp_path / "tmp" / "precious.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex", "tmp"]


def test_a_kill_before_the_ledger_was_made_does_not_lock_the_folder_out(tmp_path):
    with Store(tmp_path):
        pass
    (tmp_path / "campaign.sqlite").unlink()
    with Store(tmp_path) as store:
        assert store.rows() == []


def test_a_ledger_of_garbage_is_a_clear_error(tmp_path):
    (tmp_path / "campaign.sqlite").write_bytes(b"garbage" * 1000)
    for look in (Store, read_rows):
        with pytest.raises(MachineError, match="cannot be read"):
            look(tmp_path)


@pytest.mark.parametrize("inside", ["tmp/task-1", "blobs/ab", "logs/x"])
def test_folders_named_like_ours_are_not_ours(tmp_path, inside):
    (tmp_path / inside).parent.mkdir()
    (tmp_path / inside).write_text("mine")
    with pytest.raises(InputError, match="no campaign and is not empty"):
        Store(tmp_path)
    assert (tmp_path / inside).read_text() == "mine"


def test_the_database_of_another_program_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "campaign.sqlite") as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "task-1").write_text("mine")
    with pytest.raises(InputError, match="another program"):
        Store(tmp_path)
    assert (tmp_path / "tmp" / "task-1").exists()


def test_a_folder_in_place_of_the_ledger_or_of_a_stray_is_no_traceback(tmp_path):
    with Store(tmp_path / "a") as store:
        (store.scratch / "task-folder").mkdir()
    with Store(tmp_path / "a") as store:
        assert store.rows() == []
    (tmp_path / "b" / "campaign.sqlite").mkdir(parents=True)
    with pytest.raises(MachineError, match="cannot be read"):
        Store(tmp_path / "b")
    with pytest.raises(MachineError, match="cannot be written"):
        Store(tmp_path / ("x" * 400))
