import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.campaigns.stages import SnapshotStage, pick_snapshots
from drupe.freeenergy.simulation.sampling import SampleSpec, Trajectory


def run_of(number, frames, correlated):
    """A run whose frames carry their own number, with energies that are white or nearly constant."""
    rng = np.random.default_rng(number)
    positions = np.zeros((frames, 2, 3))
    positions[:, 0, 0] = 100 * number + np.arange(frames)
    energies = np.cumsum(rng.normal(size=frames)) if correlated else rng.normal(size=frames)
    return Trajectory(positions, energies, SampleSpec(n_frames=frames, seed=number), {})


def test_snapshots_are_different_frames_taken_in_turn_from_each_run():
    runs = [run_of(n, 3, correlated=False) for n in range(3)]
    got = pick_snapshots(SnapshotStage("complex", 4, 3), *runs)
    assert got.positions.shape == (7, 2, 3)
    assert len(set(got.positions[:, 0, 0])) == 7
    assert got.run.tolist() == [0, 1, 2, 0, 1, 2, 0]
    # Frame k of a run is kept after 250 and k + 1 times 100 steps of 2 fs.
    number = got.positions[:, 0, 0] % 100
    assert got.time.tolist() == pytest.approx((0.5 + 0.2 * (number + 1)).tolist())
    assert got.labels == 4
    assert got.correlated == 0


def test_correlated_frames_come_last_and_are_counted():
    runs = [run_of(n, 40, correlated=True) for n in range(2)]
    few = pick_snapshots(SnapshotStage("complex", 2, 2), *runs)
    assert few.correlated == 0
    many = pick_snapshots(SnapshotStage("complex", 40, 40), *runs)
    assert many.correlated > 20
    np.testing.assert_array_equal(many.positions[:4], few.positions)


def test_too_few_frames_are_refused():
    with pytest.raises(InputError, match="hold 6 frames, 7 are needed"):
        pick_snapshots(SnapshotStage("complex", 4, 3), run_of(0, 3, False), run_of(1, 3, False))
