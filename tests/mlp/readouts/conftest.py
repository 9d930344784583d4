"""What circuits are asked about, and a committee with quantum readouts that is not trained."""

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


@pytest.fixture(scope="session")
def inputs():
    """Random angles, rotations and weights of <Z> of a circuit, to be differentiated."""

    def draw(circuit, members=1, rows=5):
        generator = torch.Generator().manual_seed(circuit.qubits + 10 * circuit.layers)
        shapes = (
            (members, rows, circuit.qubits),
            (members, circuit.layers, circuit.qubits),
            (members, circuit.qubits),
        )
        made = (3 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
        return tuple(one.requires_grad_() for one in made)

    return draw
