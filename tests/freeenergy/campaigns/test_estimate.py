"""What a campaign is said to cost: steps times seconds, task by task."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from drupe.freeenergy.campaigns import estimate
from drupe.freeenergy.campaigns.config import read_config
from drupe.freeenergy.campaigns.estimate import LegSpeed, seconds_of, stage_costs
from drupe.freeenergy.campaigns.workflow import campaign_graph
from drupe.freeenergy.cli import main

EXAMPLES = Path(__file__).parents[3] / "examples"
QUICK = EXAMPLES / "t4l-xylene" / "quickstart.toml"
SPEEDS = {"complex": LegSpeed(mm=0.05, window=0.08), "solvent": LegSpeed(mm=0.001, window=0.004)}


def test_dynamics_cost_their_steps_and_everything_is_counted_once():
    nodes = campaign_graph(read_config(QUICK))
    costs = stage_costs(nodes, SPEEDS)
    assert sum(cost.tasks for cost in costs) == len(nodes)
    by_name = {node.name: node for node in nodes}
    start = estimate._START_S

    def steps(name):
        return by_name[name].settings.spec.n_steps

    def cost(name):
        return pytest.approx(seconds_of(by_name[name], SPEEDS))

    assert cost("complex/window/0/3") == start + 0.08 * steps("complex/window/0/3")
    assert cost("solvent/forward/0") == start + (0.001 + estimate._NETWORK_S) * steps("solvent/forward/0")
    minimised = by_name["complex/sample/0"].settings.spec.minimise
    assert cost("complex/sample/0") == start + 0.05 * (steps("complex/sample/0") + minimised)
    assert cost("complex/ml-low/0") == start + (0.05 + estimate._NETWORK_S) * steps("complex/ml-low/0")
    assert seconds_of(by_name["complex/label/0"], SPEEDS) is None
    said = {cost.stage: cost.timed for cost in costs}
    assert said["alchemical windows"]
    assert not said["labels"]


def test_a_stretch_of_exchange_costs_all_its_windows(tmp_path):
    text = QUICK.read_text().replace("repeats = 1 ", 'repeats = 1\nexchange = "gibbs" ')
    (tmp_path / "input.toml").write_text(text)
    nodes = campaign_graph(read_config(tmp_path / "input.toml"))
    one = next(node for node in nodes if node.name == "complex/exchange/0/0")
    want = estimate._START_S + 0.08 * 8 * one.settings.spec.n_steps
    assert seconds_of(one, SPEEDS) == pytest.approx(want)


def test_the_command_checks_and_times_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "_TIMED_S", 0.05)
    monkeypatch.chdir(tmp_path)
    host = EXAMPLES / "cb7-b2" / "campaign.toml"
    found = CliRunner().invoke(main, ["estimate", str(host), "--json"])
    assert found.exit_code == 0, found.output
    told = json.loads(found.output)
    assert told["legs"]["complex"]["atoms"] == 4491
    for leg in told["legs"].values():
        assert leg["window_step_s"] > 0
        assert leg["mm_step_s"] > 0
    assert told["hours"] == pytest.approx(told["slot_hours"] / told["slots"])
    assert told["slot_hours"] == pytest.approx(sum(one["seconds"] for one in told["stages"]) / 3600)
    assert list(tmp_path.iterdir()) == []
    bad = tmp_path / "bad.toml"
    bad.write_text(host.read_text().replace("resname B2", "resname B3"))
    refused = CliRunner().invoke(main, ["estimate", str(bad)])
    assert refused.exit_code == 2
    assert "B3" in refused.output
