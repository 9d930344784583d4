from dataclasses import replace

import numpy as np
import pytest

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.errors import InputError
from drupe.freeenergy.campaigns.stages import LabelledSnapshot
from drupe.mlp import Dataset
from drupe.mlp.stored import blocks_of, labels_of_store
from drupe.records import pack
from drupe.store import Row, Store

WATER = np.array([[0.0, 0.0, 0.2], [0.0, 1.43, -0.9], [0.0, -1.43, -0.9]])


@pytest.fixture(scope="module")
def made():
    """Five labels of water; the keys of all differ."""
    found = []
    for i in range(5):
        at = WATER + 0.05 * np.random.default_rng(i).normal(size=(3, 3))
        system = MolecularSystem.from_atoms([8, 1, 1], at, charges=[-0.8, 0.4, 0.4])
        found.append(label(system, Partition.select(system, qm=range(3), charge=0), Level("HF", "STO-3G")))
    return found


@pytest.fixture
def folder(tmp_path, made):
    """A campaign's snapshots, plain labels of two trajectories, a failed one, and something else."""
    records = {
        "complex/label/0": LabelledSnapshot("complex", 0, 2, made[0]),
        "complex/label/1": LabelledSnapshot("complex", 1, 0, made[1]),
        "first/7": made[2],
        "first/8": made[3],
        "second/7": made[4],
    }
    with Store(tmp_path / "c") as store:
        for name, record in records.items():
            path = store.scratch / "task-x"
            path.write_bytes(pack(record))
            row = Row(f"key of {name}", name, "labels", "done", store.adopt(path), 1, 0, 1.0, 1.0, None)
            store.finish(row)
        store.finish(replace(row, key="failed", name="first/9", state="failed", blob=None, error="{}"))
        store.finish(replace(row, key="fit", name="second/fit", kind="fit"))
    return tmp_path / "c"


def test_labels_come_with_keys_and_runs(folder, made):
    found = labels_of_store(folder)
    assert [one.name for one in found] == [
        "complex/label/0",
        "complex/label/1",
        "first/7",
        "first/8",
        "second/7",
    ]
    assert [one.key for one in found] == [one.key for one in made]
    assert blocks_of(found) == [1, 0, 2, 2, 3]
    data = Dataset.from_labels([one.label for one in found], blocks=blocks_of(found))
    assert data.summary == "5 energies, 5 QM forces, 0 MM forces, 0 slopes read"
    np.testing.assert_array_equal(data.energy, [one.energy for one in made])
    assert Dataset.from_labels(found, blocks=blocks_of(found)).key == data.key


def test_labels_are_chosen_by_key_and_by_name(folder, made):
    assert [one.name for one in labels_of_store(folder, matching="first/*")] == ["first/7", "first/8"]
    chosen = labels_of_store(folder, [made[4].key, made[1].key])
    assert [one.name for one in chosen] == ["complex/label/1", "second/7"]


def test_what_is_not_there_is_said(folder, made, tmp_path):
    with pytest.raises(InputError, match="1 of the keys have no label .* nonsense"):
        labels_of_store(folder, [made[0].key, "nonsense"])
    with pytest.raises(InputError, match=r"no finished label with a name like 'third/\*'"):
        labels_of_store(folder, matching="third/*")
    with pytest.raises(InputError, match="holds no campaign"):
        labels_of_store(tmp_path / "nowhere")
