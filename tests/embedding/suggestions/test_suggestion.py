import dataclasses

import numpy as np
import pytest

from drupe.embedding import Level, MolecularSystem, Partition, label
from drupe.errors import InputError
from drupe.records import pack, unpack
from drupe.units import angstrom

HF = Level("HF", "STO-3G")


@pytest.fixture(scope="module")
def ethanol():
    """Ethanol in four charges: its hydroxyl and one hydrogen of its methyl are near them."""
    rows = np.array(
        [
            [6, 1.168, -0.396, 0.0],
            [6, 0.0, 0.560, 0.0],
            [8, -1.190, -0.214, 0.0],
            [1, -1.946, 0.381, 0.0],
            [1, 2.109, 0.160, 0.0],
            [1, 1.127, -1.035, 0.886],
            [1, 1.127, -1.035, -0.886],
            [1, 0.045, 1.202, 0.885],
            [1, 0.045, 1.202, -0.885],
        ]
    )
    points = np.array(
        [[-0.8, -3.6, 1.3, 0.3], [0.4, -4.3, 1.9, 0.4], [0.4, -4.2, 0.6, -0.5], [-0.3, 4.6, 0.9, 0]]
    )
    return MolecularSystem.from_atoms(
        np.concatenate([rows[:, 0], np.zeros(4)]).astype(int),
        angstrom * np.vstack([rows[:, 1:], points[:, 1:]]),
        np.concatenate([np.zeros(9), points[:, 0]]),
    )


@pytest.fixture(scope="module")
def shaken(ethanol):
    random = np.random.default_rng(2)
    moves = [random.normal(scale=0.08, size=(9, 3)) for _ in range(3)]
    return [ethanol.positions + np.vstack([move, np.zeros((4, 3))]) for move in moves]


@pytest.fixture(scope="module")
def suggestion(ethanol, shaken):
    return Partition.suggest(ethanol, qm=range(9), charge=0, snapshots=shaken, level=HF)


def test_every_core_on_the_way_to_the_whole_is_ranked(suggestion):
    assert {core.name for core in suggestion.candidates} == {
        "hydroxyl",
        "methyl",
        "methylene, hydroxyl",
        "methyl, methylene",
        "methyl, methylene, hydroxyl",
    }
    assert suggestion.refused == ("methylene: saturated carbon is grown into, not started from",)
    assert suggestion.compared == "snapshots"


def test_the_whole_region_misses_nothing(suggestion):
    whole = next(core for core in suggestion.candidates if len(core.atoms) == 9)
    assert suggestion.uncorrected > 0
    assert whole.missing == whole.growth == 0.0
    assert all(core.missing > 1e-5 for core in suggestion.candidates if core is not whole)


def test_the_order_is_the_stated_criterion(suggestion):
    within = [core.surely_missing <= suggestion.tolerance for core in suggestion.candidates]
    assert within == sorted(within, reverse=True)
    sizes = [core.n_occupied for core in suggestion.candidates if core.surely_missing <= suggestion.tolerance]
    rest = [core.missing for core in suggestion.candidates if core.surely_missing > suggestion.tolerance]
    assert sizes == sorted(sizes)
    assert rest == sorted(rest)
    assert suggestion.candidates[0].reason.startswith("chosen")


def test_what_a_core_misses_is_what_labels_say(ethanol, shaken, suggestion):
    """The numbers behind the ranking, from full labels of the same snapshots."""
    core = next(core for core in suggestion.candidates if core.name == "methylene, hydroxyl")
    level = dataclasses.replace(
        HF,
        core="FNO-CCSD(T)",
        frozen_core=True,
        virtual_shells=None,
        forces="none",
        n_occupied=(core.n_occupied,),
    )
    whole = dataclasses.replace(level, n_occupied=None)
    small = Partition.select(ethanol, qm=range(9), charge=0, cores=[core.atoms])
    large = Partition.select(ethanol, qm=range(9), charge=0, cores=[list(range(9))])
    off = []
    for positions in shaken:
        frame = ethanol.with_positions(positions)
        off.append(label(frame, large, whole).energy - label(frame, small, level).energy)
    # 1e-7: two converged SCFs.
    assert core.missing == pytest.approx(np.sqrt(2) * np.std(off, ddof=1), abs=1e-7)


def test_the_partition_can_be_labelled_with_its_orbital_counts(ethanol, shaken, suggestion):
    chosen = suggestion.partition()
    assert chosen.cores[0].indices.tolist() == suggestion.candidates[0].atoms.tolist()
    level = dataclasses.replace(HF, core="MP2", n_occupied=suggestion.n_occupied(), forces="none")
    found = label(ethanol.with_positions(shaken[1]), chosen, level)
    assert found.cores[0].n_occupied == suggestion.candidates[0].n_occupied


def test_several_cores_share_no_atoms(suggestion):
    cores = suggestion.partition(2).cores
    assert len(cores) == 2
    assert not np.isin(cores[0].indices, cores[1].indices).any()
    with pytest.raises(InputError, match="no 6 cores"):
        suggestion.partition(6)


def test_a_core_that_misses_too_much_is_not_handed_out(suggestion):
    strict = dataclasses.replace(suggestion, candidates=suggestion.candidates[-1:], tolerance=1e-9)
    with pytest.raises(InputError, match="misses"):
        strict.partition()


def test_the_order_of_atoms_does_not_matter(ethanol, shaken, suggestion):
    order = np.random.default_rng(8).permutation(13)
    mixed = ethanol.subset(order)
    qm = np.flatnonzero(mixed.numbers > 0)
    found = Partition.suggest(mixed, qm=qm, charge=0, snapshots=[frame[order] for frame in shaken], level=HF)
    names = {frozenset(core.atoms.tolist()): core for core in suggestion.candidates}
    for core in found.candidates:
        same = names[frozenset(order[core.atoms].tolist())]
        # 1e-6: another order of summation in two SCFs.
        assert core.missing == pytest.approx(same.missing, abs=1e-6)
        assert core.correction == pytest.approx(same.correction, abs=1e-6)


def test_without_snapshots_the_field_is_switched(ethanol):
    found = Partition.suggest(ethanol, qm=range(9), charge=0, level=HF, largest_core=2)
    assert found.compared == "field"
    assert all(core.missing_error == 0.0 for core in found.candidates)
    assert {core.name for core in found.candidates} >= {"hydroxyl", "methylene, hydroxyl"}
    assert any("3 heavy atoms, at most 2" in text for text in found.refused)


def test_far_groups_are_refused_with_their_distance(ethanol):
    found = Partition.suggest(
        ethanol, qm=range(9), charge=0, level=HF, contact=2.2 * angstrom, largest_core=1
    )
    assert [core.name for core in found.candidates] == ["hydroxyl"]
    assert any(text.startswith("methyl: 2.6") for text in found.refused)


def test_a_suggestion_is_a_record(suggestion):
    again = unpack(pack(suggestion))
    assert again.partition().key == suggestion.partition().key
    assert again.candidates[0].reason == suggestion.candidates[0].reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"charge": 2}, "cannot be perceived"),
        ({"contact": 0.5}, "no functional group touches"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"multiplicity": 3}, "multiplicity 3"),
        ({"level": Level("HF", "STO-3G", environment="ewald")}, "environment='ewald'"),
    ],
)
def test_what_cannot_be_suggested_is_refused(ethanol, change, message):
    with pytest.raises(InputError, match=message):
        Partition.suggest(ethanol, **{"qm": range(9), "charge": 0, "level": HF, **change})


def test_one_snapshot_is_refused(ethanol):
    with pytest.raises(InputError, match="one snapshot"):
        Partition.suggest(ethanol, qm=range(9), charge=0, snapshots=[ethanol.positions], level=HF)


def test_a_region_without_surroundings_is_refused(ethanol):
    with pytest.raises(InputError, match="no surroundings"):
        Partition.suggest(ethanol.subset(range(9)), qm=range(9), charge=0, level=HF)


def test_a_large_region_is_refused(t4l):
    with pytest.raises(InputError, match="at most 60"):
        Partition.suggest(t4l.system, qm="resid 0 to 4", charge=0, allow_cut=True, level=HF)


def test_a_group_at_a_cut_bond_is_grown_into_but_no_seed(t4l):
    """The side chain of methionine 102, cut between its alpha and beta carbons."""
    atoms = "resid 101 and name CB HB2 HB3 CG HG2 HG3 SD CE HE1 HE2 HE3"
    found = Partition.suggest(t4l.system, qm=atoms, charge=0, level=HF, largest_core=3)
    assert len(found.region.links) == 1
    assert {core.name for core in found.candidates} == {
        "methyl",
        "thioether",
        "thioether, methyl",
        "methylene, thioether, methyl",
    }
    assert any("ends in a link atom" in text for text in found.refused)
    assert len(found.partition().cores) == 1
