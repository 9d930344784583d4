"""The study of liquid silicon on eight atoms and springs: every script runs, stops, goes on, and adds up."""

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase.build import bulk
from click.testing import CliRunner

from drupe.errors import InputError
from drupe.records import content_key
from drupe.units import angstrom

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "liquid-silicon"
NAMES = ("silicon_data", "silicon_model", "pair_distribution", "fit", "study", "summary", "dynamics", "noise",
         "memory")  # fmt: skip
FRAMES = 30  # of each of two runs
STEPS = 6


@pytest.fixture(scope="module")
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        made = SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
        # Half the box is 2.715 A.
        tiny = replace(made.fit.SETTINGS["small"], features=4, radial=3, cutoff=2.7, steps=STEPS)
        patch.setitem(made.fit.SETTINGS, "small", tiny)
        yield made
    for name in NAMES:
        sys.modules.pop(name, None)


def springs(place, box, start):
    """Energy (eV) and forces (eV/A) of springs between nearest neighbours of the start."""
    apart = place[:, None] - place
    apart -= np.rint(apart @ np.linalg.inv(box)) @ box
    first = start[:, None] - start
    first -= np.rint(first @ np.linalg.inv(box)) @ box
    rest = np.linalg.norm(first, axis=-1)
    bonded = (rest > 0.1) & (rest < 2.5)
    length = np.linalg.norm(apart, axis=-1) + np.eye(len(place))
    pull = np.where(bonded, 5.0 * (length - rest), 0.0)
    forces = -((pull / length)[..., None] * apart).sum(1)
    return float((pull**2).sum() / 5.0 / 4), forces


@pytest.fixture(scope="module")
def shuffled():
    """Two runs of eight atoms that also drift, in no order: fields of the file, and each frame's place."""
    crystal = bulk("Si", cubic=True)
    box, start = crystal.cell.array, crystal.positions
    rng = np.random.default_rng(4)
    frames, places = [], []
    for run in range(2):
        offset = 2.0 * run  # no frame of one run is near one of the other
        place, speed = start + offset, rng.normal(0.012, 0.016, start.shape)  # A/fs
        for count in range(FRAMES * 5):
            _, force = springs(place, box, start)
            speed = speed + 2.0 * force * 9.6485e-3 / 28.085
            place = place + 2.0 * speed
            if count % 5 == 0:
                frames.append((place % np.diag(box), *springs(place, box, start)))
                places.append((run, count // 5))
    order = rng.permutation(len(frames))
    positions, energy, forces = (np.array([frames[k][part] for k in order]) for part in range(3))
    fields = {
        "numbers": crystal.numbers,
        "positions_angstrom": positions,
        "energy_ev": energy - 100.0,
        "forces_ev_per_angstrom": forces,
        "cell_angstrom": box,
    }
    return fields, np.array(places)[order]


@pytest.fixture(scope="module")
def data(shuffled, tmp_path_factory):
    path = tmp_path_factory.mktemp("silicon") / "frames.npz"
    np.savez(path, **shuffled[0])
    return path


@pytest.fixture(scope="module")
def frames(scripts, data):
    return scripts.silicon_data.read_frames(data)


@pytest.fixture(scope="module")
def noisy(scripts, frames, tmp_path_factory):
    """A model with large random weights of its circuit: energies of some eV, slopes to match."""
    name, own = scripts.silicon_model.readout_of("vqc-cx", 4)
    header = scripts.silicon_model.CellHeader(
        frames.numbers, frames.box, "tensornet", 4, 1, 3, 2.7 * angstrom, None, name, own, -3.7, 0.02
    )
    made = scripts.silicon_model.CellModel(header, 1)
    torch.nn.init.normal_(made.readout.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    path = tmp_path_factory.mktemp("noisy") / "noisy.model"
    scripts.silicon_model.save_model(path, made, np.arange(20))
    return path


def call(script, *arguments):
    done = CliRunner().invoke(script.main, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_shuffled_frames_are_put_back_in_the_order_of_time(scripts, frames, shuffled):
    runs = scripts.silicon_data.in_time(frames)
    assert [len(run) for run in runs] == [FRAMES, FRAMES]
    for run in runs:
        name, place = shuffled[1][run].T
        assert len(set(name)) == 1
        assert (np.diff(place) == 1).all() or (np.diff(place) == -1).all()


def test_frames_too_far_apart_for_an_order_are_refused(scripts, frames):
    rng = np.random.default_rng(0)
    cloud = np.repeat(frames.positions[:1], 40, axis=0) + rng.normal(0, 0.1, (40, 8, 3))
    cloud = replace(frames, positions=cloud, energy=frames.energy[:40], forces=frames.forces[:40])
    with pytest.raises(InputError, match="more than two nearest neighbours"):
        scripts.silicon_data.in_time(cloud)


def test_a_block_split_keeps_its_distance_in_time_and_a_random_one_does_not(scripts, frames, shuffled):
    nearest = {}
    for kind in ("block", "random"):
        made = scripts.silicon_data.split_frames(frames, kind, seed=2)
        train, held = shuffled[1][made.train], shuffled[1][made.held_out]
        assert len(held) == 12
        assert not set(map(tuple, train)) & set(map(tuple, held))
        nearest[kind] = min(abs(a[1] - b[1]) for a in train for b in held if a[0] == b[0])
    assert nearest["random"] == 1
    assert nearest["block"] == scripts.silicon_data.GAP + 1


def test_times_and_temperatures_follow_from_positions_and_forces(scripts, frames, shuffled):
    """Frames of `shuffled` are 10 fs apart, of oscillators of some 60 fs; speeds are drawn and drift."""
    for run in scripts.silicon_data.in_time(frames):
        found = scripts.silicon_data.kinetics(frames, run)
        assert found.step_fs == pytest.approx(10.0, rel=0.06)
        place = frames.positions[run] / angstrom
        box = shuffled[0]["cell_angstrom"]
        moved = np.diff(place, axis=0)
        moved -= np.rint(moved @ np.linalg.inv(box)) @ box
        plain = 28.085 * 1.66054e-27 * (moved**2).mean() * 1e-20 / (10e-15) ** 2 / 1.380649e-23
        # Differences miss sin(x)/x of the speed, which drops out with the same factor of the time.
        assert plain < found.temperature_k < 1.15 * plain


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ({"energy_ev": np.zeros((60, 1))}, r"energy of shape \(60, 1\)"),
        ({"energy_ev": np.full(60, np.nan)}, "energy hold values that are no numbers"),
        ({"cell_angstrom": np.zeros((3, 3))}, "span no volume"),
        ({"numbers": np.full(7, 14)}, "60 frames of 7 atoms"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(scripts, shuffled, tmp_path, harm, says):
    np.savez(tmp_path / "bad.npz", **{**shuffled[0], **harm})
    with pytest.raises(InputError, match=says):
        scripts.silicon_data.read_frames(tmp_path / "bad.npz")


def test_what_is_no_npz_file_or_too_short_is_refused(scripts, frames, shuffled, tmp_path):
    (tmp_path / "text.npz").write_text("no array")
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name in ("text.npz", "one.npy"):
        with pytest.raises(InputError, match="is no npz file|holds a single array"):
            scripts.silicon_data.read_frames(tmp_path / name)
    few = np.flatnonzero(shuffled[1][:, 1] < 6)
    some = replace(
        frames, positions=frames.positions[few], energy=frames.energy[few], forces=frames.forces[few]
    )
    with pytest.raises(InputError, match="too few for stretches"):
        scripts.silicon_data.split_frames(some, "block", 1)


def test_a_file_without_forces_is_refused(scripts, shuffled, tmp_path):
    fields = {name: value for name, value in shuffled[0].items() if "forces" not in name}
    np.savez(tmp_path / "bad.npz", **fields)
    with pytest.raises(InputError, match="has no forces_ev_per_angstrom"):
        scripts.silicon_data.read_frames(tmp_path / "bad.npz")


def test_a_script_says_what_is_wrong_with_its_data_in_two_lines(shuffled, tmp_path):
    bare = {name: value for name, value in shuffled[0].items() if "forces" not in name}
    np.savez(tmp_path / "bare.npz", **bare)
    command = [
        sys.executable,
        str(FOLDER / "study.py"),
        str(tmp_path / "bare.npz"),
        "--folder",
        str(tmp_path),
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 1
    found, remedy = made.stderr.strip().splitlines()[-2:]
    assert "bare.npz has no forces_ev_per_angstrom" in found
    assert "it needs" in remedy
    assert "Traceback" not in made.stderr


def test_all_readouts_have_nearly_as_many_parameters(scripts, frames):
    def count(readout):
        name, own = scripts.silicon_model.readout_of(readout, 32)
        header = scripts.silicon_model.CellHeader(
            frames.numbers, frames.box, "tensornet", 32, 1, 3, 2.7 * angstrom, None, name, own, 0.0, 0.02
        )
        return scripts.silicon_model.CellModel(header).parameter_counts["readout"]

    counts = [count(readout) for readout in scripts.silicon_model.READOUTS]
    assert len(counts) == 7
    assert max(counts) - min(counts) <= 10
    assert set(counts[2:]) == {297}  # (32 + 2 + 3) 8 + 1


def test_a_fit_that_was_stopped_goes_on_to_the_same_end(scripts, frames, tmp_path, monkeypatch):
    settings = scripts.fit.SETTINGS["small"]
    which = ("vqc-cz", "block", 1, settings)
    whole = scripts.fit.fit(frames, tmp_path / "whole", *which)
    judge = scripts.fit._Course.judge

    def stop_at_the_fourth(course, weights):
        if len(course.curve) == 3:
            raise KeyboardInterrupt
        return judge(course, weights)

    monkeypatch.setattr(scripts.fit._Course, "judge", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        scripts.fit.fit(frames, tmp_path / "stopped", *which, save_every_s=0.0)
    assert not list((tmp_path / "stopped").glob("*.json"))
    monkeypatch.setattr(scripts.fit._Course, "judge", judge)
    again = scripts.fit.fit(frames, tmp_path / "stopped", *which)
    for made in (whole, again):
        made.pop("cpu_s")
        for point in made["curve"]:
            point.pop("cpu_s")
    assert again == whole
    assert [point["step"] for point in whole["curve"]] == list(range(1, STEPS + 1))
    assert sorted(path.suffix for path in (tmp_path / "stopped").iterdir()) == [".json", ".model"]


def test_errors_of_a_model_that_knows_nothing_are_the_spread_of_the_labels(scripts, frames):
    settings = scripts.fit.SETTINGS["small"]
    course = scripts.fit._Course(frames, "cosine", "random", 1, settings, torch.device("cpu"))
    train = course.split.train
    found = course.errors(train)  # the last layer starts at zero
    energy = frames.energy[train] / 0.0367493221757 * 1e3 / 8
    assert found["energy_raw"] == pytest.approx(energy.std(), rel=1e-3)
    assert found["energy_shifted"] == pytest.approx(energy.std(), rel=1e-3)
    force = frames.forces[train] / (0.0367493221757 / angstrom)
    assert found["force"] == pytest.approx(np.sqrt((force**2).mean()), rel=1e-3)


def test_the_force_weight_says_what_energies_count(scripts, frames):
    """E^2 / w + F^2: three weights give one straight line in 1 / w."""
    settings = scripts.fit.SETTINGS["small"]
    losses = []
    for weight in (100.0, 10.0, 5.0):
        own = replace(settings, force_weight=weight)
        course = scripts.fit._Course(frames, "classical", "random", 1, own, torch.device("cpu"))
        losses.append(sum(course.loss(1)).item())
    first, second = losses[1] - losses[0], losses[2] - losses[0]
    assert first > 0
    assert second / first == pytest.approx(
        (1 / 5 - 1 / 100) / (1 / 10 - 1 / 100), rel=1e-4
    )  # single precision


def test_frames_go_through_memory_in_parts_of_any_size(scripts, frames):
    """Loss and gradient of four frames at once, and of three and one: equal but for single precision."""
    settings = scripts.fit.SETTINGS["small"]
    found = []
    for at_once in (4, 3):
        course = scripts.fit._Course(
            frames, "vqc-cz", "random", 1, settings, torch.device("cpu"), at_once=at_once
        )
        torch.nn.init.constant_(course.model.readout.weight, 0.1)
        parts = list(course.loss(1))
        assert len(parts) == {4: 1, 3: 2}[at_once]
        sum(parts).backward()
        gradient = torch.cat([value.grad.flatten() for value in course.model.parameters()])
        found.append((sum(parts).item(), gradient, course.errors(course.split.held_out)))
    (whole, slope, errors), (cut, other, again) = found
    assert cut == pytest.approx(whole, rel=1e-5)
    assert (slope - other).norm() < 1e-5 * slope.norm()
    assert again == pytest.approx(errors, rel=1e-4)


@pytest.mark.needs("e3nn")
def test_the_published_settings_read_every_layer_by_circuits_of_its_own(scripts, frames, tmp_path):
    published = scripts.fit.SETTINGS["published"]
    tiny = replace(
        published,
        features=4,
        layers=2,
        radial=3,
        settings=replace(published.settings, max_l=1, tensor_features=2, radial_width=4),
        steps=2,
        batch=4,
        cutoff=2.7,
    )
    scripts.fit.fit(frames, tmp_path, "vqc-cz", "random", 1, tiny, at_once=2)
    model, held_out = scripts.silicon_model.load_model(tmp_path / "random-vqc-cz-1.model")
    assert len(model.readouts) == 2
    assert model.parameter_counts["readout"] == 2 * ((4 + 2 + 3) * 8 + 1)
    for scale, readout in enumerate(model.readouts, start=1):
        torch.nn.init.normal_(readout.weight, std=0.1 * scale, generator=torch.Generator().manual_seed(scale))
        readout.hold()
    # Energies are those of the circuits of all layers, frame by frame, and all of these have noise.
    some = frames.positions[held_out[:3]]
    measured = model.measurements(some)
    energies = model(torch.tensor(some)).detach().numpy()
    assert np.ptp(energies) > 1e-5
    assert [one.energy for one in measured] == pytest.approx(energies, abs=1e-12)
    assert all(one.variances.shape == (2 * 8,) and (one.variances > 0).all() for one in measured)
    with pytest.raises(InputError, match="cannot be read one by one"):
        scripts.silicon_model.CellModel(replace(model.header, backbone="tensornet", settings=None))


def test_the_study_runs_and_is_summarised(scripts, data, tmp_path):
    folder = tmp_path / "study"
    options = ["--folder", folder, "--readout", "classical", "--readout", "vqc-cz", "--seed", 1, "--seed", 2]
    out = call(scripts.study, data, *options)
    assert "8/8" in out
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert call(scripts.study, data, *options) == out  # read, not made again
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    with pytest.raises(InputError, match="other settings or data"):
        call(scripts.fit, data, "--folder", folder, "--steps", 2)

    printed = call(scripts.summary, folder)
    found = json.loads((folder / "summary.json").read_text())
    assert set(found) == {"block", "random"}
    forces = [
        json.loads((folder / f"random-vqc-cz-{seed}.json").read_text())["final"]["held_out"]["force"]
        for seed in (1, 2)
    ]
    cell = found["random"]["table"]["vqc-cz"]["held_out"]["force"]
    assert cell["mean"] == pytest.approx(np.mean(forces))
    assert cell["sd"] == pytest.approx(np.std(forces, ddof=1))
    assert f"{np.mean(forces):.4g} +- {np.std(forces, ddof=1):.2g}" in printed
    assert "hybrids fit the training set faster" in printed
    assert "<svg" in (folder / "summary.svg").read_text()


def test_errors_are_carried_to_frames_that_are_near_and_not_to_others(scripts):
    """A walk of 80 places: what is smooth along it is known between its steps and not past its end."""
    rng = np.random.default_rng(3)
    place = np.arange(80.0)
    apart = np.abs(place[:, None] - place)
    smooth = np.sin(2 * np.pi * place / 9) + 0.02 * rng.normal(size=80)
    between = np.setdiff1d(np.arange(5, 75), np.arange(5, 75, 3))
    known = np.setdiff1d(np.arange(80), between[::2])
    found = scripts.memory.carried(apart, smooth, known, between[::2])
    assert np.sqrt(((found - smooth[between[::2]]) ** 2).mean()) < 0.1
    nothing_asked = smooth.copy()
    nothing_asked[between[::2]] = np.nan  # values that are asked for are not looked at
    assert scripts.memory.carried(apart, nothing_asked, known, between[::2]) == pytest.approx(found)
    far = scripts.memory.carried(apart, smooth, np.arange(50), np.arange(70, 80))
    assert np.abs(far - smooth[:50].mean()).max() < 0.1


def test_what_memory_takes_off_is_of_the_frames_held_out(scripts, data, frames, tmp_path):
    folder = tmp_path / "fits"
    call(scripts.fit, data, "--folder", folder, "--split", "random")
    result = folder / "random-classical-1.json"
    out = call(scripts.memory, data, result)
    raw = json.loads(result.read_text())["final"]["held_out"]["energy_raw"]
    assert f"{raw:.2f} meV/atom held out" in out
    apart = scripts.silicon_data.distances(frames.positions, frames.box) / angstrom
    found = scripts.memory.without_memory(frames, apart, result)
    # A model of six steps knows nothing; springs are smooth in time.
    assert found["energy_raw"] == pytest.approx(raw, rel=1e-4)
    assert found["energy_after_carrying"] < 0.7 * raw


def made_up(held, train):
    """A fit with these force errors along its curve."""
    curve = [
        {"step": 10 * (k + 1), "train": {"force": a}, "held_out": {"force": b}}
        for k, (a, b) in enumerate(zip(train, held, strict=True))
    ]
    return {
        "curve": curve,
        "final": {"held_out": {"force": held[-1]}},
        "lowest_held_out_force": {"step": 10 * (int(np.argmin(held)) + 1)},
    }


def test_claims_follow_from_the_curves(scripts):
    slow = {s: made_up([4, 3, 2.0 + s / 10], [4, 3, 2.0]) for s in (0, 1, 2)}
    fast = {s: made_up([3, 2, 2.5 + s / 10], [3, 2, 1.0]) for s in (0, 1, 2)}
    found = scripts.summary.claims({"classical": slow, "vqc-cz": fast})
    first, second, third = found.values()
    assert first["training_force_error_passed"] == 2.0
    assert first["steps_minus_classical"]["vqc-cz"]["mean"] == -10
    # 2.6 lies between 3 and 2: at 0.4 of the way from step 20 to 30, and from 10 to 20.
    assert first["early_training_force_error_passed"] == pytest.approx(2.6)
    assert first["early_steps"]["classical"]["mean"] == pytest.approx(24.0)
    assert first["early_steps_minus_classical"]["vqc-cz"]["mean"] == pytest.approx(-10)
    assert second["step_minus_classical"]["vqc-cz"] == {
        "mean": -10.0, "standard_error": 0.0, "seeds": [0, 1, 2], "settled": True,
    }  # fmt: skip
    assert second["rise_from_lowest_to_last"]["vqc-cz"]["mean"] == pytest.approx(2.6 / 2 - 1)
    assert third["ranking_by_held_out_force"] == ["classical", "vqc-cz"]
    # Of three seeds 4.30 standard errors count, of two 12.7.
    three, less = ({0: 4.2 + k, 1: 5.2 + k, 2: 6.2 + k} for k in (-2.65, -2.75))
    nothing = dict.fromkeys(range(3), 0.0)
    assert [scripts.summary.difference(one, nothing)["settled"] for one in (three, less)] == [True, False]
    two = {0: 5.5, 1: 6.5}
    assert not scripts.summary.difference(two, nothing)["settled"]
    assert third["force_minus_vqc_cz"]["classical"]["mean"] == pytest.approx(-0.5)


def test_dynamics_conserve_the_energy_and_go_on(scripts, data, noisy, shuffled, tmp_path):
    out = tmp_path / "dynamics"
    call(scripts.dynamics, data, noisy, "--out", out, "--ps", 0.05)
    found = json.loads((out / "dynamics.json").read_text())["stages"]
    # Forces that were not the slopes of the energy in these units would lose it by its own size.
    assert found["nve-3000"]["drift"]["scatter_mev_per_atom"] < 1.0
    assert found["nvt-3000"]["temperature_k"]["mean"] > 500
    assert {name: stage["target_k"] for name, stage in found.items()} == {
        "nvt-3000": 3000.0, "nve-3000": None, "nvt-2000": 2000.0,
    }  # fmt: skip
    # What is compared with is what the model did not see, of each run by itself.
    box = shuffled[0]["cell_angstrom"]
    wanted = {}
    for run in (0, 1):
        rows = [k for k in range(20) if shuffled[1][k][0] == run]  # `noisy` has not seen these
        some = shuffled[0]["positions_angstrom"][rows]
        if len(rows) >= 5:
            wanted[rows[0]] = scripts.pair_distribution.pair_distribution(some, box)
    stored = json.loads((out / "dynamics.json").read_text())["frames_pair_distribution"]
    assert np.array(sorted(stored.values())) == pytest.approx(
        np.array(sorted(one.tolist() for one in wanted.values()))
    )
    with np.load(out / "nvt-3000.npz") as run:
        assert run["positions"].shape == (5, 8, 3)
        assert run["total"].std() > 8 * 1e-3
    (out / "nve-3000.npz").unlink()
    (out / "nvt-2000.npz").unlink()
    call(scripts.dynamics, data, noisy, "--out", out, "--ps", 0.05)
    assert json.loads((out / "dynamics.json").read_text())["stages"] == found
    with pytest.raises(InputError, match="another model or settings"):
        call(scripts.dynamics, data, noisy, "--out", out, "--ps", 0.2)


def test_shot_noise_falls_with_the_root_of_the_shots(scripts, data, noisy, tmp_path):
    out = tmp_path / "noise.json"
    options = ["--repeats", 300, "--free", 1, "--walkers", 40, "--steps", 30, "--move", 0.4]
    call(scripts.noise, data, noisy, "--out", out, *options)
    found = json.loads(out.read_text())
    assert found["shot_noise"]["exponent"] == pytest.approx(-0.5, abs=0.03)
    assert found["shot_noise"]["ratio"] == pytest.approx([1.0] * 7, abs=0.16)  # four standard errors
    chains = found["monte_carlo"]
    # Two energies of at most 0.7 kT each, wherever the walker is; shots are whole numbers.
    assert 0.95 < chains["penalty"]["variance_of_differences_kt2"] <= 0.98
    shots = chains["shots_of_an_energy"]
    assert shots["fewest"] < shots["mean"] < shots["most"]
    assert chains["exact"]["variance_of_differences_kt2"] == 0.0
    # A penalty of half the variance, 0.5 kT, is felt: plain Metropolis on the same noise accepts more.
    accepted = [chains[name]["acceptance"] for name in ("penalty", "noise ignored", "exact")]
    assert accepted[0] + 0.03 < accepted[1] < accepted[2]
    off, error = chains["penalty"]["energy_minus_exact_kt"]
    assert abs(off) < 5 * error
    # Of 40 walkers; pulls of shells that few visits make are wide.
    assert 0.2 < chains["penalty"]["mean_square_pull_of_g"] < 3.0


def test_energies_of_monte_carlo_are_measured(scripts, frames, noisy):
    model, held_out = scripts.silicon_model.load_model(noisy)
    atoms = scripts.noise.FewAtoms(model, frames.positions[held_out[0]], 2)
    place = np.repeat(atoms.frame[atoms.free][None], 400, axis=0)
    found = atoms.measured(place, np.random.default_rng(2))
    assert np.ptp(atoms.exact(place)) < 1e-6
    off = found.energy - atoms.exact(place)
    # Four standard errors of 400 energies of 0.7 kT, and of their deviation.
    assert abs(off.mean()) < 4 * 0.7 / 20
    assert off.std(ddof=1) == pytest.approx(np.sqrt(found.variance.mean()), rel=0.14)
    assert len(atoms.shots) == 400


def test_nothing_held_out_steers_a_fit_and_averaged_weights_are_kept(scripts, frames, tmp_path):
    settings = scripts.fit.SETTINGS["small"]
    course = scripts.fit._Course(frames, "classical", "random", 1, settings, torch.device("cpu"))
    torch.nn.init.normal_(course.model.readout.last.weight, std=0.1)
    judged = course.judge(course.model.state_dict())
    assert judged.score == judged.kept.force != judged.held.force
    # Averaging over nearly no step and over some gives other weights, from the same course.
    found = [
        scripts.fit.fit(frames, tmp_path / str(k), "classical", "random", 1, replace(settings, average=one))
        for k, one in enumerate((0.0, 0.995))
    ]
    assert found[0]["final"]["train"]["force"] != found[1]["final"]["train"]["force"]


def test_a_fit_is_known_by_the_settings_that_could_be_said_when_it_was_made(scripts):
    """Fields that were added do not make fits strange that were made without them."""
    small = scripts.fit.SETTINGS["small"]
    old = dict(vars(small))
    del old["force_weight"], old["each_layer"]
    key = scripts.fit._settings_key
    assert key(small) == content_key("FitSettings", {"version": 1, **old})
    heavier = replace(small, force_weight=10.0)
    assert key(heavier) == content_key("FitSettings", {"version": 2, **old, "force_weight": 10.0})
    others = (heavier, replace(small, each_layer=True), replace(heavier, each_layer=True))
    assert len({key(one) for one in (small, *others)}) == 4


def test_pairs_of_an_even_gas_are_even(scripts):
    gas = np.random.default_rng(1).random((200, 30, 3)) * 9.0
    g = scripts.pair_distribution.pair_distribution(gas, 9.0 * np.eye(3))
    assert len(g) == 45
    assert g[10:] == pytest.approx(np.ones(35), abs=0.1)
    some = scripts.pair_distribution.pair_distribution(gas, 9.0 * np.eye(3), rows=np.array([3, 4]))
    assert some[20:].mean() == pytest.approx(1.0, abs=0.05)
