"""Readouts by name: sizes, bounds, first values, controls, refusals."""

import copy
import dataclasses
import pickle

import pytest
import torch

from drupe.errors import InputError
from drupe.mlp import FitSpec
from drupe.mlp.potential import Potential, PotentialHeader
from drupe.mlp.readouts import vqc
from drupe.mlp.readouts.registry import READOUTS, ReadoutSize, build_readout, matched
from drupe.mlp.readouts.series import FourierSeries
from drupe.mlp.readouts.settings import ClassicalSettings, CosineSettings, VqcSettings
from drupe.records import pack, unpack

SETTINGS = {
    "classical": ClassicalSettings(9),
    "cosine": CosineSettings(9),
    "vqc": VqcSettings(qubits=4, layers=2),
}
SIZE = ReadoutSize(features=6, members=2, energy_scale=0.01, energy_bound=0.1)


def count(readout):
    return sum(one.numel() for one in readout.parameters())


@pytest.fixture(params=READOUTS)
def readout(request):
    torch.manual_seed(1)
    return build_readout(request.param, SIZE, SETTINGS[request.param])


def large(readout):
    with torch.no_grad():
        for one in readout.parameters():
            one.copy_(20 * torch.randn(one.shape))
    return readout


def test_before_training_there_is_no_energy(readout):
    assert not readout(torch.randn(2, 5, 6, dtype=torch.float64)).any()


def test_no_energy_passes_the_bound(readout):
    made = large(readout)(10 * torch.randn(2, 200, 6, dtype=torch.float64)).detach()
    assert made.shape == (2, 200)
    assert 0.01 < float(made.abs().max()) <= SIZE.energy_bound


def test_small_weights_give_the_scale(readout):
    """An output of one is the energy scale, while it is far from the bound."""
    last = dict(readout.named_parameters()).get("last.bias", getattr(readout, "bias", None))
    with torch.no_grad():
        last.fill_(1e-3)
    made = readout(torch.zeros(2, 1, 6, dtype=torch.float64)).detach()
    assert made.numpy() == pytest.approx(1e-3 * SIZE.energy_scale, rel=1e-3)


def test_held_weights_give_the_same_energies(readout):
    rows = torch.randn(2, 7, 6, dtype=torch.float64)
    before = large(readout)(rows).detach()
    names = list(readout.state_dict())
    readout.hold()
    assert torch.allclose(readout(rows).detach(), before, rtol=0, atol=1e-15)
    assert list(readout.state_dict()) == names  # nothing more is stored


def small_vqc(**settings):
    torch.manual_seed(3)
    return large(build_readout("vqc", SIZE, VqcSettings(qubits=3, layers=2, **settings)))


def forbidden(*_):
    raise AssertionError("another way is taken")


def test_held_weights_are_looked_for_once_and_weights_that_are_loaded_are_let_in(monkeypatch):
    readout, other = small_vqc(), small_vqc()
    rows = torch.randn(2, 5, 6, dtype=torch.float64)
    with torch.no_grad():
        other.rotations.add_(0.3)
    want = other(rows).detach()
    readout.hold()
    # A copy holds what was found, and does not find it again.
    copies = [copy.deepcopy(readout), pickle.loads(pickle.dumps(readout))]
    with monkeypatch.context() as patch:
        patch.setattr(FourierSeries, "coefficients", forbidden)
        assert (readout(rows) - want).abs().max() > 1e-4
        assert all(torch.equal(one(rows), readout(rows)) for one in copies)
    for one in (readout, *copies):
        one.load_state_dict(other.state_dict())
        assert torch.allclose(one(rows).detach(), want, rtol=0, atol=1e-15)


def test_a_held_observable_is_constant():
    readout = small_vqc()
    readout.hold()
    readout(torch.randn(2, 5, 6, dtype=torch.float64)).sum().backward()
    given = {name for name, one in readout.named_parameters() if one.grad is not None}
    assert given == {"angles.weight", "angles.bias"}


def test_each_way_to_train_takes_its_own_path(monkeypatch):
    """The observable never simulates a circuit; a simulation never asks for the observable."""
    rows = torch.randn(2, 5, 6, dtype=torch.float64)
    ours, theirs = small_vqc(), small_vqc(diff_method="backprop")
    with monkeypatch.context() as patch:
        patch.setattr(vqc, "expectations", forbidden)
        assert ours(rows).abs().max() > 1e-4
        with pytest.raises(AssertionError, match="another way is taken"):
            theirs(rows)
    monkeypatch.setattr(FourierSeries, "coefficients", forbidden)
    assert pickle.loads(pickle.dumps(theirs))(rows).abs().max() > 1e-4
    with pytest.raises(AssertionError, match="another way is taken"):
        ours(rows)


@pytest.mark.parametrize("entangler", ["none", "cx", "cz", "qft-cx", "qft-cz"])
@pytest.mark.parametrize("features", [24, 64])
def test_counts_of_parameters(entangler, features):
    size = SIZE._replace(features=features, members=1)
    settings = VqcSettings(qubits=8, layers=3, entangler=entangler)
    vqc = count(build_readout("vqc", size, settings))
    # A map to 8 angles, 24 rotations, 8 weights of <Z> and a constant; three further qubits have no angles.
    assert vqc == (features * 8 + 8) + 24 + 8 + 1
    for name, control in zip(("classical", "cosine"), matched(settings, features), strict=True):
        controlled = count(build_readout(name, size, control))
        assert controlled == (features + 2) * control.width + 1
        assert abs(controlled - vqc) <= (features + 2) / 2


def test_a_circuit_without_gates_is_the_cosine_readout():
    torch.manual_seed(2)
    vqc = large(build_readout("vqc", SIZE, VqcSettings(qubits=4, layers=2, entangler="none")))
    cosine = build_readout("cosine", SIZE, CosineSettings(4))
    weight, bias = vqc.observable()
    from_vqc = weight * vqc.rotations.sum(1).cos()
    rows = torch.randn(2, 7, 6, dtype=torch.float64)
    with torch.no_grad():
        cosine.angles.load_state_dict(vqc.angles.state_dict())
        plain = torch.cos(cosine.angles(rows))
        assert torch.allclose((plain * from_vqc[:, None]).sum(-1) + bias, vqc(rows), atol=1e-14, rtol=0)


def test_both_ways_to_train_have_one_gradient():
    torch.manual_seed(3)
    settings = VqcSettings(qubits=3, layers=2, entangler="qft-cz")
    ours = large(build_readout("vqc", SIZE, settings))
    theirs = build_readout("vqc", SIZE, dataclasses.replace(settings, diff_method="backprop"))
    theirs.load_state_dict(ours.state_dict())
    rows = torch.randn(2, 5, 6, dtype=torch.float64).requires_grad_()
    found = []
    for readout in (ours, theirs):
        energy = readout(rows)
        (force,) = torch.autograd.grad(energy.sum(), rows, create_graph=True)
        loss = (energy**2).sum() + 100 * (force**2).sum()
        found.append([energy, force, *torch.autograd.grad(loss, list(readout.parameters()))])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)
    theirs.hold()
    assert torch.allclose(theirs(rows), ours(rows), rtol=0, atol=1e-14)


def test_settings_belong_to_their_readout():
    assert FitSpec().readout_settings is None
    assert FitSpec(readout="vqc") == FitSpec(readout="vqc", readout_settings=VqcSettings())
    with pytest.raises(InputError, match="VqcSettings are not settings of the readout 'cosine'"):
        FitSpec(readout="cosine", readout_settings=VqcSettings())
    with pytest.raises(InputError, match="did you mean 'vqc'"):
        FitSpec(readout="vcq")
    with pytest.raises(InputError, match="width = 0 in CosineSettings"):
        CosineSettings(0)
    with pytest.raises(InputError, match="VqcSettings has qubits=4.5"):
        VqcSettings(qubits=4.5)


def test_adjoint_is_refused_where_a_fit_is_described():
    with pytest.raises(InputError, match="force term would silently drop out"):
        FitSpec(readout="vqc", readout_settings=VqcSettings(diff_method="adjoint"))
    with pytest.raises(InputError, match="force term would silently drop out"):
        dataclasses.replace(VqcSettings(), diff_method="adjoint")
    with pytest.raises(InputError, match="use 'backprop', or the observable that training takes by default"):
        VqcSettings(diff_method="best")


def test_a_specification_and_a_header_come_back(random_members):
    spec = FitSpec(readout="vqc", readout_settings=VqcSettings(entangler="qft-cx"))
    assert unpack(pack(spec)) == spec
    header = dataclasses.replace(
        random_members[0].header, readout="vqc", readout_settings=spec.readout_settings
    )
    again = unpack(pack(header))
    assert isinstance(again, PotentialHeader)
    assert again.key == header.key
    assert again.readout_settings == spec.readout_settings


def test_only_the_energy_goes_through_the_circuit(random_members, scene):
    header = dataclasses.replace(random_members[0].header, readout="vqc", baseline=None)
    potential = Potential(header, seed=4)
    torch.nn.init.normal_(potential.readout.last.weight, std=0.3)
    place = torch.tensor(scene[0][None])
    sums = torch.zeros(*place.shape[:2], 0, dtype=torch.float64)
    before = potential.atom_terms(place, torch.zeros_like(place), sums)
    torch.nn.init.normal_(potential.readout.energies.weight)
    after = potential.atom_terms(place, torch.zeros_like(place), sums)
    assert not before.energy.any()
    assert after.energy.abs().min() > 1e-9
    assert torch.equal(before.shift, after.shift)
    assert torch.equal(before.polarizability, after.polarizability)
