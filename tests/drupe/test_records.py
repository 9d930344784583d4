from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from drupe import records
from drupe.errors import InputError
from drupe.records import content_key, frozen, pack, record_key, register, unpack


@register(version=1)
@dataclass(frozen=True, eq=False)
class Inner:
    values: np.ndarray
    note: str | None = None

    def __post_init__(self):
        object.__setattr__(self, "values", frozen(self.values, np.float64))


@register(version=1)
@dataclass(frozen=True, eq=False)
class Outer:
    inner: tuple[Inner, ...]
    numbers: dict
    raw: bytes = b""
    flag: bool = True


def example(values=(1.0, -2.5)):
    return Outer(
        inner=(Inner(np.array(values)), Inner(np.zeros((0, 3)), "empty")),
        numbers={"a": 1, "b": 0.1},
        raw=b"\x00\xff",
    )


def test_packing_gives_back_equal_content_and_read_only_arrays():
    record = example()
    back = unpack(pack(record))
    assert record_key(back) == record_key(record)
    assert back.inner[1].values.shape == (0, 3)
    assert back.raw == b"\x00\xff"
    with pytest.raises(ValueError, match="read-only"):
        back.inner[0].values[0] = 5.0


def test_the_same_content_packs_to_the_same_bytes():
    assert pack(example()) == pack(example())


def test_a_pinned_key_makes_an_accidental_change_visible():
    assert content_key("Water", {"numbers": np.array([8, 1, 1], np.int64), "charge": 0}) == (
        "Water-a16f26d377bbf26d2a292edf268f3f17"
    )


@given(
    arrays(np.float64, st.integers(0, 6), elements=st.floats(allow_nan=False, allow_infinity=False)),
    st.integers(0, 5),
)
def test_any_changed_number_changes_the_key(values, place):
    key = record_key(Inner(values))
    if place < len(values):
        changed = values.copy()
        changed[place] = 1.0 if values[place] == 0 else 0.0 if abs(values[place]) < 1 else values[place] / 2
        assert record_key(Inner(changed)) != key
    assert record_key(Inner(np.append(values, 0.0))) != key


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_json_cannot_hold_survive(number):
    back = unpack(pack(Outer(inner=(), numbers={"x": number})))
    assert np.array_equal(back.numbers["x"], number, equal_nan=True)


def test_moving_content_between_fields_changes_the_key():
    assert content_key("x", {"a": "bc", "d": ""}) != content_key("x", {"a": "b", "d": "c"})
    assert content_key("x", {"a": (1, 2), "b": (3,)}) != content_key("x", {"a": (1,), "b": (2, 3)})


@pytest.mark.parametrize("cut", [0, 7, 40, -1])
def test_cut_bytes_are_refused(cut):
    with pytest.raises(InputError, match="not a stored record"):
        unpack(pack(example())[:cut])


def test_a_newer_schema_is_refused():
    old = pack(Inner(np.ones(2)))
    newer = old.replace(b'\\"version\\": 1', b'\\"version\\": 7')
    assert newer != old
    with pytest.raises(InputError, match="schema 7"):
        unpack(newer)


def test_an_older_schema_is_upgraded_step_by_step():
    @register(version=1)
    @dataclass(frozen=True, eq=False)
    class Grown:
        a: int

    stored = pack(Grown(3))

    @dataclass(frozen=True, eq=False)
    class Grown:
        a: int
        b: int

    register(version=3, upgrades={1: lambda f: {**f, "b": 1}, 2: lambda f: {**f, "b": f["b"] + 10}})(Grown)
    assert unpack(stored).b == 11


def test_two_modules_cannot_register_the_same_name():
    taken = type("Inner", (), {"__module__": "elsewhere"})
    with pytest.raises(TypeError, match="both register a Inner"):
        register(version=1)(taken)


@pytest.mark.parametrize(("found", "put"), [(b"values", b"volues"), (b"$array", b"$orray")])
def test_a_record_whose_fields_were_edited_away_is_refused(found, put):
    whole = pack(Inner(np.ones(2)))
    edited = whole.replace(found, put)
    assert edited != whole
    with pytest.raises(InputError, match="does not hold what its kind needs"):
        unpack(edited)


@pytest.mark.parametrize("module", ["drupe.gone.away", "drupe.gone"])
def test_a_record_of_a_module_that_has_moved_is_named(module):
    tree = {"$record": "NobodyRegistersThis", "version": 1, "module": module, "fields": {}}
    with pytest.raises(InputError, match="NobodyRegistersThis"):
        records._decode_record(tree, {})


def test_a_missing_module_of_others_is_not_taken_for_one_of_ours(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(records.importlib, "import_module", absent)
    tree = {"$record": "NobodyRegistersThis", "version": 1, "module": "drupe.mlp.committee", "fields": {}}
    with pytest.raises(ModuleNotFoundError, match="torch"):
        records._decode_record(tree, {})
