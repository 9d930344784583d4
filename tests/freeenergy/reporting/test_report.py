"""The page and its numbers: self-contained, complete, escaped, true to the works."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from plotly import graph_objects

from drupe.freeenergy.estimation.diagnostics import Verdict
from drupe.freeenergy.estimation.results import FreeEnergy
from drupe.freeenergy.outcomes.campaign import CoreTable, MmLeg, SwitchingResult
from drupe.freeenergy.outcomes.summary import summarise
from drupe.freeenergy.reporting.regions import region_figure
from drupe.freeenergy.reporting.report import write_report
from drupe.freeenergy.reporting.ribbon import ribbon, spheres, sticks
from drupe.freeenergy.reporting.sections import core_table
from drupe.freeenergy.reporting.text import in_unit, signed, with_error


class _Reader(HTMLParser):
    """Collects texts, links, ids and whether tags close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.fetched, self.texts, self.scripts = [], [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        fields = dict(attrs)
        self.ids += [fields["id"]] if "id" in fields else []
        self.links += [fields["href"]] if "href" in fields else []
        self.fetched += [fields[name] for name in ("src", "srcset", "data") if name in fields]
        if tag not in ("meta", "circle", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag not in ("meta", "circle", "br"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] == "script" else self.texts).append(data)


@pytest.fixture(scope="module")
def written(make_campaign, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report with a space")
    result = make_campaign()
    summary = write_report(result, folder / "report.html", folder / "report.json")
    reader = _Reader()
    page = (folder / "report.html").read_text(encoding="utf-8")
    reader.feed(page)
    numbers = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return result, summary, page, reader, numbers, folder


def figures(reader):
    return json.loads(next(text for text in reader.scripts if text.startswith("{")))


def test_tags_close_and_every_figure_has_its_place(written):
    reader = written[3]
    assert reader.open == []
    assert set(figures(reader)) <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert {link[1:] for link in reader.links} <= set(reader.ids)


def test_nothing_is_fetched_and_plotly_stands_in_the_page_once(written):
    page, reader = written[2], written[3]
    assert reader.fetched == []
    assert all(link.startswith("#") for link in reader.links)
    assert "connect-src 'none'" in page
    assert sum(len(text) > 1_000_000 for text in reader.scripts) == 1
    assert "@import" not in page.split("<script")[0]
    assert "url(" not in page.split("<script")[0]


def test_plotly_accepts_every_figure(written):
    def plain(value):
        if isinstance(value, str) and value.startswith("@"):
            return "#123456"
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        return [plain(one) for one in value] if isinstance(value, list) else value

    for name, figure in figures(written[3]).items():
        drawn = graph_objects.Figure(plain({"data": figure["data"], "layout": figure["layout"]}))
        assert len(drawn.data) >= 1, name


def test_every_colour_name_exists_in_both_themes(written):
    page, reader = written[2], written[3]
    names = set(re.findall(r'"@([a-z0-9-]+)"', next(text for text in reader.scripts if text.startswith("{"))))
    style = page.split("<style>")[1].split("</style>")[0]
    light, dark = style.split(":root[data-theme=dark]")[:2]
    for name in names:
        assert f"--{name}:" in light, name
        assert f"--{name}:" in dark.split("}")[0], name


def test_the_headline_of_page_and_json_is_that_of_the_works(written):
    result, summary, _, reader, numbers, _ = written
    again = summarise(result)
    assert again.total == summary.total
    total = numbers["headline"]["ΔG bind (core-corrected)"]
    assert total["kt"] == again.total.value
    assert total["kj_per_mol"] == pytest.approx(4.184 * total["kcal_per_mol"], rel=1e-12)
    assert total["verdict"]["level"] == "FAIL"
    text = "".join(reader.texts)
    for name, row in numbers["headline"].items():
        assert name in text
        assert all(reason in text for reason in row["verdict"]["reasons"])
    assert with_error(again.total, 300.0, "kcal/mol")[0] in text


def test_counts_failures_versions_and_limits_are_on_the_page(written):
    result, _, _, reader, numbers, _ = written
    text = "".join(reader.texts)
    for one in result.counts:
        assert one.what in text
        assert numbers["counts"][one.what] == {"wanted": one.wanted, "done": one.done, "failed": one.failed}
    assert result.failures[0].found in text
    assert all(name in text and meaning in text for name, meaning in result.approximations)
    assert all(version in text for version in result.versions.values())


def test_both_files_appear_and_nothing_half_written_stays(written):
    assert sorted(path.name for path in written[5].iterdir()) == ["report.html", "report.json"]


def test_the_same_campaign_gives_the_same_bytes(written, tmp_path):
    write_report(written[0], tmp_path / "a.html", tmp_path / "a.json")
    assert (tmp_path / "a.html").read_bytes() == (written[5] / "report.html").read_bytes()


def test_markup_in_names_stays_text(make_campaign, tmp_path):
    evil = "<script>alert(1)</script>\"'&</script>"
    base = make_campaign()
    result = replace(
        base, title=evil, ligand=evil, receptor=evil, experiment_source=evil, approximations=((evil, evil),),
        versions={evil: evil}, settings={evil: evil},
        regions=replace(base.regions, core_labels=(evil,), atom_names=(evil,) * len(base.regions.numbers)),
        traces=(replace(base.traces[0], name=evil),),
    )  # fmt: skip
    write_report(result, tmp_path / "r.html", tmp_path / "r.json")
    assert "<script>alert" not in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_campaign_in_which_nearly_everything_failed_still_has_a_report(make_campaign, tmp_path):
    base = make_campaign()
    none = np.zeros(0)
    result = replace(
        base,
        switching=tuple(
            SwitchingResult(one.leg, one.correction, none, none, one.description) for one in base.switching
        ),
        cores=CoreTable((), (), none, none, none, none, none, none),
        parity=(), learning=(), traces=(), counts=(), costs=(), failures=(), experiment_kcal=None,
    )  # fmt: skip
    summary = write_report(result, tmp_path / "r.html", tmp_path / "r.json")
    assert summary.verdict.level == "FAIL"
    numbers = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert numbers["headline"]["correction low"]["kcal_per_mol"] is None
    assert "no number" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_cores_without_a_t1_say_that_it_is_not_known(make_campaign):
    """MP2 has no amplitudes of single excitations."""
    plain = make_campaign()
    result = replace(plain, cores=replace(plain.cores, t1=np.full(len(plain.cores.leg), np.nan)))
    said = core_table(result)
    assert "<dt>largest T1</dt><dd>not known</dd>" in said
    assert "nan" not in said
    assert f"<dt>largest T1</dt><dd>{plain.cores.t1.max():.4f}</dd>" in core_table(plain)


def test_no_corrections_at_all_is_an_mm_report(make_campaign, tmp_path):
    summary = write_report(replace(make_campaign(), switching=()), tmp_path / "r.html", tmp_path / "r.json")
    assert summary.level == "MM"
    assert summary.verdict.level == "FAIL"


def test_a_campaign_at_the_mm_level_says_nothing_of_potentials(make_campaign, tmp_path):
    result = replace(
        make_campaign(),
        switching=(),
        doubts=(),
        checks=(),
        parity=(),
        learning=(),
        asked="MM",
        approximations=(),
    )
    write_report(result, tmp_path / "report.html", tmp_path / "report.json")
    reader = _Reader()
    reader.feed((tmp_path / "report.html").read_text(encoding="utf-8"))
    sections = {link for link in reader.links if link.startswith("#s-")}
    assert sections == {"#s-result", "#s-trust", "#s-regions", "#s-mm", "#s-sampling", "#s-run"}
    said = " ".join(reader.texts)
    for word in ("learned potential", "quantum core", "QM region", "label check", "committee"):
        assert word not in said, word
    assert said.count("ΔG bind (MM)") == 2  # the number, and its row


@pytest.mark.parametrize("asked", ["MM", "core-corrected"])
def test_a_finite_size_correction_is_a_row_that_adds_up(make_campaign, corrected, tmp_path, asked):
    result = replace(corrected(make_campaign()), asked=asked)
    if asked == "MM":
        result = replace(result, switching=(), doubts=(), checks=(), approximations=())
    write_report(result, tmp_path / "r.html", tmp_path / "r.json")
    numbers = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    *parts, total = numbers["headline"].values()
    assert list(numbers["headline"])[:2] == ["ΔG bind (MM), as simulated", "finite size"]
    assert sum(one["kt"] for one in parts) == pytest.approx(total["kt"])
    legs = numbers["finite_size"]
    added = legs["solvent"]["decoupling"]["kt"] - legs["complex"]["decoupling"]["kt"]
    assert numbers["headline"]["finite size"]["kt"] == pytest.approx(added)
    terms = {key: value for key, value in legs["solvent"]["charging_terms_kt"].items() if "left" not in key}
    assert sum(terms.values()) == pytest.approx(-legs["solvent"]["decoupling"]["kt"])
    reader = _Reader()
    reader.feed((tmp_path / "r.html").read_text(encoding="utf-8"))
    said = " ".join(reader.texts)
    assert "discrete solvent" in said
    shown = in_unit(-terms["discrete_solvent"], 300.0, "kcal/mol")
    assert signed(shown) in said
    assert "27.00 nm³" in said
    steps = figures(reader)["cascade"]["data"][0]
    assert [name.split("<br>")[0] for name in steps["x"]][:2] == ["MM, as simulated", "+ finite size"]
    assert steps["base"][1] == pytest.approx(in_unit(parts[0]["kt"], 300.0, "kcal/mol"))


def test_thirty_windows_and_three_repeats_are_drawn(make_campaign, make_chain, tmp_path):
    legs = tuple(MmLeg(leg, tuple(make_chain(30, 12, k) for k in range(3))) for leg in ("complex", "solvent"))
    write_report(replace(make_campaign(), mm_legs=legs), tmp_path / "r.html", tmp_path / "r.json")
    numbers = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [len(one["values_kt"]) for one in numbers["mbar"]["complex"]] == [30, 30, 30]
    assert numbers["mm_legs"]["complex"]["error_parts_kt"]["replicate"] > 0


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (-4.637, 0.214, ("−4.64", "± 0.21")),
        (-4.637, 12.34, ("−4.6", "± 12.3")),
        (float("nan"), 1.0, ("no number", "")),
    ],
)
def test_numbers_have_the_digits_their_error_deserves(value, error, shown):
    energy = FreeEnergy(value, Verdict("PASS"), "exact", sampling=error)
    assert with_error(energy, 300.0, "kT") == shown


def test_a_free_energy_without_error_says_so():
    assert with_error(FreeEnergy(1.0, Verdict("PASS"), "exact"), 300.0, "kT") == ("1.00", "error unknown")


def test_one_kt_at_300_kelvin():
    # k_B = 1.380649e-23 J/K, N_A = 6.02214076e23 /mol: exact in the SI.
    assert in_unit(1.0, 300.0, "kJ/mol") == pytest.approx(1.380649e-23 * 300 * 6.02214076e23 / 1000, rel=1e-9)
    assert signed(-0.004) == "−0.00"


def test_regions_are_drawn_in_angstrom_with_the_core_inside_the_qm_region(make_campaign):
    regions = make_campaign().regions
    figure = region_figure(regions)
    present = {trace["meta"] for trace in figure["data"]}
    assert present == {"Backbone", "MM atoms", "Pocket", "QM region", "Quantum core", "Restraint"}
    close = figure["views"]["pocket"]["xaxis"]
    middle = regions.positions[regions.qm, 0].mean() * 0.529177
    assert close[0] < middle < close[1]
    assert close[1] - close[0] < 30.0


def test_sticks_spheres_and_ribbons_are_closed_round_their_axes():
    points, faces = spheres(np.array([[1.0, 2.0, 3.0]]), np.array([0.5]))
    assert np.linalg.norm(points - [1.0, 2.0, 3.0], axis=1) == pytest.approx(np.full(len(points), 0.5))
    assert len(points) - 3 * len(faces) // 2 + len(faces) == 2  # Euler: a closed surface without holes
    points, _ = sticks(np.zeros((1, 3)), np.array([[0.0, 0.0, 2.0]]), 0.13)
    assert np.linalg.norm(points[:, :2], axis=1) == pytest.approx(np.full(len(points), 0.13))
    turn = np.deg2rad(100.0) * np.arange(12)  # an ideal helix: 100 degrees and 1.5 angstrom per residue
    alpha = np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(12)], axis=1)
    wide, _ = ribbon(alpha, np.tile([0.0, 0.0, 1.0], (12, 1)))
    coil, _ = ribbon(3.0 * alpha[:4], np.tile([0.0, 0.0, 1.0], (4, 1)))
    ring = wide.reshape(-1, 10, 3)[30]
    # 2 x 1.25 across, less at most 5 % because ten points need not hit the tip.
    assert max(np.linalg.norm(a - b) for a in ring for b in ring) == pytest.approx(2.5, rel=0.05)
    assert np.isfinite(coil).all()
