"""`drupe label`: structure and trajectory in, a store and files of other programs out."""

import dataclasses
import json
import typing
from pathlib import Path

import ase.io
import mdtraj
import numpy as np
import pytest
from click.testing import CliRunner

from drupe.embedding import Level, Partition, label
from drupe.embedding.structures.structure import read_system
from drupe.errors import InputError
from drupe.freeenergy.cli import main
from drupe.freeenergy.labelling.config import DIMENSIONLESS, QUANTITIES, CoreTable, read_label_config
from drupe.freeenergy.labelling.run import prepare_labels
from drupe.store import read_rows
from drupe.units import angstrom, ev, kcal_per_mol

EXAMPLE = Path(__file__).parents[3] / "examples" / "label" / "xylene.toml"

WATERS = np.array(
    [
        [0.0, 0.0, 0.117], [0.0, 0.757, -0.469], [0.0, -0.757, -0.469],
        [2.9, 0.2, 0.1], [3.4, 0.9, -0.3], [3.5, -0.5, 0.3],
    ]
)  # fmt: skip
CHARGES = [-0.834, 0.417, 0.417] * 2

INPUT = """
name = "waters"
[structure]
topology = "waters.xyz"
[trajectory]
files = ["run.dcd"]
expected_frames = [5]
stride = 2
[partition]
qm = [0, 1, 2]
charge = 0
[level]
functional = "HF"
basis = "sto-3g"
max_cycles = 12
"""


def frames():
    """Five frames; the last one's first water is torn apart, which the SCF does not survive in 12 cycles."""
    moved = [WATERS + 0.01 * k * np.sin(np.arange(18)).reshape(6, 3) for k in range(5)]
    moved[4][1:3] *= 4.0
    return np.array(moved)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rows = [f"{s} {x} {y} {z} {q}" for s, (x, y, z), q in zip("OHHOHH", WATERS, CHARGES, strict=True)]
    header = 'Properties=species:S:1:pos:R:3:initial_charges:R:1 pbc="F F F"'
    (tmp_path / "waters.xyz").write_text("\n".join(["6", header, *rows, ""]))
    with mdtraj.formats.DCDTrajectoryFile(str(tmp_path / "run.dcd"), "w") as file:
        file.write(frames().astype(np.float32))
    (tmp_path / "in.toml").write_text(INPUT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.slow
def test_frames_become_labels_and_exports_and_are_never_computed_twice(folder):
    result = call("label", "in.toml", "--json")
    assert result.exit_code == 3, result.output  # one frame does not converge: partial
    said = json.loads(result.stdout)
    assert (said["frames"], said["done"]) == (3, 2)
    assert list(said["failures"]) == ["run/4"]
    assert said["failures"]["run/4"]["error"] == "ConvergenceError"
    told = next(line for line in result.stderr.splitlines() if line.startswith("failed: run/4: "))
    assert f"{said['failures']['run/4']['found']} -> {said['failures']['run/4']['remedy']}" in told
    assert '{"' not in result.stderr
    assert said["trajectories"][0]["frames"] == 5
    system = read_system(folder / "waters.xyz")
    assert system.charges == pytest.approx(CHARGES)
    partition = Partition.select(system, qm=[0, 1, 2], charge=0)
    level = Level(functional="HF", basis="sto-3g", max_cycles=12)
    single = frames().astype(np.float32).astype(float)
    ours = [label(system.with_positions(angstrom * single[k]), partition, level) for k in (0, 2)]

    read = ase.io.read(folder / "waters" / "labels.extxyz", index=":")
    assert [atoms.info["frame"] for atoms in read] == ["run/0", "run/2"]
    for atoms, mine in zip(read, ours, strict=True):
        # 1e-8 hartree: two SCF runs of one threshold; 1e-7: eight digits after the point.
        assert atoms.info["REF_energy"] * ev == pytest.approx(mine.energy, abs=1e-8)
        assert atoms.arrays["REF_forces"] * ev / angstrom == pytest.approx(mine.forces_qm, abs=1e-6)
        assert atoms.positions * angstrom == pytest.approx(mine.qm_positions, abs=1e-7)
        assert atoms.arrays["q_mm"] == pytest.approx(CHARGES[:3])
    with np.load(folder / "waters" / "labels-mm.npz") as side:
        assert "eV/angstrom" in str(side["units"])
        assert side["run/2/forces"] * ev / angstrom == pytest.approx(ours[1].forces_mm, abs=1e-6)
        assert side["run/2/charges"] == pytest.approx(CHARGES[3:])

    lines = (folder / "waters" / "labels.qcschema.jsonl").read_text().splitlines()
    results = [json.loads(line) for line in lines]
    assert [one["properties"]["return_energy"] for one in results] == pytest.approx([o.energy for o in ours])
    assert -np.array(results[1]["return_result"]) == pytest.approx(ours[1].forces_qm.ravel(), abs=1e-6)
    assert results[0]["extras"]["mm_charges"] == pytest.approx(CHARGES[3:])
    check_with_qcelemental(results)

    before = {row.key: row for row in read_rows(folder / "waters")}
    (folder / "in.toml").write_text(INPUT.replace("stride = 2", "stride = 1\nstop = 3"))
    result = call("label", "in.toml")
    assert result.exit_code == 0, result.output
    assert "3 of 3 frames labelled" in result.output
    after = {row.key: row for row in read_rows(folder / "waters")}
    assert {key: after[key] for key in before} == before
    assert [row.name for key, row in after.items() if key not in before] == ["run/1"]
    read = ase.io.read(folder / "waters" / "labels.extxyz", index=":")
    assert [atoms.info["frame"] for atoms in read] == ["run/0", "run/1", "run/2"]
    assert not list((folder / "waters").glob(".*.part"))


def test_a_core_as_a_table_declares_no_charge_unless_it_says_so():
    assert CoreTable(selection=[0, 1]).charge is None
    assert CoreTable(selection=[0, 1], charge=0).charge == 0


def check_with_qcelemental(results):
    models = pytest.importorskip("qcelemental.models")
    for one in results:
        checked = models.AtomicResult(**one)
        assert checked.return_result.shape == (3, 3)
        assert checked.molecule.symbols.tolist() == ["O", "H", "H"]


@pytest.mark.slow
def test_a_core_corrected_label_never_pairs_its_energy_with_other_forces(folder):
    text = INPUT.replace("expected_frames = [5]\nstride = 2", "stop = 2")
    text = text.replace("[level]", 'cores = [{ selection = [0, 1], label = "OH" }]\n[level]\ncore = "MP2"')
    (folder / "in.toml").write_text(text.replace("max_cycles = 12\n", ""))
    result = call("label", "in.toml", "--json")
    assert result.exit_code == 0, result.output
    read = ase.io.read(folder / "waters" / "labels.extxyz", index=":")
    for atoms in read:
        assert "REF_forces" not in atoms.arrays
        assert "LOW_forces" in atoms.arrays
        assert atoms.info["REF_energy"] < atoms.info["LOW_energy"] - 0.1
        assert atoms.info["forces_of"] == "DFT/MM"
    results = [json.loads(x) for x in (folder / "waters" / "labels.qcschema.jsonl").read_text().splitlines()]
    for one, atoms in zip(results, read, strict=True):
        assert one["driver"] == "energy"
        assert one["model"]["method"] == "MP2-in-HF"
        assert one["return_result"] * 1 == pytest.approx(atoms.info["REF_energy"] * ev)
        correction = one["extras"]["cores"][0]["correction"]
        assert one["return_result"] - one["extras"]["energy_low"] == pytest.approx(correction)
    # The second frame got the orbital count of the first.
    assert len({one["extras"]["cores"][0]["n_occupied"] for one in results}) == 1
    assert results[0]["keywords"]["n_occupied"] is None
    assert results[1]["keywords"]["n_occupied"] == [results[0]["extras"]["cores"][0]["n_occupied"]]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("waters.xyz", "waterz.xyz", "there is no file"),
        ("waters.xyz", "in.toml", "of no kind that is known"),
        ("run.dcd", "waters.xyz", "of no kind of trajectory"),
        ("[5]", "[6]", "5 good frames, 6 were expected"),
        ("[5]", "[5, 5]", "expected_frames has 2 entries for 1 files"),
        ("stride = 2", "stride = 0", "trajectory.stride"),
        ("stride = 2", "strides = 2", "did you mean 'stride'"),
        ("stride = 2", "start = 5", "no frame of run.dcd"),
        ("stride = 2", f'sha256 = ["{"0" * 64}"]', "has the sha256"),
        ("charge = 0", "charge = 1", "multiplicit"),
        ("charge = 0", "charge = 0.5", "partition.charge"),
        ("charge = 0", "", "partition.charge is missing"),
        ("[0, 1, 2]", "[0, 1, 99]", "atom 99"),
        ('basis = "sto-3g"', "", "level.basis is missing"),
        ('basis = "sto-3g"', "basis = 3", "level.basis"),
        ("max_cycles = 12", 'max_cycles = "12"', "level.max_cycles"),
        ("max_cycles = 12", "max_cycles = true", "level.max_cycles"),
        ("max_cycles = 12", "max_cycle = 12", "did you mean 'max_cycles'"),
        ("max_cycles = 12", "scf_tolerance = 1e-9", "level.scf_tolerance: 1e-09 has no unit"),
        ("max_cycles = 12", 'scf_tolerance = "1e-9 K"', "is not a unit of energy"),
        ("max_cycles = 12", "grid = 11", "the level has grid=11"),
        ("max_cycles = 12", 'core = "MP2"', "the partition has none"),
        ("max_cycles = 12", '[export]\nformats = ["hdf5"]', "export.formats"),
        ("max_cycles = 12", "[engine]\nworkers = 4096", "4096 workers"),
    ],
)
def test_bad_input_is_one_message_and_nothing_written(folder, old, new, says):
    assert old in INPUT
    (folder / "in.toml").write_text(
        INPUT.replace(old, new, 1) if old != "waters.xyz" else INPUT.replace(old, new)
    )
    before = sorted(folder.iterdir())
    result = call("label", "in.toml")
    assert result.exit_code == (4 if "workers" in says else 2), result.output
    assert says in result.output
    assert "\n  -> " in result.output
    assert "Traceback" not in result.output
    assert sorted(folder.iterdir()) == before


def test_a_frame_that_is_no_molecule_is_refused_by_its_name(folder):
    broken = frames()
    broken[2][1] = broken[2][0] + 0.01
    with mdtraj.formats.DCDTrajectoryFile(str(folder / "run.dcd"), "w") as file:
        file.write(broken.astype(np.float32))
    result = call("label", "in.toml")
    assert result.exit_code == 2
    assert "run/2: " in result.output


def test_the_level_table_has_every_field_of_a_level_and_its_units():
    hints = typing.get_type_hints(Level)
    names = {field.name for field in dataclasses.fields(Level)}
    floats = {name for name in names if "float" in str(hints[name])}
    assert floats <= QUANTITIES.keys() | DIMENSIONLESS, "say in label_config which unit the new field has"
    # A quantity no level has would be a misspelt one; those of levels to come are known by name.
    assert QUANTITIES.keys() - names <= {"level_shift", "charge_radii", "cluster_radius"}


def test_quantities_none_and_lists_become_what_a_level_wants(folder):
    level = 'n_occupied = [4]\nauxbasis = "none"\nvirtual_shells = "none"\nscf_tolerance = "1e-5 kcal/mol"'
    (folder / "in.toml").write_text(INPUT.replace("max_cycles = 12", level))
    made = read_label_config(folder / "in.toml").make_level()
    expected = Level(
        functional="HF", basis="sto-3g", n_occupied=(4,), auxbasis=None, virtual_shells=None,
        scf_tolerance=1e-5 * kcal_per_mol,
    )  # fmt: skip
    assert made.key == expected.key


def test_tables_by_element_and_lengths_become_what_a_level_wants(folder):
    level = 'charge_radii = { default = "1 A", H = "0.5 bohr" }'
    text = INPUT.replace("max_cycles = 12", level)
    text = text.replace('basis = "sto-3g"', 'basis = { default = "sto-3g", O = "6-31g" }')
    (folder / "in.toml").write_text(text)
    made = read_label_config(folder / "in.toml").make_level()
    expected = Level(
        functional="HF",
        basis={"default": "sto-3g", "O": "6-31g"},
        charge_radii={"default": angstrom, "H": 0.5},
    )
    assert made.key == expected.key
    (folder / "in.toml").write_text(text.replace('"1 A"', "1.0"))
    with pytest.raises(InputError, match=r"charge_radii.*1\.0 has no unit"):
        read_label_config(folder / "in.toml")


def test_the_example_is_ready_to_run():
    job = prepare_labels(read_label_config(EXAMPLE), EXAMPLE.parent)
    assert [node.name for node in job.nodes] == ["structure/0"]
    assert len(job.subject.partition.qm) == 18
