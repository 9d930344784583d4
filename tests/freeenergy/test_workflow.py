from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from drupe.errors import InputError
from drupe.freeenergy.config import read_config
from drupe.freeenergy.workflow import campaign_graph
from drupe.records import record_key

EXAMPLES = Path(__file__).parents[2] / "examples" / "t4l-xylene"


@pytest.fixture(scope="module")
def nodes():
    return campaign_graph(read_config(EXAMPLES / "quickstart.toml"))


def test_names_are_unique_and_inputs_stand_before_those_that_use_them(nodes):
    seen = {"prepared"}
    for node in nodes:
        assert node.name not in seen
        assert seen >= {*node.needs, *node.wants}
        seen.add(node.name)


def test_the_quickstart_has_every_stage_with_its_counts(nodes):
    kinds = Counter("/".join(part for part in node.name.split("/") if not part.isdigit()) for node in nodes)
    assert kinds["complex/label"] == 12
    assert kinds["solvent/label"] == 8
    assert kinds["complex/window"] == 8
    assert kinds["solvent/window"] == 5
    assert kinds["complex/forward"] == kinds["complex/reverse"] == 6
    assert kinds["solvent/forward"] == kinds["solvent/reverse"] == 20
    assert kinds["low/member"] == kinds["core/member"] == 4
    with_core = [n for n in nodes if n.call.endswith("label_snapshot") and n.settings.level.core is not None]
    assert Counter(n.settings.leg for n in with_core) == {"complex": 4, "solvent": 3}
    assert [n.name for n in with_core if n.settings.check] == ["complex/label/0", "solvent/label/0"]


def test_every_random_stream_has_its_own_seed(nodes):
    seeds = [n.settings.seed for n in nodes if hasattr(n.settings, "seed")]
    seeds += [
        n.settings.spec.seed for n in nodes if n.call.endswith(("sample_leg", "sample_mixed", "window"))
    ]
    assert len(seeds) > 60
    assert len(set(seeds)) == len(seeds)


def test_forward_switches_start_from_other_frames_than_labels(nodes):
    (snapshots,) = [n.settings for n in nodes if n.name == "complex/snapshots"]
    forward = [n.settings.index for n in nodes if n.name.startswith("complex/forward/")]
    assert snapshots.labels == 12
    assert snapshots.switches == len(forward) == len(set(forward))


def test_one_line_gives_all_members_another_readout(tmp_path):
    text = (EXAMPLES / "smoke.toml").read_text()
    assert text.count("[potential]\n") == 1
    path = tmp_path / "input.toml"
    for line, want in (("", "classical"), ('readout = "vqc"\n', "vqc")):
        path.write_text(text.replace("[potential]\n", f"[potential]\n{line}"))
        fits = [node for node in campaign_graph(read_config(path)) if node.name.startswith("low/member")]
        assert {node.settings.spec.readout for node in fits} == {want}
    path.write_text(text.replace("[potential]\n", '[potential]\nreadout = "vcq"\n'))
    with pytest.raises(InputError, match="potential.readout"):
        read_config(path)


def test_mechanical_embedding_is_one_line_that_changes_the_low_fits_only(tmp_path):
    text = (EXAMPLES / "smoke.toml").read_text()
    path = tmp_path / "input.toml"
    made = {}
    for embedding in ("electrostatic", "mechanical"):
        path.write_text(text.replace("[potential]\n", f'[potential]\nembedding = "{embedding}"\n'))
        made[embedding] = campaign_graph(read_config(path))
    for one, other in zip(made["electrostatic"], made["mechanical"], strict=True):
        if one.name.startswith("low/member"):
            assert (one.settings.spec.reach, other.settings.spec.reach) == (None, 0.0)
            assert replace(one.settings.spec, reach=0.0) == other.settings.spec
        else:
            assert record_key(one.settings) == record_key(other.settings)
    bad = '[potential]\nembedding = "mechanical"\n'
    path.write_text(text.replace('[potential]\nbackbone = "painn"\n', f'{bad}backbone = "acsf"\n'))
    with pytest.raises(InputError, match="reads the charges around"):
        read_config(path)
