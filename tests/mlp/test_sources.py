"""Data sets from arrays and from the files that labels are exported to."""

import dataclasses

import numpy as np
import pytest

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.embedding.export import write_extxyz, write_mm_arrays
from drupe.errors import InputError
from drupe.mlp import Dataset, TransferSpec
from drupe.mlp.extxyz import frames_of_extxyz
from drupe.mlp.potential import Potential
from drupe.mlp.sources import frames_of_arrays
from drupe.mlp.transfer import transfer_member
from drupe.units import angstrom, ev


@pytest.fixture(scope="module")
def water_labels():
    """Three labels of water with a core and its exact forces, beside one charge."""
    return three_labels("exact")


def three_labels(forces, **others):
    level = Level("LDA,VWN", "STO-3G", grid=0, core="MP2", virtual_shells=None, forces=forces, **others)
    made = []
    for i in range(3):
        places = angstrom * np.array(
            [[0, 0, 0.12], [0, 0.76 + 0.01 * i, -0.47], [0, -0.76, -0.47], [0.4, 2.6, 0.3]]
        )
        charges = np.array([-0.8, 0.4, 0.4, 1.0])
        system = MolecularSystem.from_atoms(np.array([8, 1, 1, 11]), places, charges, [(0, 1), (0, 2)])
        regions = Partition.select(system, qm=[0, 1, 2], charge=0, cores=[[0, 1, 2]])
        made.append(label(system, regions, level))
    return made


NUMBERS = np.array([8, 1, 1])
PLACES = np.random.default_rng(3).normal(size=(4, 3, 3))


def test_what_an_array_lacks_is_masked():
    forces = [None, *np.ones((3, 3, 3))]
    frames = frames_of_arrays(
        NUMBERS, PLACES, level="known", energies=[-76.0, None, -76.1, -76.2], forces=forces
    )
    data = Dataset.from_labels(frames)
    assert data.has_energy.tolist() == [True, False, True, True]
    assert data.has_forces_qm.tolist() == [False, True, True, True]
    assert not data.has_energy_low.any()
    assert data.summary == "3 energies, 3 QM forces, 0 MM forces, 0 slopes read"
    assert (data.mm_counts == 0).all()


def test_an_exported_label_comes_back(water_labels, tmp_path):
    named = [(f"frame-{i}", one) for i, one in enumerate(water_labels)]
    write_extxyz(tmp_path / "labels.extxyz", named)
    write_mm_arrays(tmp_path / "labels-mm.npz", named)
    frames = frames_of_extxyz(tmp_path / "labels.extxyz", surroundings=tmp_path / "labels-mm.npz")
    found, wanted = Dataset.from_labels(frames), Dataset.from_labels(water_labels)
    # 1e-7: an extended xyz file has eight decimals.
    assert wanted.frame(0)[3].tolist() == [0]
    numbers = ("energy", "energy_low", "forces_qm", "forces_mm", "mm_groups")
    for name in ("positions", "mm_positions", "mm_charges", *numbers):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=1e-7)
    assert found.fixed_charges == pytest.approx(wanted.fixed_charges)
    assert found.has_forces_mm.all()
    low = frames_of_extxyz(tmp_path / "labels.extxyz", energy="LOW_energy", forces="LOW_forces", level="PBE")
    assert [one.forces_qm for one in low] == [None] * len(low)
    assert low[0].energy == pytest.approx(water_labels[0].energy_low, abs=1e-7)


def test_a_file_says_whose_energy_and_forces_it_has(tmp_path):
    plain = three_labels("low", charge_radii={"default": 1.0, "Na": 2.0})
    path = tmp_path / "labels.extxyz"
    write_extxyz(path, [(f"frame-{i}", one) for i, one in enumerate(plain)])
    low_name = plain[0].level.low_name  # with quotes and brackets in it
    assert "charge_radii=" in low_name
    low = Dataset.from_labels(frames_of_extxyz(path, energy="LOW_energy", forces="LOW_forces"))
    assert (low.level, low.level_low) == (low_name, low_name)
    assert low.energy == pytest.approx([one.energy_low for one in plain], abs=1e-7)
    assert low.has_forces_qm.all()
    both = frames_of_extxyz(path, forces="LOW_forces")
    high = Dataset.from_labels(both)
    assert high.level_low == low_name != high.level
    assert not high.has_forces_qm.any()  # they are not the slope of that energy
    again = Dataset.from_labels(both, which="low")
    assert again.level == low_name
    assert again.has_forces_qm.all()
    assert again.energy == pytest.approx(low.energy)
    words = path.read_text().replace("REF_energy", "energy").splitlines()
    words[2] = words[2].replace(words[2].split()[-1], "many")
    path.write_text("\n".join(words).replace("q_mm:R:1", "q_mm:S:1") + "\n")
    with pytest.raises(InputError, match="the column q_mm of frame 0 of .* has text in it"):
        frames_of_extxyz(path, energy="LOW_energy")


def test_files_that_lack_something_are_refused(water_labels, tmp_path):
    named = [(f"frame-{i}", one) for i, one in enumerate(water_labels)]
    path = tmp_path / "labels.extxyz"
    write_extxyz(path, named)
    with pytest.raises(InputError, match="has energy_of_nothing or forces_of_nothing"):
        frames_of_extxyz(path, energy="energy_of_nothing", forces="forces_of_nothing")
    write_mm_arrays(tmp_path / "other.npz", named[:1])
    with pytest.raises(InputError, match="surroundings of frame frame-1"):
        frames_of_extxyz(path, surroundings=tmp_path / "other.npz")
    path.write_text("3\nno header\n")
    with pytest.raises(InputError, match="cannot be read as extended xyz"):
        frames_of_extxyz(path)
    bare = tmp_path / "bare.extxyz"
    bare.write_text("2\nProperties=species:S:1:pos:R:3 energy=-1.0\nH 0 0 0\nH 0 0 0.7\n")
    with pytest.raises(InputError, match="do not name functional, basis and core"):
        frames_of_extxyz(bare)
    (one,) = frames_of_extxyz(bare, level="known", energy="energy")
    assert one.energy == pytest.approx(-1.0 * ev)
    assert one.qm_positions[1, 2] == pytest.approx(0.7 * angstrom)


@pytest.mark.parametrize(("unit", "allowed"), [(1.0, True), (1 / ev, False)])
def test_an_energy_in_another_unit_is_refused(unit, allowed):
    energies = [-76.1, -76.2, -76.15, -76.12 * unit]
    frames = frames_of_arrays(NUMBERS, PLACES, level="known", energies=energies)
    if allowed:
        assert Dataset.from_labels(frames).has_energy.all()
    else:
        with pytest.raises(InputError, match="energy of label 3 is .* eV per atom away"):
            Dataset.from_labels(frames)


def test_nothing_to_learn_is_refused():
    with pytest.raises(InputError, match="none of the 4 labels has an energy"):
        Dataset.from_labels(frames_of_arrays(NUMBERS, PLACES, level="known"))


def test_a_transfer_needs_both_energies(low_data, low_fits):
    high = dataclasses.replace(low_data, has_energy_low=np.zeros(low_data.n_frames, bool))
    with pytest.raises(InputError, match="do not say their low-level energy"):
        transfer_member(Potential.from_stored(low_fits[0].stored), high, low_data, TransferSpec(steps=2))


def test_charges_need_fixed_charges():
    with pytest.raises(InputError, match="need positions, charges and the fixed"):
        frames_of_arrays(NUMBERS, PLACES, level="known", mm_charges=[np.zeros(1)] * 4)
    with pytest.raises(InputError, match="3 entries for 4 frames"):
        frames_of_arrays(NUMBERS, PLACES, level="known", energies=[0.0] * 3)


def test_groups_of_arrays_are_kept_and_unknown_ones_stay_unknown():
    around = {
        "fixed_charges": np.array([-0.8, 0.4, 0.4]),
        "mm_positions": [9 + np.eye(3)] * 4,
        "mm_charges": [np.array([0.2, -0.1, -0.1])] * 4,
    }
    groups = [np.array([7, 7, 9])] * 4
    given = {"level": "known", "energies": [-76.0, -76.1, -76.2, -76.3], **around}
    known = Dataset.from_labels(frames_of_arrays(NUMBERS, PLACES, mm_groups=groups, **given))
    assert known.frame(2)[3].tolist() == [7, 7, 9]
    assert Dataset.from_labels(frames_of_arrays(NUMBERS, PLACES, **given)).frame(2)[3] is None


@pytest.mark.parametrize("name", ["PBE-d3bj", "pbe-D4", "B3LYP-d3bj", "HF-d3bj", "none", "unknown", None])
def test_dispersion_with_a_meaning_is_read(name):
    (one, *_) = frames_of_arrays(NUMBERS, PLACES, level="known", dispersion=name)
    assert one.dispersion == name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("foo", None),
        ("foo-d3bj", None),
        ("", None),
        ("PEB-d3bj", "PBE-d3bj"),
        ("B3LPY-d4", "B3LYP-d4"),
        ("PBE", "PBE-d3bj"),
        ("PBE-d3", "PBE-d3bj"),
        ("None", "none"),
    ],
)
def test_dispersion_that_names_nothing_is_refused_with_what_was_meant(name, meant):
    with pytest.raises(InputError, match="names no functional with a dispersion model") as raised:
        frames_of_arrays(NUMBERS, PLACES, level="known", dispersion=name)
    assert ("did you mean" in raised.value.remedy) == (meant is not None)
    assert meant is None or f"did you mean {meant!r}?" in raised.value.remedy


def test_a_total_charge_can_be_given_and_a_neutral_one_is_not_taken_silently(caplog):
    given = {"level": "known", "energies": [-76.0, -76.1, -76.2, -76.3]}
    assert Dataset.from_labels(frames_of_arrays(NUMBERS, PLACES, **given)).total_charge == 0
    assert "no fixed charges are given: the molecule is taken as neutral" in caplog.text
    caplog.clear()
    ion = Dataset.from_labels(frames_of_arrays(NUMBERS, PLACES, total_charge=-1, **given))
    assert ion.total_charge == -1
    assert ion.fixed_charges == pytest.approx(np.full(3, -1 / 3))
    own = np.array([-0.8, 0.4, 0.4])
    frames_of_arrays(NUMBERS, PLACES, fixed_charges=own, total_charge=0, **given)
    assert not caplog.text
    with pytest.raises(InputError, match="add to 0.00000 e, and total_charge is 1"):
        frames_of_arrays(NUMBERS, PLACES, fixed_charges=own, total_charge=1, **given)


def test_a_total_charge_can_be_given_for_files_too(tmp_path, caplog):
    path = tmp_path / "ion.extxyz"
    path.write_text("2\nProperties=species:S:1:pos:R:3 REF_energy=-2000.0\nO 0 0 0\nH 0 0 0.97\n")
    (one,) = frames_of_extxyz(path, level="known", total_charge=-1)
    assert one.qm_fixed_charges.sum() == pytest.approx(-1)
    assert not caplog.text
    assert not frames_of_extxyz(path, level="known")[0].qm_fixed_charges.any()
    assert caplog.text.count("taken as neutral") == 1


ION = "2\nProperties=species:S:1:pos:R:3 frame=f0 {} REF_energy={}\nO 0 0 0\nH 0 0 0.97\n"


@pytest.mark.parametrize("box", ['pbc="T T T" Lattice="9 0 0 0 9 0 0 0 9"', 'Lattice="9 0 0 0 9 0 0 0 9"'])
def test_periodic_frames_are_refused_unless_they_say_that_images_do_not_matter(tmp_path, box):
    path = tmp_path / "box.extxyz"
    path.write_text(ION.format(box, -2000.0))
    with pytest.raises(InputError, match="frame 0 of .*box.extxyz is periodic"):
        frames_of_extxyz(path, level="known")
    path.write_text(ION.format(box.replace('pbc="T T T"', "") + ' pbc="F F F"', -2000.0))
    assert len(frames_of_extxyz(path, level="known")) == 1


@pytest.mark.parametrize("energy", ["abc", "T", '"1 2 3"'])
@pytest.mark.parametrize("name", ["REF_energy", "energy"])
def test_an_energy_in_a_file_that_is_no_number_is_refused(tmp_path, energy, name):
    path = tmp_path / "ion.extxyz"
    path.write_text(ION.format("", -2000.0) + ION.format("", energy).replace("REF_energy", name))
    with pytest.raises(InputError, match=f"{name} of frame 1 of .*ion.extxyz is .*, not a number"):
        frames_of_extxyz(path, level="known", energy=name)


def damaged(how, path):
    """Surroundings of the frame of `ION`, damaged."""
    held = {"f0/positions": 5 + np.eye(3), "f0/charges": np.zeros(3)}
    if how == "no charges":
        del held["f0/charges"]
    if how == "text":
        held["f0/charges"] = np.array(["a", "b", "c"])
    np.savez(path, **held)
    data = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    if how == "cut off":
        path.write_bytes(data[: len(data) // 2])
    if how == "flipped":  # a bit of the first position
        at = data.index(np.float64(6.0).tobytes())
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    if how == "one array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("empty", "cannot be read"),
        ("cut off", "cannot be read"),
        ("flipped", "cannot be read .*CRC"),
        ("one array", "cannot be read .*one array"),
        ("no charges", "it has no f0/charges"),
        ("text", "f0/charges in .* holds no numbers"),
    ],
)
def test_damaged_surroundings_are_refused_by_name(tmp_path, how, message):
    path, around = tmp_path / "ion.extxyz", tmp_path / "around.npz"
    path.write_text(ION.format("", -2000.0))
    damaged(how, around)
    with pytest.raises(InputError, match=message) as raised:
        frames_of_extxyz(path, level="known", surroundings=around)
    assert str(around) in raised.value.found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numbers": ["O", "H", "H"]}, "'O' is among those given"),
        ({"numbers": [8.5, 1, 1]}, "8.5 is among those given"),
        ({"numbers": [300, 1, 1]}, "no element has the atomic number 300"),
        ({"numbers": [[8, 1, 1]] * 4}, "atomic numbers have shape"),
        ({"energies": np.full((4, 1), -76.0)}, "the energy of frame 0 is .*, not a number"),
        ({"energies_low": ["-76 hartree"] * 4}, "the low energy of frame 0 is"),
        ({"slopes": np.zeros((4, 2))}, "one of them is missing"),
        ({"mm_groups": [np.array([0.2, 0.6])] * 4}, "mm_groups are whole numbers, and 0.2"),
        ({"mm_charges": [np.zeros((2, 1))] * 4}, "mm_charges of a frame has shape"),
    ],
)
def test_arrays_of_another_kind_or_shape_are_refused(changes, message):
    around = {
        "fixed_charges": np.zeros(3),
        "mm_positions": [9 + np.eye(3)[:2]] * 4,
        "mm_charges": [np.zeros(2)] * 4,
    }
    given = {"numbers": NUMBERS, "level": "known", **around, **changes}
    with pytest.raises(InputError, match=message):
        frames_of_arrays(positions=PLACES, **given)


def test_arrays_may_have_low_energies_and_derivatives_along_directions():
    directions = np.random.default_rng(5).normal(size=(4, 2, 3, 3))
    directions /= np.linalg.norm(directions, axis=(2, 3), keepdims=True)
    given = {
        "level": "known",
        "energies": [-76.0, -76.1, -76.2, -76.3],
        "energies_low": [-75.0, None, -75.2, -75.3],
        "directions": [None, *directions[1:]],
        "slopes": [None, *np.arange(6.0).reshape(3, 2)],
    }
    data = Dataset.from_labels(frames_of_arrays(NUMBERS, PLACES, **given))
    assert data.has_energy_low.tolist() == [True, False, True, True]
    assert data.has_slopes.sum(1).tolist() == [0, 2, 2, 2]
    assert data.slopes[3].tolist() == [4.0, 5.0]
    assert not data.slope_errors.any()
    known = frames_of_arrays(NUMBERS, PLACES, slope_errors=[None, *np.full((3, 2), 1e-4)], **given)
    assert Dataset.from_labels(known).slope_errors[1:].tolist() == [[1e-4] * 2] * 3
