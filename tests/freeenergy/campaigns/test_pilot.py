"""The pilot picks the shortest length that suffices, and its switches stand in the graph of a campaign."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.campaigns import switch_stages
from drupe.freeenergy.campaigns.config import read_config
from drupe.freeenergy.campaigns.stages import Place, Snapshots
from drupe.freeenergy.campaigns.switch_stages import (
    PilotStage,
    SwitchStage,
    choose_switch_length,
    switch_forward,
    switch_reverse,
)
from drupe.freeenergy.campaigns.workflow import campaign_graph
from drupe.freeenergy.estimation.diagnostics import Verdict
from drupe.freeenergy.simulation.sampling import SampleSpec, Trajectory
from drupe.freeenergy.switches.pilot import PilotChoice, choose_length
from drupe.freeenergy.switches.switching import SwitchSpec, Work
from drupe.records import content_key

sys.path.insert(0, str(Path(__file__).parents[1]))
from learned_molecule import committee, mixed, molecule

SMOKE = Path(__file__).parents[3] / "examples" / "t4l-xylene" / "smoke.toml"


def gaussian(sigma, seed=0, count=10, df=4.0):
    """Works with exactly this standard deviation, which obey Crooks' theorem."""
    rng = np.random.default_rng(seed)
    sides = []
    for mean in (df + sigma**2 / 2, -df + sigma**2 / 2):
        draw = rng.normal(size=count)
        sides.append(mean + sigma * (draw - draw.mean()) / draw.std(ddof=1))
    return tuple(sides)


def test_the_shortest_length_that_suffices_is_taken():
    found = choose_length({5000: gaussian(1.2), 1000: gaussian(4.0), 20000: gaussian(0.4)})
    assert found.n_steps == 5000
    assert found.verdict.level == "PASS"
    assert [row.n_steps for row in found.rows] == [1000, 5000, 20000]
    assert found.rows[1].spread == pytest.approx(1.2)
    assert found.rows[1].overlap > 0.3 > found.rows[0].overlap


def test_without_one_that_suffices_the_longest_is_taken_with_a_warning():
    found = choose_length({1000: gaussian(6.0), 5000: gaussian(4.0)})
    assert found.n_steps == 5000
    assert found.verdict.level == "WARN"
    assert "1000, 5000 increments" in found.verdict.reasons[0]
    assert "4.0 kT" in found.verdict.reasons[0]


def test_narrow_works_that_do_not_overlap_do_not_suffice():
    # Both directions narrow and 12 kT apart: the spread alone would pass.
    f, r = gaussian(0.5)
    found = choose_length({1000: (f + 6.0, r + 6.0)})
    assert found.rows[0].spread < 2.0
    assert found.verdict.level == "WARN"


def test_absolute_energies_do_not_matter():
    f, r = gaussian(1.2)
    assert choose_length({1000: (f - 2e6, r + 2e6)}).rows[0].overlap == pytest.approx(
        choose_length({1000: (f, r)}).rows[0].overlap, rel=1e-6
    )


def test_a_length_whose_switches_failed_does_not_suffice():
    f, r = gaussian(0.5)
    found = choose_length({1000: (f[:1], r), 5000: (f, r)})
    assert found.n_steps == 5000
    assert np.isnan(found.rows[0].spread)


def test_a_choice_from_few_works_or_from_works_that_break_the_second_law_is_warned_of():
    f, r = gaussian(0.5)
    few = choose_length({1000: (f[:5], r[:5])})
    assert few.n_steps == 1000
    assert "5 and 5 works, fewer than 10" in few.verdict.reasons[0]
    broken = choose_length({1000: (f - 1.0, r - 1.0)})
    assert broken.verdict.level == "WARN"
    assert "second law" in broken.verdict.reasons[0]


def test_the_stage_sorts_works_by_length_and_direction():
    made = []
    for n_steps, sigma in ((1000, 4.0), (5000, 1.0)):
        for direction, values in zip(("forward", "reverse"), gaussian(sigma), strict=True):
            spec = SwitchSpec(n_steps, direction=direction)
            made += [
                Work(w, [w], spec, f"{direction} {k}", k, f"Protocol-{n_steps}", "complex", {})
                for k, w in enumerate(values)
            ]
    rng = np.random.default_rng(1)
    shuffled = [made[k] for k in rng.permutation(len(made))]
    found = choose_switch_length(PilotStage("complex", (1000, 5000)), *shuffled)
    assert isinstance(found, PilotChoice)
    assert found.n_steps == 5000


def test_a_switch_of_the_estimate_takes_the_length_that_was_chosen(monkeypatch):
    monkeypatch.setattr(switch_stages, "mixed_system", lambda *_, **__: mixed(committee(), interpolate=True))
    prepared = SimpleNamespace(leg=lambda name: None)
    rng = np.random.default_rng(3)
    frames = molecule().positions + 0.02 * rng.normal(size=(4, 6, 3))
    choice = PilotChoice(7, (), Verdict("PASS"))
    snapshots = Snapshots(frames, np.zeros(4), labels=1, correlated=0)
    settings = SwitchStage("solvent", 1, SwitchSpec(50, 0.5), 3, Place("Reference"))
    given = switch_forward(settings, prepared, snapshots, None)
    chosen = switch_forward(settings, prepared, snapshots, None, choice)
    assert (given.spec.n_steps, chosen.spec.n_steps) == (50, 7)
    assert chosen.start == content_key("Positions", {"positions": frames[2]})
    assert chosen.leg == "solvent"
    runs = [Trajectory(frames[2 * k : 2 * k + 2], np.zeros(2), SampleSpec(), {}) for k in range(2)]
    back = replace(settings, spec=SwitchSpec(50, 0.5, direction="reverse"))
    reverse = switch_reverse(back, prepared, None, *runs, choice)
    assert reverse.spec.n_steps == 7
    assert reverse.start == content_key("Positions", {"positions": frames[2]})
    assert reverse.protocol == chosen.protocol != given.protocol


@pytest.fixture
def piloted(tmp_path):
    """The smoke campaign whose solvent leg has a pilot."""

    def made(pilot='pilot = {switches = 4, lengths = ["20 fs", "50 fs"]}', frames=3):
        head, tail = SMOKE.read_text().split("[switching.solvent]")
        tail = tail.replace('length = "50 fs"', pilot).replace("frames = 2", f"frames = {frames}")
        head = re.sub(r"(\[sampling.solvent\][^\[]*frames = )\d+", r"\g<1>20", head)
        path = tmp_path / "input.toml"
        path.write_text(f"{head}[switching.solvent]{tail}")
        return read_config(path)

    return made


def test_a_campaign_with_a_pilot_waits_for_its_choice(piloted):
    nodes = {node.name: node for node in campaign_graph(piloted())}
    choice = nodes["solvent/pilot"]
    assert choice.settings.n_steps == (20, 50)
    assert len(choice.wants) == 8
    assert "solvent/pilot" in nodes["solvent/forward/0"].needs
    assert "solvent/pilot" in nodes["solvent/reverse/0"].needs
    assert "complex/pilot" not in nodes
    assert nodes["complex/forward/0"].needs == ("prepared", "complex/snapshots", "low/committee")


def test_the_pilot_starts_from_frames_of_its_own_in_both_directions(piloted):
    nodes = campaign_graph(piloted())
    for direction in ("forward", "reverse"):
        of_estimate = {n.settings.index for n in nodes if n.name.startswith(f"solvent/{direction}/")}
        pilots = [n for n in nodes if n.name.startswith("solvent/pilot/") and f"/{direction}/" in n.name]
        of_pilot = {n.settings.index for n in pilots}
        assert of_estimate == {0, 1, 2}
        assert of_pilot == {3, 4}
    (snapshots,) = [n.settings for n in nodes if n.name == "solvent/snapshots"]
    assert snapshots.switches == 5
    seeds = [n.settings.seed for n in nodes if hasattr(n.settings, "seed")]
    assert len(seeds) == len(set(seeds))


def test_a_length_and_a_pilot_exclude_each_other(piloted):
    with pytest.raises(InputError, match="either length, or a table pilot"):
        piloted('length = "50 fs"\npilot = {}')
    with pytest.raises(InputError, match="either length, or a table pilot"):
        piloted("")
    with pytest.raises(InputError, match="5 reverse switches"):
        piloted(frames=2)
    with pytest.raises(InputError, match="shorter than a step"):
        piloted('pilot = {switches = 4, lengths = ["0.1 fs"]}')
