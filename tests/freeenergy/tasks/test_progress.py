"""What a run tells of itself: the wall time of a campaign over runs that end in any way."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from drupe.freeenergy.tasks.progress import Progress
from drupe.store import Store


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as one:
        yield one


def follow(store=None):
    made = Progress([], 1, Console(file=io.StringIO()), store=store)
    made._start -= 100.0  # as if it had begun then
    return made


def task(name):
    return SimpleNamespace(name=name, stage="labels", guess_s=1.0), SimpleNamespace(error=None, seconds=1.0)


def test_a_killed_run_counts_in_the_wall_time_to_its_last_task(store):
    killed = follow(store)
    killed.ended(*task("a"), reused=False)  # and nothing after that
    first = store.fact("wall_s")
    assert first == pytest.approx(100.0, abs=20.0)
    second = follow(store)
    second.ended(*task("a"), reused=True)
    assert store.fact("wall_s") == first
    second.ended(*task("b"), reused=False)
    second.keep(store)
    second.keep(store)
    # Not 100 s again for every time it is kept.
    assert store.fact("wall_s") == pytest.approx(first + second.wall_s, abs=1e-2 * second.wall_s)
    assert store.fact("peak_mb") == max(killed.peak_mb, second.peak_mb)


def test_without_a_store_nothing_is_kept_before_the_end(store):
    one = follow()
    one.ended(*task("a"), reused=False)
    assert store.fact("wall_s") is None
    one.keep(store)
    assert store.fact("wall_s") == pytest.approx(100.0, abs=20.0)
