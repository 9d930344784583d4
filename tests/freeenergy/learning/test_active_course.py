import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drupe.errors import ConvergenceError, InputError
from drupe.freeenergy.learning.course import ActivePlan, Ask, Course, Learn, from_json, to_json
from drupe.mlp import FitSpec
from drupe.mlp.acquisition import Scores

TWO = FitSpec(members=2)


def scores(n, seed):
    rng = np.random.default_rng(seed)
    return Scores(rng.random(n), rng.normal(size=(n, 3)))


def plan(**more):
    return ActivePlan(**{"labels": 12, "first": 4, "every": 3, "fit": TWO, **more})


def play(course, rng, *, failing=frozenset(), stop_after=None, spoilt=frozenset()):
    """A machine with three workers on which things end in any order; returns what is still under way."""
    flying: list[object] = []
    for _ in range(10_000):
        while len(flying) < 3 and (decision := course.decide()) is not None:
            flying.append(decision)
        if not flying or (stop_after is not None and len(course.decisions) >= stop_after):
            return flying
        end(course, flying.pop(int(rng.integers(len(flying)))), failing, spoilt)
    raise AssertionError("the course does not end")


def end(course, decision, failing=frozenset(), spoilt=frozenset()):
    if isinstance(decision, Ask):
        course.back(decision.frame, failed=decision.frame in failing)
        return
    number = course.models.index(decision)
    if number in spoilt:
        course.spoilt(number)
    else:
        course.ready(number, scores(course.n_frames, number))


@settings(max_examples=150)
@given(
    labels=st.integers(2, 25),
    first=st.integers(2, 10),
    every=st.integers(1, 8),
    seed=st.integers(0, 10_000),
    choice=st.sampled_from(["spread", "random"]),
    n_failing=st.integers(0, 3),
    spoilt=st.sets(st.integers(0, 3), max_size=2),
)
def test_whatever_ends_first_every_course_ends_with_a_model_of_all_labels(
    labels, first, every, seed, choice, n_failing, spoilt
):
    rng = np.random.default_rng(seed)
    n = labels + n_failing + int(rng.integers(0, 20))
    failing = frozenset(rng.permutation(n)[:n_failing].tolist())
    made = plan(labels=labels, first=min(first, labels), every=every, choice=choice, seed=seed, failures=0.9)
    course = Course(made, n)
    try:
        left = play(course, rng, failing=failing, spoilt=spoilt)
    except ConvergenceError:
        assert len(course.failed) > 2
        return
    assert left == []
    assert course.done
    asked = [one.frame for one in course.asked]
    assert len(asked) == len(set(asked))
    assert len(course.labelled) == labels
    assert course.labelled | course.failed == set(asked)
    assert set(course.models[-1].frames) == course.labelled
    for older, newer in zip(course.models, course.models[1:], strict=False):
        assert set(older.frames) < set(newer.frames)


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), stop=st.integers(1, 20))
def test_a_course_that_was_stopped_goes_on_and_asks_for_nothing_twice(seed, stop):
    rng = np.random.default_rng(seed)
    course = Course(plan(), 30)
    play(course, rng, stop_after=stop)
    again = Course(plan(), 30, from_json(to_json(course.decisions)))
    assert again.decisions == course.decisions
    # What had come back is found again first; what was under way is done again.
    for decision in again.decisions:
        if isinstance(decision, Ask):
            again.back(decision.frame)
    for number, _ in enumerate(again.models):
        again.ready(number, scores(30, number))
    play(again, rng)
    assert again.done
    assert len(again.labelled) == 12
    assert len({one.frame for one in again.asked}) == len(again.asked)


def test_frames_are_asked_for_while_labels_and_models_are_under_way():
    course = Course(plan(), 40)
    first = [course.decide() for _ in range(7)]
    assert all(isinstance(one, Ask) and one.model == -1 for one in first)
    assert course.decide() is None  # four to begin with and one round ahead, and nothing has come back
    for one in first[:4]:
        course.back(one.frame)
    model = course.decide()
    assert model == Learn(tuple(sorted(one.frame for one in first[:4])))
    course.ready(0, scores(40, 0))  # three labels are still under way
    chosen = course.decide()
    assert chosen.model == 0
    assert chosen.frame not in {one.frame for one in first}


def test_it_stops_when_the_spread_is_small_everywhere():
    course = Course(plan(tolerance=1e-3), 40)
    flying = [course.decide() for _ in range(7)]
    for one in flying:
        course.back(one.frame)
    course.decide()
    course.ready(0, Scores(np.full(40, 1e-4), np.zeros((40, 1))))
    assert course.decide() is None
    assert course.done
    assert len(course.labelled) == 7


def test_a_label_that_turns_out_to_be_unusable_is_replaced_also_after_a_model_has_it():
    course = Course(plan(labels=7), 40)
    flying = [course.decide() for _ in range(7)]
    for one in flying:
        course.back(one.frame)
    course.decide()
    course.ready(0, scores(40, 0))
    gone = flying[0].frame
    course.back(gone, failed=True)
    assert gone not in course.labelled
    instead = course.decide()
    assert isinstance(instead, Ask)
    course.back(instead.frame)
    assert course.decide() == Learn(tuple(sorted(course.labelled)))
    assert len(course.labelled) == 7
    course.ready(1, scores(40, 1))
    assert course.done


def test_too_many_failures_end_the_run_with_a_remedy():
    course = Course(plan(failures=0.1), 40)
    flying = [course.decide() for _ in range(7)]
    for one in flying[:2]:
        course.back(one.frame, failed=True)
    with pytest.raises(ConvergenceError, match="3 of 7 frames asked for could not be labelled") as found:
        course.back(flying[2].frame, failed=True)
    assert "retry_failed=True" in found.value.remedy


@pytest.mark.parametrize(
    "bad",
    [
        {"first": 1},
        {"first": 13},
        {"every": 0},
        {"quantity": "mood"},
        {"choice": "best"},
        {"fit": FitSpec(members=1)},
        {"tolerance": 0.0},
        {"failures": 1.0},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(bad):
    with pytest.raises(InputError):
        plan(**bad)


def test_fewer_frames_than_labels_are_refused():
    with pytest.raises(InputError, match="10 frames to choose from, 12 labels are wanted"):
        Course(plan(), 10)
