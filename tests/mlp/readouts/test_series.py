"""The Fourier series of a circuit against PennyLane's simulation: values, slopes and slopes of slopes."""

import itertools

import pytest
import torch

from drupe.hardware.circuits import ENTANGLERS, Circuit, expectations
from drupe.mlp.readouts.series import FourierSeries

# 1e-10 is asked for; rounding alone is 1e-14.
CLOSE = 1e-12


@pytest.mark.parametrize(
    ("qubits", "layers", "entangler"),
    [
        (1, 2, "none"),
        *((n, k, name) for n, k in ((8, 3), (3, 2), (5, 1), (2, 4)) for name in ENTANGLERS),
    ],
)
def test_energy_force_and_double_backward_are_those_of_pennylane(inputs, qubits, layers, entangler):
    circuit = Circuit(qubits, layers, entangler)
    x, theta, w = inputs(circuit)
    series = FourierSeries(circuit)
    simulate = expectations(circuit)
    found = []
    for energy in (
        series(series.coefficients(w, theta), x)[0],
        (simulate(x[0], theta[0]) * w[0]).sum(-1),
    ):
        (force,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
        loss = (energy**2).sum() + 100 * (force**2).sum()
        found.append([energy, force, *torch.autograd.grad(loss, (x, theta, w))])
    for got, want in zip(*found, strict=True):
        assert float((got - want).detach().abs().max()) < CLOSE * max(1, float(want.detach().abs().max()))


def test_second_derivatives_are_right_by_differences(inputs):
    circuit = Circuit(4, 2, "cx")
    x, theta, w = inputs(circuit, rows=2)
    series = FourierSeries(circuit)
    assert torch.autograd.gradgradcheck(lambda x, t, w: series(series.coefficients(w, t), x), (x, theta, w))


def test_members_are_each_their_own(inputs):
    circuit = Circuit(4, 3, "qft-cz")
    x, theta, w = inputs(circuit, members=3)
    series = FourierSeries(circuit)
    together = series(series.coefficients(w, theta), x)
    for k in range(3):
        alone = series(series.coefficients(w[k : k + 1], theta[k : k + 1]), x[k : k + 1])
        assert torch.allclose(together[k], alone[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("entangler", ENTANGLERS)
def test_an_energy_is_a_truncated_fourier_series_of_its_angles(inputs, entangler):
    """Nothing beyond frequency one in any angle: three values of it give all others."""
    circuit = Circuit(3, 3, entangler)
    _, theta, w = inputs(circuit)
    run = expectations(circuit)
    grid = torch.tensor([0.0, 2 * torch.pi / 3, 4 * torch.pi / 3], dtype=torch.float64)
    corners = torch.stack([torch.stack(one) for one in itertools.product(grid, repeat=3)])
    values = run(corners, theta[0]).detach() @ w[0].detach()
    basis = torch.stack([torch.ones(3, dtype=torch.float64), grid.cos(), grid.sin()], 1)
    cube = values.reshape(3, 3, 3)
    for _ in range(3):
        cube = torch.tensordot(cube, torch.linalg.inv(basis).T, dims=([0], [0]))
    other = torch.tensor([0.3, -2.1, 1.7], dtype=torch.float64)
    series = cube
    for angle in other:
        series = torch.tensordot(torch.stack([torch.ones(()), angle.cos(), angle.sin()]).double(), series, 1)
    assert float(series) == pytest.approx(
        float(run(other[None], theta[0]).detach() @ w[0].detach()), abs=1e-12
    )


def test_the_series_is_short():
    """Strings that can appear do not depend on the angles: far fewer than the 3^8 that could be."""
    counts = {name: FourierSeries(Circuit(8, 3, name)).terms for name in ENTANGLERS}
    assert counts == {"none": 8, "cx": 136, "cz": 64, "qft-cx": 96, "qft-cz": 56}


def test_no_string_is_missing_or_in_vain(inputs):
    circuit = Circuit(8, 3, "cx")
    _, theta, w = inputs(circuit)
    series = FourierSeries(circuit)
    assert int((series.coefficients(w, theta).abs() > 1e-12).sum()) == series.terms
