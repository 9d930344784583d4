import hashlib
import logging

import mdtraj
import numpy as np
import pytest

from drupe.embedding import MolecularSystem
from drupe.embedding.structures.trajectory import Trajectory
from drupe.errors import InputError
from drupe.units import nanometer

FRAMES, ATOMS = 40, 60
KINDS = ["dcd", "nc", "xtc", "trr"]


@pytest.fixture(scope="module")
def table():
    return np.random.default_rng(5).normal(size=(FRAMES, ATOMS, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def written(table, tmp_path_factory):
    """The same frames in every format, with a triclinic box that grows."""
    folder = tmp_path_factory.mktemp("trajectories")
    topology = mdtraj.Topology()
    residue = topology.add_residue("AR", topology.add_chain())
    for k in range(ATOMS):
        topology.add_atom(f"A{k}", mdtraj.element.argon, residue)
    made = mdtraj.Trajectory(
        table, topology,
        unitcell_lengths=np.outer(1 + 0.01 * np.arange(FRAMES), [3.0, 3.1, 3.2]),
        unitcell_angles=np.tile([80.0, 90.0, 100.0], (FRAMES, 1)),
    )  # fmt: skip
    for kind in KINDS:
        made.save(str(folder / f"run.{kind}"))
    return {kind: folder / f"run.{kind}" for kind in KINDS}, made


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_comes_back_in_bohr_with_its_box(written, table, kind):
    paths, made = written
    trajectory = Trajectory.open(paths[kind], ATOMS, expected_frames=FRAMES)
    assert (trajectory.n_frames, trajectory.damage) == (FRAMES, None)
    assert trajectory.sha256 == hashlib.sha256(paths[kind].read_bytes()).hexdigest()
    frames = list(trajectory.frames())
    assert [frame.index for frame in frames] == list(range(FRAMES))
    # XTC keeps 1e-3 nm, the others single precision.
    close = 6e-4 if kind == "xtc" else 2e-6
    for frame, xyz, vectors in zip(frames, table, made.unitcell_vectors, strict=True):
        assert np.abs(frame.positions / nanometer - xyz).max() < close
        assert np.abs(frame.box / nanometer - vectors).max() < 1e-5
        assert not frame.positions.flags.writeable
    strided = [frame.index for frame in trajectory.frames(start=3, stop=30, stride=7)]
    assert strided == [3, 10, 17, 24]
    again = next(iter(trajectory.frames(start=24)))
    assert np.array_equal(again.positions, frames[24].positions)


@pytest.mark.parametrize("kind", ["dcd", "nc"])
@pytest.mark.parametrize("left", [0.62, 0.999, 0.05, 0.004])
def test_a_cut_dcd_or_netcdf_is_refused(written, tmp_path, kind, left):
    data = written[0][kind].read_bytes()
    cut = tmp_path / f"cut.{kind}"
    cut.write_bytes(data[: int(left * len(data))])
    with pytest.raises(InputError, match=r"is cut off|has no"):
        Trajectory.open(cut, ATOMS)


def test_a_dcd_cut_between_two_frames_is_refused_unless_that_is_expected(written, tmp_path):
    data = written[0]["dcd"].read_bytes()
    frame = 56 + 3 * (4 * ATOMS + 8)
    cut = tmp_path / "cut.dcd"
    cut.write_bytes(data[: len(data) - 16 * frame])
    with pytest.raises(InputError, match=r"promises 40 frames, its size is that of 24\.00"):
        Trajectory.open(cut, ATOMS)
    with pytest.raises(InputError, match=r"size is that of 24\.00"):
        Trajectory.open(cut, ATOMS, expected_frames=40)
    assert len(list(Trajectory.open(cut, ATOMS, expected_frames=24).frames())) == 24


@pytest.mark.parametrize("kind", ["xtc", "trr"])
def test_a_file_cut_a_few_bytes_after_a_frame_says_so(written, tmp_path, kind):
    cut = tmp_path / f"cut.{kind}"
    cut.write_bytes(written[0][kind].read_bytes() + b"\0\0\0")
    trajectory = Trajectory.open(cut, ATOMS)
    assert trajectory.n_frames == FRAMES
    assert trajectory.damage == f"3 stray bytes follow frame {FRAMES - 1}: the file was cut"


@pytest.mark.parametrize("kind", ["xtc", "trr"])
def test_the_good_frames_of_a_cut_xtc_or_trr_are_kept_and_counted(written, tmp_path, kind, caplog):
    data = written[0][kind].read_bytes()
    cut = tmp_path / f"cut.{kind}"
    cut.write_bytes(data[: int(0.62 * len(data))])
    with caplog.at_level(logging.WARNING):
        trajectory = Trajectory.open(cut, ATOMS)
    assert trajectory.n_frames == 24
    assert "damaged after frame 23" in trajectory.damage
    assert "24 good frames are kept" in caplog.text
    whole = Trajectory.open(written[0][kind], ATOMS)
    for ours, theirs in zip(trajectory.frames(), whole.frames(stop=24), strict=True):
        assert np.array_equal(ours.positions, theirs.positions)
    with pytest.raises(InputError, match="24 good frames, 40 were expected"):
        Trajectory.open(cut, ATOMS, expected_frames=40)
    cut.write_bytes(data[:50])
    with pytest.raises(InputError, match="no whole frame|cannot be read"):
        Trajectory.open(cut, ATOMS)


@pytest.mark.parametrize("kind", KINDS)
def test_another_file_is_refused(written, tmp_path, kind):
    path = written[0][kind]
    with pytest.raises(InputError, match="60 atoms, the system has 61"):
        Trajectory.open(path, ATOMS + 1)
    with pytest.raises(InputError, match="has the sha256"):
        Trajectory.open(path, ATOMS, sha256="0" * 64)
    with pytest.raises(InputError, match="40 (good )?frames|41 were expected"):
        Trajectory.open(path, ATOMS, expected_frames=41)
    with pytest.raises(InputError, match="no frame of"):
        next(Trajectory.open(path, ATOMS).frames(start=40))
    for name, content in {
        f"a.{kind}": b"",
        f"b.{kind}": b"no trajectory at all" * 50,
        "c.pdbqt": b"x",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            Trajectory.open(tmp_path / name, ATOMS)


def test_a_file_that_changes_meanwhile_is_refused(written, tmp_path):
    copy = tmp_path / "run.dcd"
    copy.write_bytes(written[0]["dcd"].read_bytes())
    trajectory = Trajectory.open(copy, ATOMS)
    copy.write_bytes(written[0]["dcd"].read_bytes() + b"x")
    with pytest.raises(InputError, match="changed while it was read"):
        next(trajectory.frames())


def test_a_frame_goes_into_a_system_with_its_box(written):
    frame = next(Trajectory.open(written[0]["dcd"], ATOMS).frames())
    atoms = MolecularSystem.from_atoms([18] * ATOMS, np.arange(3 * ATOMS).reshape(-1, 3))
    with pytest.raises(InputError, match="frame 0 has a unit cell, the structure has none"):
        frame.put_into(atoms)
    assert type(frame)(0, frame.positions, None).put_into(atoms).box is None
    periodic = frame.put_into(atoms.with_box(50 * np.eye(3)))
    assert np.array_equal(periodic.box, frame.box)
    assert np.array_equal(periodic.positions, frame.positions)
    bare = type(frame)(3, frame.positions, None)
    with pytest.raises(InputError, match="frame 3 has no box"):
        bare.put_into(periodic)


def test_a_trajectory_without_a_box(written, table, tmp_path):
    made = written[1]
    plain = mdtraj.Trajectory(table, made.topology)
    for kind in KINDS:
        plain.save(str(tmp_path / f"plain.{kind}"))
        trajectory = Trajectory.open(tmp_path / f"plain.{kind}", ATOMS)
        assert trajectory.n_frames == FRAMES
        assert all(frame.box is None for frame in trajectory.frames())
