"""Every task of a campaign names a function that is there."""

import importlib
from pathlib import Path

import pytest

from drupe.freeenergy.campaigns.config import read_config
from drupe.freeenergy.campaigns.workflow import campaign_graph

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize(
    "name",
    ["t4l-xylene/smoke", "t4l-xylene/quickstart", "t4l-xylene/campaign", "cb7-b2/campaign", "mcl1/campaign"],
)
def test_every_call_is_there(name):
    calls = {node.call for node in campaign_graph(read_config(EXAMPLES / f"{name}.toml"))}
    assert len(calls) >= 4
    for call in calls:
        module, function = call.split(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_the_refit_of_torsions_too(tmp_path):
    text = (EXAMPLES / "t4l-xylene" / "quickstart.toml").read_text() + "\n[torsions]\nrotors = true\n"
    (tmp_path / "input.toml").write_text(text)
    calls = {node.call for node in campaign_graph(read_config(tmp_path / "input.toml"))}
    for call in calls:
        module, function = call.split(":")
        assert callable(getattr(importlib.import_module(module), function))
    assert any(call.endswith(":refit_works") for call in calls)
