import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from drupe.errors import InputError
from drupe.freeenergy.campaigns.config import read_config
from drupe.freeenergy.campaigns.workflow import campaign_graph
from drupe.records import record_key

LEVELS = ("low", "core")
EXAMPLES = Path(__file__).parents[3] / "examples" / "t4l-xylene"


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
    assert all(kinds[f"{leg}/fresh-{level}"] == 1 + 2 for leg in ("complex", "solvent") for level in LEVELS)
    with_core = [n for n in nodes if "/label/" in n.name and n.settings.level.core is not None]
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


def changed(tmp_path, **lines):
    """Nodes of the quickstart with other lines in its table [abfe]."""
    text = (EXAMPLES / "quickstart.toml").read_text()
    start = text.index("repeats = 1")
    line = text[start : text.index("\n", start)]
    path = tmp_path / "input.toml"
    path.write_text(text.replace(line, "\n".join(f"{name} = {value}" for name, value in lines.items())))
    return campaign_graph(read_config(path))


def counted(nodes):
    return Counter("/".join(part for part in node.name.split("/") if not part.isdigit()) for node in nodes)


def check_order_and_seeds(nodes):
    seen, seeds = {"prepared"}, []
    for node in nodes:
        assert node.name not in seen
        assert seen >= {*node.needs, *node.wants}
        seen.add(node.name)
        if hasattr(node.settings, "spec") and "/fit" not in node.stage:
            seeds += [node.settings.spec.seed] if "window" in node.name or "exchange" in node.name else []
    assert len(set(seeds)) == len(seeds)


def test_repeats_have_other_seeds_and_starts_and_one_restraint(tmp_path):
    nodes = changed(tmp_path, repeats=3)
    kinds = counted(nodes)
    assert (kinds["complex/window"], kinds["solvent/window"], kinds["complex/restraint"]) == (24, 15, 1)
    check_order_and_seeds(nodes)
    windows = [node for node in nodes if node.name.startswith("complex/window")]
    assert all(node.needs[-1] == "complex/restraint" for node in windows)
    starts = [node.settings.start for node in windows]
    assert len(set(starts)) == 24
    names = [node.name for node in nodes if "/window/" in node.name]
    repeat = [int(name.split("/")[2]) for name in names]
    assert repeat == sorted(repeat)  # a whole repeat is there before the next begins


def test_three_repeats_unless_the_input_says_otherwise(tmp_path):
    assert counted(changed(tmp_path))["complex/window"] == 24


def test_windows_that_exchange_are_a_chain_of_stretches(tmp_path):
    nodes = changed(tmp_path, repeats=2, exchange='"gibbs"', stretch='"0.4 ps"')
    kinds = counted(nodes)
    assert kinds["complex/window"] == kinds["solvent/window"] == 0
    # 1 ps of frames every 40 fs is 25 frames: 10, 10 and 5 in stretches of 0.4 ps.
    chain = [node for node in nodes if node.name.startswith("complex/exchange/1/")]
    assert [node.settings.spec.n_frames for node in chain] == [10, 10, 5]
    assert [node.settings.spec.n_equilibration > 0 for node in chain] == [True, False, False]
    assert [node.needs[1] for node in chain] == [
        "complex/snapshots",
        "complex/exchange/1/0",
        "complex/exchange/1/1",
    ]
    assert [node.call.split(":")[1] for node in chain] == ["begin_exchange"] + ["continue_exchange"] * 2
    assert all(node.needs[-1] == "complex/restraint" for node in chain)
    check_order_and_seeds(nodes)


def test_a_run_of_exchange_is_cut_into_ten_unless_the_input_says_otherwise(tmp_path):
    nodes = changed(tmp_path, repeats=1, exchange='"neighbours"')
    frames = [node.settings.spec.n_frames for node in nodes if node.name.startswith("solvent/exchange")]
    assert sum(frames) == 25
    assert len(frames) == 9  # 25 frames in stretches of 3
    assert {node.settings.method for node in nodes if "/exchange/" in node.name} == {"neighbours"}


def test_fresh_labels_are_of_the_level_of_their_end_state_and_none_is_asked_for_with_zero(nodes, tmp_path):
    fresh = [n for n in nodes if re.fullmatch(r"\w+/fresh-\w+/\d+", n.name)]
    assert {(n.name.split("/")[1], n.settings.level.core) for n in fresh} == {
        ("fresh-low", None),
        ("fresh-core", "CCSD(T)"),
    }
    for node in nodes:
        if node.name.endswith(("fresh-low", "fresh-core")):
            assert all(f"/ml-{node.name.rpartition('-')[2]}/" in need for need in node.needs)
    text = (EXAMPLES / "quickstart.toml").read_text()
    path = tmp_path / "input.toml"
    path.write_text(
        text.replace("check = { complex = 2, solvent = 2 }", "check = { complex = 0, solvent = 0 }")
    )
    assert not [n for n in campaign_graph(read_config(path)) if n.stage == "label check"]
    path.write_text(text.replace("check = { complex = 2, solvent = 2 }", ""))
    unsaid = Counter(
        n.name.rpartition("/")[0] for n in campaign_graph(read_config(path)) if n.stage == "label check"
    )
    assert (unsaid["complex/fresh-low"], unsaid["solvent/fresh-low"]) == (6, 8)  # 3 runs keep 2 frames each
    path.write_text(text.replace("check = { complex = 2", "check = { complex = 7"))
    with pytest.raises(InputError, match=r"labels\.check\.complex"):
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
