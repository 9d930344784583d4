import dataclasses

import numpy as np
import pytest

from drupe import records
from drupe.embedding import Level
from drupe.errors import InputError
from drupe.mlp import Dataset
from drupe.mlp.dataset_versions import UPGRADES
from drupe.records import pack, unpack


def test_surroundings_of_different_size_are_padded_with_nothing(low_data):
    bare = np.flatnonzero(low_data.mm_counts == 0)
    assert len(bare) == 7
    assert not low_data.mm_charges[bare].any()
    assert low_data.mm_counts.max() == low_data.mm_charges.shape[1] == 60


def test_low_and_high_energies_are_those_of_the_labels(labels):
    low = Dataset.from_labels(labels[:5], which="low")
    high = Dataset.from_labels(labels[:5], which="high")
    assert low.energy.tolist() == [label.energy_low for label in labels[:5]]
    assert high.energy.tolist() == [label.energy for label in labels[:5]]
    assert low.key != high.key


def test_a_label_without_forces_is_masked_not_zeroed(labels):
    bare = dataclasses.replace(labels[1], forces_qm=None, forces_mm=None)
    data = Dataset.from_labels([labels[0], bare], which="low")
    assert data.has_forces_qm.tolist() == [True, False]
    assert data.has_forces_mm.tolist() == [True, False]


def test_split_is_by_block(low_data):
    rest, held = low_data.split([1, 3])
    assert set(held.blocks) == {1, 3}
    assert set(rest.blocks) == {0, 2, 4}
    places = [{place.tobytes() for place in side.positions} for side in (rest, held)]
    assert not places[0] & places[1]


def test_survives_storage(low_data):
    again = unpack(pack(low_data))
    assert again.key == low_data.key


@pytest.mark.parametrize("held_out", [np.array([1, 3]), {1, 3}, (3.0, 1.0)])
def test_blocks_to_hold_out_come_in_any_collection(low_data, held_out):
    assert low_data.split(held_out)[1].key == low_data.split([1, 3])[1].key


def test_frames_are_taken_by_number_or_by_mask(low_data):
    mask = np.zeros(low_data.n_frames, bool)
    mask[[2, 5]] = True
    assert low_data.take(mask).key == low_data.take(mask.tolist()).key == low_data.take([2, 5]).key
    assert low_data.take([-1]).key == low_data.take([low_data.n_frames - 1]).key


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([True, False], "True is among those given"),
        ([0, 999], "frame 999 of"),
        ([-999], "frame -999 of"),
        ([0.5], "0.5 is among"),
        ([[0, 1]], "shape"),
    ],
)
def test_refuses_to_take_frames_that_are_not_there(low_data, rows, message):
    with pytest.raises(InputError, match=message):
        low_data.take(rows)


@pytest.mark.parametrize("held_out", [[], [0, 1, 2, 3, 4], [9]])
def test_refuses_a_split_with_an_empty_side(low_data, held_out):
    with pytest.raises(InputError, match="held out"):
        low_data.split(held_out)


def test_refuses_a_geometry_on_both_sides(low_data):
    twice = low_data.take([0, 1, 4, 0])
    leaking = dataclasses.replace(twice, blocks=np.array([0, 0, 1, 1]))
    with pytest.raises(InputError, match="both sides"):
        leaking.split([1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": "other"}, "different levels"),
        ({"qm_numbers": np.full(18, 6)}, "atomic numbers"),
        ({"qm_fixed_charges": np.zeros(18)}, "fixed charges"),
        ({"energy": float("nan")}, "not a finite"),
        ({"qm_positions": np.ones((18, 3))}, "QM atom 0 and QM atom 1 of label 1 are 0 bohr apart"),
        ({"slopes": np.zeros(1)}, "label 1 has no directions beside its slopes"),
    ],
)
def test_refuses_labels_that_do_not_belong(labels, change, message):
    with pytest.raises(InputError, match=message):
        Dataset.from_labels([labels[0], dataclasses.replace(labels[1], **change)])


@pytest.mark.parametrize(("shift", "allowed"), [(0.29, False), (0.31, True)])
def test_refuses_a_charge_on_a_nucleus(labels, shift, allowed):
    plain, other = (label for label in labels[:4] if len(label.mm_charges))
    places = np.array(other.mm_positions)
    places[7] = other.qm_positions[4] + [0, 0, shift]
    some = [plain, dataclasses.replace(other, mm_positions=places)]
    if allowed:
        assert Dataset.from_labels(some, which="low").n_frames == 2
    else:
        with pytest.raises(InputError, match="QM atom 4 and MM charge 7 of label 1 are 0.29 bohr apart"):
            Dataset.from_labels(some, which="low")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"blocks": ["a", "b", "b"]}, "'a' is among those given"),
        ({"blocks": [0.2, 0.4, 1.1]}, "blocks are whole numbers, and 0.2"),
        ({"groups": [np.linspace(0, 2, 60)] * 3}, "mm_groups are whole numbers"),
    ],
)
def test_refuses_blocks_and_groups_that_are_no_whole_numbers(labels, given, message):
    some = [label for label in labels if len(label.mm_charges)][:3]
    with pytest.raises(InputError, match=message):
        Dataset.from_labels(some, which="low", **given)


@pytest.mark.parametrize(
    ("first", "message"),
    [(8.5, "8.5 is among"), (0, "number 0"), (-1, "number -1"), (300, "number 300"), ("O", "'.*' is among")],
)
def test_refuses_atomic_numbers_of_no_element(labels, first, message):
    numbers = np.array([first, *labels[0].qm_numbers[1:]])
    with pytest.raises(InputError, match=message):
        Dataset.from_labels([dataclasses.replace(label, qm_numbers=numbers) for label in labels[:2]])


def turned(label):
    rotation, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    order = np.random.default_rng(5).permutation(len(label.mm_charges))
    return dataclasses.replace(
        label,
        qm_positions=label.qm_positions @ rotation + 3.0,
        mm_positions=(label.mm_positions @ rotation + 3.0)[order],
        mm_charges=label.mm_charges[order],
        forces_qm=label.forces_qm @ rotation,
        forces_mm=(label.forces_mm @ rotation)[order],
    )


def rounded(label):
    return dataclasses.replace(label, qm_positions=np.round(label.qm_positions, 7))


@pytest.mark.parametrize("copy", [turned, rounded])
def test_refuses_copies_that_were_turned_or_rounded(labels, copy):
    some = [*labels[:4], copy(labels[2])]
    with pytest.raises(InputError, match="labels 2 and 4 are of the same geometry"):
        Dataset.from_labels(some, which="low")


def test_other_surroundings_make_another_frame(labels):
    one = next(label for label in labels if len(label.mm_charges))
    moved = dataclasses.replace(one, mm_positions=one.mm_positions * 1.001)
    assert Dataset.from_labels([one, moved], which="low").n_frames == 2


def test_refuses_one_snapshot_and_copies(labels):
    with pytest.raises(InputError, match="cannot make a data set"):
        Dataset.from_labels(labels[:1])
    with pytest.raises(InputError, match="same geometry"):
        Dataset.from_labels([labels[0], labels[1], labels[0]])


def test_high_energies_have_forces_that_belong_to_them(labels, exact_labels, slope_labels):
    assert labels[1].energy != labels[1].energy_low
    mixed = [
        labels[0],
        exact_labels[1],
        slope_labels[2],
        dataclasses.replace(exact_labels[3], forces_of="MP2"),
    ]
    data = Dataset.from_labels(mixed)
    assert data.has_forces_qm.tolist() == data.has_forces_mm.tolist() == [False, True, False, False]
    assert data.forces_of == ("nothing", "energy", "nothing", "nothing")
    assert np.array_equal(data.forces_qm[1], exact_labels[1].forces_qm)
    assert data.has_slopes.tolist() == [[False] * 3, [False] * 3, [True] * 3, [False] * 3]
    assert data.summary == "4 energies, 1 QM forces, 1 MM forces, 3 slopes read"
    with_mp2 = Dataset.from_labels(mixed, accept_forces=("energy", "MP2"))
    assert with_mp2.forces_of == ("nothing", "energy", "nothing", "MP2")
    assert (
        with_mp2.summary
        == "4 energies, 2 QM forces, 1 MM forces, 3 slopes read; forces of 1 labels are MP2's"
    )
    assert Dataset.from_labels(mixed, accept_forces=()).has_forces_qm.tolist() == [False] * 4


def test_low_energies_have_forces_that_belong_to_them(labels, exact_labels, slope_labels):
    data = Dataset.from_labels([labels[0], exact_labels[1], slope_labels[2]], which="low")
    assert data.has_forces_qm.tolist() == [True, False, True]
    assert data.slopes.shape == (3, 0)


def test_forces_of_a_level_without_cores_belong_to_both_energies(labels):
    plain = [dataclasses.replace(label, energy=label.energy_low) for label in labels[:2]]
    for kind in ("energy", "energy_low"):
        named = [dataclasses.replace(label, forces_of=kind) for label in plain]
        for which in ("high", "low"):
            assert Dataset.from_labels(named, which=which).has_forces_qm.all()


def test_slopes_are_padded_where_labels_have_fewer(labels, slope_labels):
    one = slope_labels[1]
    cut = dataclasses.replace(
        one, directions=one.directions[:1], slopes=one.slopes[:1], slope_errors=one.slope_errors[:1]
    )
    data = Dataset.from_labels([slope_labels[0], cut, labels[2]])
    assert data.has_slopes.sum(axis=1).tolist() == [3, 1, 0]
    assert data.slopes[1].tolist() == [one.slopes[0], 0, 0]
    again = unpack(pack(data))
    assert again.key == data.key
    assert again.take([1]).summary == "1 energies, 0 QM forces, 0 MM forces, 1 slopes read"


def test_slopes_whose_errors_are_not_known_count_in_full(slope_labels):
    bare = [dataclasses.replace(label, slope_errors=None) for label in slope_labels[:2]]
    data = Dataset.from_labels(bare)
    assert data.has_slopes.all()
    assert not data.slope_errors.any()


def test_force_modes_of_one_level_mix_and_levels_do_not(labels, exact_labels):
    low = Level("PBE", "6-31G", core="CCSD(T)", virtual_shells=None)
    one, other = dataclasses.replace(labels[0], level=low), exact_labels[1]
    for mode in ("exact", "directional"):
        mixed = [
            one,
            dataclasses.replace(other, level=dataclasses.replace(low, forces=mode, direction_seed=3)),
        ]
        assert Dataset.from_labels(mixed).level == low.key
    with pytest.raises(InputError, match="different levels"):
        Dataset.from_labels([one, dataclasses.replace(other, level=dataclasses.replace(low, core="CCSD"))])


@pytest.mark.parametrize(
    "change",
    [
        {"environment": "cluster", "cluster_radius": 17.0},
        {"charge_radii": 3.0},
        {"boundary": "z1"},
        {"ecp": "def2-SVP"},
        {"dispersion": "d3bj"},
        {"grid": 2},
    ],
)
def test_all_that_moves_the_low_energy_tells_low_levels_apart(labels, change):
    plain = Level("PBE", "6-31G", core="CCSD(T)")
    other = dataclasses.replace(plain, **change)
    with pytest.raises(InputError, match="different levels") as caught:
        Dataset.from_labels([at(labels[0], plain), at(labels[1], other)], which="low")
    assert 'which="low"' not in str(caught.value)
    two = [at(label, level) for label in labels[:2] for level in (other,)]
    assert Dataset.from_labels(two, which="low").level != "PBE/6-31G/def2-universal-jkfit/3"


def test_levels_that_differ_in_cores_only_share_the_low_one(labels):
    levels = Level("PBE", "6-31G", core="CCSD(T)"), Level("PBE", "6-31G", core="MP2", scf="newton")
    two = [at(label, level) for label, level in zip(labels[:2], levels, strict=True)]
    assert Dataset.from_labels(two, which="low").level == "PBE/6-31G/def2-universal-jkfit/3"
    with pytest.raises(InputError, match="different levels") as caught:
        Dataset.from_labels(two)
    assert 'which="low"' in str(caught.value)


def at(label, level):
    return dataclasses.replace(label, level=level)


def test_energies_are_high_or_low(labels):
    with pytest.raises(InputError, match="which='Low'"):
        Dataset.from_labels(labels[:3], which="Low")


def test_a_data_set_says_what_it_holds(low_data):
    assert repr(low_data) == "<Dataset of 20 labels, toy: " + low_data.summary + ">"


def test_data_sets_of_the_first_version_keep_the_forces_of_their_own_energy(labels):
    """In version 1 all forces were low-level ones, also beside core-corrected energies."""
    for which, kept in (("low", True), ("high", False)):
        data = Dataset.from_labels(labels[:3], which=which)
        added = ("forces_of", "directions", "slopes", "slope_errors", "has_slopes")
        old = {n: getattr(data, n) for n in data.__dataclass_fields__ if n not in added}
        there = np.ones(3, bool)
        upgraded = Dataset(**UPGRADES[1]({**old, "has_forces_qm": there, "has_forces_mm": there}))
        assert upgraded.has_forces_qm.tolist() == [kept] * 3
        assert upgraded.key == data.key


def test_refuses_forces_that_fit_no_energy_and_directions_without_norm(labels, slope_labels):
    with pytest.raises(InputError, match="accept_forces"):
        Dataset.from_labels(labels[:2], accept_forces=("energy_low",))
    long = dataclasses.replace(slope_labels[1], directions=2 * slope_labels[1].directions)
    with pytest.raises(InputError, match="norm"):
        Dataset.from_labels([slope_labels[0], long])


def test_data_sets_and_headers_of_older_versions_lack_what_came_later(low_data, low_fits):
    _, version, upgrades = records._classes["Dataset"]
    added = ("mm_groups", "border", "border_atoms", "dispersion", "energies", "level_low")
    old = {name: getattr(low_data, name) for name in low_data.__dataclass_fields__ if name not in added}
    for step in range(3, 8):
        old = upgrades[step](old)
    assert (version, Dataset(**old).key) == (8, low_data.key)
    header = low_fits[0].stored.header
    _, _, upgrades = records._classes["PotentialHeader"]
    later = ("reach", "border", "dispersion", "energies")
    fields = {name: getattr(header, name) for name in header.__dataclass_fields__ if name not in later}
    for step in (1, 3, 4, 6):
        fields = upgrades[step](fields)
    assert type(header)(**fields).key == header.key
    # Labels without energies left a zero of exactly 0.
    del fields["energies"]
    assert upgrades[6]({**fields, "energy_zero": 0.0})["energies"] == "none"
