"""Circuits in PennyLane: their identities, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from drupe.errors import InputError
from drupe.hardware.circuits import ENTANGLERS, Circuit, expectations


@pytest.fixture
def angles():
    draw = torch.Generator().manual_seed(5)
    return (2 * torch.rand(4, 8, generator=draw, dtype=torch.float64) - 1) * np.pi


@pytest.fixture
def rotations():
    draw = torch.Generator().manual_seed(6)
    return (2 * torch.rand(3, 8, generator=draw, dtype=torch.float64) - 1) * np.pi


def by_hand(gates, angles, rotations):
    """The eight qubits with a list of gates per layer, written out in PennyLane."""
    import pennylane as qml

    @qml.qnode(qml.device("default.qubit", wires=8), interface="torch")
    def run(x):
        for k in range(8):
            qml.RY(x[..., k], wires=k)
        for layer in rotations:
            for k in range(8):
                qml.RX(layer[k], wires=k)
            for name, wires in gates:
                getattr(qml, name)(wires=wires)
        return [qml.expval(qml.PauliZ(k)) for k in range(8)]

    return torch.stack(run(angles), dim=-1)


def test_without_gates_an_expectation_is_a_product_of_cosines(angles, rotations):
    got = expectations(Circuit(8, 3, "none"))(angles, rotations)
    assert (got - angles.cos() * rotations.sum(0).cos()).abs().max() < 1e-12


def test_qft_and_cx_is_an_open_chain_of_cx(angles, rotations):
    chain = [("CNOT", (k, k + 1)) for k in range(7)]
    got = expectations(Circuit(8, 3, "qft-cx"))(angles, rotations)
    assert (got - by_hand(chain, angles, rotations)).abs().max() < 1e-12


def test_qft_and_cz_is_the_mean_of_two_circuits(angles, rotations):
    chain = [("CZ", (k, k + 1)) for k in range(7)]
    plain, flipped = (by_hand(gates, angles, rotations) for gates in (chain, [*chain, ("PauliZ", 7)]))
    got = expectations(Circuit(8, 3, "qft-cz"))(angles, rotations)
    assert (got - (plain + flipped) / 2).abs().max() < 1e-12
    assert (plain - flipped).abs().max() > 0.01


def test_rings_are_closed():
    assert Circuit(8, 3, "cx").gates[-1] == ("CNOT", (7, 0))
    assert [gate.wires for gate in Circuit(8, 3, "qft-cz").gates] == [(k, k + 1) for k in range(10)]
    assert [len(Circuit(8, 3, name).branches) for name in ENTANGLERS] == [1, 1, 1, 1, 2]


def gradient_of_losses(diff_method, forces):
    """Slopes along the rotations of an energy loss and of a loss on derivatives."""
    circuit = Circuit(3, 2, "cx")
    draw = torch.Generator().manual_seed(1)
    x = torch.rand(1, 3, generator=draw, dtype=torch.float64).requires_grad_()
    theta = torch.rand(2, 3, generator=draw, dtype=torch.float64).requires_grad_()
    run = expectations(circuit, diff_method, forces=forces)
    (slope,) = torch.autograd.grad(run(x[0], theta).sum(), x, create_graph=True)
    both = (run(x[0], theta) ** 2).sum() + 100 * (slope**2).sum()
    (to_theta,) = torch.autograd.grad(both, theta, allow_unused=True)
    return to_theta.norm()


def test_adjoint_drops_the_force_term_and_is_refused_by_name():
    right = gradient_of_losses("backprop", True)
    wrong = gradient_of_losses("adjoint", False)
    assert wrong < 0.2 * right
    with pytest.raises(InputError, match=r"diff_method = 'adjoint' with forces.*\n.*'backprop'"):
        expectations(Circuit(), "adjoint")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"entangler": "c-z"}, "did you mean 'cz'"),
        ({"qubits": 11}, "2 to 10 qubits"),
        ({"qubits": 1}, "2 to 10 qubits"),
        ({"layers": 0}, "one layer or more"),
    ],
)
def test_circuits_without_meaning_are_refused(changes, found):
    with pytest.raises(InputError, match=found):
        dataclasses.replace(Circuit(), **changes)


def test_unknown_ways_to_differentiate_are_refused():
    with pytest.raises(InputError, match="no way to differentiate"):
        expectations(Circuit(), "magic")
