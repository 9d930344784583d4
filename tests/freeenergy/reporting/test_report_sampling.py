"""What the report says of alchemical sampling: figures that Plotly takes, and the verdicts behind them."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from plotly import graph_objects

from drupe.errors import InputError
from drupe.freeenergy.outcomes.campaign import MmLeg
from drupe.freeenergy.outcomes.summary import summarise
from drupe.freeenergy.reporting.report import write_report
from drupe.freeenergy.reporting.sampling import convergence_figure, walk_figure
from drupe.freeenergy.reporting.text import in_unit
from drupe.records import pack, unpack


@pytest.fixture(scope="module")
def checked(make_campaign, make_checked_chain):
    """Three repeats of the complex, one of the solvent that drifts."""
    repeats = [make_checked_chain(6, 150, seed) for seed in range(3)]
    drifting = make_checked_chain(4, 400, 7, 6.0)
    legs = (
        MmLeg("complex", tuple(one for one, _ in repeats), tuple(checks for _, checks in repeats)),
        MmLeg("solvent", (drifting[0],), (drifting[1],)),
    )
    return replace(make_campaign(), mm_legs=legs)


@pytest.fixture(scope="module")
def written(checked, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    summary = write_report(checked, folder / "r.html", folder / "r.json")
    page = (folder / "r.html").read_text(encoding="utf-8")
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.S)[1])
    return summary, page, figures, json.loads((folder / "r.json").read_text(encoding="utf-8"))


def painted(value):
    if isinstance(value, str) and value.startswith("@"):
        return "#123456"
    if isinstance(value, dict):
        return {key: painted(one) for key, one in value.items()}
    return [painted(one) for one in value] if isinstance(value, list) else value


def test_every_figure_is_there_and_plotly_takes_it(written):
    _, page, figures, _ = written
    wanted = {f"{kind}-{leg}" for kind in ("convergence", "mixing", "walk") for leg in ("complex", "solvent")}
    assert wanted <= figures.keys()
    for name in wanted:
        assert f'id="{name}"' in page
        drawn = graph_objects.Figure(painted(figures[name]))
        assert len(drawn.data) >= 1


def test_convergence_is_drawn_for_every_repeat_and_ends_in_its_mbar(checked, written):
    figure = written[2]["convergence-complex"]
    assert [trace["name"] for trace in figure["data"]] == ["forward", "backward"] * 3
    assert [trace["showlegend"] for trace in figure["data"]] == [True, True] + [False] * 4
    for k, one in enumerate(checked.mm_legs[0].repeats):
        want = in_unit(one.total.value, 300.0, "kcal/mol")
        for trace in figure["data"][2 * k : 2 * k + 2]:
            assert len(trace["y"]) == len(trace["error_y"]["array"]) == 10
            assert trace["y"][-1] == pytest.approx(want, abs=1e-3)


def test_the_slowest_repeat_is_shown_and_its_walks_are_permutations(checked, written):
    leg = checked.mm_legs[0]
    slowest = int(np.argmax([one.mixing.second for one in leg.checks]))
    page, figures = written[1], written[2]
    assert f"Repeat {slowest + 1} of 3, the slowest." in page
    heat = figures["mixing-complex"]["data"][0]["z"]
    assert np.array(heat) == pytest.approx(leg.checks[slowest].mixing.transitions, abs=1e-4)
    mixing = leg.checks[slowest].mixing
    assert (np.sort(mixing.walks, axis=1) == np.arange(6)).all()
    drawn = walk_figure(mixing)["data"]
    assert [trace["name"] for trace in drawn] == ["replica 0", "replica 3", "replica 5"]
    assert drawn[1]["y"] == mixing.walks[:, 3].tolist()


def test_a_drift_reaches_the_headline_with_its_leg_and_reason(checked, written):
    summary = written[0]
    text = str((summary.mm.verdict.reasons, summary.mm.verdict.also))
    assert "solvent: convergence: the free energy drifts" in text
    assert summary.mm.verdict.level == "FAIL"
    assert "the free energy drifts" in written[1]
    clean = replace(checked, mm_legs=tuple(replace(leg, checks=()) for leg in checked.mm_legs))
    assert "drifts" not in str(summarise(clean).mm.verdict)


def test_repeats_give_a_replicate_error_and_one_alone_says_that_it_has_none(checked, written):
    numbers = written[3]["mm_legs"]
    values = [one.total.value for one in checked.mm_legs[0].repeats]
    spread = float(np.std(values, ddof=1))
    assert numbers["complex"]["error_parts_kt"]["replicate"] == pytest.approx(spread)
    sampling = numbers["complex"]["error_parts_kt"]["sampling"]
    assert numbers["complex"]["error_kt"] == pytest.approx(max(spread, sampling))
    assert numbers["solvent"]["error_parts_kt"]["replicate"] is None
    reasons = numbers["solvent"]["verdict"]["reasons"] + numbers["solvent"]["verdict"]["also"]
    assert any("one repeat only" in reason for reason in reasons)


def test_the_numbers_stand_in_the_json(checked, written):
    found = written[3]["sampling"]
    assert [len(found[leg]) for leg in ("complex", "solvent")] == [3, 1]
    one, checks = found["complex"][0], checked.mm_legs[0].checks[0]
    assert one["kept"] == checks.equilibration.kept.tolist()
    assert one["exchange"]["second_eigenvalue"] == checks.mixing.second
    assert one["convergence"]["drift_kt"] == checks.convergence.drift
    assert one["convergence"]["bend_kt"] == checks.convergence.bend
    assert found["solvent"][0]["verdict"]["level"] == "FAIL"


def test_windows_by_themselves_have_no_mixing_figure_and_say_so(checked, tmp_path):
    legs = tuple(
        replace(leg, checks=tuple(replace(one, mixing=None) for one in leg.checks)) for leg in checked.mm_legs
    )
    write_report(replace(checked, mm_legs=legs), tmp_path / "r.html", tmp_path / "r.json")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'id="mixing-complex"' not in page
    assert 'id="convergence-complex"' in page
    assert "windows by themselves" in page


def test_parts_without_a_number_are_gaps(checked):
    leg = checked.mm_legs[1]
    hole = replace(leg.checks[0].convergence, forward=np.array([np.nan] + [1.0] * 9))
    drawn = convergence_figure(replace(leg, checks=(replace(leg.checks[0], convergence=hole),)), 300.0)
    assert drawn["data"][0]["y"][0] is None
    json.dumps(drawn, allow_nan=False)


def test_a_leg_has_checks_of_every_repeat_or_of_none_and_an_older_record_has_none(checked):
    leg = checked.mm_legs[0]
    with pytest.raises(InputError, match="3 repeats and 1 checks"):
        replace(leg, checks=leg.checks[:1])
    again = unpack(pack(leg))
    assert again.checks[2].verdict == leg.checks[2].verdict
    data = pack(replace(leg, checks=()))
    # A record of version 1 has no field of that name.
    length = int.from_bytes(data[:8], "little")
    head = data[8 : 8 + length].replace(b'\\"version\\": 2', b'\\"version\\": 1')
    head = head.replace(b'\\"checks\\": [], ', b"")
    assert len(head) < length
    old = len(head).to_bytes(8, "little") + head + data[8 + length :]
    assert unpack(old).checks == ()
