"""The compiled pass over a held series against the operations it replaces."""

from concurrent.futures import ThreadPoolExecutor

import numba
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from drupe.errors import InputError
from drupe.hardware.circuits import ENTANGLERS, Circuit
from drupe.mlp.readouts import compiled_series
from drupe.mlp.readouts.registry import ReadoutSize, build_readout
from drupe.mlp.readouts.series import FourierSeries
from drupe.mlp.readouts.settings import VqcSettings

# Rounding in sums of a hundred products: 4e-15 in double and 1.5e-6 in single precision, as measured.
CLOSE, CLOSE_IN_SINGLE = 1e-13, 1e-5


@pytest.fixture
def case(inputs):
    """A series, coefficients that are constant, and angles."""

    def draw(circuit, members=1, rows=5, precision=torch.float64):
        angles, rotations, weights = (one.detach() for one in inputs(circuit, members, rows))
        series = FourierSeries(circuit)
        coefficients = series.coefficients(weights, rotations)
        return series, coefficients.to(precision), angles.to(precision).requires_grad_()

    return draw


def both(energies, angles):
    """Energies, and the gradient of a sum in which every member and row has a weight of its own."""
    weights = torch.linspace(0.5, 1.5, energies.numel(), dtype=energies.dtype).reshape(energies.shape)
    return energies.detach(), torch.autograd.grad((weights * energies).sum(), angles)[0]


@pytest.mark.parametrize(
    ("qubits", "layers", "entangler"),
    [
        (1, 2, "none"),
        (2, 1, "cx"),
        (9, 2, "cz"),
        *((n, k, name) for n, k in ((8, 3), (3, 2), (5, 1)) for name in ENTANGLERS),
    ],
)
def test_sums_and_slopes_are_those_of_the_series(case, qubits, layers, entangler):
    series, coefficients, angles = case(Circuit(qubits, layers, entangler), members=3, rows=7)
    found = both(series.held(coefficients, angles), angles)
    want = both(series(coefficients, angles), angles)
    for one, other in zip(found, want, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=CLOSE * float(other.abs().max()))
    assert min(float(one.abs().max()) for one in want) > 0.1


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 200])
def test_rows_are_each_their_own_at_every_border_of_blocks(case, rows):
    series, coefficients, angles = case(Circuit(4, 2, "cx"), members=2, rows=rows)
    found = both(series.held(coefficients, angles), angles)
    want = both(series(coefficients, angles), angles)
    for one, other in zip(found, want, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=0, atol=CLOSE)


def test_single_precision_stays_single(case):
    series, coefficients, angles = case(Circuit(8, 3, "cx"), rows=70, precision=torch.float32)
    sums, slopes = both(series.held(coefficients, angles), angles)
    assert (sums.dtype, slopes.dtype) == (torch.float32, torch.float32)
    want, along = both(series(coefficients.double(), angles.double()), angles)
    assert torch.allclose(sums.double(), want, rtol=0, atol=CLOSE_IN_SINGLE)
    assert torch.allclose(slopes, along, rtol=0, atol=CLOSE_IN_SINGLE)


def test_the_order_of_memory_does_not_matter(case):
    series, coefficients, angles = case(Circuit(3, 2, "cz"), members=2, rows=9)
    turned = angles.detach().mT.contiguous().mT.requires_grad_()
    assert not turned.is_contiguous()
    for one, other in zip(
        both(series.held(coefficients, turned), turned),
        both(series.held(coefficients, angles), angles),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_nothing_is_recorded_where_torch_records_nothing(case):
    series, coefficients, angles = case(Circuit(3, 2, "cz"))
    coefficients.requires_grad_()
    want = series(coefficients, angles).detach()
    with torch.no_grad():
        found = series.held(coefficients, angles)
    assert not found.requires_grad
    assert torch.allclose(found, want, rtol=0, atol=CLOSE)


def test_torch_finds_nothing_wrong_with_the_operator(case):
    series, coefficients, angles = case(Circuit(3, 2, "cz"))
    few = coefficients.flatten(1)[:, series.present]
    torch.library.opcheck(
        torch.ops.drupe.fourier_sums.default,
        (few, angles.detach(), series.multiplied, series.summed),
        test_utils="test_schema",
    )


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, in func.jvp
def test_derivatives_it_does_not_have_are_refused(case):
    series, coefficients, angles = case(Circuit(3, 2, "cz"))
    only = pytest.raises(NotImplementedError, match="first derivatives along its angles only")

    def energy(angles):
        return series.held(coefficients, angles).sum()

    found = energy(angles)
    (slopes,) = torch.autograd.grad(found, angles, create_graph=True)
    with only:
        torch.autograd.grad((slopes**2).sum(), angles, retain_graph=True)
    with only:  # a loss on energies and forces
        torch.autograd.grad(found**2 + (slopes**2).sum(), angles)
    # Forwards torch would drop them without a word.
    plain, along = angles.detach(), torch.ones_like(angles)
    with only:
        torch.func.jvp(energy, (plain,), (along,))
    with only, torch.autograd.forward_ad.dual_level():
        energy(torch.autograd.forward_ad.make_dual(plain, along))
    with only:
        torch.func.grad(lambda angles: torch.func.grad(energy)(angles).sum())(plain)
    written = make_fx(lambda angles: series.held(coefficients, angles))(plain)
    with only:
        torch.autograd.grad(written(angles).sum(), angles)
    # Backwards there is a way to have them.
    (want,) = torch.autograd.grad(series(coefficients, angles).sum(), angles)
    assert torch.allclose(torch.func.grad(energy)(plain), want, rtol=0, atol=CLOSE)
    _, slope = torch.autograd.functional.jvp(energy, plain, along)
    assert float(slope) == pytest.approx(float(want.sum()), abs=CLOSE)
    coefficients.requires_grad_()
    with pytest.raises(NotImplementedError, match="differentiate a readout that is not held"):
        torch.autograd.grad(series.held(coefficients, angles).sum(), coefficients)


def test_what_does_not_fit_is_refused(case):
    series, coefficients, angles = case(Circuit(3, 2, "cz"), members=2)
    angles = angles.detach()
    wrong = [
        (coefficients[:1], angles),
        (coefficients.mT[:, :1], angles),
        (coefficients[:, :, None], angles),
        (coefficients, angles[:, :, :2]),
        (coefficients, angles[:, :, :, None]),
        (coefficients, angles[0]),
        (coefficients, angles.float()),
        (coefficients.half(), angles.half()),
    ]
    for one, other in wrong:
        with pytest.raises(InputError, match="of a circuit with 3 qubits"):
            series.held(one, other)


def test_what_is_no_number_stays_in_its_row(case):
    series, coefficients, angles = case(Circuit(4, 2, "cx"), rows=70)
    broken = angles.detach().clone()
    broken[0, 3, 1] = torch.nan
    broken.requires_grad_()
    others = torch.arange(70) != 3
    for one, other in zip(
        both(series.held(coefficients, broken), broken),
        both(series.held(coefficients, angles), angles),
        strict=True,
    ):
        assert torch.isnan(one[0, 3]).any()
        assert torch.equal(one[:, others], other[:, others])


def test_a_held_readout_takes_it(monkeypatch):
    torch.manual_seed(1)
    readout = build_readout("vqc", ReadoutSize(6, 1, 0.01, 0.1), VqcSettings(qubits=3, layers=2))
    rows = torch.randn(1, 4, 6, dtype=torch.float64)
    readout(rows)

    def refused(*_):
        raise AssertionError("compiled")

    monkeypatch.setattr(compiled_series.SumsAndSlopes, "apply", refused)
    readout(rows)
    readout.hold()
    for recorded in (True, False):
        with pytest.raises(AssertionError, match="compiled"), torch.set_grad_enabled(recorded):
            readout(rows)
    # Its loops are for processors.
    held = readout.series.held(
        readout.held.to("meta"), torch.zeros(1, 4, 3, device="meta", dtype=torch.float64)
    )
    assert held.shape == (1, 4)


def test_ones_are_not_multiplied():
    series = FourierSeries(Circuit(8, 3, "cx"))
    pairs = series.multiplied.tolist()
    assert all(0 < one < 17 + made and 0 < other < 17 + made for made, (one, other) in enumerate(pairs))
    assert len({tuple(pair) for pair in pairs}) == len(pairs)


def test_it_is_compiled_once_for_all_threads(case, monkeypatch):
    compiled, compiling = [], numba.njit
    monkeypatch.setattr(compiled_series, "_made", {})
    monkeypatch.setattr(numba, "njit", lambda *kinds, **how: compiled.append(how) or compiling(*kinds, **how))
    series, coefficients, angles = case(Circuit(3, 2, "cz"), rows=300)
    want = series(coefficients, angles).detach()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: series.held(coefficients, angles).detach(), range(40)))
    assert all(torch.allclose(one, want, rtol=0, atol=CLOSE) for one in found)
    assert compiled == [{"nogil": True}]  # threads run side by side only without Python's lock
