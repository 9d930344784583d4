"""Labels of the real engine (a water molecule among charges) go through data set, fit and prediction."""

import numpy as np
import pytest

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.errors import InputError
from drupe.mlp import Dataset, FitSpec, train
from drupe.mlp.training_set import prepare
from drupe.records import pack, unpack
from drupe.units import angstrom

WATER = np.array([[0.0, 0.0, 0.115], [0.0, 0.754, -0.459], [0.0, -0.754, -0.459]]) * angstrom
FIXED = np.array([-0.834, 0.417, 0.417])
AROUND = np.array([[3.2, 0.3, 0.1], [-1.0, 3.4, 1.0], [0.4, -1.2, -3.9], [0.2, 0.5, 3.6]]) * angstrom
CHARGES = np.array([0.6, -0.5, 0.4, -0.5])


@pytest.fixture(scope="module")
def water_labels():
    made = []
    for i in range(4):
        rng = np.random.default_rng(i)
        qm = WATER + 0.05 * rng.normal(size=WATER.shape)
        mm, charges = (AROUND, CHARGES) if i else (np.zeros((0, 3)), np.zeros(0))
        system = MolecularSystem.from_atoms(
            [8, 1, 1] + [0] * len(mm), np.concatenate([qm, mm]), np.concatenate([FIXED, charges])
        )
        regions = Partition.select(system, qm=[0, 1, 2], charge=0, multiplicity=1)
        made.append(label(system, regions, Level(functional="PBE", basis="def2-SVP", grid=2)))
    return made


def test_fixed_charges_explain_most_of_the_real_forces_on_charges(water_labels):
    data = Dataset.from_labels(water_labels)
    prepared = prepare(data, None, 2.0)
    for i in range(1, 4):
        full = (data.forces_mm[i] ** 2).sum()
        # A wrong sign would leave four times as much as there was.
        assert float(prepared.mm_square[i]) < 0.5 * full


def test_real_labels_train_and_predict(water_labels):
    data = Dataset.from_labels([unpack(pack(one)) for one in water_labels])
    committee = train(data, FitSpec(members=2, steps=120, features=8, layers=1, radial=6, learning_rate=0.02))
    made = committee.predict_all(data)
    zero = committee.header.energy_zero
    assert zero == pytest.approx(float(np.mean(data.energy)), abs=0.05)
    before = np.sqrt(np.mean(data.forces_qm**2))
    after = np.sqrt(np.mean([(p.forces_qm - f) ** 2 for p, f in zip(made, data.forces_qm, strict=True)]))
    assert after < 0.8 * before  # these few steps already move towards the labels
    assert committee.calibration_frames == 0  # one block: nothing was held out


def test_levels_do_not_mix(water_labels):
    other = Level(functional="PBE", basis="def2-SVP", grid=2, core="MP2")
    changed = type(water_labels[1])(**{**vars_of(water_labels[1]), "level": other})
    with pytest.raises(InputError, match="different levels"):
        Dataset.from_labels([water_labels[0], changed])
    # Without the cores it is the same level.
    assert Dataset.from_labels([water_labels[0], changed], which="low").n_frames == 2


def vars_of(record):
    return {name: getattr(record, name) for name in record.__dataclass_fields__}
