"""The compiled pass over a held series against the operations it replaces."""

import numba
import pytest
import torch

from drupe.hardware.circuits import ENTANGLERS, Circuit
from drupe.mlp.readouts import compiled_series
from drupe.mlp.readouts.series import FourierSeries


def case(circuit, members=1, rows=5, precision=torch.float64):
    draw = torch.Generator().manual_seed(circuit.qubits + 10 * circuit.layers)
    shapes = (
        (members, rows, circuit.qubits),
        (members, circuit.layers, circuit.qubits),
        (members, circuit.qubits),
    )
    angles, rotations, weights = (3 * torch.randn(one, generator=draw, dtype=torch.float64) for one in shapes)
    series = FourierSeries(circuit)
    return (
        series,
        series.coefficients(weights, rotations).to(precision),
        angles.to(precision).requires_grad_(),
    )


def both(energies, angles):
    return energies.detach(), torch.autograd.grad(energies.sum(), angles)[0]


@pytest.mark.parametrize(
    ("qubits", "layers", "entangler"),
    [
        (1, 2, "none"),
        (2, 1, "cx"),
        (9, 2, "cz"),
        *((n, k, name) for n, k in ((8, 3), (3, 2), (5, 1)) for name in ENTANGLERS),
    ],
)
def test_sums_and_slopes_are_those_of_the_series(qubits, layers, entangler):
    series, coefficients, angles = case(Circuit(qubits, layers, entangler), members=3, rows=7)
    found = both(series.held(coefficients, angles), angles)
    want = both(series(coefficients, angles), angles)
    for one, other in zip(found, want, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12 * float(other.abs().max()))
    assert min(float(one.abs().max()) for one in want) > 0.1


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 200])
def test_rows_are_each_their_own_at_every_border_of_blocks(rows):
    series, coefficients, angles = case(Circuit(4, 2, "cx"), members=2, rows=rows)
    found = both(series.held(coefficients, angles), angles)
    want = both(series(coefficients, angles), angles)
    for one, other in zip(found, want, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=0, atol=1e-13)


def test_single_precision_stays_single():
    series, coefficients, angles = case(Circuit(8, 3, "cx"), rows=70, precision=torch.float32)
    sums, slopes = both(series.held(coefficients, angles), angles)
    assert (sums.dtype, slopes.dtype) == (torch.float32, torch.float32)
    want, along = both(series(coefficients.double(), angles.double()), angles)
    assert torch.allclose(sums.double(), want, rtol=0, atol=1e-5)
    assert torch.allclose(slopes, along, rtol=0, atol=1e-5)


def test_the_order_of_memory_does_not_matter():
    series, coefficients, angles = case(Circuit(3, 2, "cz"), members=2, rows=9)
    turned = angles.detach().mT.contiguous().mT.requires_grad_()
    assert not turned.is_contiguous()
    for one, other in zip(
        both(series.held(coefficients, turned), turned),
        both(series.held(coefficients, angles), angles),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_nothing_is_recorded_where_torch_records_nothing():
    series, coefficients, angles = case(Circuit(3, 2, "cz"))
    coefficients.requires_grad_()
    want = series(coefficients, angles).detach()
    with torch.no_grad():
        found = series.held(coefficients, angles)
    assert not found.requires_grad
    assert torch.allclose(found, want, rtol=0, atol=1e-13)


def test_torch_finds_nothing_wrong_with_the_operator():
    series, coefficients, angles = case(Circuit(3, 2, "cz"))
    few = coefficients.flatten(1)[:, series.present]
    torch.library.opcheck(
        torch.ops.drupe.fourier_sums.default,
        (few, angles, series.multiplied, series.summed),
        test_utils=("test_schema", "test_autograd_registration"),
    )


def test_derivatives_it_does_not_have_are_refused():
    series, coefficients, angles = case(Circuit(3, 2, "cz"))
    (slopes,) = torch.autograd.grad(series.held(coefficients, angles).sum(), angles, create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivatives along its angles only"):
        torch.autograd.grad((slopes**2).sum(), angles)
    coefficients.requires_grad_()
    with pytest.raises(NotImplementedError, match="differentiate a readout that is not held"):
        torch.autograd.grad(series.held(coefficients, angles).sum(), coefficients)


def test_without_a_folder_for_machine_code_it_is_made_anew(monkeypatch):
    # A place for notebooks only: nothing can be kept here.
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "IPythonCacheLocator")
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(compiled_series._pass)
    made = compiled_series._compiled()
    monkeypatch.setattr(compiled_series, "_run", made)
    series, coefficients, angles = case(Circuit(3, 2, "cz"))
    assert torch.allclose(series.held(coefficients, angles), series(coefficients, angles), rtol=0, atol=1e-13)
    assert made.signatures
