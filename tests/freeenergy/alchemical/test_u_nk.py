"""Reduced potentials for alchemlyb: the standard form, and the same free energy through a file."""

import math

import numpy as np
import pandas
import pytest
from click.testing import CliRunner

from drupe.errors import InputError
from drupe.freeenergy.alchemical.alchemy import Schedule, WindowSamples
from drupe.freeenergy.alchemical.leg_run import LegRun, leg_run
from drupe.freeenergy.alchemical.leg_tables import Tables
from drupe.freeenergy.alchemical.u_nk import u_nk
from drupe.freeenergy.campaigns.export_command import export_u_nk, read_runs
from drupe.freeenergy.cli import main
from drupe.freeenergy.estimation.chain import mbar
from drupe.freeenergy.simulation.sampling import SampleSpec
from drupe.records import pack
from drupe.store import Row, Store

SCHEDULE = Schedule((0, 1, 1, 1), (1, 1, 0, 0), (1, 1, 1, 0))
CENTRES = np.array([0.0, 0.6, 1.2, 1.8])
SOLVENT = Schedule((0, 0, 0, 0), (1, 0.9, 0, 0), (1, 1, 1, 0))
SPEC = SampleSpec(temperature_k=310.0, step_fs=2.0, stride=100, n_frames=40)


def windows(seed=1, frames=40, schedule=SCHEDULE):
    rng = np.random.default_rng(seed)
    made = []
    for k in range(4):
        x = rng.normal(CENTRES[k], 1.0, frames)
        u = 0.5 * (x - CENTRES[:, None]) ** 2 + np.arange(4)[:, None]
        made.append(WindowSamples(k, u, np.zeros((2, 3)), schedule, SPEC, {}))
    return made


def test_the_table_has_the_standard_form():
    run = leg_run("complex", windows=windows())
    table = u_nk(run)
    assert table.index.names == ["time", "restraint-lambda", "coul-lambda", "vdw-lambda"]
    assert table.columns.tolist() == [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (1.0, 1.0, 1.0)]
    assert table.attrs == {"temperature": 310.0, "energy_unit": "kT"}
    assert table.shape == (160, 4)
    assert all(kind == np.float64 for kind in table.dtypes)
    first = table.loc[(0.2, 1.0, 1.0, 0.0)]  # 100 steps of 2 fs, third state
    assert first.to_numpy().tolist() == run.tables.u[2, :, 0].tolist()
    solvent = u_nk(
        leg_run("solvent", windows=windows(schedule=Schedule((0,) * 4, (1, 0.9, 0, 0), (1, 1, 1, 0))))
    )
    assert solvent.index.names == ["time", "coul-lambda", "vdw-lambda"]
    assert solvent.columns.tolist()[1] == (0.1, 0.0)


def as_an_estimator_stacks_it(table):
    """Rows sorted by state, samples counted in the order of the columns."""
    levels = table.index.names[1:]
    ordered = table.sort_index(level=levels)
    sizes = ordered.groupby(level=levels).size()
    return ordered.to_numpy().T, [int(sizes.get(state, 0)) for state in ordered.columns]


def test_free_energies_are_the_same_through_the_table_and_through_a_file(tmp_path):
    run = leg_run("complex", windows=windows())
    direct = mbar(np.hstack(list(run.tables.u)), [40] * 4)
    u_kn, n_k = as_an_estimator_stacks_it(u_nk(run))
    assert n_k == [40] * 4
    assert mbar(u_kn, n_k).values == pytest.approx(direct.values, abs=1e-9)
    (path,) = export_u_nk(campaign(tmp_path / "c", {("complex", 0): windows()}), tmp_path / "out")
    assert path.name == "complex-repeat-1.parquet"
    back = pandas.read_parquet(path)
    # Names of states are text in the file; alchemlyb's reader takes the numbers out again.
    back.columns = pandas.Index(
        [tuple(float(x) for x in name[1:-1].split(",")) for name in back.columns], tupleize_cols=False
    )
    assert back.index.names == ["time", "restraint-lambda", "coul-lambda", "vdw-lambda"]
    u_kn, n_k = as_an_estimator_stacks_it(back)
    found = mbar(u_kn, n_k)
    assert found.values == pytest.approx(direct.values, abs=1e-12)
    assert found.errors == pytest.approx(direct.errors, abs=1e-12)


def test_a_schedule_that_comes_back_is_stacked_in_the_order_of_its_names():
    schedule = Schedule((0, 1, 1, 0), (1, 1, 0, 0), (1, 1, 1, 0))  # the restraint is let go at the end
    run = leg_run("complex", windows=windows(schedule=schedule))
    table = u_nk(run)
    assert table.columns.tolist() == sorted(table.columns.tolist())
    u_kn, n_k = as_an_estimator_stacks_it(table)
    direct = mbar(np.hstack(list(run.tables.u)), [40] * 4)
    # Sorted: states 0, 3, 1, 2 of the schedule.
    assert mbar(u_kn, n_k).values[1] == pytest.approx(direct.values[3], abs=1e-6)


def test_two_states_of_one_name_are_refused():
    run = LegRun("solvent", Tables(np.zeros((2, 2, 3))), Schedule((0, 1), (1, 1), (1, 1)), SPEC)
    with pytest.raises(InputError, match=r"two windows of the solvent leg have the lambdas \(0.0, 0.0\)"):
        u_nk(run)


def campaign(folder, legs, state="done"):
    """A store that holds the windows of legs and repeats."""
    rows = {}
    with Store(folder) as store:
        for (leg, repeat), found in legs.items():
            for one in found:
                part = store.scratch / "task-x"
                part.write_bytes(pack(one))
                name = f"{leg}/window/{repeat}/{one.index}"
                key = f"task-{leg}-{repeat}-{one.index}"
                row = Row(key, name, "alchemical windows", "done", store.adopt(part), 1, 0, 1.0, 1.0, None)
                store.finish(row)
                rows[name] = key
        if state == "done":
            store.keep_fact("rows", rows)
    return folder


def test_the_command_writes_one_file_for_each_leg_and_repeat(tmp_path):
    schedules = {"complex": SCHEDULE, "solvent": SOLVENT}
    legs = {(leg, k): windows(k, schedule=one) for leg, one in schedules.items() for k in range(2)}
    folder = campaign(tmp_path / "c", legs)
    result = CliRunner().invoke(main, ["export", str(folder), "--u-nk", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted(f"{leg}-repeat-{k}.parquet" for leg in ("complex", "solvent") for k in (1, 2))
    assert all(name in result.output for name in names)
    runs = read_runs(folder)
    assert (
        runs["complex", 1].tables.u.tolist()
        == leg_run("complex", windows=legs["complex", 1]).tables.u.tolist()
    )
    assert math.isclose(runs["complex", 1].spacing_ps, 0.2)


@pytest.mark.parametrize("harm", ["cut", "edited", "gone"])
def test_a_damaged_result_is_refused_by_name(tmp_path, harm):
    folder = campaign(tmp_path / "c", {("complex", 0): windows()})
    with Store(folder) as store:
        (blob,) = [row.blob for row in store.rows() if row.name == "complex/window/0/2"]
        path = store.blob_path(blob)
    data = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if harm == "cut" else data[:-8] + b"otherbit")
    result = CliRunner().invoke(main, ["export", str(folder), "--u-nk", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "complex/window/0/2 is damaged" in result.output
    assert not (tmp_path / "out").exists()


def test_what_is_no_finished_campaign_is_refused(tmp_path):
    out = str(tmp_path / "out")
    result = CliRunner().invoke(main, ["export", str(tmp_path), "--u-nk", out])
    assert (result.exit_code, "holds no campaign" in result.output) == (2, True)
    folder = campaign(tmp_path / "c", {("complex", 0): windows()}, state="running")
    result = CliRunner().invoke(main, ["export", str(folder), "--u-nk", out])
    assert (result.exit_code, "has come to its end" in result.output) == (2, True)
    folder = campaign(tmp_path / "d", {("complex", 0): windows()[:3]})
    with pytest.raises(InputError, match=r"4 states has windows \[0, 1, 2\]"):
        read_runs(folder)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    folder = campaign(tmp_path / "c", {("complex", 0): windows()})
    (tmp_path / "file").touch()
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        result = CliRunner().invoke(main, ["export", str(folder), "--u-nk", str(target)])
        assert result.exit_code == 2
        assert f"{target} cannot be a folder" in result.output
        assert "give --u-nk a folder that can be written" in result.output
