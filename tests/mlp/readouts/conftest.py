"""A committee with quantum readouts, not trained."""

import dataclasses

import pytest
import torch

from drupe.mlp import Committee
from drupe.mlp.potential import Potential
from drupe.mlp.readouts.settings import VqcSettings


@pytest.fixture(scope="session")
def vqc() -> VqcSettings:
    return VqcSettings(qubits=6, layers=2, entangler="cz")


@pytest.fixture(scope="session")
def hybrid_committee(random_members, vqc) -> Committee:
    """Two untrained members whose circuits matter."""
    header = dataclasses.replace(random_members[0].header, readout="vqc", readout_settings=vqc)
    members = []
    for seed in range(2):
        one = Potential(header, seed=seed)
        draw = torch.Generator().manual_seed(seed)
        for weight in (one.readout.last.weight, one.readout.energies.weight):
            torch.nn.init.normal_(weight, std=0.3, generator=draw)
        members.append(one.stored())
    return Committee(tuple(members))
