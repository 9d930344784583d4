"""Low-rank adapters: what moves, what stays."""

import dataclasses

import numpy as np
import pytest
import torch

from drupe.errors import InputError
from drupe.mlp import Dataset, FitFolder, TransferSpec
from drupe.mlp.adapters import adapt, effective_weights
from drupe.mlp.potential import Potential
from drupe.mlp.transfer import transfer_member
from drupe.records import pack

SPEC = TransferSpec(steps=6, batch=3, learning_rate=1e-3, max_force_drift=1.0, rank=2)


@pytest.fixture(scope="module")
def few(low_data, labels):
    return low_data.take(range(4)), Dataset.from_labels([labels[i] for i in (0, 1, 4)])


@pytest.fixture(scope="module")
def moved(random_members, few):
    low, high = few
    return transfer_member(random_members[0], high, low, SPEC)


def test_maps_move_by_matrices_of_the_rank_and_the_rest_of_the_backbone_stays(moved, random_members):
    before, after = random_members[0].stored().weights, moved.stored.weights
    assert before.keys() == after.keys()
    turned = 0
    for name, old in before.items():
        step = after[name] - old
        if name.startswith("backbone") and min(old.shape[1:]) > 2:
            values = np.linalg.svd(step[0], compute_uv=False)
            # Averages of rank-2 steps taken at different times are not of rank 2: three columns are enough
            # room for what six steps make, and a free map would fill all twelve.
            turned += values[0] > 0
            assert values[4:].max(initial=0) < 1e-3 * values[0]
        elif name.startswith("backbone"):
            assert not step.any()
    assert turned > 5
    assert (after["readout.last.weight"] != before["readout.last.weight"]).any()


def test_before_the_first_step_nothing_has_moved(random_members):
    potential = Potential.from_stored(random_members[1].stored())
    names = [name for name, _ in potential.named_parameters()]
    place = torch.randn(2, 18, 3, dtype=torch.float64) * 3
    field, sums = torch.zeros_like(place), torch.zeros(2, 18, 0, dtype=torch.float64)
    energy = potential.learned(place, torch.zeros(2, 18, dtype=torch.float64), field, sums)[0]
    parameters = adapt(potential.backbone, 3, seed=4)
    again = potential.learned(place, torch.zeros(2, 18, dtype=torch.float64), field, sums)[0]
    assert torch.equal(again, energy)
    weights = effective_weights(potential, names)
    for name, value in random_members[1].named_parameters():
        assert torch.equal(weights[name], value)
    free = sum(value.numel() for value in random_members[1].backbone.parameters())
    assert sum(value.numel() for value in parameters.values()) < free / 2
    assert all(value.requires_grad for value in parameters.values())


def test_an_adapted_transfer_goes_on_to_the_same_bytes(moved, random_members, few, tmp_path):
    class Stopped(Exception):
        pass

    class Stopping(FitFolder):
        def save(self, state):
            super().save(state)
            if state().step == 4:
                raise Stopped

    low, high = few
    with pytest.raises(Stopped):
        transfer_member(random_members[0], high, low, SPEC, folder=Stopping(tmp_path, 0))
    again = transfer_member(random_members[0], high, low, SPEC, folder=FitFolder(tmp_path))
    assert pack(again) == pack(moved)


def test_ranks_without_meaning_are_refused(random_members, few):
    low, high = few
    with pytest.raises(InputError, match="rank"):
        dataclasses.replace(SPEC, rank=0)
    with pytest.raises(InputError, match="lower the rank"):
        transfer_member(random_members[0], high, low, dataclasses.replace(SPEC, rank=400))
