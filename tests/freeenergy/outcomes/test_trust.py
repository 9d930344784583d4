"""What is looked at besides the works reaches the verdict, the error and the page."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.alchemical.restraint_health import RestraintTrace
from drupe.freeenergy.estimation.extrapolation import Doubts
from drupe.freeenergy.estimation.label_check import LabelDifferences
from drupe.freeenergy.outcomes.budget import error_budget
from drupe.freeenergy.outcomes.campaign import CoreTable, Count
from drupe.freeenergy.outcomes.figure_data import Trace
from drupe.freeenergy.outcomes.summary import summarise
from drupe.freeenergy.outcomes.trust import diagnose
from drupe.freeenergy.reporting.report import write_report
from drupe.units import kcal_per_mol, kt

NAN = np.full((9, 6), np.nan)


@pytest.fixture(scope="module")
def campaign(make_campaign):
    return make_campaign(n_switch=(80, 80), sigma=1.0, label_error_kcal=None)


def text(verdict):
    return " ".join((str(verdict), *verdict.also))


def found(result, subject):
    return next(one for one in diagnose(result) if one.subject.startswith(subject)).verdict


def test_a_healthy_campaign_gives_no_reason_to_doubt(campaign):
    assert {one.verdict.level for one in diagnose(campaign)} == {"PASS"}


def test_every_planted_fault_is_found_by_its_diagnosis_and_reaches_the_total(campaign):
    rng = np.random.default_rng(1)
    off = campaign.restraint_traces[-1].values.copy()
    off[:, 0] += 20.0
    faults = {
        "complex, MM": replace(
            campaign,
            traces=(Trace("complex, MM", np.arange(200.0), rng.normal(0, 1, 200) + np.linspace(0, 5, 200)),),
        ),
        "complex/window": replace(
            campaign,
            restraint_traces=(RestraintTrace("complex/window/1", np.arange(25.0), off, held=True),),
        ),
        "restraint": replace(campaign, restraint_traces=()),
        "core potential, solvent": replace(
            campaign, doubts=(Doubts("solvent, end state", "core", np.full(50, 1.6), np.full(50, 0.5)),)
        ),
    }
    for subject, result in faults.items():
        assert found(result, subject).level in ("WARN", "FAIL"), subject
        assert subject in text(summarise(result, n_resamples=2).verdict), subject


@pytest.mark.parametrize(
    ("change", "level", "said"),
    [
        (lambda c: {"traces": ()}, "WARN", "no run kept its energies"),
        (lambda c: {"doubts": ()}, "WARN", "no frame was compared with the training set"),
        (lambda c: {"mm_legs": tuple(replace(leg, checks=()) for leg in c.mm_legs)}, "WARN", "not checked"),
        (
            lambda c: {"switching": tuple(replace(one, run_f=None) for one in c.switching)},
            "WARN",
            "which runs",
        ),
        (
            lambda c: {"switching": tuple(replace(one, time_r=None) for one in c.switching)},
            "WARN",
            "nobody knows when in their runs",
        ),
        (
            lambda c: {"doubts": tuple(one for one in c.doubts if one.level == "core")},
            "WARN",
            "no frame was compared with the training set",
        ),
        (
            lambda c: {"doubts": tuple(one for one in c.doubts if "switches" not in one.place)},
            "WARN",
            "no frame was compared with the training set",
        ),
        (
            lambda c: {"switching": tuple(replace(one, correlated=(0, 20)) for one in c.switching)},
            "WARN",
            "20 of 80 reverse starts lie within a correlation time",
        ),
        (
            lambda c: {"counts": (*c.counts, Count("complex switches", 12, 3, 9))},
            "WARN",
            "9 of 12 complex switches failed",
        ),
        (
            lambda c: {"traces": (replace(c.traces[0], potential=np.full(200, np.nan)),)},
            "FAIL",
            "not finite",
        ),
        (
            lambda c: {"doubts": (Doubts("x", "core", np.r_[0.5, [np.inf] * 35], np.full(36, 0.5)),)},
            "FAIL",
            "35 of 36 frames lie outside",
        ),
        (
            lambda c: {"doubts": (Doubts("x", "core", np.r_[0.5, [np.nan] * 35], np.full(36, 0.5)),)},
            "WARN",
            "35 of 36 frames could not be compared",
        ),
        (
            lambda c: {"doubts": (Doubts("x", "core", np.full(36, 0.5), np.r_[0.5, [np.nan] * 35]),)},
            "WARN",
            "35 of 36 energies have no standard error",
        ),
        (
            lambda c: {
                "restraint_traces": (RestraintTrace("complex/window/1", np.arange(9.0), NAN, held=True),)
            },
            "FAIL",
            "9 of 9 frames have coordinates that are not finite",
        ),
    ],
)
def test_what_is_missing_or_broken_is_never_passed_over(campaign, change, level, said):
    result = replace(campaign, **change(campaign))
    judged = [one.verdict for one in diagnose(result) if said in str(one.verdict)]
    assert {one.level for one in judged} == {level}
    assert said not in text(summarise(campaign, n_resamples=2).verdict)
    whole = summarise(result, n_resamples=2).verdict
    assert said in text(whole)
    assert level == "WARN" or whole.level == "FAIL"


@pytest.mark.parametrize("legs", [("complex",), ("complex", "solvent")])
def test_a_model_error_that_nobody_knows_is_a_warning(campaign, legs):
    works = tuple(replace(one, members=None) if one.leg in legs else one for one in campaign.switching)
    said = "the model error is not known"
    assert said not in text(summarise(campaign, n_resamples=2).verdict)
    found = summarise(replace(campaign, switching=works), n_resamples=2)
    assert found.total.model is None
    assert said in text(found.verdict)
    assert found.verdict.level in ("WARN", "FAIL")


@pytest.mark.parametrize("error", [math.nan, math.inf, -1.0])
def test_an_error_that_is_no_number_is_refused(campaign, error):
    with pytest.raises(InputError, match="error of the labels is"):
        replace(campaign, label_error_kcal=error)
    with pytest.raises(InputError, match="the model error is"):
        replace(summarise(campaign, n_resamples=2).total, model=error)


@pytest.mark.parametrize("correction", ["low", "core"])
def test_works_that_drift_are_told_from_works_that_do_not(campaign, correction):
    (mine,) = (one for one in campaign.switching if (one.correction, one.leg) == (correction, "solvent"))
    time = np.linspace(0.1, 1.0, len(mine.w_f))
    others = tuple(one for one in campaign.switching if one is not mine)
    late = 4.0 * (time > np.median(time))
    for shift, level in ((0.0, "PASS"), (late, "FAIL")):
        moved = replace(mine, w_f=mine.w_f + shift, w_r=mine.w_r - shift, time_f=time, time_r=time)
        result = replace(campaign, switching=(*others, moved))
        assert found(result, f"correction {correction}, solvent").level == level


def test_works_of_few_runs_have_the_error_of_their_runs(campaign):
    def with_runs(runs):
        return replace(
            campaign, switching=tuple(replace(one, run_f=runs[: len(one.w_f)], run_r=runs[: len(one.w_r)])
                                      for one in campaign.switching)
        )  # fmt: skip

    got = summarise(with_runs(np.arange(80) % 4), n_resamples=20).low.complex_leg[0]
    assert "of whole runs" in got.provenance
    alone = summarise(with_runs(np.zeros(80, int)), n_resamples=20)
    assert "start from one run" in text(alone.verdict)


def owing(campaign, owed, level="core", n=12):
    kept = tuple(one for one in campaign.checks if (one.level, one.leg) != (level, "complex"))
    d = np.random.default_rng(2).normal(-1.0 + owed, 0.2, n)
    return replace(
        campaign,
        checks=(
            *kept,
            LabelDifferences("complex", level, n, d, np.ones(n), np.full(n, 0.5), np.arange(n) % 3),
        ),
    )


def test_the_residual_of_the_last_potential_is_a_part_of_the_error_and_does_not_move_the_value(campaign):
    plain, owed = summarise(campaign, n_resamples=2), summarise(owing(campaign, 8.0), n_resamples=2)
    assert owed.total.value == plain.total.value
    assert owed.total.residual == owed.core.difference.residual == owed.checks["core"].part
    assert owed.total.residual == pytest.approx(8.0, abs=0.5)
    assert owed.total.error > plain.total.error
    assert owed.verdict.level == "FAIL"
    assert "label check: fresh labels move the result by" in text(owed.verdict)


def test_what_the_low_potential_owes_stays_with_its_row_as_it_cancels_in_the_total(campaign):
    got = summarise(owing(campaign, 8.0, level="low"), n_resamples=2)
    assert got.low.difference.verdict.level == "FAIL"
    assert "label check" not in text(got.total.verdict)
    assert got.total.residual == got.core.difference.residual < 1.0


def test_a_potential_that_nobody_checked_is_warned_of(campaign):
    got = summarise(replace(campaign, checks=()), n_resamples=2)
    assert "nobody checked the potential" in text(got.verdict)
    assert got.total.residual is None


def with_truncation(campaign, complex_leg, solvent_leg):
    c = campaign.cores
    values = np.where(np.array(c.leg) == "complex", complex_leg, solvent_leg)
    return replace(campaign, cores=CoreTable(**{**vars(c), "truncation": values}))


def test_what_mp2_stands_for_is_a_label_error_where_it_differs_between_the_legs(campaign):
    got = summarise(with_truncation(campaign, -3e-4, -5e-4), n_resamples=2)
    assert got.core.difference.label == pytest.approx(2e-4 / kt(300.0), rel=1e-9)
    same = summarise(with_truncation(campaign, -3e-4, -3e-4), n_resamples=2)
    assert same.core.difference.label == pytest.approx(0.0, abs=1e-12)


def test_the_rows_of_the_budget_add_up_to_the_error_of_the_total(campaign):
    whole = replace(with_truncation(campaign, -3e-4, -5e-4), label_error_kcal=1.5)
    got = summarise(whole, n_resamples=2)
    rows = error_budget(got)
    assert rows[-1].error == got.total.error
    parts = {
        kind: math.hypot(*(row.error for row in rows if row.kind == kind and row.error is not None))
        for kind in ("sampling", "replicate", "model", "label", "residual")
    }
    sampling = {row.cause.removeprefix("sampling, "): row.error for row in rows if row.kind == "sampling"}
    shared = sampling["MM → low level"] + sampling["low level → core"]  # works from the same frames
    del parts["sampling"], parts["replicate"]
    whole_error = math.hypot(sampling["MM legs"], shared, *parts.values())
    assert whole_error == pytest.approx(got.total.error, rel=1e-9)
    unknown = {row.cause for row in rows if row.error is None}
    assert unknown == {"scatter of repeats"}  # one repeat only
    (level,) = [row for row in rows if row.cause == "label, unscreened field"]
    assert level.how == "stated with the approximations"
    (unsaid,) = [row for row in error_budget(summarise(campaign, n_resamples=2)) if row.cause == level.cause]
    assert unsaid.error is None
    assert "stated" not in unsaid.how


def test_page_and_json_carry_the_budget_the_check_and_every_diagnosis(campaign, tmp_path):
    result = replace(campaign, label_error_kcal=1.5)
    got = write_report(result, tmp_path / "r.html", tmp_path / "r.json")
    numbers = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    budget = {row["cause"]: row["kcal_per_mol"] for row in numbers["error_budget"]}
    assert budget["label, unscreened field"] == pytest.approx(1.5, rel=1e-9)
    assert budget["scatter of repeats"] is None
    assert budget["total"] == pytest.approx(got.total.error * kt(300.0) / kcal_per_mol, rel=1e-9)
    check = numbers["label_check"]["core"]
    assert check["labels"] == [12, 12]
    assert check["residual_kcal_per_mol"] == pytest.approx(
        got.checks["core"].residual * kt(300.0) / kcal_per_mol, rel=1e-9
    )
    assert len(numbers["diagnoses"]) == len(got.diagnoses) > 10
    figures = json.loads(page.split('id="figures">')[1].split("</script>")[0])
    assert {"budget", "fresh-labels", "restraint-held", "restraint-free"} <= set(figures)
    bars = figures["budget"]["data"][0]
    assert dict(zip(bars["y"], bars["x"], strict=True)).keys() == budget.keys()
    held = figures["restraint-held"]["data"]
    assert held[0]["name"] == "distance"
    assert len(held) == 6
    assert len(figures["restraint-free"]["data"]) == 12  # two runs
    for one in got.diagnoses:
        assert one.subject in page


def test_a_campaign_whose_fresh_labels_all_failed_still_has_a_report(campaign, tmp_path):
    none = tuple(
        LabelDifferences(leg, level, 4, *[np.zeros(0)] * 3, np.zeros(0, int))
        for level in ("low", "core")
        for leg in ("complex", "solvent")
    )
    got = write_report(replace(campaign, checks=none), tmp_path / "r.html", tmp_path / "r.json")
    assert "of 8 fresh labels asked for, 0 (complex) and 0 (solvent) succeeded" in text(got.verdict)
    numbers = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert numbers["label_check"]["core"]["residual_kcal_per_mol"] is None
