"""The headline is computed from the works: other works, another verdict."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.alchemical.net_charge import net_charge_verdict
from drupe.freeenergy.estimation.diagnostics import Verdict, repeats_verdict
from drupe.freeenergy.outcomes.budget import error_budget
from drupe.freeenergy.outcomes.campaign import CampaignResult, MmLeg, SwitchingResult
from drupe.freeenergy.outcomes.corrections import binding_free_energy, combine
from drupe.freeenergy.outcomes.figure_data import Parity, RegionGeometry
from drupe.freeenergy.outcomes.summary import summarise
from drupe.records import pack, unpack
from drupe.units import kcal_per_mol


def left_out(transferred_error, shift_error):
    """Corrections in hartree, missed by so many kcal/mol."""
    reference = np.array([0.071, 0.072, 0.0735])
    signs = np.array([1.0, -1.0, 1.0]) * kcal_per_mol
    predicted = np.concatenate([reference + transferred_error * signs, reference + shift_error * signs])
    group = ("transferred",) * 3 + ("constant shift",) * 3
    return Parity("core", "correction", np.tile(reference, 2), predicted, group)


@cache
def good_campaign(make_campaign, make_chain, make_checks):
    """Long enough everywhere: three repeats of every leg, 80 switches per direction."""
    base = make_campaign(n_switch=(80, 80), sigma=1.0, label_error_kcal=None)
    legs = tuple(
        MmLeg(leg, tuple(make_chain(n, 120, 30 + k, spacing=0.5) for k in range(3)), (make_checks(),) * 3)
        for leg, n in (("complex", 8), ("solvent", 5))
    )
    return replace(base, mm_legs=legs, parity=(*base.parity, left_out(0.1, 0.2)))


@pytest.fixture
def good(make_campaign, make_chain, make_checks):
    return good_campaign(make_campaign, make_chain, make_checks)


def with_works(result, correction, leg, w_f, w_r):
    kept = [one for one in result.switching if (one.correction, one.leg) != (correction, leg)]
    return replace(result, switching=(*kept, SwitchingResult(leg, correction, w_f, w_r, "replaced")))


def test_a_campaign_at_the_mm_level_is_not_blamed_for_corrections_that_nobody_asked_for(good):
    alone = replace(good, switching=(), doubts=(), checks=(), asked="MM")
    found = summarise(alone, n_resamples=2)
    assert found.level == "MM"
    assert found.verdict.level == "PASS", found.verdict.reasons
    assert found.total.value == pytest.approx(found.mm.value)
    lacking = summarise(replace(alone, asked="core-corrected"), n_resamples=2)
    assert lacking.verdict.level == "FAIL"
    assert "no works for the corrections low and core" in lacking.verdict.reasons[0]


def test_a_charged_ligand_whose_box_loses_its_charge_fails(good):
    reason = "neither a counter-ion takes its place nor was a finite-size correction added"
    found = summarise(replace(good, net_charge=Verdict("FAIL", (reason,))), n_resamples=2)
    assert found.verdict.level == "FAIL"
    assert any(reason in one for one in found.verdict.reasons)


def test_the_correction_of_both_legs_is_a_term_of_its_own(good, corrected):
    plain, found = (summarise(one, n_resamples=2) for one in (good, corrected(good)))
    legs = {
        leg.leg: combine(
            {"": (1.0, getattr(found, f"mm_{leg.leg}")), "finite": (1.0, leg.finite_size.decoupling)}, ""
        )
        for leg in corrected(good).mm_legs
    }
    release = {
        f"release_{name}": getattr(good.restraint, f"release_{name}") for name in ("numerical", "analytic")
    }
    wanted = binding_free_energy(legs["complex"], legs["solvent"], **release, temperature_k=300.0)
    assert found.mm.value == plain.mm.value
    assert found.mm.value + found.finite_size.value == pytest.approx(wanted.value)
    assert found.total.value == pytest.approx(plain.total.value + found.finite_size.value)
    assert abs(found.finite_size.value) > 0.05
    assert found.finite_size.sampling == pytest.approx(math.hypot(0.3, 0.3))
    assert found.total.sampling == pytest.approx(math.hypot(plain.total.sampling, 0.3, 0.3))
    assert plain.finite_size is None


def test_a_correction_takes_the_fail_of_a_charged_ligand_away(good, corrected):
    levels = [
        summarise(one, n_resamples=2).verdict.level
        for one in (
            replace(good, net_charge=net_charge_verdict(1, periodic=True)),
            corrected(good),
            corrected(good, beside=False),
        )
    ]
    assert levels == ["FAIL", "WARN", "PASS"]
    found = summarise(corrected(good), n_resamples=2)
    (reason,) = found.verdict.reasons
    assert reason.startswith("finite size: complex: ")
    assert "Poisson-Boltzmann" in reason
    (row,) = (row for row in error_budget(found) if row.kind == "finite size")
    assert row.error is None


def test_a_correction_of_one_leg_only_is_refused(good, corrected):
    with pytest.raises(InputError, match="one leg of the MM level"):
        replace(good, mm_legs=(corrected(good).mm_legs[0], good.mm_legs[1]))


def test_a_corrected_leg_survives_storage_and_one_of_version_2_has_no_correction(good, corrected):
    leg = corrected(good).mm_legs[0]
    assert unpack(pack(leg)).finite_size.decoupling == leg.finite_size.decoupling
    data = pack(good.mm_legs[0])
    length = int.from_bytes(data[:8], "little")
    head = data[8 : 8 + length].replace(b'\\"finite_size\\": null, ', b"")
    assert len(head) < length
    end = head.index(b"MmLeg")
    head = head[:end] + head[end:].replace(b'\\"version\\": 3', b'\\"version\\": 2', 1)
    old = unpack(len(head).to_bytes(8, "little") + head + data[8 + length :])
    assert old.finite_size is None
    assert old.repeats[0].values.tolist() == good.mm_legs[0].repeats[0].values.tolist()


def test_a_long_enough_campaign_passes(good):
    got = summarise(good, n_resamples=2)
    assert got.level == "core-corrected"
    assert got.verdict.level == "PASS", got.verdict
    parts = got.mm.value + got.low.difference.value + got.core.difference.value
    assert got.total.value == pytest.approx(parts, abs=1e-12)


def test_a_pilot_that_found_no_length_is_a_warning_beside_the_number(good):
    warned = Verdict("WARN", ("no pilot of 1000 increments suffices",))
    marked = [replace(one, pilot=warned) if one.leg == "solvent" else one for one in good.switching]
    got = summarise(replace(good, switching=tuple(marked)), n_resamples=2)
    assert got.verdict.level == "WARN"
    assert any("solvent pilot: no pilot of 1000" in reason for reason in got.verdict.reasons)


@pytest.mark.parametrize("shift", [-6.0, 6.0])
def test_works_of_another_system_flip_the_verdict(good, shift):
    mine = good.works("low", "solvent")
    got = summarise(with_works(good, "low", "solvent", mine.w_f + shift, mine.w_r), n_resamples=2)
    assert got.verdict.level == "FAIL"
    assert got.verdict.reasons[0].startswith("correction low: solvent: ")


def test_quickstart_settings_are_found_to_be_too_short(make_campaign):
    got = summarise(make_campaign(n_switch=(6, 20)), n_resamples=2)
    text = str(got.verdict)
    assert got.verdict.level == "FAIL"
    assert "correction low: complex: min(n) x overlap = 6 x" in text
    assert "neighbouring pairs" in text
    assert any("one repeat only: there is no replicate error" in reason for reason in got.verdict.also)


def test_one_repeat_alone_takes_the_pass_away(good):
    legs = tuple(replace(leg, repeats=leg.repeats[:1], checks=leg.checks[:1]) for leg in good.mm_legs)
    got = summarise(replace(good, mm_legs=legs), n_resamples=2)
    assert got.verdict.level == "WARN"
    assert got.mm.replicate is None


def test_without_core_works_the_total_stops_at_the_low_level_and_fails(good):
    low = tuple(one for one in good.switching if one.correction == "low")
    got = summarise(replace(good, switching=low), n_resamples=2)
    assert got.core is None
    assert got.level == "low level"
    assert got.verdict.level == "FAIL"
    assert "core" in got.verdict.reasons[0]


def test_a_leg_whose_switches_all_failed_gives_no_total(good):
    got = summarise(with_works(good, "core", "complex", np.zeros(0), np.zeros(0)), n_resamples=2)
    assert math.isnan(got.total.value)
    assert got.verdict.level == "FAIL"
    assert math.isfinite(got.mm.value)


def test_the_label_error_is_a_named_part(good):
    got = summarise(replace(good, label_error_kcal=1.5), n_resamples=2)
    # 1.5 kcal/mol at 300 K, kT = 0.59616 kcal/mol.
    assert got.total.label == pytest.approx(1.5 / 0.59616, rel=1e-4)
    assert summarise(good, n_resamples=2).total.label is None


def test_a_campaign_survives_storage(good):
    again = unpack(pack(good))
    assert isinstance(again, CampaignResult)
    first, second = summarise(good, n_resamples=2), summarise(again, n_resamples=2)
    assert first.total == second.total


def test_a_campaign_without_a_solvent_leg_is_refused(good):
    with pytest.raises(InputError, match="has the legs"):
        replace(good, mm_legs=good.mm_legs[:1])
    with pytest.raises(InputError, match="come 2 times"):
        replace(good, switching=(*good.switching, good.switching[0]))


def test_geometry_of_unequal_lengths_is_refused(good):
    r = good.regions
    with pytest.raises(InputError, match="one entry per atom"):
        RegionGeometry(
            r.numbers, r.positions[:-1], r.bonds, r.atom_names, r.residue_names, r.residue_ids, r.chain_ids,
            r.qm, r.cores, r.core_labels,
        )  # fmt: skip


def test_a_transfer_that_learned_only_the_shift_is_warned_of_with_both_errors(good):
    known = [p for p in good.parity if p.quantity != "correction"]
    worse = replace(good, parity=(*known, left_out(0.2, 0.1)))
    assert summarise(good, n_resamples=2).core.difference.verdict.level == "PASS"
    got = summarise(worse, n_resamples=2).core.difference.verdict
    assert got.level == "WARN"
    assert "0.20 kcal/mol" in str(got)
    assert "0.10 with a constant shift" in str(got)
    unknown = summarise(replace(good, parity=tuple(known)), n_resamples=2)
    assert "no label was left out" in str(unknown.core.difference.verdict)


def test_the_model_error_of_the_total_is_that_of_the_last_potential(good):
    got = summarise(good, n_resamples=2)
    assert got.core.difference.model > 0
    assert got.total.model == got.core.difference.model  # the low potential cancels on the way


def test_the_scatter_of_mm_repeats_does_not_swallow_the_error_of_the_switches(good):
    got = summarise(good, n_resamples=2)
    legs = [max(leg.sampling, leg.replicate) for leg in (got.mm_complex, got.mm_solvent)]
    assert got.mm.scatter == pytest.approx(math.hypot(*legs))
    low, core = (one.difference.sampling for one in (got.low, got.core))
    # The works of both corrections share the frames of the low potential.
    assert got.total.scatter == pytest.approx(math.hypot(got.mm.scatter, low + core))
    known = [part for part in (got.total.model, got.total.label, got.total.residual) if part is not None]
    assert got.total.error == pytest.approx(math.hypot(got.total.scatter, *known))


def test_copied_repeats_and_repeats_without_a_value_are_refused(good):
    def with_repeats(leg):
        return replace(leg, repeats=(leg.repeats[0],) * 3)

    got = summarise(replace(good, mm_legs=tuple(map(with_repeats, good.mm_legs))), n_resamples=2)
    assert got.verdict.level == "FAIL"
    assert "2 of 3 repeats are copies of others" in str(got.verdict)
    assert repeats_verdict([1.0, math.nan], [0.1, 0.1]).level == "FAIL"
    assert repeats_verdict([1.0, 2.0], [math.nan, math.nan]).level == "WARN"
    assert repeats_verdict([1.0, 5.0], [math.nan, math.nan]).level == "FAIL"
    assert repeats_verdict([1.0, 1.0], [math.nan, math.nan]).level == "PASS"  # exact numbers agree


def test_what_is_wrong_with_the_mm_level_is_said_of_every_row_that_rests_on_it(good):
    lost = replace(good, net_charge=net_charge_verdict(1, periodic=True))
    got = summarise(lost, n_resamples=2)
    assert got.mm.verdict.level == "FAIL"
    assert got.verdict.level == "FAIL"
    assert summarise(good, n_resamples=2).mm.verdict.level == "PASS"


def test_fresh_labels_of_the_low_potential_warn_where_it_cancels(good):
    checks = tuple(
        replace(one, difference=one.difference + 10.0) if (one.level, one.leg) == ("low", "complex") else one
        for one in good.checks
    )
    got = summarise(replace(good, checks=checks), n_resamples=2)
    assert got.low.difference.verdict.level == "FAIL"
    assert got.verdict.level == "WARN"
    assert "it cancels between the two corrections" in str(got.verdict)


def test_the_unscreened_field_excuses_no_residual(good):
    plain, with_field = (
        summarise(replace(good, label_error_kcal=field), n_resamples=2).checks["low"] for field in (None, 1.5)
    )
    assert with_field.verdict == plain.verdict
