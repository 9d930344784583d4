import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.mlp import Committee, load
from drupe.mlp.seal import seal
from drupe.records import pack


def test_save_and_load_give_the_same_numbers(random_committee, scene, tmp_path):
    path = tmp_path / "ligand model ö.drupe"
    random_committee.save(path)
    again = load(path)
    here, there = random_committee.predict(*scene), again.predict(*scene)
    assert there.energy == here.energy
    assert np.array_equal(there.forces_mm, here.forces_mm)
    assert there.energy_sigma == here.energy_sigma
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # nothing half-written beside it


def test_mean_and_spread_are_of_the_members(random_committee, scene):
    made = random_committee.predict(*scene)
    assert made.energy == pytest.approx(made.member_energies.mean(), abs=1e-13)
    # sigma_factor is 2 in this committee.
    assert made.energy_sigma == pytest.approx(2 * np.std(made.member_energies, ddof=1), rel=1e-12)


def test_calibration_compares_spread_with_held_out_errors(low_fits, low_data):
    committee = Committee.from_fits(low_fits, low_data)
    assert committee.calibration_frames == sum(len(fit.held_out) for fit in low_fits) == 8
    up_and_down = 0.5 * (-1.0) ** np.arange(low_data.n_frames)
    wrong = dataclasses.replace(low_data, energy=low_data.energy + up_and_down)
    frame = low_data.frame(0)
    sigma = [Committee.from_fits(low_fits, data).predict(*frame).energy_sigma for data in (low_data, wrong)]
    assert sigma[1] == pytest.approx(0.5, rel=0.5)
    assert sigma[1] > 20 * sigma[0]


def test_a_frame_that_several_members_held_out_counts_once(low_fits, low_data):
    twice = [low_fits[0], dataclasses.replace(low_fits[1], held_out=low_fits[0].held_out)]
    scale = Committee.from_fits(twice, low_data).calibration
    assert scale.energy.frames == scale.forces_qm.frames == len(low_fits[0].held_out) == 4
    assert scale.forces_mm.frames <= 4


def test_labels_of_another_molecule_or_level_are_refused(low_fits, low_data, test_data):
    committee = Committee.from_fits(low_fits, low_data)
    carbons = dataclasses.replace(test_data, numbers=np.full(18, 6))
    for call in (committee.predict_all, committee.calibrated, committee.referred_to):
        with pytest.raises(InputError, match=r"the labels are of the atoms \[6, 6"):
            call(carbons)
    with pytest.raises(InputError, match="the labels are of the level other"):
        committee.calibrated(dataclasses.replace(test_data, level="other"))


def test_predictions_on_a_data_set_match_frame_by_frame(random_committee, low_data):
    made = random_committee.predict_all(low_data.take([0, 1]))
    single = random_committee.predict(low_data.positions[1], low_data.mm_positions[1], low_data.mm_charges[1])
    assert made[1].energy == single.energy
    assert made[0].forces_mm.shape == (0, 3)


def edited(data, old, new):
    """The same file with the JSON header changed, and without its hash."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert old in header["__metadata__"]["drupe"]
    header["__metadata__"] = {"drupe": header["__metadata__"]["drupe"].replace(old, new)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def test_a_file_of_version_1_keeps_its_factor(random_committee, scene):
    data = random_committee.to_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    tree = json.loads(header["__metadata__"]["drupe"])
    tree["version"] = 1
    del tree["fields"]["calibration"], tree["fields"]["seen"]
    tree["fields"] |= {"sigma_factor": 2.5, "calibration_frames": 7}
    header["__metadata__"] = {"drupe": json.dumps(tree)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    old = Committee.from_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    assert (old.sigma_factor, old.calibration_frames) == (2.5, 7)
    made = old.predict(*scene)
    assert made.energy_sigma == pytest.approx(2.5 * np.std(made.member_energies, ddof=1), rel=1e-12)


def test_refuses_damaged_newer_and_foreign_files(random_committee, low_data, tmp_path):
    data = random_committee.to_bytes()
    cases = {
        "cut": (data[: len(data) // 2], "hash does not fit"),
        "cut in the header": (data[:500], "not a stored record"),
        "empty": (b"", "not a stored record"),
        "units": (seal(edited(data, "hartree, bohr, e", "eV, angstrom, e")), "computes in"),
        "version": (seal(edited(data, '"version": 5', '"version": 9')), "schema 9"),
        "other": (pack(low_data), "Dataset"),
        "text": (seal(edited(data, '"epistemic": 2.0', '"epistemic": "two"')), "epistemic='two'"),
        "truth": (seal(edited(data, '"frames": 5', '"frames": true')), "frames=True"),
        "no scale": (seal(edited(data, '"noise": null', '"noise": 3')), "made of Scale, Scale, Scale, int"),
        "array": (
            seal(edited(data, '"zeros": null', '"zeros": "none"')),
            "does not hold what its kind needs",
        ),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            load(tmp_path / name)
    with pytest.raises(InputError, match="no model file"):
        load(tmp_path / "absent.drupe")
    with pytest.raises(InputError, match="no folder"):
        random_committee.save(tmp_path / "nowhere" / "m.drupe")


def reweighted(data):
    """The same file with one weight another, header and sizes as they were."""
    at = len(data) - 8
    return data[:at] + np.float64(0.123).tobytes()


def test_a_file_whose_content_was_changed_consistently_is_refused(random_committee, tmp_path):
    data = random_committee.to_bytes()
    level = edited(data, '"level": "toy"', '"level": "CCSD(T)"')
    Committee.from_bytes(seal(level))  # nothing but the hash is wrong with it
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    metadata = header["__metadata__"]
    metadata["drupe"] = metadata["drupe"].replace('"level": "toy"', '"level": "CCSD(T)"')
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    kept = len(text).to_bytes(8, "little") + text + data[8 + size :]
    for name, content, message in (
        ("header", kept, "hash does not fit"),
        ("weights", reweighted(data), "hash does not fit"),
        ("no hash", level, "hash is missing"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            load(tmp_path / name)


@pytest.mark.parametrize("name", ["committee-v1.drupe", "committee-v5.drupe"])
def test_files_of_versions_without_a_hash_are_read_and_the_log_says_so(name, caplog):
    with caplog.at_level("INFO", logger="drupe.mlp.seal"):
        old = load(Path(__file__).parent / "data" / name)
    assert "has no hash" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO", logger="drupe.mlp.seal"):
        again = Committee.from_bytes(old.to_bytes())
    assert not caplog.text
    assert again.key == old.key


def test_refuses_members_that_do_not_belong_together(random_members):
    one, two = random_members[0].stored(), random_members[1].stored()
    other = dataclasses.replace(two, header=dataclasses.replace(two.header, level="else"))
    with pytest.raises(InputError, match="headers differ"):
        Committee((one, other))


def test_refuses_points_that_are_no_rows_of_three(random_committee, scene):
    qm, _, charges = scene
    with pytest.raises(InputError, match=r"positions of shape \(7,\) are not three numbers each"):
        random_committee.predict(qm, np.zeros(7), charges)
    with pytest.raises(InputError, match="do not fit"):
        random_committee.predict(qm, np.zeros((59, 3)), charges)


def test_refuses_weights_of_another_shape(random_members, scene):
    one = random_members[0].stored()
    cut = {name: value[..., :-1] for name, value in one.weights.items()}
    with pytest.raises(InputError, match="do not fit the stored header"):
        Committee((dataclasses.replace(one, weights=cut),)).predict(*scene)


def test_a_committee_of_the_first_version_is_read_and_predicts_the_same():
    """Written before backbones had settings: header version 1."""
    old = load(Path(__file__).parent / "data" / "committee-v1.drupe")
    assert old.header.settings is None
    qm = np.array([[0, 0, 0.2], [0, 1.4, -0.9], [0, -1.4, -0.9]])
    made = old.predict(qm, np.array([[4.0, 1, 0], [0, 0, 5.0]]), np.array([0.5, -0.5]))
    assert made.energy == pytest.approx(-75.98942470419891, abs=1e-13)  # what the first version printed


def test_the_spread_of_energies_is_counted_from_the_zeros_of_the_members(random_committee, scene):
    plain = random_committee.predict(*scene)
    zeros = plain.member_energies - plain.member_energies.mean()
    apart = dataclasses.replace(random_committee, zeros=zeros).predict(*scene)
    assert apart.energy == plain.energy
    assert np.array_equal(apart.member_energies, plain.member_energies)
    assert plain.energy_sigma > 1e-6
    assert apart.energy_sigma == pytest.approx(0.0, abs=1e-12)
    again = Committee.from_bytes(dataclasses.replace(random_committee, zeros=zeros).to_bytes())
    assert np.array_equal(again.zeros, zeros)
    with pytest.raises(InputError, match=r"zeros of the shape \(1,\)"):
        dataclasses.replace(random_committee, zeros=zeros[:1])


def test_a_committee_knows_the_zeros_of_its_training_set(random_committee, low_data):
    found = random_committee.referred_to(low_data).zeros
    energies = np.array([one.member_energies for one in random_committee.predict_all(low_data)])
    np.testing.assert_allclose(found, energies.mean(axis=0) - energies.mean(), atol=1e-12)
