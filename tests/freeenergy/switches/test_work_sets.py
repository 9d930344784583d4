"""Works that do not belong together are found before anything is estimated from them."""

from dataclasses import replace

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.estimation.estimators import bar
from drupe.freeenergy.switches.switching import SwitchSpec, Work
from drupe.freeenergy.switches.work_sets import paired_works
from drupe.records import pack, unpack


def works(values, direction, leg="complex", protocol="Protocol-1", n_steps=1000, first=0):
    spec = SwitchSpec(n_steps, direction=direction)
    return [
        Work(value, [value], spec, f"Positions-{direction}-{k}", k, protocol, leg, {})
        for k, value in enumerate(values, start=first)
    ]


@pytest.fixture
def sides():
    """Gaussian works of dF = 3 kT and sd 1 kT, which obey Crooks' theorem."""
    rng = np.random.default_rng(2)
    return works(rng.normal(3.5, 1.0, 60), "forward"), works(rng.normal(-2.5, 1.0, 60), "reverse")


def test_works_that_belong_together_pass_unchanged(sides):
    forward, reverse = sides
    found = paired_works(forward, reverse[::-1])
    assert found.w_f.tolist() == [work.value for work in forward]
    assert found.w_r.tolist() == [work.value for work in reverse[::-1]]
    assert bar(*found, seed=1).verdict.level == "PASS"


def test_a_direction_that_is_missing_is_left_to_the_verdict(sides):
    found = paired_works(sides[0], [])
    assert bar(*found, seed=1).verdict.level == "FAIL"


@pytest.mark.parametrize(
    ("forward", "reverse", "message"),
    [
        (works([1.0], "forward") + works([2.0], "reverse"), [], "1 of 2 forward works are of the other"),
        (works([1.0], "forward"), works([2.0], "forward"), "reverse works are of the other direction"),
        (works([1.0, 2.0], "forward")[:1] * 2, [], "2 forward works have one start"),
        (
            works([1.0], "forward") + works([1.0], "forward", n_steps=500, first=1),
            [],
            "n_steps is 500 and 1000",
        ),
        (
            works([1.0], "forward"),
            works([1.0], "reverse", n_steps=500),
            "forward and reverse works do not have",
        ),
        (works([1.0], "forward"), works([1.0], "reverse", leg="solvent"), "legs 'complex', 'solvent'"),
        (works([1.0], "forward"), works([1.0], "reverse", protocol="Protocol-2"), "2 different pairs of end"),
    ],
)
def test_works_of_different_kinds_are_refused_by_name(forward, reverse, message):
    with pytest.raises(InputError, match=message):
        paired_works(forward, reverse)


def test_a_start_of_both_ensembles_is_refused(sides):
    forward, reverse = sides
    stolen = replace(reverse[0], start=forward[3].start)
    with pytest.raises(InputError, match="1 starts are those of forward and of reverse"):
        paired_works(forward, [*reverse[1:], stolen])


def test_works_that_break_the_second_law_fail(sides):
    forward, reverse = sides
    # Signs of one direction turned, as a file with the other convention would have them.
    turned = [replace(work, value=-work.value - 7.0) for work in reverse]
    judged = bar(*paired_works(forward, turned), seed=1).verdict
    assert judged.level == "FAIL"
    assert any("second law" in reason for reason in judged.reasons)


def test_a_stored_work_is_small_however_long_the_switch():
    profile = np.linspace(0.0, 1.0, 100)
    work = replace(works([1.0], "forward", n_steps=20_000)[0], profile=profile)
    assert len(pack(work)) < 3000
    assert unpack(pack(work)).profile.tolist() == profile.tolist()


def test_works_of_version_1_are_read():
    import json

    import safetensors.numpy

    old = works([3.0], "forward")[0]
    tree = {
        "$record": "Work",
        "module": "drupe.freeenergy.switches.switching",
        "version": 1,
        "fields": {
            "value": 3.0,
            "increments": {"$array": "a0"},
            "spec": {
                "$record": "SwitchSpec",
                "module": "drupe.freeenergy.switches.switching",
                "version": 1,
                "fields": {name: getattr(old.spec, name) for name in SwitchSpec.__dataclass_fields__},
            },
            "start": "Positions-1",
            "seed": 4,
            "versions": {"$map": {}},
        },
    }
    data = safetensors.numpy.save({"a0": np.full(1000, 0.003)}, metadata={"drupe": json.dumps(tree)})
    found = unpack(data)
    assert found.profile.shape == (100,)
    assert found.profile[[0, -1]] == pytest.approx([0.03, 3.0])
    # It says nothing of its ends, and is taken at its word.
    assert paired_works([found], works([1.0], "reverse")).w_f.tolist() == [3.0]
